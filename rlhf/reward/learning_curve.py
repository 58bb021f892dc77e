"""Accuracy over subsets of the training prompts: what more rankings of the same kind would bring.

The law is accuracy(n) = a - b n^-c with b not negative. Three or four noisy points hardly tell c,
so an answer is sought for many draws of the test prompts, each with the c that fits it best; where
the answers disagree, that is said.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlhf.data.identity import seed_from
from rlhf.reward.accuracy import DRAWS

Array = NDArray[np.float64]

EXPONENTS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
FARTHEST = 20.0  # beyond so many times the rankings that there are, nothing is foretold
LEAST_POINTS = 3
SELDOM = 0.1


@dataclass(frozen=True, slots=True)
class Law:
    """accuracy(n) = limit - drop * n^-exponent."""

    limit: float
    drop: float
    exponent: float

    def at(self, rankings: float) -> float:
        return float(self.limit - self.drop * rankings**-self.exponent)


@dataclass(frozen=True, slots=True)
class Forecast:
    """How many more rankings it takes to reach the accuracy `target`.

    `more`: the middle answer, None where half of the answers or more lie beyond reach; `low` and
    `high` hold four fifths of the answers, None where they lie beyond reach. `within_reach`: the
    share of answers within twenty times the rankings that there are.
    """

    target: float
    more: int | None
    low: int | None
    high: int | None
    within_reach: float

    def words(self) -> str:
        """The answer as a clause."""
        if self.more == 0:
            return "no more rankings are needed for that accuracy"
        if self.more is None and self.within_reach < SELDOM:
            return "more rankings of this kind will not get there"
        if self.more is None:
            share = f"{100 * self.within_reach:.0f} %"
            return f"more rankings of this kind may not get there (in {share} of the fits they do)"
        more = f"about {self.more:,} more rankings of this kind"
        if self.high is None:
            return f"{more} ({self.low or 0:,} at least, or they never get there)"
        return f"{more} ({self.low:,} to {self.high:,})"


def nested_subset(prompt_ids: Iterable[str], share: float) -> frozenset[str]:
    """That share of the prompts, chosen by hash: a smaller share's are among a larger one's."""
    known = sorted(set(prompt_ids), key=lambda one: (seed_from("curve", one), one))
    return frozenset(known[: max(1, round(share * len(known)))])


def fit_law(rankings: Sequence[float], accuracy: Array) -> Law:
    """Least squares, with the exponent that fits best; a curve that falls is taken to be flat, and
    no limit lies above 1.
    """
    limit, drop, exponent = (float(one[0]) for one in _fit(rankings, accuracy[None, :]))
    return Law(limit, drop, exponent)


def forecast(
    rankings: Sequence[int], hits: Array, votes: Array, target: float, *, seed: int = 0
) -> Forecast:
    """When `target` is reached, from `hits` (S, P) out of `votes` (P,) on each of P test prompts
    after training on each of S numbers of `rankings`, the last of them all that there are.

    Raises ValueError with fewer than three sizes.
    """
    if len(set(rankings)) < LEAST_POINTS:
        raise ValueError(f"a learning curve needs three sizes or more, got {list(rankings)}")
    if hits[-1].sum() / votes.sum() >= target:
        return Forecast(target, 0, 0, 0, 1.0)
    prompts = len(votes)
    drawn = np.random.default_rng(seed).integers(0, prompts, (DRAWS, prompts))
    accuracy = hits[:, drawn].sum(2).T / votes[drawn].sum(1)[:, None]  # (DRAWS, S)
    limit, drop, exponent = _fit(rankings, accuracy)
    room = limit - target
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        needed = np.where(room > 0, (drop / room) ** (1 / exponent), np.inf)
    more = np.maximum(needed - rankings[-1], 1.0)
    more[needed > FARTHEST * rankings[-1]] = np.inf
    low, middle, high = (
        float(np.quantile(more, q, method="inverted_cdf")) for q in (0.1, 0.5, 0.9)
    )
    return Forecast(
        target, _rounded(middle), _rounded(low), _rounded(high), float(np.isfinite(more).mean())
    )


def _fit(rankings: Sequence[float], accuracy: Array) -> tuple[Array, Array, Array]:
    """Limits, drops and exponents, (D,) each, of D curves (D, S)."""
    n = np.asarray(rankings, dtype=np.float64)
    fits = [(*_fit_with(n**-exponent, accuracy), exponent) for exponent in EXPONENTS]
    misses = np.stack(
        [
            ((limit[:, None] - drop[:, None] * n**-exponent - accuracy) ** 2).sum(1)
            for limit, drop, exponent in fits
        ]
    )
    best = misses.argmin(0)
    limits, drops = (np.stack([fit[i] for fit in fits]) for i in (0, 1))
    every = np.arange(len(accuracy))
    return limits[best, every], drops[best, every], np.array(EXPONENTS)[best]


def _fit_with(feature: Array, accuracy: Array) -> tuple[Array, Array]:
    """Limits and drops, (D,) each, of accuracy = limit - drop * feature; `feature` (S,)."""
    centred = feature - feature.mean()
    drop = np.maximum(0.0, -(accuracy @ centred) / (centred @ centred))
    limit = accuracy.mean(1) + drop * feature.mean()
    above = limit > 1  # then the best line through (0, 1)
    drop = np.where(above, ((1 - accuracy) @ feature) / (feature @ feature), drop)
    return np.minimum(limit, 1.0), drop


def _rounded(number: float) -> int | None:
    """To two digits: more would be a pretence."""
    if not np.isfinite(number):
        return None
    digits = max(0, int(np.floor(np.log10(max(number, 1.0)))) - 1)
    return int(round(number, -digits))
