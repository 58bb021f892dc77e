"""The verdict: ship, do not ship, or not enough evidence yet, from rules in a file and what a run's
stages found.

Pure and free of torch: results in, a verdict out. `rlhf verdict`, the report, the summary of a run
and the model card all ask here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from math import isfinite
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from rlhf.data.identity import Json
from rlhf.data.policies import TRAINED
from rlhf.evaluation import verdict_words as words
from rlhf.evaluation.evidence import FACTS, Fact, facts_of, subject_of
from rlhf.evaluation.power import judgements_needed
from rlhf.evaluation.traps import length_traps
from rlhf.evaluation.winrate import Verdict as Decision

Side = Literal["above", "at_least", "at_most"]
Outcome = Literal["passed", "open", "failed", "unknown"]
Unit = Literal["share", "points", "count", "yes"]
SIDES: tuple[Side, ...] = get_args(Side)
WORDS = ("title", "why", "remedy")
UNITS: tuple[Unit, ...] = get_args(Unit)
MOST_JUDGEMENTS = 100_000
SUREST = 0.999


@dataclass(frozen=True, slots=True)
class Rule:
    """What is asked of one fact, and why. `otherwise` is what a failure makes of the verdict."""

    name: str
    title: str
    unit: Unit
    side: Side
    bound: float
    required: bool
    why: str
    remedy: str
    otherwise: Decision = "do not ship"


@dataclass(frozen=True, slots=True)
class Check:
    """A rule beside what was found; `open`: more evidence may pass it or fail it."""

    rule: Rule
    fact: Fact | None
    outcome: Outcome

    def to_json(self) -> Json:
        return {
            "name": self.rule.name,
            "title": self.rule.title,
            "unit": self.rule.unit,
            self.rule.side: self.rule.bound,
            "found": None if self.fact is None else asdict(self.fact),
            "outcome": self.outcome,
            "why": self.rule.why,
            "remedy": self.rule.remedy,
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision on `policy` (None before there is an evaluation), in words, with every check.

    `missing`: about how many more comparisons would do, where that is what is missing and can be
    said. `traps`: where length passes for quality; they come first in `sentences`.
    """

    decision: Decision
    policy: str | None
    headline: str
    sentences: tuple[str, ...]
    traps: tuple[str, ...] = ()
    missing: int | None = None
    checks: tuple[Check, ...] = ()

    def to_json(self) -> Json:
        return {
            "decision": self.decision,
            "policy": self.policy,
            "headline": self.headline,
            "sentences": list(self.sentences),
            "traps": list(self.traps),
            "missing": self.missing,
            "checks": [check.to_json() for check in self.checks],
        }


def verdict_on(
    results: Mapping[str, Json],
    rules: Sequence[Rule] | None = None,
    *,
    policy: str | None = None,
    openings: Sequence[Json] = (),
    simulated: bool = False,
    since: Sequence[str] = (),
) -> Verdict:
    """The verdict on a policy, by default on the best one.

    `results` holds what each stage of a run returned (stage -> result), `openings` the ledger of
    its test split; `simulated`: whether the labelers were; `since`: what happened to the run after
    it was evaluated, in sentences. Raises ValueError for a policy that was not evaluated.
    """
    if not results.get("evaluate"):
        return Verdict("not enough evidence", None, "No verdict yet.", (words.NOTHING_YET,))
    subject = subject_of(results, policy)
    facts = facts_of(subject)
    asked = load_gate() if rules is None else rules
    checks = tuple(_check(rule, facts[rule.name]) for rule in asked if rule.name in facts)
    if not any(check.outcome != "unknown" for check in checks):
        return Verdict(
            "not enough evidence", subject.policy, words.WAIT, (words.NOTHING_ASKED,), checks=checks
        )
    traps = tuple(length_traps(subject))
    about = (*since, *words.about(subject, openings=openings, simulated=simulated))
    few = next((one for one in checks if one.rule.name in words.ENOUGH and _fails(one)), None)
    if few is not None:
        held = 0 if few.fact is None else int(few.fact.value)
        missing = int(few.rule.bound) - held
        said = (words.too_few(held, int(few.rule.bound), few.rule.remedy), *traps, *about)
        return Verdict(
            "not enough evidence", subject.policy, words.WAIT, said, traps, missing, checks
        )
    decision = _decision(checks)
    closest = None if decision == "do not ship" else _closest(checks, subject.comparisons)
    is_open = decision == "not enough evidence" and any(one.outcome == "open" for one in checks)
    sentences = (
        *traps,
        words.rate(subject, decision),
        *(words.reason(check) for check in checks if _fails(check)),
        words.how_many_more(closest, subject.comparisons, is_open=is_open),
        words.instead([] if policy or decision == "ship" else _others_that_pass(results, rules)),
        words.passed(checks),
        *about,
    )
    return Verdict(
        decision,
        subject.policy,
        words.headline(decision, subject.policy),
        tuple(filter(None, sentences)),
        traps,
        None if closest is None else closest[0],
        checks,
    )


