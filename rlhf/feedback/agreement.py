"""How far labelers agree, with intervals that know that pairs of one prompt go together."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from rlhf.feedback.verdicts import Judged, Verdicts, verdicts_of, votes_on_pairs

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


@dataclass(frozen=True, slots=True)
class Majority:
    """How many pairs have a majority for the response listed first, for the one listed second, for
    a tie, and for none of these.
    """

    first: int
    second: int
    tie: int
    none: int


def pair_agreement(rankings: Iterable[Judged], *, seed: int = 0) -> Agreement:
    """Agreement between labelers over `rankings`, superseded ones left out by the caller.

    The intervals are percentiles of a bootstrap that draws whole prompts. A labeler who judged a
    pair more than once counts with the last judgement.
    """
    return agreement_over(verdicts_of(list(rankings)).latest(), seed=seed)


def agreement_over(verdicts: Verdicts, *, seed: int = 0) -> Agreement:
    """What `pair_agreement` says, over a table in which each labeler judged a pair once."""
    counts = alike_by_prompt(verdicts)
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
    that two agree with a = p^2 + (1 - p)^2. Where pairs differ in difficulty the true ceiling is
    lower (Jensen: the mean of |2p - 1| is at most the root of the mean of its square), and so it is
    where labelers copy one another; where they differ in care it is higher. Below a = 0.5 it is
    0.5.
    """
    return (1 + sqrt(2 * strict - 1)) / 2 if strict >= 0.5 else 0.5


def majority_labels(verdicts: Verdicts) -> Majority:
    """The verdict of more than half of its labelers, of each pair that two or more judged (each
    labeler judged a pair once).
    """
    votes = votes_on_pairs(verdicts)
    number = votes.sum(1)
    votes, number = votes[number > 1], number[number > 1]
    second, tie, first = (2 * votes > number[:, None]).sum(0).tolist()
    return Majority(first, second, tie, len(votes) - first - second - tie)


def alike_by_prompt(verdicts: Verdicts) -> NDArray[np.int64]:
    """(prompts, 4), counts of pairs of judgements: strict alike, strict, alike, all."""
    votes = votes_on_pairs(verdicts)  # (pairs, 3)
    by_pair = np.empty((len(votes), 4), dtype=np.int64)
    lost, tied, won = _couples(votes).T
    strict = votes[:, 0] + votes[:, 2]
    by_pair[:, 0] = lost + won
    by_pair[:, 1] = _couples(strict)
    by_pair[:, 2] = lost + won + tied
    by_pair[:, 3] = _couples(strict + votes[:, 1])
    prompt_of = np.zeros(len(votes), dtype=np.int64)  # a part of a table leaves pairs out
    prompt_of[verdicts.pairs] = verdicts.prompts
    counts = np.zeros((verdicts.num_prompts, 4), dtype=np.int64)
    np.add.at(counts, prompt_of, by_pair)
    return counts


def _couples(number: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many sets of two there are."""
    return number * (number - 1) // 2


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
