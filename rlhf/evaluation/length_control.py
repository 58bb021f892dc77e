"""The win rate there would be were both answers as long as one another.

AlpacaEval 2's way (Dubois et al. 2024, "Length-controlled AlpacaEval", equation 2): a logistic
regression of the preference on tanh(length difference / its standard deviation), read at a
difference of zero. Their term for how hard a prompt is needs many models on the same prompts and
is left out here.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import exp
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlhf.data.identity import Json
from rlhf.evaluation.winrate import Z95, varies

# Both coefficients are drawn to zero, as by normal priors of this standard deviation (the scale of
# Gelman et al. 2008), alike: where every answer is longer, nothing tells length from merit, and
# the interval must say so.
PRIOR = 2.5
STEPS = 50
TOLERANCE = 1e-10
Array = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class LengthControlled:
    """The length-controlled win rate with its 95 % interval. `effect`: by how much the log-odds of
    winning grow from an answer of like length to one that is longer by much more than usual.
    """

    rate: float
    low: float
    high: float
    effect: float

    def to_json(self) -> Json:
        return asdict(self)


def length_controlled(
    shares: Sequence[float], differences: Sequence[float], clusters: Sequence[str] | None = None
) -> LengthControlled:
    """From what each comparison brought (1 won, 1/2 tied, 0 lost) and by how many tokens the answer
    was longer. Comparisons of one cluster (a prompt) are one fact; all are their own by default.

    The interval is that of the log-odds at zero. Their spread is the larger of two estimates: the
    sandwich (Huber 1967), by clusters (Liang and Zeger 1986), and the model's own, less what ties
    take (`winrate.varies`): where length decides everything, nothing is left over for the first,
    while the second knows that any merit would fit. Raises ValueError where there is nothing to
    compare.
    """
    if not shares or len(shares) != len(differences):
        raise ValueError(f"cannot compare {len(shares)} answers by {len(differences)} lengths")
    won = np.asarray(shares, dtype=np.float64)
    design = np.ones((len(won), 2))  # (comparisons, 2): the constant, the length
    design[:, 1] = squashed(differences)
    weights, bread, residual = _fit(design, won)
    scores = _by_cluster(design * residual[:, None], clusters)
    meat = scores.T @ scores * len(scores) / max(1, len(scores) - 1)
    wins, losses = int((won > 0.5).sum()), int((won < 0.5).sum())
    model = bread[0, 0] * varies(wins, len(won) - wins - losses, losses)
    half = Z95 * float(np.sqrt(max((bread @ meat @ bread)[0, 0], model)))
    middle = float(weights[0])
    return LengthControlled(
        _share(middle), _share(middle - half), _share(middle + half), float(weights[1])
    )


def _fit(design: Array, won: Array) -> tuple[Array, Array, Array]:
    """The penalised logistic regression by Newton's method: coefficients (2,), the inverse of its
    information (2, 2), residuals (comparisons,).
    """
    penalty = np.eye(2) / PRIOR**2
    weights: Array = np.zeros(2)
    bread: NDArray[Any] = penalty
    for _ in range(STEPS):
        share = 1 / (1 + np.exp(-design @ weights))
        gradient = design.T @ (won - share) - penalty @ weights
        bread = np.linalg.inv((design.T * (share * (1 - share))) @ design + penalty)
        step = bread @ gradient
        weights = weights + step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < TOLERANCE:
            break
    return weights, bread, won - share


def squashed(differences: Sequence[float]) -> Array:
    """tanh of each length difference over the standard deviation of all; zeros where all are one
    length apart.
    """
    found = np.asarray(differences, dtype=np.float64)
    spread = float(found.std())
    return np.tanh(found / spread) if spread > 0 else np.zeros_like(found)


def _by_cluster(scores: Array, clusters: Sequence[str] | None) -> Array:
    """The score of each cluster, (clusters, 2)."""
    if clusters is None:
        return scores
    names = {name: place for place, name in enumerate(dict.fromkeys(clusters))}
    summed = np.zeros((len(names), scores.shape[1]))
    np.add.at(summed, [names[name] for name in clusters], scores)
    return summed


def _share(log_odds: float) -> float:
    return 1 / (1 + exp(-log_odds))
