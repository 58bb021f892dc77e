"""How often a score puts the better response first, with intervals that know prompts from pairs."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rlhf.data.identity import Json
from rlhf.reward.calibration import reliability

if TYPE_CHECKING:  # whoever measures given scores needs no torch
    from rlhf.reward.rankings import RankedPrompt
    from rlhf.reward.scorer import Scorer

DRAWS = 1000
MOST_DRAWN = 1 << 20  # prompts drawn at once, of 24 bytes each


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


@dataclass(frozen=True, slots=True)
class Measured:
    """A reward model on one split: accuracy, the longest-is-best baseline on the same votes,
    calibration.

    `calibration_error` is the expected calibration error over ten bins of the predicted
    probability; `bins` holds (mean prediction, share that was so, votes) of each bin that has
    votes.
    """

    accuracy: Accuracy
    length_baseline: Accuracy
    calibration_error: float
    bins: tuple[tuple[float, float, int], ...]

    def to_json(self) -> Json:
        return asdict(self)


def score_ranked(scorer: "Scorer", ranked: "Sequence[RankedPrompt]") -> list[list[float]]:
    """The score of every response, a list per prompt."""
    prompts = [one.prompt for one in ranked for _ in one.responses]
    flat = iter(scorer.score(prompts, [response for one in ranked for response in one.responses]))
    return [[next(flat) for _ in one.responses] for one in ranked]


def measure(
    ranked: "Sequence[RankedPrompt]", scores: Sequence[Sequence[float]], *, scale: float = 1.0
) -> Measured:
    """Accuracy, baseline and calibration of `scores`. Raises ValueError without any pair.

    `scale` turns a difference of scores into log-odds: that of the scorer.
    """
    lengths = [[float(words) for words in one.response_words] for one in ranked]
    predicted = np.array(
        [
            1 / (1 + np.exp(scale * (row[w] - row[b])))
            for one, row in zip(ranked, scores, strict=True)
            for b, w in zip(one.better, one.worse, strict=True)
        ]
    )
    accuracy = pair_accuracy(ranked, scores)
    error, bins = reliability(predicted)
    return Measured(accuracy, pair_accuracy(ranked, lengths), error, bins)


def pair_accuracy(
    ranked: "Sequence[RankedPrompt]", scores: Sequence[Sequence[float]], *, seed: int = 0
) -> Accuracy:
    """Accuracy of `scores` (a list per prompt, one number per response) on all votes of `ranked`.

    Every vote counts once: the same pair judged by two labelers is two votes. Raises ValueError
    without any pair, and for a score that is not a number.
    """
    unscored = sum(not np.isfinite(row).all() for row in scores)
    if unscored:
        raise ValueError(f"{unscored} of {len(ranked)} prompts have scores that are not numbers")
    hits = np.array([_hits(one, row) for one, row in zip(ranked, scores, strict=True)])
    votes = np.array([len(one.better) for one in ranked], dtype=np.float64)
    return bootstrapped(hits, votes, seed=seed)


def bootstrapped(
    hits: NDArray[np.float64], votes: NDArray[np.float64], *, seed: int = 0
) -> Accuracy:
    """`hits` out of `votes`, both per prompt, as a share; prompts are drawn whole for its interval.

    Raises ValueError without any vote.
    """
    if votes.sum() == 0:
        raise ValueError("no strict pair to measure accuracy on")
    draw = np.random.default_rng(seed)
    spread = np.empty(DRAWS)
    at_once = max(1, MOST_DRAWN // len(votes))
    for start in range(0, DRAWS, at_once):
        size = (min(at_once, DRAWS - start), len(votes))
        drawn = draw.integers(0, len(votes), size)  # the same numbers however many at once
        spread[start : start + at_once] = hits[drawn].sum(1) / votes[drawn].sum(1)
    low, high = (float(edge) for edge in np.quantile(spread, [0.025, 0.975]))
    return Accuracy(float(hits.sum() / votes.sum()), low, high, int(votes.sum()), len(votes))


def scored_rows(
    ranked: "Sequence[RankedPrompt]", scores: Sequence[Sequence[float]]
) -> Iterator[Json]:
    """A JSON row per prompt: the score and the words of each response, and the votes."""
    for one, row in zip(ranked, scores, strict=True):
        yield {
            "prompt_id": one.prompt_id,
            "scores": [round(score, 6) for score in row],
            "words": list(one.response_words),
            "votes": [list(pair) for pair in zip(one.better, one.worse, strict=True)],
        }


def _hits(one: "RankedPrompt", scores: Sequence[float]) -> float:
    differences = [scores[b] - scores[w] for b, w in zip(one.better, one.worse, strict=True)]
    return sum(1.0 if d > 0 else 0.5 if d == 0 else 0.0 for d in differences)
