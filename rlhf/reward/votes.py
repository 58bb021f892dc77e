"""What labelers said between two responses each, beside what a reward model says of them."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlhf.data.records import Ranking
from rlhf.feedback.intervals import Share, share_of
from rlhf.feedback.pairs import comparisons
from rlhf.reward.accuracy import Accuracy, bootstrapped

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Votes:
    """V strict judgements: ids of the better and of the worse response, of the labeler and the
    prompt, (V,) each; `margin` (V,) is the strength that the ranking's mode gives.
    """

    better: tuple[str, ...]
    worse: tuple[str, ...]
    labeler: NDArray[np.str_]
    prompt: NDArray[np.str_]
    margin: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.better)

    def where(self, kept: NDArray[np.bool_]) -> "Votes":
        """Those for which `kept`, (V,), is true."""
        index = np.flatnonzero(kept)
        return Votes(
            tuple(self.better[i] for i in index),
            tuple(self.worse[i] for i in index),
            self.labeler[kept],
            self.prompt[kept],
            self.margin[kept],
        )

    def among(self, known: Container[str]) -> "Votes":
        """Those between responses that are `known` by id."""
        kept = [b in known and w in known for b, w in zip(self.better, self.worse, strict=True)]
        return self.where(np.array(kept, dtype=np.bool_))

    def gaps(self, worth: Mapping[str, float]) -> Array:
        """By how much `worth` (of responses, by id) puts the better above the worse, (V,).

        Raises ValueError for a worth that is not a number.
        """
        found = np.array(
            [worth[b] - worth[w] for b, w in zip(self.better, self.worse, strict=True)],
            dtype=np.float64,
        )
        unknown = int((~np.isfinite(found)).sum())
        if unknown:
            raise ValueError(f"{unknown} of {len(found)} votes have scores that are not numbers")
        return found


def votes_of(rankings: Iterable[Ranking]) -> Votes:
    """The strict votes of `rankings`."""
    rows = [
        (better, worse, ranking.labeler_id, ranking.prompt_id, margin)
        for ranking in rankings
        for better, worse, margin in comparisons(ranking)
        if margin
    ]
    return Votes(
        tuple(row[0] for row in rows),
        tuple(row[1] for row in rows),
        np.array([row[2] for row in rows], dtype=np.str_),
        np.array([row[3] for row in rows], dtype=np.str_),
        np.array([row[4] for row in rows], dtype=np.int64),
    )


def hits(gaps: Array) -> Array:
    """1 where the better one is put first, 0 where it is not, one half where both are equal."""
    return (1 + np.sign(gaps)) / 2


def accuracy_of(votes: Votes, gaps: Array, *, seed: int = 0) -> Accuracy:
    """Share of votes that `gaps` orders rightly, with a 95 % bootstrap interval over prompts.

    Raises ValueError without any vote.
    """
    return bootstrapped(*by_cluster(hits(gaps), votes.prompt), seed=seed)


def gain_of(votes: Votes, ours: Array, theirs: Array, *, seed: int = 0) -> Accuracy:
    """By how much the accuracy of `ours` is above that of `theirs` on the same votes, as a share,
    with the interval of the difference: what is hard for both cancels out.
    """
    return bootstrapped(*by_cluster(hits(ours) - hits(theirs), votes.prompt), seed=seed)


def share_right(votes: Votes, gaps: Array, needed: int) -> Share:
    """The same share with an interval that holds for few prompts too; nothing is said where fewer
    than `needed` prompts have a vote.
    """
    return share_of(*by_cluster(hits(gaps), votes.prompt), needed)


def by_cluster(values: Array, clusters: NDArray[np.str_]) -> tuple[Array, Array]:
    """Sum of `values` and number of them in each cluster, in the order of the clusters' names."""
    _, index = np.unique(clusters, return_inverse=True)
    if not len(index):
        return np.zeros(0), np.zeros(0)
    return np.bincount(index, values).astype(np.float64), np.bincount(index).astype(np.float64)
