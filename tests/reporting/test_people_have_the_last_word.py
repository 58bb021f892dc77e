"""Where people compared, the page and the card speak of the policy that their verdict is on."""

from pathlib import Path

from run_by_hand import Found, plain, policy, run_with

from rlhf.reporting.cards import Stated, model_card, policy_of
from rlhf.reporting.cautions import cautions_of
from rlhf.reporting.comparison import best_of
from rlhf.reporting.glance import glance
from rlhf.reporting.policies import policy_rows
from rlhf.reporting.report import render
from rlhf.reporting.verdict import verdict_of


def people_prefer_ppo(found: Found) -> None:
    """The judge likes DPO best, people PPO."""
    equal = {"rate": 0.66, "low": 0.57, "high": 0.74, "effect": 0.0}
    counts = {"wins": 80, "ties": 10, "losses": 30}
    liked = {"rate": 0.71, "low": 0.62, "high": 0.78, **counts, "length_controlled": equal}
    not_liked = {**liked, "rate": 0.4, "low": 0.3, "high": 0.5}
    found["judge"] = {
        "judgements": 240,
        "best": "ppo",
        "policies": {"dpo": not_liked, "ppo": liked},
    }


def test_headline_figures_table_and_card_are_of_one_policy(tmp_path: Path) -> None:
    run = run_with(tmp_path, people_prefer_ppo)
    assert verdict_of(run).headline == "Ship the PPO policy."
    figures = {one.name: (plain(one.value), plain(one.beside)) for one in glance(run, [])}
    assert figures["People prefer PPO to SFT"] == ("71 %", "95 % interval 62 to 78 %")
    judged = figures["PPO beats SFT, judged automatically"]
    assert judged == ("69 %", "95 % interval 64 to 73 %")
    assert figures["At equal length"][0] == "66 %"
    assert not any("DPO" in name for name in figures)
    rows = {row.name: row for row in policy_rows(run)}
    assert [name for name, row in rows.items() if row.best] == ["ppo"]
    assert (plain(rows["dpo"].people), rows["dpo"].people_interval) == ("40 %", "30–50")
    assert (rows["best_of_16"].people, rows["best_of_16"].people_interval) == ("–", "")
    assert best_of("mine", run) == "PPO of mine"
    page = render(run)
    assert "people prefer it to SFT" in page
    assert "the judge gives PPO" in page
    assert policy_of(run) == "ppo"
    card = model_card(run, "ppo", Stated())
    assert "name: 'win rate against SFT, judge: people'" in card
    assert "value: 0.71" in card
    assert "120 held-out prompts" in card
    assert "| **PPO** | 71\u202f% | 62–78 | 69\u202f% | 64–73 |" in card
    assert "| best of 16 | – | – | 74\u202f% |" in card


def test_where_people_were_not_asked_nothing_is_said_of_them(tmp_path: Path) -> None:
    run = run_with(tmp_path)
    assert next(one.name for one in glance(run, [])) == "DPO beats SFT"
    assert {row.people for row in policy_rows(run)} == {""}
    assert "people prefer it" not in render(run)
    assert "| policy | beats SFT | 95 % interval |" in model_card(run, "dpo", Stated())


def test_the_monitor_is_no_independent_judge(tmp_path: Path) -> None:
    def by_monitor(found: Found) -> None:
        found["evaluate"] |= {"judge": "monitor", "judge_independent": False}

    run = run_with(tmp_path, by_monitor)
    said = {one.headline: one.text for one in cautions_of(run)}
    assert "monitor, a reward model from the same rank" in said["The judge is not independent."]
    assert "Judge: the monitor, a reward model from the same" in model_card(run, "dpo", Stated())


def test_a_distance_of_nothing_has_no_minus(tmp_path: Path) -> None:
    def at_sft(found: Found) -> None:
        found["evaluate"]["policies"]["dpo"] = policy(0.7, 0.65, 0.74, kl=-0.001)

    card = model_card(run_with(tmp_path, at_sft), "dpo", Stated())
    assert "0.00 nats of KL" in card
    assert "-0.00" not in card
