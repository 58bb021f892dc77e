"""How often a score puts the better response first, with an interval that knows prompts from
pairs.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from rlhf.data.identity import Json
from rlhf.reward.rankings import RankedPrompt

DRAWS = 1000


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Share of strict pairs ordered rightly (equal scores count one half), over `pairs` of
    `prompts`.

    `low` and `high`: 95 % bootstrap interval over prompts.
    """

    value: float
    low: float
    high: float
    pairs: int
    prompts: int

    def to_json(self) -> Json:
        return asdict(self)


def pair_accuracy(
    ranked: Sequence[RankedPrompt], scores: Sequence[Sequence[float]], *, seed: int = 0
) -> Accuracy:
    """Accuracy of `scores` (a list per prompt, one number per response) on all votes of `ranked`.

    Every vote counts once: the same pair judged by two labelers is two votes. Raises ValueError
    without any pair.
    """
    hits = np.array([_hits(one, row) for one, row in zip(ranked, scores, strict=True)])
    votes = np.array([len(one.better) for one in ranked])
    if votes.sum() == 0:
        raise ValueError("no strict pair to measure accuracy on")
    draws = np.random.default_rng(seed).integers(0, len(votes), (DRAWS, len(votes)))
    spread = hits[draws].sum(1) / votes[draws].sum(1)
    low, high = np.quantile(spread, [0.025, 0.975])
    return Accuracy(
        float(hits.sum() / votes.sum()), float(low), float(high), int(votes.sum()), len(votes)
    )


def _hits(one: RankedPrompt, scores: Sequence[float]) -> float:
    differences = [scores[b] - scores[w] for b, w in zip(one.better, one.worse, strict=True)]
    return sum(1.0 if d > 0 else 0.5 if d == 0 else 0.0 for d in differences)
