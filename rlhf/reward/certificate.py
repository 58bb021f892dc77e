"""The certificate of a reward model: what was measured, what that is held against, and the verdict.

Free of torch. Measuring is for `votes`, `calibration`, `probes`, `bag_of_words` and
`learning_curve`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml
from pydantic import TypeAdapter

from rlhf.data.identity import Json
from rlhf.data.records import Split
from rlhf.feedback.agreement import agreement_ceiling
from rlhf.feedback.intervals import Share
from rlhf.reward.accuracy import Accuracy
from rlhf.reward.calibration import Calibration
from rlhf.reward.learning_curve import Forecast, Law
from rlhf.reward.probes import PROBES, Probed, ProbeName

Use = Literal["rl", "best_of_n"]
Verdict = Literal["fit for RL", "fit for best-of-n only", "not yet"]
Unit = Literal["share", "points", "count", "spreads"]

MOVED_BY_RANKINGS = ("accuracy_low", "gain_over_longest", "gain_over_words", "share_of_ceiling")

BEWARE: dict[ProbeName, str] = {
    "swap": "another prompt's answer scores as high or higher",
    "truncation": "the first half of an answer scores as high or higher",
    "repetition": "an answer said twice scores higher than said once",
    "paraphrase": "slightly other words move the score by more than half a spread",
}


@dataclass(frozen=True, slots=True)
class Part:
    """Accuracy on a part of the votes: one labeler's, or those of one margin."""

    name: str
    right: Share


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What the labelers' own agreement allows: `agreement`, strictly, over `pairs` judgements, with
    its interval, and the accuracy that it allows, (1 + sqrt(2a - 1)) / 2; `agreement_ceiling` says
    under which assumptions.
    """

    value: float
    low: float | None
    high: float | None
    agreement: float
    pairs: int

    @classmethod
    def of(cls, agreement: float, interval: tuple[float, float] | None, pairs: int) -> "Ceiling":
        low, high = (None, None) if interval is None else map(agreement_ceiling, interval)
        return cls(agreement_ceiling(agreement), low, high, agreement, pairs)


@dataclass(frozen=True, slots=True)
class Disagreement:
    """How far the members of an ensemble differ (standard deviation over members, mean over
    responses, in standard deviations of the score): on test responses, and on texts unlike them.
    """

    members: int
    inside: float
    shuffled: float
    swapped: float


@dataclass(frozen=True, slots=True)
class Point:
    """One training of the learning curve: on how many rankings of how many prompts, and its
    accuracy on the held-out prompts.
    """

    rankings: int
    prompts: int
    accuracy: Accuracy


@dataclass(frozen=True, slots=True)
class Curve:
    """Accuracy by number of rankings, smallest first, the whole model's last, and the law through
    the points.
    """

    points: tuple[Point, ...]
    law: Law | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that was measured. What could not be is None or empty.

    `split` is where: test, or validation where test has no votes. `longest` and `words` are the
    baselines' accuracies there, `gain_*` by how much the model beats each. `calibrated` is the
    calibration with the `temperature` that was fitted on `temperature_votes` of validation.
    """

    split: Split | None = None
    accuracy: Accuracy | None = None
    train: Accuracy | None = None
    validation: Accuracy | None = None
    longest: Accuracy | None = None
    gain_over_longest: Accuracy | None = None
    words: Accuracy | None = None
    gain_over_words: Accuracy | None = None
    ceiling: Ceiling | None = None
    by_margin: tuple[Part, ...] = ()
    by_labeler: tuple[Part, ...] = ()
    held_out_labelers: Part | None = None
    calibration: Calibration | None = None
    calibrated: Calibration | None = None
    temperature: float | None = None
    temperature_votes: int = 0
    probes: tuple[Probed, ...] = ()
    disagreement: Disagreement | None = None
    dropped: dict[str, int] | None = None
    curve: Curve | None = None


