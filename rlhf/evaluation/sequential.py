"""When to stop asking people: a test that may be looked at after every judgement.

An interval for a fixed number of judgements is wrong once one stops because of what it says. The
one here holds at every number of judgements at once.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import exp, inf, lgamma, log
from typing import Literal

from rlhf.data.identity import Json

ALPHA = 0.05
BISECTIONS = 60
LARGEST = 700.0  # the log of about the largest number that a file can hold

Says = Literal["better", "worse", "go on"]


@dataclass(frozen=True, slots=True)
class Sequential:
    """What may be said now. `low` and `high`: the share won of the decided comparisons, at every
    moment at once with 1 - alpha; `evidence`: the e-value against one half, at least 1 / alpha to
    stop.
    """

    says: Says
    wins: int
    losses: int
    low: float
    high: float
    evidence: float

    def to_json(self) -> Json:
        return asdict(self)


def look(shares: Sequence[float], *, alpha: float = ALPHA) -> Sequential:
    """Looks at the comparisons that are there (above 1/2 won, below it lost; ties say nothing).

    The mixture martingale with a flat prior (Ville 1939; Robbins 1970; Howard et al. 2021, section
    3.3): after w wins and l losses, B(1 + w, 1 + l) / (p^w (1 - p)^l) is at most 1 / alpha for the
    true share p, for ever, with probability 1 - alpha at least. The shares p for which it is are
    the interval; at p = 1/2 it is the e-value. The comparisons must be of different prompts.
    """
    wins = sum(share > 0.5 for share in shares)
    losses = sum(share < 0.5 for share in shares)
    low, high = interval(wins, losses, alpha)
    found = log_evidence(wins, losses, 0.5)
    says: Says = "better" if low > 0.5 else "worse" if high < 0.5 else "go on"
    return Sequential(says, wins, losses, low, high, exp(min(found, LARGEST)))


def log_evidence(wins: int, losses: int, share: float) -> float:
    """The log of the e-value against a share won of `share`."""
    beta = lgamma(1 + wins) + lgamma(1 + losses) - lgamma(2 + wins + losses)
    for count, probability in ((wins, share), (losses, 1 - share)):
        if count:
            beta -= count * log(probability) if probability > 0 else -inf
    return beta


def interval(wins: int, losses: int, alpha: float = ALPHA) -> tuple[float, float]:
    """The shares against which the evidence is below 1 / alpha."""
    limit, count = -log(alpha), wins + losses
    if not count:
        return 0.0, 1.0
    best = wins / count  # the evidence against a share grows from here to either side
    low = 0.0 if not wins else _edge(wins, losses, 0.0, best, limit)
    high = 1.0 if not losses else _edge(wins, losses, 1.0, best, limit)
    return low, high


def _edge(wins: int, losses: int, outside: float, inside: float, limit: float) -> float:
    for _ in range(BISECTIONS):
        middle = (outside + inside) / 2
        if log_evidence(wins, losses, middle) < limit:
            inside = middle
        else:
            outside = middle
    return inside
