"""How far labelers agree, with intervals that know that pairs of one prompt go together."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from rlhf.data.records import Ranking
from rlhf.feedback.pairs import comparisons

Interval = tuple[float, float]
DRAWS = 1000


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement over pairs of responses judged by two labelers (each two labelers count once).

    `strict`: of those that both order strictly, the share ordered alike. `with_ties`: of all, the
    share with the same verdict of win, tie and loss. The intervals are 95 %, and None where fewer
    than two prompts count; a share is None where no pair counts. Published figures differ by 15
    points between the two: say which.
    """

    strict: float | None
    strict_interval: Interval | None
    with_ties: float | None
    with_ties_interval: Interval | None
    pairs_strict: int
    pairs: int
    prompts: int


def pair_agreement(rankings: Iterable[Ranking], *, seed: int = 0) -> Agreement:
    """Agreement between labelers over `rankings`, superseded ones left out by the caller.

    The intervals are percentiles of a bootstrap that draws whole prompts. A labeler who judged a
    pair more than once counts with the last judgement.
    """
    counts = _counts_by_prompt(rankings)  # (prompts, 4): strict alike, strict, alike, all
    judged = counts[counts[:, 3] > 0]
    strict, strict_interval = _share(judged[:, 0], judged[:, 1], seed)
    with_ties, with_ties_interval = _share(judged[:, 2], judged[:, 3], seed)
    return Agreement(
        strict,
        strict_interval,
        with_ties,
        with_ties_interval,
        pairs_strict=int(judged[:, 1].sum()),
        pairs=int(judged[:, 3].sum()),
        prompts=len(judged),
    )


def agreement_ceiling(strict: float) -> float:
    """The best accuracy that any model can reach against single votes: (1 + sqrt(2a - 1)) / 2.

    Assumes labelers who err independently and equally often, at the same rate p on every pair, so
    that two agree with a = p^2 + (1 - p)^2. Pairs that differ in difficulty raise the true ceiling
    above this, labelers who copy one another lower it. Below a = 0.5 it is 0.5.
    """
    return (1 + sqrt(2 * strict - 1)) / 2 if strict >= 0.5 else 0.5


def cohen_kappa(first: Sequence[int], second: Sequence[int]) -> float:
    """Cohen's kappa of two labelers over the same cases; nan where both only ever say one thing.

    Raises ValueError where the two have different lengths or there is no case.
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"kappa needs the same cases twice, got {len(first)} and {len(second)}")
    one, two = np.asarray(first), np.asarray(second)
    observed = float(np.mean(one == two))
    chance = sum(float(np.mean(one == v) * np.mean(two == v)) for v in np.union1d(one, two))
    return (observed - chance) / (1 - chance) if chance < 1 else float("nan")


def _counts_by_prompt(rankings: Iterable[Ranking]) -> NDArray[np.int64]:
    verdicts: dict[tuple[str, str, str], dict[str, int]] = defaultdict(dict)
    for ranking in rankings:
        for better, worse, margin in comparisons(ranking):
            low, high = sorted((better, worse))
            verdict = 0 if margin == 0 else 1 if better == low else -1
            verdicts[ranking.prompt_id, low, high][ranking.labeler_id] = verdict
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for (prompt_id, _, _), by_labeler in verdicts.items():
        row = counts[prompt_id]
        for one, two in combinations(by_labeler.values(), 2):
            both_strict = bool(one and two)
            row[0] += both_strict and one == two
            row[1] += both_strict
            row[2] += one == two
            row[3] += 1
    return np.array(list(counts.values()), dtype=np.int64).reshape(-1, 4)


def _share(
    alike: NDArray[np.int64], total: NDArray[np.int64], seed: int
) -> tuple[float | None, Interval | None]:
    alike, total = alike[total > 0], total[total > 0]
    if len(total) == 0:
        return None, None
    share = float(alike.sum() / total.sum())
    if len(total) < 2:
        return share, None
    generator = np.random.default_rng(seed)
    draws = np.empty(DRAWS)
    for draw in range(DRAWS):
        drawn = generator.integers(len(total), size=len(total))
        draws[draw] = alike[drawn].sum() / total[drawn].sum()
    low, high = np.percentile(draws, [2.5, 97.5])
    return share, (float(low), float(high))