@dataclass(frozen=True, slots=True)
class Threshold:
    """What is asked of one quantity, for each use, and why; the file beside this one holds all.

    `most`: the quantity must not exceed the bounds, instead of reaching them.
    """

    name: str
    title: str
    unit: Unit
    rl: float | None
    best_of_n: float | None
    most: bool
    required: bool
    why: str
    remedy: str

    def bound(self, use: Use) -> float | None:
        return self.rl if use == "rl" else self.best_of_n


@dataclass(frozen=True, slots=True)
class Check:
    """A threshold beside what was measured."""

    threshold: Threshold
    value: float | None

    def passes(self, use: Use) -> bool | None:
        """None where that use does not ask, or what it asks for is unknown and not required."""
        bound = self.threshold.bound(use)
        if bound is None or (self.value is None and not self.threshold.required):
            return None
        if self.value is None:
            return False
        return self.value <= bound if self.threshold.most else self.value >= bound

    def said(self) -> str:
        """The quantity, what it is and what it should be, as a clause."""
        asked = "at most" if self.threshold.most else "at least"
        value = "unknown" if self.value is None else spelled(self.value, self.threshold.unit)
        bound = self.threshold.rl if self.passes("best_of_n") is not False else None
        bound = self.threshold.best_of_n if bound is None else bound
        assert bound is not None, "said of what fails"
        return f"{self.threshold.title}: {value}, {asked} {spelled(bound, self.threshold.unit)}"


@dataclass(frozen=True, slots=True)
class Certificate:
    """The verdict, why, and what it rests on. `forecast`: how many more rankings it would take,
    where rankings are what is missing and the curve says so.
    """

    verdict: Verdict
    sentences: tuple[str, ...]
    checks: tuple[Check, ...]
    evidence: Evidence
    forecast: Forecast | None = None

    def to_json(self) -> Json:
        """Plain values; `from_json` gives the same certificate."""
        made: Json = _ADAPTER().dump_python(self, mode="json")
        for row, check in zip(made["checks"], self.checks, strict=True):
            row["passes"] = {use: check.passes(use) for use in ("rl", "best_of_n")}
        return made

    @classmethod
    def from_json(cls, row: Json) -> "Certificate":
        checks = [{k: v for k, v in one.items() if k != "passes"} for one in row["checks"]]
        return _ADAPTER().validate_python({**row, "checks": checks})


@cache
def _ADAPTER() -> TypeAdapter[Certificate]:  # noqa: N802
    return TypeAdapter(Certificate)


def thresholds() -> tuple[Threshold, ...]:
    """What is asked, in the order of the file."""
    text = (files("rlhf.reward") / "thresholds.yaml").read_text(encoding="utf-8")
    return tuple(_threshold(row) for row in yaml.safe_load(text))


def _threshold(row: dict[str, Any]) -> Threshold:
    most = "at_most" in row
    bounds = row["at_most" if most else "at_least"]
    rest = {k: v for k, v in row.items() if k not in {"at_most", "at_least"}}
    return Threshold(**rest, **bounds, most=most)


def checks_of(evidence: Evidence, asked: tuple[Threshold, ...]) -> tuple[Check, ...]:
    """Each threshold beside the quantity that it is about."""
    found = quantities(evidence)
    return tuple(Check(one, found[one.name]) for one in asked)


def quantities(evidence: Evidence) -> dict[str, float | None]:
    """The quantities that thresholds speak of, by name; None where unknown."""
    accuracy, ceiling = evidence.accuracy, evidence.ceiling
    calibration = evidence.calibrated or evidence.calibration
    strangers = evidence.held_out_labelers
    found: dict[str, float | None] = {
        "held_out_prompts": 0.0 if accuracy is None else float(accuracy.prompts),
        "accuracy_low": None if accuracy is None else accuracy.low,
        "gain_over_longest": _of(evidence.gain_over_longest, "low"),
        "gain_over_words": _of(evidence.gain_over_words, "high"),
        "share_of_ceiling": None,
        "calibration_error": None if calibration is None else calibration.error,
        "train_gap": None,
        "held_out_labelers": None,
        **dict.fromkeys(PROBES),
        **{one.probe: one.right.value for one in evidence.probes},
        **{one.probe: one.shift for one in evidence.probes if one.probe == "repetition"},
    }
    if accuracy is None:
        return found
    if ceiling is not None and ceiling.value > 0.5:
        found["share_of_ceiling"] = (accuracy.value - 0.5) / (ceiling.value - 0.5)
    if evidence.train is not None:
        found["train_gap"] = evidence.train.value - accuracy.value
    if strangers is not None and strangers.right.value is not None:
        found["held_out_labelers"] = strangers.right.value - accuracy.value
    return found


