"""Win rates with their intervals, and what they allow one to say."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from rlhf.data.identity import Json

Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class WinRate:
    """Share of comparisons won, ties as one half, with a 95 % Wilson interval; and the counts."""

    rate: float
    low: float
    high: float
    wins: int
    ties: int
    losses: int

    def to_json(self) -> Json:
        return asdict(self)

    def decided(self) -> tuple[float, float, float] | None:
        """The share won of those that were no ties, with its interval; None where all were."""
        count = self.wins + self.losses
        if not count:
            return None
        share = self.wins / count
        return (share, *wilson(share, count))


def outcome(ours: float, theirs: float) -> float:
    """1 where ours is worth more, 1/2 for a tie, 0 where it is worth less."""
    return 0.5 + 0.5 * ((ours > theirs) - (ours < theirs))


def win_rate(ours: Sequence[float], theirs: Sequence[float]) -> WinRate:
    """Compares rewards prompt by prompt.

    Raises ValueError where there is nothing to compare, and for a reward that is not a number.
    """
    if not ours or len(ours) != len(theirs):
        raise ValueError(f"cannot compare {len(ours)} answers with {len(theirs)}")
    unknown = sum(math.isnan(a) or math.isnan(b) for a, b in zip(ours, theirs, strict=True))
    if unknown:
        raise ValueError(f"{unknown} of {len(ours)} answers have rewards that are not numbers")
    wins = sum(a > b for a, b in zip(ours, theirs, strict=True))
    ties = sum(a == b for a, b in zip(ours, theirs, strict=True))
    return of_counts(wins, ties, len(ours) - wins - ties)


def of_counts(wins: int, ties: int, losses: int) -> WinRate:
    """The win rate of so many comparisons won, tied and lost; at least one."""
    count = wins + ties + losses
    rate = (wins + ties / 2) / count
    low, high = wilson(rate, count / varies(wins, ties, losses))
    return WinRate(rate, low, high, wins, ties, losses)


def varies(wins: int, ties: int, losses: int) -> float:
    """How much comparisons with ties vary, as a share of what they would without: a tie, always
    one half, brings less noise than a win or a loss, so that n comparisons are worth n over this.

    One win and one loss are added, so that ties alone do not make a certainty. 1 without ties.
    """
    count = wins + ties + losses + 2
    rate = (wins + 1 + ties / 2) / count
    return 1 - ties / (4 * count * rate * (1 - rate))


def wilson(rate: float, count: float, z: float = Z95) -> tuple[float, float]:
    """The score interval of a share. Wilson (1927)."""
    centre = (rate + z * z / (2 * count)) / (1 + z * z / count)
    spread = rate * (1 - rate) / count + z * z / (4 * count * count)
    half = z / (1 + z * z / count) * math.sqrt(spread)
    return max(0.0, centre - half), min(1.0, centre + half)


Verdict = Literal["ship", "do not ship", "not enough evidence"]


def verdict(low: float, high: float) -> Verdict:
    """Ship where the whole interval is above one half, do not where none of it is, else ask for
    more evidence.
    """
    if low > 0.5:
        return "ship"
    return "do not ship" if high <= 0.5 else "not enough evidence"


def best_of_n_kl_bound(n: int) -> float:
    """The most that best-of-n can be away from its base policy, in nats. Beirami et al. (2024)."""
    return math.log(n) - (n - 1) / n
