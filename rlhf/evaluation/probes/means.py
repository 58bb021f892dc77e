"""Means and ratios with their intervals, over items that are independent of one another.

What belongs together (the variants of one template, the tokens of one answer) is summed up first:
an item is one fact. The intervals are Student's, so that a dozen items are not taken for many.
"""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache
from math import sqrt
from statistics import fmean

from scipy import stats

from rlhf.evaluation.probes.measure import Measure

LEVEL = 0.95


def mean_of(values: Sequence[float], *, comparisons: int = 1) -> Measure:
    """The mean of one value per item. With several `comparisons` the interval is so wide that all
    of them together hold the truth in 95 % of cases (Bonferroni).

    Raises ValueError for fewer than two items: one says nothing of its spread.
    """
    return ratio_of(values, [1.0] * len(values), comparisons=comparisons)


def ratio_of(tops: Sequence[float], bottoms: Sequence[float], *, comparisons: int = 1) -> Measure:
    """sum(tops) / sum(bottoms), one of each per item; the interval is of the linearised ratio
    (Cochran 1977, 6.4). Raises ValueError for fewer than two items, or where the bottoms sum to 0.
    """
    number, total = len(tops), sum(bottoms)
    if number < 2 or number != len(bottoms):
        raise ValueError(f"an interval needs two items or more, got {number}")
    if total == 0:
        raise ValueError("the bottoms of the ratio sum to 0")
    value = sum(tops) / total
    reach = _quantile(number - 1, comparisons) * sqrt(_variance(tops, bottoms))
    return Measure(value, value - reach, value + reach, number)


def difference_of(
    ours: tuple[Sequence[float], Sequence[float]], theirs: tuple[Sequence[float], Sequence[float]]
) -> Measure:
    """The ratio of `ours` less that of `theirs`, which are other items (Welch's interval, with the
    degrees of freedom of the smaller side: a little wide rather than narrow).
    """
    first, second = ratio_of(*ours), ratio_of(*theirs)
    value = first.value - second.value
    freedom = min(first.count, second.count) - 1
    reach = _quantile(freedom, 1) * sqrt(_variance(*ours) + _variance(*theirs))
    return Measure(value, value - reach, value + reach, first.count + second.count)


def by_item(values: Mapping[Hashable, Sequence[float]]) -> list[float]:
    """One number per item: the mean of its values."""
    return [fmean(held) for held in values.values()]


def grouped(items: Sequence[Hashable], values: Sequence[float]) -> dict[Hashable, list[float]]:
    """The values of each item, in the order in which items first stand there."""
    found: dict[Hashable, list[float]] = defaultdict(list)
    for item, value in zip(items, values, strict=True):
        found[item].append(value)
    return dict(found)


def _variance(tops: Sequence[float], bottoms: Sequence[float]) -> float:
    number, total = len(tops), sum(bottoms)
    value = sum(tops) / total
    rest = sum((top - value * bottom) ** 2 for top, bottom in zip(tops, bottoms, strict=True))
    return number / (number - 1) * rest / total**2


@lru_cache(maxsize=4096)
def _quantile(freedom: int, comparisons: int) -> float:
    """The two-sided quantile of Student's t at 95 % for all `comparisons` together."""
    return float(stats.t.ppf(1 - (1 - LEVEL) / (2 * comparisons), freedom))
