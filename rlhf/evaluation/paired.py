"""Two policies beside one another, prompt by prompt: is the difference real?"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import TypeVar

import numpy as np

from rlhf.data.identity import Json, seed_from

DRAWS = 2000
Case = TypeVar("Case", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Difference:
    """By how much one policy's win rate exceeds another's, with a 95 % interval; `clusters`: on how
    many prompts that rests.
    """

    value: float
    low: float
    high: float
    clusters: int

    @property
    def is_real(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0

    def to_json(self) -> Json:
        return asdict(self)


def difference(
    ours: Sequence[float],
    theirs: Sequence[float],
    clusters: Sequence[str] | None = None,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Difference:
    """Mean of `ours` less mean of `theirs`, both on the same comparisons (1 won, 1/2 tied, 0 lost).

    The percentile bootstrap over clusters (Efron 1979; Field and Welsh 2007): a prompt is drawn
    with all that was said of it, so that what is hard for both cancels out and several judgements
    of a prompt are not several prompts. `seed` decides the draws. Raises ValueError where there is
    nothing to compare.
    """
    if not ours or len(ours) != len(theirs):
        raise ValueError(f"cannot compare {len(ours)} comparisons with {len(theirs)}")
    apart = np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64)
    names = clusters if clusters is not None else [str(place) for place in range(len(apart))]
    place = {name: number for number, name in enumerate(dict.fromkeys(names))}
    at = [place[name] for name in names]
    total = np.bincount(at, weights=apart)  # (clusters,)
    size = np.bincount(at).astype(np.float64)
    drawn = np.random.default_rng(seed_from("paired", seed)).multinomial(
        len(place), np.full(len(place), 1 / len(place)), size=draws
    )  # (draws, clusters): how often each is in
    low, high = np.quantile((drawn @ total) / (drawn @ size), (0.025, 0.975))
    return Difference(float(apart.mean()), float(low), float(high), len(place))


def each_two(shares: Mapping[str, Mapping[Case, float]], *, seed: int = 0) -> list[Json]:
    """Each two policies: by how much the first wins more often than the second, on the cases
    (prompts) that both have a share of; without pairs that have none.
    """
    found = []
    for first, second in combinations(shares, 2):
        both = [case for case in shares[first] if case in shares[second]]
        if both:
            ours, theirs = ([shares[name][case] for case in both] for name in (first, second))
            apart = difference(ours, theirs, seed=seed)
            found.append({"first": first, "second": second, **apart.to_json()})
    return found
