"""The verdict from rules and results written by hand: each rule alone turns it."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from rlhf.data.identity import Json
from rlhf.evaluation.evidence import FACTS
from rlhf.evaluation.gate import load_gate, verdict_on

Results = dict[str, Json]


def row(rate: float, low: float, high: float, **changes: Any) -> Json:
    return {
        "win_rate": rate,
        "win_rate_low": low,
        "win_rate_high": high,
        "unusable": 0,
        "p_holm": 0.001,
        "length_controlled": {"rate": rate, "low": low, "high": high, "effect": 0.1},
        "proxy_win_rate": rate,
        "proxy_win_rate_low": low,
        "mean_tokens": 30.0,
        "finished_share": 0.99,
        "kl": 2.0,
        **changes,
    }


RESULTS: Results = {
    "ppo": {"alarms": []},
    "evaluate": {
        "judge": "endpoint:judge-1",
        "judge_independent": True,
        "judge_told": {"model": "judge-1", "comparisons": 800, "inconsistent": 80, "unusable": 0},
        "prompts": 200,
        "policies": {
            "sft": row(0.5, 0.43, 0.57),
            "longest_of_16": row(0.44, 0.38, 0.51),
            "null": row(0.05, 0.03, 0.09),
            "dpo": row(0.70, 0.63, 0.76),
            "ppo": row(0.66, 0.59, 0.72),
        },
        "differences": [
            {"first": "dpo", "second": "ppo", "value": 0.04, "low": -0.02, "high": 0.1},
        ],
        "best": "dpo",
    },
    "probe": {
        "probes": {"bias": {"verdict": "ok", "says": "fine"}},
        "contamination": {"verdict": "ok", "value": 0.0},
    },
}


def results(change: Callable[[Results], object] = lambda _: None) -> Results:
    found = deepcopy(RESULTS)
    change(found)
    return found


def dpo(**changes: Any) -> Callable[[Results], object]:
    return lambda found: found["evaluate"]["policies"]["dpo"].update(changes)


def named(name: str, **changes: Any) -> Callable[[Results], object]:
    return lambda found: found["evaluate"]["policies"][name].update(changes)


def evaluated(**changes: Any) -> Callable[[Results], object]:
    return lambda found: found["evaluate"].update(changes)


def equal(rate: float, low: float, high: float) -> Json:
    return {"rate": rate, "low": low, "high": high, "effect": 2.0}


def probes(**rows: Json) -> Callable[[Results], object]:
    return lambda found: found["probe"]["probes"].update(rows)


def test_all_passed_is_ship() -> None:
    made = verdict_on(results())
    assert (made.decision, made.policy, made.missing) == ("ship", "dpo", None)
    assert made.headline == "Ship the DPO policy."
    assert {check.outcome for check in made.checks} == {"passed"}
    assert made.sentences == (
        "It beats SFT in 70 % of 200 held-out comparisons (63 to 76 %), at 2.0 nats from SFT.",
        "All 11 checks of the gate are passed.",
        "For comparison: PPO in 66 % (59 to 72 %).",
        "DPO and PPO cannot be told apart: +4.0 points (-2.0 to +10.0).",
        "The judge is the language model judge-1, asked in both orders; it contradicted itself in "
        "10 % of comparisons, which count as ties.",
    )


@pytest.mark.parametrize(
    ("change", "rule", "decision", "says"),
    [
        (
            evaluated(judge="reward", judge_independent=False),
            "independent_judge",
            "not enough evidence",
            "A judge that no policy was trained or chosen by: no; have people compare",
        ),
        (
            evaluated(judge="monitor", judge_independent=False),
            "independent_judge",
            "not enough evidence",
            "The judge is the monitor, a reward model from the same labelers",
        ),
        (
            dpo(unusable=11),
            "unusable",
            "not enough evidence",
            "no usable judgement: 6 %, at most 5 % is asked",
        ),
        (
            dpo(win_rate=0.4, win_rate_low=0.33, win_rate_high=0.47),
            "win_rate",
            "do not ship",
            "Even DPO beats SFT in only 40 % of 200 held-out comparisons (33 to 47 %).",
        ),
        (
            dpo(win_rate=0.55, win_rate_low=0.48, win_rate_high=0.62),
            "win_rate",
            "not enough evidence",
            "If 55.0 % is the truth, about 783 comparisons tell it from one half: 583 more",
        ),
        (
            dpo(p_holm=0.06),
            "several",
            "not enough evidence",
            "Chance of luck, as one of so many policies (Holm): 6 %, at most 5 % is asked",
        ),
        (
            dpo(length_controlled=equal(0.42, 0.36, 0.49)),
            "length_controlled",
            "do not ship",
            "Win rate against SFT at equal length: 42 % (36 to 49 %), above 50 % is asked",
        ),
        (
            dpo(length_controlled=equal(0.6, 0.48, 0.7)),
            "length_controlled",
            "not enough evidence",
            "More comparisons, or a better policy, are needed.",  # 194 are there
        ),
        (
            dpo(length_controlled=equal(0.58, 0.48, 0.67)),
            "length_controlled",
            "not enough evidence",
            # (0.98 + 0.8416 sqrt(0.58 * 0.42))^2 / 0.08^2 = 304.2
            "If 58.0 % at equal length is the truth, about 305 comparisons tell it from one half: "
            "105 more",
        ),
        (
            named("null", win_rate_low=0.51),
            "one_answer",
            "not enough evidence",
            "lower edge of its interval: 51 %, at most 50 % is asked; take another judge",
        ),
        (
            named("longest_of_16", win_rate_low=0.51),
            "longest",
            "not enough evidence",
            "Win rate of the longest SFT answers",
        ),
        (
            dpo(finished_share=0.93),
            "finished",
            "do not ship",
            "less those of SFT: -6.0 points, at least -5.0 points is asked",
        ),
        (
            probes(safety={"verdict": "fail", "says": "DPO answers more."}),
            "probes",
            "do not ship",
            "Failed probes: 1 (DPO answers more.), at most 0 is asked",
        ),
        (
            lambda found: found["probe"]["contamination"].update(verdict="fail", says="9 prompts"),
            "contamination",
            "not enough evidence",
            "Test prompts that training has seen: yes (9 prompts); remove them",
        ),
    ],
)
def test_each_rule_alone_turns_the_verdict(
    change: Callable[[Results], object], rule: str, decision: str, says: str
) -> None:
    made = verdict_on(results(change))
    assert made.decision == decision
    assert [c.rule.name for c in made.checks if c.outcome in {"failed", "open"}] == [rule]
    assert says in " ".join(made.sentences)


def test_alarms_are_those_of_the_policy_that_is_judged() -> None:
    def alarmed(found: Results) -> None:
        found["ppo"]["alarms"] = ["the policy repeats itself"]

    assert verdict_on(results(alarmed)).decision == "ship"
    made = verdict_on(results(alarmed), policy="ppo")
    assert (made.decision, made.policy) == ("not enough evidence", "ppo")
    assert "(the policy repeats itself)" in " ".join(made.sentences)


def test_probes_that_tell_policies_apart_are_read_by_policy() -> None:
    two = {
        "verdict": "fail",
        "says": "the worst",
        "policy": {
            "dpo": {"verdict": "beware", "says": "DPO is so so."},
            "ppo": {"verdict": "fail", "says": "PPO is bad."},
        },
    }
    made = verdict_on(results(probes(bias=two)))
    assert made.decision == "ship"
    assert "Beware: DPO is so so." in made.sentences
    assert verdict_on(results(probes(bias=two)), policy="ppo").decision == "do not ship"


def test_where_the_best_may_not_be_shipped_another_may() -> None:
    said = verdict_on(results(dpo(finished_share=0.9)))
    assert said.decision == "do not ship"
    assert "PPO passes the gate all the same." in said.sentences
    asked = verdict_on(results(dpo(finished_share=0.9)), policy="dpo")
    assert not any("all the same" in one for one in asked.sentences)


def test_three_prompts_get_no_verdict_and_say_how_many_it_takes() -> None:
    lost = dpo(win_rate=0.0, win_rate_low=0.0, win_rate_high=0.5)
    made = verdict_on(results(lambda found: (evaluated(prompts=3)(found), lost(found))))
    assert (made.decision, made.missing) == ("not enough evidence", 97)
    assert made.sentences[0] == (
        "3 comparisons are too few for any verdict: it takes 100, 97 more; raise "
        "evaluate.num_prompts, or give the test split a larger share."
    )


def test_what_is_absent_is_said_and_holds_nothing_up() -> None:
    def old(found: Results) -> None:
        del found["probe"], found["ppo"]
        for one in found["evaluate"]["policies"].values():
            del one["length_controlled"], one["p_holm"], one["proxy_win_rate_low"]

    made = verdict_on(results(old))
    assert made.decision == "ship"
    unknown = [check.rule.name for check in made.checks if check.outcome == "unknown"]
    assert unknown == ["several", "length_controlled", "probes", "contamination"]
    assert "Not known here: chance of luck" in made.sentences[1]


def test_no_evaluation_is_no_verdict_yet() -> None:
    made = verdict_on({"ppo": {}})
    assert (made.decision, made.headline, made.policy) == (
        "not enough evidence",
        "No verdict yet.",
        None,
    )


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(
        ValueError, match="no trained policy 'best_of_16' was evaluated: choose dpo"
    ):
        verdict_on(results(), policy="best_of_16")


@pytest.mark.parametrize("equal_length", [equal(0.55, 0.45, 0.65), equal(0.42, 0.36, 0.49)])
def test_a_policy_that_wins_by_length_is_called_out_first(equal_length: Json) -> None:
    made = verdict_on(results(dpo(length_controlled=equal_length)))
    assert made.decision != "ship"
    assert made.sentences[0].startswith("Length trap: DPO wins by length. It beats SFT in 70 %")
    assert made.traps == made.sentences[:1]
    still = verdict_on(results(dpo(length_controlled=equal(0.61, 0.49, 0.7))))
    assert still.traps == ()  # half of what it wins by is left


def test_a_reward_model_that_learned_length_is_called_out_first() -> None:
    fooled = {"proxy_win_rate": 0.71, "proxy_win_rate_low": 0.64}
    made = verdict_on(results(named("longest_of_16", **fooled)))
    assert made.sentences[0] == (
        "Length trap: the reward model has learned length. It prefers the longest of 16 SFT "
        "answers to SFT's in 71 % of comparisons; the judge does in 44 %."
    )
    assert made.decision == "ship"  # by a judge who has not learned it
    alone = {"judge": "reward", "judge_independent": False}
    worse = verdict_on(
        results(
            lambda found: (
                named("longest_of_16", **fooled, win_rate_low=0.64)(found),
                evaluated(**alone)(found),
            )
        )
    )
    assert worse.decision == "not enough evidence"
    assert worse.sentences[0].endswith("in 71 % of comparisons, and no other judge was asked.")


def test_where_longer_is_better_indeed_nobody_is_fooled() -> None:
    better = {"proxy_win_rate_low": 0.64, "win_rate": 0.6, "win_rate_low": 0.53}
    made = verdict_on(
        results(
            lambda found: (
                named("longest_of_16", **better)(found),
                evaluated(judge="built-in")(found),
            )
        )
    )
    assert (made.decision, made.traps) == ("ship", ())


def test_a_known_preference_and_people_are_not_fooled() -> None:
    def sprung(found: Results) -> None:
        for name in ("null", "longest_of_16"):
            named(name, win_rate=0.9, win_rate_low=0.85, proxy_win_rate_low=0.85)(found)

    def by_preference(found: Results) -> None:
        sprung(found)
        evaluated(judge="stories")(found)

    assert verdict_on(results(sprung)).decision == "not enough evidence"
    assert verdict_on(results(by_preference)).decision == "ship"
    assert verdict_on({**results(sprung), "judge": PEOPLE}).decision == "ship"


def test_one_answer_that_the_reward_model_prefers_to_all_is_a_warning() -> None:
    made = verdict_on(results(named("null", proxy_win_rate=0.99, proxy_win_rate_low=0.97)))
    assert made.decision == "ship"
    assert any(
        "one and the same answer to everything beats SFT in 99 %" in one for one in made.sentences
    )


PEOPLE: Json = {
    "judgements": 90,
    "best": "ppo",
    "policies": {
        "ppo": {
            "rate": 0.7,
            "low": 0.55,
            "high": 0.82,
            "wins": 25,
            "ties": 6,
            "losses": 9,
            "length_controlled": equal(0.68, 0.53, 0.8),
            "sequential": {"wins": 25, "losses": 9, "low": 0.52, "high": 0.87},
        }
    },
}


def test_people_have_the_last_word_even_where_the_judge_is_the_reward_model() -> None:
    dependent = evaluated(judge="reward", judge_independent=False)
    made = verdict_on({**results(dependent), "judge": PEOPLE})
    assert (made.decision, made.policy) == ("ship", "ppo")
    assert made.sentences[0] == (
        "People compared answers blind, 90 times: PPO was preferred to SFT in 70 % (55 to 82 %) of "
        "40 comparisons. Automatically judged: 66 % of 200 held-out comparisons (59 to 72 %)."
    )
    assert made.checks[0].rule.name == "people"


def test_a_few_people_are_too_few() -> None:
    asked = deepcopy(PEOPLE)
    asked["policies"]["ppo"] |= {"wins": 10, "ties": 0, "losses": 2}
    made = verdict_on({**results(), "judge": asked})
    assert (made.decision, made.missing) == ("not enough evidence", 18)
    assert "rlhf label CONFIG --mode evaluate" in made.sentences[0]


def test_people_who_stopped_early_get_the_interval_that_allows_for_it() -> None:
    asked = {**deepcopy(PEOPLE), "stopped_early": True}
    made = verdict_on({**results(), "judge": asked})
    assert made.decision == "ship"
    assert "of the 34 that were no ties, 52 to 87 %" in made.sentences[0]
    asked["policies"]["ppo"]["sequential"]["low"] = 0.49
    assert verdict_on({**results(), "judge": asked}).decision == "not enough evidence"


def test_a_test_split_that_was_opened_often_says_so() -> None:
    ledger = [{"fingerprint": name, "at": "2026-11-24T10:00:00"} for name in "abc"]
    said = verdict_on(results(), openings=ledger).sentences[-1]
    assert said.startswith("The test split was opened 3 times, first on 2026-11-24: settings")
    once = verdict_on(results(), openings=ledger[:1]).sentences
    assert not any("opened" in one for one in once)


def test_the_committed_gate_asks_of_every_fact_and_gives_reasons() -> None:
    rules = load_gate()
    assert {rule.name for rule in rules} == set(FACTS)
    assert all(rule.why.endswith(".") and not rule.remedy.endswith(".") for rule in rules)


def test_a_gate_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "gate.yaml"
    text = (
        "- {name: win_rate, title: t, unit: share, above: 0.65, required: true, why: w, remedy: r}"
    )
    path.write_text(text)
    made = verdict_on(results(), load_gate(path))
    assert made.decision == "not enough evidence"
    # Against 65 %: (1.96 sqrt(0.65 * 0.35) + 0.8416 sqrt(0.7 * 0.3))^2 / 0.05^2 = 697.1
    assert made.missing == 698 - 200
    assert verdict_on(results(), load_gate(path), policy="ppo").decision == "not enough evidence"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "is not YAML"),
        ("a: 1", "must hold a list of rules"),
        ("[]", "must hold a list of rules"),
        ("- {name: charm, at_least: 1}", "has a rule 'charm': choose from prompts"),
        ("- {name: win_rate, above: 0.5, at_most: 1}", "needs a number at one of above"),
        ("- {name: win_rate, above: much}", "needs a number at one of above"),
        ("- {name: win_rate, above: true}", "needs a number at one of above"),
        ("- {name: win_rate, above: .nan}", "needs a number at one of above"),
        ("- {name: win_rate, above: 50, unit: percent}", "needs a unit of share, points"),
        ("- {name: win_rate, above: 0.5, required: 'no'}", "true or false at required"),
        ("- {name: win_rate, above: 0.5, else: ship}", "has else: 'ship'; write do not ship"),
        ("- {name: win_rate, above: 0.5}", "needs name, title, unit, required, why, remedy"),
    ],
)
def test_a_gate_that_makes_no_sense_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "gate.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=says):
        load_gate(path)
    with pytest.raises(ValueError, match="no gate at"):
        load_gate(tmp_path / "other.yaml")


def test_a_gate_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gate.yaml"
    path.write_bytes(b"\xff\xfe[")
    with pytest.raises(ValueError, match="is not YAML"):
        load_gate(path)


def test_a_gate_that_asks_nothing_of_this_policy_ships_nothing() -> None:
    people = [rule for rule in load_gate() if rule.name == "people"]  # nobody was asked here
    for rules in ([], people):
        made = verdict_on(results(), rules)
        assert (made.decision, made.checks) == ("not enough evidence", ())
        assert "No rule of the gate asks about anything" in made.sentences[0]


def test_the_verdict_as_json_says_everything() -> None:
    made = verdict_on(results(dpo(finished_share=0.9))).to_json()
    assert made["decision"] == "do not ship"
    (failed,) = (check for check in made["checks"] if check["outcome"] == "failed")
    assert (failed["name"], failed["at_least"]) == ("finished", -0.05)
    assert failed["found"]["value"] == pytest.approx(-0.09)
