"""The win rate there would be were both answers as long as one another.

AlpacaEval 2's way (Dubois et al. 2024, "Length-controlled AlpacaEval", equation 2): a logistic
regression of the preference on tanh(length difference / its standard deviation), read at a
difference of zero. Their term for how hard a prompt is needs many models on the same prompts and
is left out here.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import exp

import numpy as np
from numpy.typing import NDArray

from rlhf.data.identity import Json
from rlhf.evaluation.winrate import Z95

# The coefficient of length is drawn to zero as by a normal prior of this standard deviation (the
# scale that Gelman et al. 2008 give for logistic regression): with few comparisons length is not
# made the reason of everything. One tie of like length is added, so that what always wins has an
# end.
PRIOR = 2.5
STEPS = 50
TOLERANCE = 1e-10
Array = NDArray[np.float64]


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

    The interval is that of the log-odds at zero, with the sandwich estimate of their spread (Huber
    1967), by clusters (Liang and Zeger 1986). Raises ValueError where there is nothing to compare.
    """
    if not shares or len(shares) != len(differences):
        raise ValueError(f"cannot compare {len(shares)} answers by {len(differences)} lengths")
    won = np.append(np.asarray(shares, dtype=np.float64), 0.5)
    design = np.ones((len(won), 2))  # (comparisons + 1, 2): the constant, the length
    design[:, 1] = np.append(squashed(differences), 0.0)
    penalty = np.diag([0.0, PRIOR**-2])
    weights = np.zeros(2)
    for _ in range(STEPS):
        share = 1 / (1 + np.exp(-design @ weights))
        gradient = design.T @ (won - share) - penalty @ weights
        bread = np.linalg.inv((design.T * (share * (1 - share))) @ design + penalty)
        step = bread @ gradient
        weights = weights + step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < TOLERANCE:
            break
    scores = _by_cluster(design * (won - share)[:, None], clusters)
    meat = scores.T @ scores * len(scores) / (len(scores) - 1)
    half = Z95 * float(np.sqrt((bread @ meat @ bread)[0, 0]))
    middle = float(weights[0])
    return LengthControlled(
        _share(middle), _share(middle - half), _share(middle + half), float(weights[1])
    )


def squashed(differences: Sequence[float]) -> Array:
    """tanh of each length difference over the standard deviation of all; zeros where all are one
    length apart.
    """
    found = np.asarray(differences, dtype=np.float64)
    spread = float(found.std())
    return np.tanh(found / spread) if spread > 0 else np.zeros_like(found)


def _by_cluster(scores: Array, clusters: Sequence[str] | None) -> Array:
    """The score of each cluster, (clusters, 2); the added tie is one of its own."""
    if clusters is None:
        return scores
    names = {name: place for place, name in enumerate(dict.fromkeys(clusters))}
    places = [*(names[name] for name in clusters), len(names)]
    summed = np.zeros((len(names) + 1, scores.shape[1]))
    np.add.at(summed, places, scores)
    return summed


def _share(log_odds: float) -> float:
    return 1 / (1 + exp(-log_odds)) if log_odds > -700 else 0.0
