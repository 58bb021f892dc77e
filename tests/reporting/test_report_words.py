"""The report's words: verdicts, warnings that fire when and only when they are true, figures."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from run_by_hand import (
    ENVIRONMENT,
    METRICS,
    Found,
    answer_rows,
    measured,
    plain,
    policy,
    rankings,
    results,
    run_with,
    write_run,
    write_stage,
)

from rlhf.data.identity import Json
from rlhf.evaluation.spelling import listed
from rlhf.reporting import formatting
from rlhf.reporting.cautions import cautions_of
from rlhf.reporting.drawing import running_mean
from rlhf.reporting.labelers import agreement_with_others, labeler_rows
from rlhf.reporting.policies import policy_rows
from rlhf.reporting.reading import read_run
from rlhf.reporting.samples import samples_of
from rlhf.reporting.training_plots import dpo_plot
from rlhf.reporting.verdict import gated, verdict_of


def test_ship_says_how_often_how_sure_how_far_and_who_judged(tmp_path: Path) -> None:
    verdict = verdict_of(run_with(tmp_path))
    assert (verdict.tone, verdict.headline) == ("ship", "Ship the DPO policy.")
    assert [plain(sentence) for sentence in verdict.sentences] == [
        "It beats SFT in 70 % of 400 held-out comparisons (65 to 74 %), at 3.2 nats from SFT.",
        "All 5 checks of the gate are passed. Not known here: chance of luck, as one of so many "
        "policies (Holm); win rate against SFT at equal length; failed probes; test prompts that "
        "training has seen.",
        "For comparison: PPO in 69 % (64 to 73 %) and best of 16 SFT answers in 74 % (69 to 78 %).",
        "The judge is the built-in preference, which the simulated labelers follow; no training "
        "stage reads it.",
    ]


def test_do_not_ship(tmp_path: Path) -> None:
    def worse(found: Found) -> None:
        found["evaluate"]["verdict"] = "do not ship"
        found["evaluate"]["policies"]["dpo"] = policy(0.41, 0.36, 0.46)

    verdict = verdict_of(run_with(tmp_path, worse))
    assert (verdict.tone, verdict.headline) == ("stop", "Do not ship.")
    assert [plain(sentence) for sentence in verdict.sentences[:2]] == [
        "Even DPO beats SFT in only 41 % of 400 held-out comparisons (36 to 46 %).",
        "The whole interval lies below 50 %: SFT answers better.",
    ]


def test_not_enough_evidence_says_how_much_more(tmp_path: Path) -> None:
    def unsure(found: Found) -> None:
        found["evaluate"] |= {"verdict": "not enough evidence", "prompts": 160}
        found["evaluate"]["policies"] = {
            "sft": policy(0.5, 0.4, 0.6),
            "dpo": policy(0.55, 0.47, 0.63),
        }

    verdict = verdict_of(run_with(tmp_path, unsure))
    assert (verdict.tone, verdict.headline) == ("wait", "Not enough evidence yet.")
    assert [plain(sentence) for sentence in verdict.sentences[:3]] == [
        "DPO beats SFT in 55 % of 160 held-out comparisons (47 to 63 %).",
        "The interval holds 50 %, so it may be no better than SFT.",
        "If 55.0 % is the truth, about 783 comparisons tell it from one half: 623 more than there "
        "are.",
    ]


def test_not_enough_evidence_below_one_half_names_no_number(tmp_path: Path) -> None:
    def unsure(found: Found) -> None:
        found["evaluate"]["verdict"] = "not enough evidence"
        found["evaluate"]["policies"]["dpo"] = policy(0.5, 0.45, 0.55)

    sentences = verdict_of(run_with(tmp_path, unsure)).sentences
    assert sentences[2] == "More comparisons, or a better policy, are needed."


def test_no_verdict_without_an_evaluation(tmp_path: Path) -> None:
    verdict = verdict_of(run_with(tmp_path, lambda found: found.pop("evaluate")))
    assert (verdict.tone, verdict.headline) == ("wait", "No verdict yet.")


def test_nothing_to_be_wary_of_says_nothing(tmp_path: Path) -> None:
    assert cautions_of(run_with(tmp_path)) == []


def changed(*path: str, to: object) -> Callable[[Found], None]:
    """Sets one value deep in the results."""

    def change(found: Found) -> None:
        place: Json = found
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to

    return change


DPO = ("evaluate", "policies", "dpo")
TEST = ("reward", "test")


@pytest.mark.parametrize(
    ("at_the_limit", "beyond_it", "headline", "words"),
    [
        (
            changed(*DPO, "gold_reward", to=0.21),
            changed(*DPO, "gold_reward", to=0.2),
            "DPO may be gaming the reward model.",
            "rose by 0.50 over SFT, the judge's did not (0.00)",
        ),
        (
            changed(*DPO, "kl", to=15.0),
            changed(*DPO, "kl", to=15.1),
            "DPO is far from SFT.",
            "15.1 nats per answer, more than 15",
        ),
        (
            changed(*DPO, "mean_tokens", to=34.5),
            changed(*DPO, "mean_tokens", to=36.0),
            "Answers got longer.",
            "SFT writes 30 tokens on average, DPO 36 (+20 %).",
        ),
        (
            changed(*DPO, "mean_tokens", to=25.5),
            changed(*DPO, "mean_tokens", to=24.0),
            "Answers got shorter.",
            "DPO 24 (\u221220 %).",
        ),
        (
            changed(*DPO, "finished_share", to=0.95),
            changed(*DPO, "finished_share", to=0.90),
            "Answers do not end by themselves.",
            "cut off DPO 10 % of the answers",
        ),
        (
            changed("sample", "finished_share", to=0.95),
            changed("sample", "finished_share", to=0.90),
            "Labelers ranked answers that were cut off.",
            "10 % of the sampled",
        ),
        (
            changed("sample", "prompts_cut", to=0),
            changed("sample", "prompts_cut", to=3),
            "Long prompts were cut.",
            "3 in sampling. Raise",
        ),
        (
            changed("evaluate", "policies", "sft", "win_rate_low", to=0.50),
            changed("evaluate", "policies", "sft", "win_rate_low", to=0.501),
            "SFT does not tie with itself.",
            "wins 51 %",
        ),
        (
            changed(*TEST, "length_baseline", "value", to=0.689),
            changed(*TEST, "length_baseline", "value", to=0.69),
            "The reward model may know little more than length.",
            "orders 74 % (69 to 77 %) of the held-out votes rightly; picking the longer answer "
            "orders 69 %",
        ),
        (
            changed("reward", "train", to=measured(0.839, 0.8, 0.9)),
            changed("reward", "train", to=measured(0.86, 0.8, 0.9)),
            "The reward model is overfitted.",
            "86 % accuracy on its training prompts, 74 % on held-out ones",
        ),
        (
            changed(*TEST, "calibration_error", to=0.10),
            changed(*TEST, "calibration_error", to=0.12),
            "The reward model is not sure enough.",
            "by 0.12 on average",
        ),
        (
            changed("label", "agreement", "strict", to=0.65),
            changed("label", "agreement", "strict", to=0.64),
            "Labelers disagree.",
            "Two labelers order 64 %",
        ),
        (
            changed("evaluate", "prompts", to=100),
            changed("evaluate", "prompts", to=99),
            "Few held-out prompts.",
            "99 comparisons per policy",
        ),
        (
            changed("evaluate", "judge", to="stories"),
            changed("evaluate", "judge", to="reward"),
            "The judge is not independent.",
            "reward model that the policies were trained to please",
        ),
    ],
)
def test_a_warning_fires_beyond_its_limit_only(
    tmp_path: Path,
    at_the_limit: Callable[[Found], None],
    beyond_it: Callable[[Found], None],
    headline: str,
    words: str,
) -> None:
    assert cautions_of(run_with(tmp_path / "at", at_the_limit)) == []
    [caution] = cautions_of(run_with(tmp_path / "beyond", beyond_it))
    assert caution.headline == headline
    assert words in plain(caution.text)


def test_too_sure_is_told_from_not_sure_enough(tmp_path: Path) -> None:
    def too_sure(found: Found) -> None:
        found["reward"]["test"] |= {
            "calibration_error": 0.2,
            "bins": [[0.1, 0.3, 5], [0.9, 0.7, 5]],
        }

    [caution] = cautions_of(run_with(tmp_path, too_sure))
    assert caution.headline == "The reward model is too sure."


def test_the_length_warning_compares_different_answers_of_like_length(tmp_path: Path) -> None:
    found = results()
    found["evaluate"]["policies"]["dpo"]["mean_tokens"] = 60.0
    rows = answer_rows([1.0] * 30 + [-1.0] * 9 + [0.0] * 22)
    for row in rows[40:60]:  # 20 that say the same; so 30 won, 9 lost, 1 tied: 30.5 of 40
        row["answers"]["dpo"]["text"] = row["answers"]["reference"]["text"]
    rows[60]["answers"]["dpo"]["unusable"] = True
    [caution] = cautions_of(read_run(write_run(tmp_path / "run", found, answers=rows)))
    assert "In the 40 comparisons where both answers are about as long" in caution.text
    assert "and not the same, DPO wins 76 % (61 to 87 %)" in plain(caution.text)


def test_changed_code_and_several_commits_are_told(tmp_path: Path) -> None:
    code = {"commit": "1111111aaa", "changed": True, "diff": "secret"}
    folder = write_run(tmp_path / "run", environment={**ENVIRONMENT, "code": code})
    other = {**ENVIRONMENT, "code": {**code, "commit": "2222222bbb"}}
    write_stage(folder, "prompts", results()["prompts"], "aaa", {}, environment=other)
    [caution] = cautions_of(read_run(folder))
    assert "changes that are in no commit" in caution.text
    assert "different commits (1111111 and 2222222)" in caution.text


def test_the_verdict_tells_what_was_withdrawn_or_ran_again_since(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    write_stage(folder, "prompts", {**results()["prompts"], "prompts": 9}, "bbb", {})
    marker = folder / "round-1/label/aaa/complete.json"
    redacted = {"labelers": {"labeler-1": "2026-01-02"}, "finished": True}
    marker.write_text(json.dumps(json.loads(marker.read_text()) | {"redacted": redacted}))
    said = " ".join(gated(read_run(folder)).sentences)
    assert "Beware: 1 labeler withdrew what they had said, and the policies learned from it" in said
    assert "Beware: after this evaluation, prompts ran again" in said


def test_the_table_has_the_best_first_and_sft_last(tmp_path: Path) -> None:
    rows = policy_rows(run_with(tmp_path))
    assert [row.label for row in rows] == ["best of 16", "DPO", "PPO", "SFT"]
    assert [row.best for row in rows] == [False, True, False, False]
    assert [plain(row.kl) for row in rows] == ["≤ 1.8", "3.2", "2.4", "0.0"]
    assert (plain(rows[1].win_rate), rows[1].interval) == ("70 %", "65–74")


def test_where_the_reward_model_judges_its_reward_stands_once(tmp_path: Path) -> None:
    run = run_with(tmp_path, changed("evaluate", "judge", to="reward"))
    assert {row.judged for row in policy_rows(run)} == {""}


def test_agreement_of_a_labeler_with_the_others() -> None:
    # p1: three strict pairs, two alike; p2: ann ties e and f, so two strict pairs, both alike.
    assert agreement_with_others(rankings()) == {"ann": (4, 5), "bob": (4, 5)}
    ann, bob = labeler_rows(rankings())
    assert (ann.labeler_id, plain(ann.ties), plain(ann.agreement)) == ("ann", "17 %", "80 %")
    assert (bob.rankings, plain(bob.median_time), plain(bob.ties)) == ("2", "20 s", "0 %")


def test_samples_are_the_typical_the_best_and_the_worst(tmp_path: Path) -> None:
    rows = answer_rows([0.0, 5.0, 1.0, -4.0, 1.1, 0.9, 2.0])
    shown = samples_of(read_run(write_run(tmp_path / "run", answers=rows)))
    assert [(sample.kind, sample.difference) for sample in shown[:3]] == [
        ("typical", "+1.00"),
        ("largest gain", "+5.00"),
        ("largest loss", "\u22124.00"),
    ]
    assert [answer.policy for answer in shown[0].answers] == ["SFT", "DPO", "PPO"]
    assert shown[0].answers[1].text == "DPO says 2"
    asked = [sample.turns for sample in shown]
    assert len(set(asked)) == len(asked) == 7  # none twice


def test_four_families_share_a_dozen_samples(tmp_path: Path) -> None:
    families = [answer_rows([0.0, 1.0, 2.0, 3.0], family) for family in "abcde"]
    rows = [row for family in families for row in family]
    shown = samples_of(read_run(write_run(tmp_path / "run", answers=rows)))
    assert (len(shown), [one.chosen for one in shown[12:]]) == (20, [False] * 8)
    assert {sample.family for sample in shown[:4]} == {"a", "b", "c", "d"}
    assert {sample.kind for sample in shown[:3]} == {"typical", "largest gain", "largest loss"}


@pytest.mark.parametrize(
    ("chosen", "rejected", "said"),
    [
        (0.4, -0.5, "rose to 0.40: the policy writes them more often"),
        (-0.2, -1.0, "common and no fault while the chosen fall much less"),
        (-0.9, -1.0, "fell nearly as much, which is bad"),
        (-0.3, 0.1, "fell nearly as much, which is bad"),
    ],
)
def test_a_fall_of_the_chosen_reward_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: float, rejected: float, said: str
) -> None:
    rows = [
        row | {"rewards/chosen": share * chosen, "rewards/rejected": share * rejected}
        for row, share in zip(METRICS["dpo"], (0.0, 1.0), strict=True)
    ]
    end = rows[-1]
    monkeypatch.setitem(METRICS, "dpo", [*rows, *({**end, "step": s} for s in range(11, 15))])
    plot = dpo_plot(read_run(write_run(tmp_path / "small")))
    assert plot is not None
    assert said in plot.caption


def test_a_dpo_that_logged_no_rewards_is_explained_in_general(tmp_path: Path) -> None:
    plot = dpo_plot(read_run(write_run(tmp_path / "small")))
    assert plot is not None
    assert "Worry when the chosen fall as fast as the rejected." in plot.caption


def test_figures_in_one_spelling() -> None:
    assert plain(formatting.percent(0.7049)) == "70 %"
    assert formatting.percent_range(0.654, 0.744) == "65–74"
    assert formatting.number(-0.004) == "0.00"
    assert formatting.number(-1234.5, 1) == "\u22121,234.5"
    assert formatting.number(None) == "–"
    assert [formatting.signed(value, 0) for value in (20, -20, 0)] == ["+20", "\u221220", "0"]
    assert [plain(formatting.duration(s)) for s in (3.28, 59.6, 3660)] == [
        "3.3 s",
        "1 min 0 s",
        "1 h 1 min",
    ]
    assert [plain(formatting.size(n)) for n in (18, 3_702_059, 999_600)] == [
        "18 B",
        "3.7 MB",
        "1.0 MB",
    ]
    assert formatting.count(1, "ranking") == "1 ranking"
    assert listed(["a", "b", "c"]) == "a, b and c"


def test_the_running_mean_passes_over_what_is_not_a_number() -> None:
    assert running_mean([1.0, 2.0, 6.0], 3) == [1.5, 3.0, 4.0]
    assert running_mean([1.0, float("nan"), 3.0], 3) == [1.0, 2.0, 3.0]
