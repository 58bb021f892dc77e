"""What a probe finds of a policy, and what stands of it in the stage's result."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rlhf.data.identity import Json
from rlhf.evaluation.probes.bounds import SEVERITY, Bound, Verdict, spelled
from rlhf.evaluation.probes.measure import Measure


class NothingToProbeError(Exception):
    """What a run lacks for a probe to say anything; the message says what."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a probe found of one policy: figures by the names of its bounds, and `details`, which
    are kept and shown but judged by nobody.
    """

    measures: Mapping[str, Measure]
    details: Json = field(default_factory=dict)


def judged(
    title: str, findings: Mapping[str, Finding], bounds: Sequence[Bound], trained: Sequence[str]
) -> Json:
    """What stands in the stage's result: each policy's worst figure with its verdict and sentence,
    and at the top the worst of the `trained` policies. A policy without figures (SFT, where all are
    compared with it) gives its details only.

    Raises ValueError for a figure that no bound names, and where no trained policy has one.
    """
    known = {bound.name for bound in bounds}
    strange = {name for one in findings.values() for name in one.measures} - known
    if strange:
        raise ValueError(f"{title}: no bound is named {min(strange)}: add one, or drop the figure")
    policies = {
        name: _row(name, finding, bounds) for name, finding in findings.items() if finding.measures
    }
    named = [name for name in trained if name in policies]
    if not named:
        raise ValueError(f"{title}: no policy has a figure: raise NothingToProbeError to say why")
    # the first of the worst
    worst = max(named, key=lambda name: SEVERITY.index(policies[name]["verdict"]))
    head = {key: policies[worst][key] for key in ("value", "low", "high", "verdict", "says")}
    details = {name: finding.details for name, finding in findings.items()}
    return {"title": title, "policy": policies, "worst": worst, **head, "details": details}


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
                "sure": verdict != "ok" or bound.rules_out(found),
                "why": bound.why,
                "says": sentence(policy, bound, found, verdict),
            }
    worst = max(checks, key=lambda name: SEVERITY.index(checks[name]["verdict"]))
    head = {key: checks[worst][key] for key in ("value", "low", "high", "verdict", "says")}
    return {**head, "check": worst, "checks": checks}


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
    rest = "" if verdict != "ok" or bound.rules_out(found) else "; the interval leaves worse open"
    return f"{said}; {end} {asked} {spelled(limit, bound.unit).lstrip('+')}{ways}{rest}."


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {name: round(v, 6) if isinstance(v, float) else v for name, v in row.items()}