def _others_that_pass(results: Mapping[str, Json], rules: Sequence[Rule] | None) -> list[str]:
    judged = (results.get("judge") or results["evaluate"])["policies"]
    trained = [name for name in TRAINED if name in judged]
    return [name for name in trained if verdict_on(results, rules, policy=name).decision == "ship"]


def load_gate(path: Path | None = None) -> tuple[Rule, ...]:
    """The rules of a file, by default of the committed one.

    Raises ValueError in one sentence that names the rule and what is wrong with it.
    """
    if path is not None and not path.is_file():
        raise ValueError(f"no gate at {path}")
    file = files("rlhf.evaluation") / "gate.yaml" if path is None else path
    try:
        rows = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path} must hold a list of rules, as rlhf/evaluation/gate.yaml does")
    return tuple(_rule(row) for row in rows)


def _rule(row: dict[str, Any]) -> Rule:
    name = row.get("name")
    if name not in FACTS:
        raise ValueError(f"the gate has a rule {name!r}: choose from {', '.join(FACTS)}")
    sides = [side for side in SIDES if side in row]
    bound = row[sides[0]] if len(sides) == 1 else None
    if isinstance(bound, bool) or not isinstance(bound, int | float) or not isfinite(bound):
        raise ValueError(f"the rule {name!r} needs a number at one of {', '.join(SIDES)}")
    if row.get("unit", "share") not in UNITS or not isinstance(row.get("required", True), bool):
        raise ValueError(
            f"the rule {name!r} needs a unit of {', '.join(UNITS)} (in quotes), and true or false "
            "at required"
        )
    rest = {key: value for key, value in row.items() if key not in {*SIDES, "else"}}
    wordless = [key for key in WORDS if key in row and not isinstance(row[key], str)]
    if wordless:
        raise ValueError(f"the rule {name!r} needs a text at {wordless[0]}, in quotes")
    otherwise = row.get("else", "do not ship")
    if otherwise not in get_args(Decision)[1:]:
        raise ValueError(
            f"the rule {name!r} has else: {otherwise!r}; write do not ship or not enough evidence"
        )
    try:
        return Rule(**rest, side=sides[0], bound=float(bound), otherwise=otherwise)
    except TypeError as error:
        raise ValueError(
            f"the rule {name!r} needs name, title, unit, required, why, remedy and a bound: {error}"
        ) from error


def _check(rule: Rule, fact: Fact | None) -> Check:
    if fact is None:
        return Check(rule, None, "failed" if rule.required else "unknown")
    if rule.side == "at_most":
        return Check(rule, fact, "passed" if fact.value <= rule.bound else "failed")
    if rule.side == "at_least":
        return Check(rule, fact, "passed" if fact.value >= rule.bound else "failed")
    if fact.low > rule.bound:
        return Check(rule, fact, "passed")
    return Check(rule, fact, "failed" if fact.high <= rule.bound else "open")


def _fails(check: Check) -> bool:
    return check.outcome in {"failed", "open"}


def _decision(checks: Sequence[Check]) -> Decision:
    """The worst that any check says. An interval that holds its bound asks for more evidence."""
    said = {
        "not enough evidence" if check.outcome == "open" else check.rule.otherwise
        for check in checks
        if _fails(check)
    }
    if "do not ship" in said:
        return "do not ship"
    return "not enough evidence" if said else "ship"


def _closest(checks: Sequence[Check], comparisons: int) -> tuple[int, Check] | None:
    """How many more comparisons would close what is open, if the rates seen are the truth, and
    which check takes most; None where nothing is open, or no number helps.
    """
    found: list[tuple[int, Check]] = []
    for check in checks:
        if check.outcome != "open":
            continue
        if check.fact is None or check.fact.value <= check.rule.bound:
            return None
        rate = min(check.fact.value, SUREST)  # who won everything so far may still lose once
        if not 0 < check.rule.bound < rate:
            return None
        needed = judgements_needed(rate, against=check.rule.bound)
        if needed >= MOST_JUDGEMENTS or needed <= comparisons:
            return None
        found.append((needed - comparisons, check))
    return max(found, key=lambda one: one[0], default=None)
