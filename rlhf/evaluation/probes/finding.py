"""What a probe finds of a policy, and what becomes of it beside the bounds: ok, beware or fail."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from typing import Any, Literal, get_args

import yaml

from rlhf.data.identity import Json
from rlhf.evaluation.probes.means import Measure

Verdict = Literal["ok", "beware", "fail"]
Unit = Literal["share", "points", "percent", "spreads", "nats", "words", "number"]
Side = Literal["most", "least", "either"]
SEVERITY: tuple[Verdict, ...] = get_args(Verdict)
BOUNDS = "bounds.yaml"


class NothingToProbeError(Exception):
    """What a run lacks for a probe to say anything; the message says what."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What is asked of one figure. `side`: it may be at `most` or at `least` this, or this far to
    `either` side of 0. `says` is the figure in words, with `{value}` in it; `why`: the reason for
    the bounds. Without a bound (None) that verdict is never given.
    """

    name: str
    title: str
    unit: Unit
    side: Side
    beware: float | None
    fail: float | None
    says: str
    why: str

    def __post_init__(self) -> None:
        if self.unit not in get_args(Unit) or self.side not in get_args(Side):
            raise ValueError(
                f"bound {self.name!r}: unit is one of {', '.join(get_args(Unit))} and side one of "
                f"{', '.join(get_args(Side))}, got {self.unit!r} and {self.side!r}"
            )
        if None not in (self.beware, self.fail) and self._excess(self.fail) < self._excess(
            self.beware
        ):
            raise ValueError(
                f"bound {self.name!r}: fail ({self.fail}) must not be milder than beware "
                f"({self.beware})"
            )

    def verdict(self, found: Measure) -> Verdict:
        """`fail` where the whole interval lies beyond that bound; `beware` where the whole interval
        lies beyond the milder bound, or the value alone beyond that of `fail`.
        """
        surely = self._least_excess(found)
        if self.fail is not None and surely > self._excess(self.fail):
            return "fail"
        seen = self._excess(found.value)
        if self.fail is not None and seen > self._excess(self.fail):
            return "beware"
        if self.beware is not None and surely > self._excess(self.beware):
            return "beware"
        return "ok"

    def _excess(self, value: float | None) -> float:
        """How far a value is on the bad side: larger is worse."""
        assert value is not None
        if self.side == "either":
            return abs(value)
        return value if self.side == "most" else -value

    def _least_excess(self, found: Measure) -> float:
        """The best that the interval allows."""
        if self.side == "either" and found.low <= 0 <= found.high:
            return 0.0
        return min(self._excess(found.low), self._excess(found.high))


@dataclass(frozen=True, slots=True)
class Finding:
    """What a probe found of one policy: figures by the names of its bounds, and `details`, which
    are kept and shown but judged by nobody.
    """

    measures: Mapping[str, Measure]
    details: Json = field(default_factory=dict)


def bounds_of(probe: str) -> tuple[Bound, ...]:
    """The bounds of a built-in probe, from the committed file, in its order."""
    text = (files("rlhf.evaluation.probes") / BOUNDS).read_text(encoding="utf-8")
    return tuple(Bound(**row) for row in yaml.safe_load(text)[probe])


def judged(
    title: str, findings: Mapping[str, Finding], bounds: Sequence[Bound], trained: Sequence[str]
) -> Json:
    """What stands in the stage's result: each policy's worst figure with its verdict and sentence,
    and at the top the worst of the `trained` policies.

    Raises ValueError for a figure that no bound names, and where a policy has none at all.
    """
    known = {bound.name for bound in bounds}
    policies: Json = {}
    for name, finding in findings.items():
        strange = sorted(set(finding.measures) - known)
        if strange:
            raise ValueError(f"{title}: no bound is named {strange[0]}; add one, or drop it")
        if not finding.measures:
            raise ValueError(f"{title}: nothing was measured of {name}: raise NothingToProbeError")
        policies[name] = _row(name, finding, bounds)
    worst = max(
        (name for name in trained if name in policies),
        key=lambda name: SEVERITY.index(policies[name]["verdict"]),  # the first of the worst
    )
    head = {key: policies[worst][key] for key in ("value", "low", "high", "verdict", "says")}
    return {"title": title, "policy": policies, "worst": worst, **head}


def _row(policy: str, finding: Finding, bounds: Sequence[Bound]) -> Json:
    checks: Json = {}
    for bound in bounds:
        if bound.name in finding.measures:
            found = finding.measures[bound.name]
            verdict = bound.verdict(found)
            checks[bound.name] = {
                **_rounded(asdict(found)),
                "title": bound.title,
                "unit": bound.unit,
                "verdict": verdict,
                "says": sentence(policy, bound, found, verdict),
            }
    worst = max(checks, key=lambda name: SEVERITY.index(checks[name]["verdict"]))
    head = {key: checks[worst][key] for key in ("value", "low", "high", "verdict", "says")}
    return {**head, "check": worst, "checks": checks, "details": finding.details}


def sentence(policy: str, bound: Bound, found: Measure, verdict: Verdict) -> str:
    """The figure in words, with its interval and what the bounds make of it."""
    said = bound.says.format(policy=policy.upper(), value=spelled(found.value, bound.unit))
    said += f" ({spelled(found.low, bound.unit)} to {spelled(found.high, bound.unit)})"
    limit = bound.fail if verdict == "fail" else bound.beware
    if limit is None:
        return f"{said}."
    asked = {"most": "at most", "least": "at least", "either": "at most"}[bound.side]
    ways = " either way" if bound.side == "either" else ""
    end = {
        "ok": "asked for",
        "beware": "beware: asked for",
        "fail": "which fails: allowed",
    }[verdict]
    return f"{said}; {end} {asked} {spelled(limit, bound.unit).lstrip('+')}{ways}."


def spelled(value: float, unit: Unit) -> str:
    """A figure with its unit."""
    match unit:
        case "share":
            return f"{100 * value:.0f} %"
        case "percent":
            return f"{100 * value:+.0f} %"
        case "points":
            return f"{100 * value:+.1f} points"
        case "words":
            return f"{value:.0f} words"
        case "spreads":
            return f"{value:+.2f} spreads"
        case "nats":
            return f"{value:+.3f} nats"
        case _:
            return f"{value:+.2f}"


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {name: round(v, 6) if isinstance(v, float) else v for name, v in row.items()}
