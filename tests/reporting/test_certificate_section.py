"""The certificate on the page: the verdict, each check with what is asked, what was measured."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from run_by_hand import CONFIG, EVIDENCE, certificate, plain, results, write_run, write_stage

from rlhf.data.identity import Json
from rlhf.data.jsonl import write_json
from rlhf.reporting.cautions import cautions_of
from rlhf.reporting.certificate import certificate_of, spelled
from rlhf.reporting.certificate_plots import learning_curve_plot, reliability_plot
from rlhf.reporting.lineage import missing
from rlhf.reporting.reading import RunRecord, read_run
from rlhf.reporting.report import write_report
from rlhf.reward.certificate import Evidence
from rlhf.reward.learning_curve import Forecast
from rlhf.reward.probes import Probed

BAD = replace(
    EVIDENCE,
    accuracy=replace(EVIDENCE.accuracy, value=0.56, low=0.51, high=0.61)
    if EVIDENCE.accuracy
    else None,
    probes=(*EVIDENCE.probes[:2], Probed("repetition", EVIDENCE.probes[1].right, 0.7, 0)),
)


def run_with(folder: Path, certified: Json | None = None, **ppo: object) -> RunRecord:
    found = results()
    found["ppo"] |= ppo
    return read_run(write_run(folder / "small", found, certified=certified))


def test_a_fit_one(tmp_path: Path) -> None:
    made = certificate_of(run_with(tmp_path))
    assert made is not None
    assert (made.tone, made.headline) == ("ship", "The reward model is fit for RL.")
    assert made.sentences == ("All 12 checks that could be made are passed.",)
    rows = {row.title: row for row in made.checks}
    accuracy = rows["accuracy on them, lower edge of its interval"]
    assert (plain(accuracy.value), plain(accuracy.rl[0]), accuracy.rl[1]) == (
        "69 %",
        "≥ 60 %",
        "passed",
    )
    calibration = rows["calibration error, temperature fitted on validation"]
    assert (calibration.value, plain(calibration.rl[0])) == ("2.0 points", "≤ 10.0 points")
    assert calibration.best_of_n == ("–", "")
    assert plain(rows["accuracy on labelers it never saw, above the others"].value) == "−3.0 points"
    assert [(plain(row.right), row.shift, row.cases, row.left_out) for row in made.probes] == [
        ("90 %", "−0.80", "100", "0"),
        ("80 %", "−0.50", "97", "3"),
        ("85 %", "−0.40", "100", "0"),
        ("95 %", "0.10", "100", "0"),
    ]
    assert [(row.name, plain(row.accuracy), row.interval) for row in made.by_margin] == [
        ("1", "70 %", "64–76"),
        ("2", "too few", ""),
    ]
    assert [row.name for row in made.by_labeler] == ["ann", "bob"]
    assert made.fewest == 15


def test_the_findings_in_words(tmp_path: Path) -> None:
    made = certificate_of(run_with(tmp_path))
    assert made is not None
    assert [plain(one) for one in made.findings] == [
        "On 150 prompts of the test split it orders 74 % (69 to 77 %) of votes as the labelers "
        "did; longest is best orders 55 % (50 to 60 %), a bag of words that learned from the same "
        "rankings 68 % (63 to 73 %).",
        "Labelers who agree in 85 % of strict judgements, as these do, allow at most about 92 % "
        "(91 to 94 %), if they err alike and independently on every pair; pairs that differ in "
        "difficulty allow less.",
        "For comparison, 80 % on training prompts and 73 % on validation prompts.",
        "Brier score 0.180, where tossing a coin gets 0.250. By 400 votes on validation it is too "
        "sure (temperature 1.20); with that, the calibration error on held-out prompts is 0.02 "
        "instead of 0.03.",
        "On 80 votes of 2 labelers whom it never saw: 71 % (65 to 77 %).",
        "Its 3 members differ by 0.20 spreads on held-out answers, by 0.40 on answers to other "
        "prompts and by 0.60 on shuffled words.",
        "Left out, over all splits: 1 ranking without a strict pair and 2 prompts cut to fit.",
    ]


def test_not_yet_with_the_override_and_the_forecast(tmp_path: Path) -> None:
    certified = certificate(BAD, Forecast(0.66, 1300, 800, 5000, 0.9))
    run = run_with(tmp_path, certified, reward_verdict="not yet", unfit_reward_allowed=True)
    made = certificate_of(run)
    assert made is not None
    assert (made.tone, made.headline) == ("stop", "The reward model is not good enough yet.")
    assert "about 1,300 more rankings of this kind (800 to 5,000)" in made.sentences[-2]
    assert made.sentences[-1] == "PPO was told to start all the same (ppo.allow_unfit_reward)."
    failed = [row.title for row in made.checks if row.best_of_n[1] == "failed"]
    assert failed == [
        "accuracy on them, lower edge of its interval",
        "share of what the labelers' agreement leaves to learn",
    ]
    said = [one for one in cautions_of(run) if "not certified for RL" in one.headline]
    assert said
    assert "not yet" in said[0].text


def test_ppo_that_was_left_out_is_worth_a_caution(tmp_path: Path) -> None:
    def cautioned(name: str, verdict: str, **ppo: bool) -> list[str]:
        found = results()
        del found["ppo"], found["evaluate"]["policies"]["ppo"]
        made = certificate() | {"verdict": verdict}
        config = CONFIG | {"ppo": {"enabled": True, "allow_unfit_reward": False, **ppo}}
        run = read_run(write_run(tmp_path / name, found, certified=made, config=config))
        return [f"{one.headline} {one.text}" for one in cautions_of(run)]

    (said,) = cautioned("a", "not yet")
    assert said.startswith("PPO was left out. The certificate of the reward model says: not yet.")
    assert cautioned("b", "fit for RL") == []
    assert cautioned("c", "not yet", enabled=False) == []


def test_ppo_without_any_certificate_is_worth_a_caution(tmp_path: Path) -> None:
    found = results()
    del found["certify"]
    run = read_run(write_run(tmp_path / "small", found))
    assert certificate_of(run) is None
    assert reliability_plot(run) is None
    assert learning_curve_plot(run) is None
    assert "The reward model was not certified." in [one.headline for one in cautions_of(run)]
    assert any("The certificate of the reward model" in said for said in missing(run))


def test_nothing_measured_is_said_and_drawn_as_such(tmp_path: Path) -> None:
    run = run_with(tmp_path, certificate(Evidence()))
    made = certificate_of(run)
    assert made is not None
    assert made.findings == (
        "No held-out prompt has a strict ranking, so next to nothing can be measured.",
    )
    assert "unknown" in {row.value for row in made.checks}
    assert reliability_plot(run) is None
    html = write_report(tmp_path / "small", tmp_path / "r.html").read_text(encoding="utf-8")
    assert "The reward model is not good enough yet." in html


def test_the_plots_read_their_figures_aloud(tmp_path: Path) -> None:
    run = run_with(tmp_path)
    curve, reliability = learning_curve_plot(run), reliability_plot(run)
    assert curve is not None
    assert reliability is not None
    label = re.search('aria-label="([^"]*)"', curve.svg)
    assert label is not None
    assert plain(label[1]) == "Accuracy by rankings: 300: 66 %; 600: 71 %; 1,200: 74 %."
    assert "labelers' ceiling" in curve.svg
    assert "accuracy = 0.78 − 2.00 / rankings^0.5" in curve.caption
    assert "with temperature 1.20" in reliability.svg
    plainer = replace(EVIDENCE, calibrated=None, temperature=None, ceiling=None)
    other = run_with(tmp_path / "other", certificate(plainer))
    drawn = reliability_plot(other)
    assert drawn is not None
    assert "Hollow" not in drawn.caption


def test_a_certificate_belongs_to_its_reward_model(tmp_path: Path) -> None:
    """Where PPO is off, nothing that the evaluation reads leads to the certificate; it is shown
    where it read the reward model that was evaluated, and not where it read another.
    """
    found = results()
    del found["ppo"], found["evaluate"]["policies"]["ppo"]
    folder = write_run(tmp_path / "small", found)
    assert certificate_of(read_run(folder)) is not None
    write_stage(folder, "certify", {"verdict": "not yet"}, "bbb", found)
    stage = folder / "round-1/certify/bbb"
    write_json(stage / "certificate.json", certificate(Evidence()))
    inputs = {"stages": {"reward": {"path": "round-1/reward/other", "sha256": "0"}}}
    write_json(stage / "inputs.json", inputs)
    assert certificate_of(read_run(folder)) is None


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (0.6, "share", "60 %"),
        (-0.031, "points", "−3.1 points"),
        (1200, "count", "1,200"),
        (0.5, "spreads", "0.50 spreads"),
    ],
)
def test_spelling(value: float, unit: str, said: str) -> None:
    assert plain(spelled(value, unit)) == said
