"""Reward against distance from SFT: the curves of Gao, Schulman and Hilton (2023, "Scaling laws for
reward model overoptimization", section 3), and where they turn down.

With d = sqrt(KL to SFT) and R the gain in reward over SFT: best-of-n gives R = d (alpha - beta d),
reinforcement learning R = d (alpha - beta log d). Both are linear in alpha and beta.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, isfinite, log, sqrt
from typing import Literal

Kind = Literal["rl", "best-of-n"]

LEAST_POINTS = 4  # two for the two numbers, two more to say how sure they are
LEAST_SPREAD = 1.5  # the farthest d over the nearest; closer together, alpha and beta trade places
FARTHEST_LOG = 20.0  # e^20: a peak out there is no peak


@dataclass(frozen=True, slots=True)
class Curve:
    """A fitted curve; distances are d = sqrt(nats). `reach` is the farthest d that was measured.

    `peak` is where it turns down, None where it never does; `peak_low` and `peak_high` are the
    95 % interval of that place (Fieller 1954), None at an end that the points leave open.
    """

    kind: Kind
    alpha: float
    beta: float
    points: int
    reach: float
    peak: float | None
    peak_low: float | None
    peak_high: float | None

    def at(self, kl: float) -> float:
        """The gain over SFT at that many nats."""
        if kl <= 0:
            return 0.0
        d = sqrt(kl)
        return d * (self.alpha - self.beta * _bend(self.kind, d))

    @property
    def peaks_within_reach(self) -> bool:
        """Whether the curve turns down where something was measured."""
        return self.peak is not None and self.peak <= self.reach


def why_not(kl: Sequence[float]) -> str:
    """Why no curve is fitted to measurements at these distances (nats); empty where one is."""
    far = [sqrt(one) for one in kl if one > 0]
    if len(far) < LEAST_POINTS:
        return f"{len(far)} measured away from SFT, and a curve wants {LEAST_POINTS}"
    if max(far) < LEAST_SPREAD * min(far):
        return "all lie at about the same distance from SFT"
    return ""


def fit(kind: Kind, kl: Sequence[float], gains: Sequence[float]) -> Curve:
    """Least squares over the points with a distance above 0 (at 0 both curves are 0).

    `kl` in nats and `gains` over SFT, one per measurement. Raises ValueError where there are too
    few points or they lie too close together.
    """
    reason = why_not(kl)
    if reason:
        raise ValueError(f"no curve can be fitted: {reason}")
    if not all(map(isfinite, (*kl, *gains))):
        raise ValueError("a distance or a gain is not a number: leave that measurement out")
    rows = [(sqrt(one), gain) for one, gain in zip(kl, gains, strict=True) if one > 0]
    # R = alpha u + beta v
    u = [d for d, _ in rows]
    v = [-d * _bend(kind, d) for d, _ in rows]
    uu, uv, vv = _dot(u, u), _dot(u, v), _dot(v, v)
    ur, vr = _dot(u, [gain for _, gain in rows]), _dot(v, [gain for _, gain in rows])
    determinant = uu * vv - uv * uv
    alpha, beta = (vv * ur - uv * vr) / determinant, (uu * vr - uv * ur) / determinant
    missed = [gain - alpha * a - beta * b for (_, gain), a, b in zip(rows, u, v, strict=True)]
    variance = _dot(missed, missed) / (len(rows) - 2)
    spread = [variance * one / determinant for one in (vv, -uv, uu)]  # of alpha, both, beta
    low, high = _ratio(alpha, beta, spread, _student(len(rows) - 2))
    return Curve(
        kind,
        alpha,
        beta,
        len(rows),
        max(u),
        None if beta <= 0 else _peak(kind, alpha / beta),
        None if low is None else _peak(kind, low),
        None if high is None else _peak(kind, high),
    )


def _student(freedom: int) -> float:
    """The two-sided 95 % quantile of Student's t; without scipy.stats, which is slow to import."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.975))


def _bend(kind: Kind, d: float) -> float:
    return log(d) if kind == "rl" else d


def _peak(kind: Kind, ratio: float) -> float | None:
    """Where dR/dd = 0, from alpha / beta: e^(ratio - 1) for RL, ratio / 2 for best-of-n."""
    if kind == "rl":
        return exp(ratio - 1) if ratio < FARTHEST_LOG else None
    return max(0.0, ratio / 2)


def _ratio(
    alpha: float, beta: float, spread: Sequence[float], quantile: float
) -> tuple[float | None, float | None]:
    """Fieller's interval of alpha / beta: all r with (alpha - r beta)^2 at most quantile^2 times
    its variance. Open above where beta may be 0, and at both ends where nothing is ruled out.
    """
    if beta <= 0:
        return None, None
    aa, ab, bb = (quantile**2 * one for one in spread)
    square, half, rest = beta**2 - bb, alpha * beta - ab, alpha**2 - aa
    root = half**2 - square * rest
    if square > 0:
        reach = sqrt(max(0.0, root))
        return (half - reach) / square, (half + reach) / square
    if square == 0 or root <= 0:
        return None, None
    # Two rays; the estimate lies on one of them.
    ends = sorted(((half - sqrt(root)) / square, (half + sqrt(root)) / square))
    return (ends[1], None) if alpha / beta >= ends[1] else (None, ends[0])


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))
