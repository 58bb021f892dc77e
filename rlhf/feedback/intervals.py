"""Shares with intervals, differences with p-values, and Holm's correction.

What belongs together (the pairs of one item) is one cluster: ten pairs of an item are not ten
facts. All intervals are 95 %.

`scipy.stats` takes over a second to import: where it is needed, so that the labeling app is up
without it.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rlhf.feedback.agreement import Interval

LEVEL = 0.95
Name = TypeVar("Name", bound=Hashable)
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Share:
    """A share or mean with its interval, from `count` cases in `clusters` items.

    `value` and `interval` are None below `needed` clusters: too few to say anything.
    """

    value: float | None
    interval: Interval | None
    count: int
    clusters: int
    needed: int

    @property
    def is_known(self) -> bool:
        return self.value is not None


@lru_cache(maxsize=4096)
def student(freedom: int) -> float:
    """The two-sided 95 % quantile of Student's t."""
    from scipy import stats

    return float(stats.t.ppf((1 + LEVEL) / 2, freedom))


def share_of(alike: Array, total: Array, needed: int) -> Share:
    """The share `alike` / `total`, both per cluster.

    Wilson's interval with the number of cases that would vary as much were they independent
    (Korn and Graubard 1998): it stays within 0 and 1 and has a width where all are alike.
    """
    kept = total > 0
    alike, total = alike[kept], total[kept]
    clusters, count = len(total), int(total.sum())
    if clusters < max(2, needed):
        return Share(None, None, count, clusters, needed)
    share = float(alike.sum() / total.sum())
    spread = alike - share * total
    variance = float((spread**2).sum()) * clusters / (clusters - 1) / float(total.sum()) ** 2
    worth = share * (1 - share) / variance if variance > 0 else clusters
    interval = wilson(share, min(worth, count), student(clusters - 1))
    return Share(share, interval, count, clusters, needed)


def wilson(share: float, number: float, quantile: float) -> Interval:
    """Wilson's score interval for a share of `number` independent cases."""
    square = quantile**2 / number
    middle = (share + square / 2) / (1 + square)
    reach = quantile * sqrt(share * (1 - share) / number + square / (4 * number)) / (1 + square)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def difference(own: tuple[Array, Array], rest: tuple[Array, Array]) -> float:
    """The two-sided p-value that one's share and that of the rest are the same.

    Each is (alike, total) over the same clusters, so that what is hard for both cancels out. A
    score test: the spread is taken around the common share, as it would be were the two the same.
    Where a cluster holds one case, Fisher's exact test, which also fits what is rare.
    """
    from scipy import stats

    (alike, total), (rest_alike, rest_total) = own, rest
    size, rest_size = total.sum(), rest_total.sum()
    if total.max() <= 1:
        table = [
            [int(alike.sum()), int(size - alike.sum())],
            [int(rest_alike.sum()), int(rest_size - rest_alike.sum())],
        ]
        return float(stats.fisher_exact(table).pvalue)
    common = (alike.sum() + rest_alike.sum()) / (size + rest_size)
    spread = (alike - common * total) / size - (rest_alike - common * rest_total) / rest_size
    clusters = int((total > 0).sum())
    touched = int(((total > 0) | (rest_total > 0)).sum())
    apart = float(alike.sum() / size - rest_alike.sum() / rest_size)
    error = sqrt(float((spread**2).sum()) * touched / max(1, touched - 1))
    if error == 0:
        return 1.0
    return float(2 * stats.t.sf(abs(apart) / error, max(1, clusters - 1)))


def median_of(values: Array, needed: int) -> Share:
    """The median with an interval from order statistics: no shape is assumed."""
    from scipy import stats

    number = len(values)
    if number < max(6, needed):
        return Share(None, None, number, number, needed)
    ordered = np.sort(values)
    rank = int(stats.binom.ppf((1 - LEVEL) / 2, number, 0.5))
    low, high = ordered[max(0, rank - 1)], ordered[min(number - 1, number - rank)]
    return Share(float(np.median(ordered)), (float(low), float(high)), number, number, needed)


def holm(p_values: Mapping[Name, float]) -> dict[Name, float]:
    """The p-values corrected for their number (Holm 1979): below 0.05, the chance that any of them
    is a false alarm is at most 5 %.
    """
    corrected: dict[Name, float] = {}
    highest = 0.0
    for place, name in enumerate(sorted(p_values, key=lambda one: p_values[one])):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[name]))
        corrected[name] = highest
    return corrected