def _of(accuracy: Accuracy | None, name: Literal["low", "high"]) -> float | None:
    return None if accuracy is None else float(getattr(accuracy, name))


def accuracy_needed(evidence: Evidence, checks: tuple[Check, ...], use: Use = "rl") -> float | None:
    """The accuracy at which every check that accuracy moves would pass; None where all do, or
    nothing was measured. The width of intervals and the baselines are taken to stay.
    """
    failing = [
        check
        for check in checks
        if check.threshold.name in MOVED_BY_RANKINGS and check.passes(use) is False
    ]
    if not failing or evidence.accuracy is None:
        return None
    missing = []
    for check in failing:
        bound = check.threshold.bound(use)
        assert bound is not None
        assert check.value is not None
        gap = bound - check.value
        if check.threshold.name == "share_of_ceiling":
            assert evidence.ceiling is not None
            gap *= evidence.ceiling.value - 0.5
        missing.append(gap)
    return evidence.accuracy.value + max(missing)


def certify(
    evidence: Evidence, checks: tuple[Check, ...], forecast: Forecast | None = None
) -> Certificate:
    """The verdict on the evidence, and the sentences that say why."""
    failing = {
        use: [check for check in checks if check.passes(use) is False]
        for use in ("rl", "best_of_n")
    }
    verdict: Verdict = "fit for RL"
    if failing["best_of_n"]:
        verdict = "not yet"
    elif failing["rl"]:
        verdict = "fit for best-of-n only"
    sentences = _sentences(verdict, checks, failing["best_of_n"] or failing["rl"])
    sentences += tuple(_beware(evidence))
    if verdict != "fit for RL" and forecast is not None and forecast.more != 0:
        target = spelled(forecast.target, "share")
        sentences += (f"To the accuracy that RL asks for ({target}): {forecast.words()}.",)
    return Certificate(verdict, sentences, checks, evidence, forecast)


def _sentences(
    verdict: Verdict, checks: tuple[Check, ...], failing: list[Check]
) -> tuple[str, ...]:
    unknown = [one for one in checks if one.value is None and not one.threshold.required]
    said = []
    if not failing:
        known = len(checks) - len(unknown)
        said.append(f"All {known} checks that could be made are passed.")
    elif verdict == "not yet":
        said.append("It does not pass what any use of it asks for.")
    else:
        said.append("It picks well among answers like those that were ranked; RL would leave them.")
    for check in failing:
        clause, remedy = check.said(), check.threshold.remedy
        said.append(f"{clause[0].upper()}{clause[1:]}: {remedy}.")
    if unknown:
        said.append(f"Unknown here: {'; '.join(one.threshold.title for one in unknown)}.")
    return tuple(said)


def _beware(evidence: Evidence) -> Iterator[str]:
    """Probes that more answers fail than pass, which a verdict may stand beside."""
    for one in evidence.probes:
        if one.right.value is not None and one.right.value < 0.5 and one.shift is not None:
            yield (
                f"Beware: {BEWARE[one.probe]} in {spelled(1 - one.right.value, 'share')} of cases "
                f"(the score moves by {one.shift:+.2f} spreads); keep the KL small and look for it."
            )


def spelled(value: float, unit: Unit) -> str:
    """0.6, "share" -> "60 %"; 0.031, "points" -> "3.1 points"; 120, "count" -> "120"; 0.5,
    "spreads" -> "0.50 spreads".
    """
    if unit == "count":
        return f"{value:,.0f}"
    if unit == "spreads":
        return f"{value:.2f} spreads"
    return f"{100 * value:.0f} %" if unit == "share" else f"{100 * value:.1f} points"
