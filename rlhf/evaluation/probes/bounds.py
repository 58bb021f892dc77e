"""What is asked of the figures of a probe: a figure beside its bounds is ok, beware or fail."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal, get_args

import yaml

from rlhf.evaluation.probes.measure import Measure
from rlhf.evaluation.probes.names import PACKAGE

Verdict = Literal["ok", "beware", "fail"]
Unit = Literal["share", "points", "percent", "spreads", "nats", "words", "number"]
Side = Literal["most", "least", "either"]
SEVERITY: tuple[Verdict, ...] = get_args(Verdict)
BOUNDS = "bounds.yaml"


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
        """`fail` where the whole interval lies beyond that bound, `beware` where it lies beyond the
        milder one: what may be chance is no verdict.
        """
        surely = self._least_excess(found)
        if self.fail is not None and surely > self._excess(self.fail):
            return "fail"
        if self.beware is not None and surely > self._excess(self.beware):
            return "beware"
        return "ok"

    def rules_out(self, found: Measure) -> bool:
        """Whether the whole interval lies within the bound of `fail` (of `beware` without one):
        where it does not, "ok" says only that nothing was found.
        """
        limit = self.beware if self.fail is None else self.fail
        if limit is None:
            return True
        return max(self._excess(found.low), self._excess(found.high)) <= self._excess(limit)

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


@cache
def bounds_of(probe: str) -> tuple[Bound, ...]:
    """The bounds of a built-in probe, from the committed file, in its order."""
    text = (files(PACKAGE) / BOUNDS).read_text(encoding="utf-8")
    return tuple(Bound(**row) for row in yaml.safe_load(text)[probe])


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
