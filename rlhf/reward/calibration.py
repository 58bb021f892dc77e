"""Whether the probabilities of a reward model mean what they say.

The probability that the better one of a pair is better is sigmoid(scale * difference of scores).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

Array = NDArray[np.float64]
Bins = tuple[tuple[float, float, int], ...]

BINS = 10
COLDEST, HOTTEST = 0.02, 50.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """Probabilities of pairs against what was said of them.

    `error`: expected calibration error over ten bins. `brier`: mean squared error of the
    probabilities, 0.25 for one who always says one half. `nats`: mean -log of the probability of
    what was chosen, ln 2 for that one. `bins`: (mean prediction, share that was so, cases).
    """

    error: float
    brier: float
    nats: float
    bins: Bins


def calibration_of(logits: Array) -> Calibration:
    """From the log-odds that a model gives what was chosen, (P,)."""
    predicted = chance(logits)
    error, bins = reliability(predicted)
    return Calibration(
        error,
        float(((1 - predicted) ** 2).mean()),
        float(np.logaddexp(0, -logits).mean()),
        bins,
    )


def chance(logits: Array) -> Array:
    """The logistic function, (P,)."""
    return 0.5 * (1 + np.tanh(np.asarray(logits, dtype=np.float64) / 2))


def reliability(predicted: Array) -> tuple[float, Bins]:
    """Expected calibration error and bins, from the predicted probability of what was chosen, (P,).

    A pair is counted from both sides (p of the chosen is right, 1 - p of the other is wrong), so
    that the diagram is symmetric about one half and does not depend on which side is called A.
    Guo et al. (2017), equation 3. The error of few cases is above 0 for a perfect model too.
    """
    both = np.concatenate([predicted, 1 - predicted])
    right = np.concatenate([np.ones_like(predicted), np.zeros_like(predicted)])
    which = np.minimum((both * BINS).astype(int), BINS - 1)
    bins = tuple(
        (float(both[which == b].mean()), float(right[which == b].mean()), int((which == b).sum()))
        for b in range(BINS)
        if (which == b).any()
    )
    total = sum(count for *_, count in bins)
    return sum(abs(p - share) * count for p, share, count in bins) / total, bins


def fit_temperature(logits: Array) -> float:
    """The T for which logits / T predict best what was chosen: above 1, the model is too sure.

    Minimises the mean of log(1 + exp(-logits / T)), which is convex in 1 / T; Guo et al. (2017),
    section 4.2. Kept within 1/50 and 50: where every pair is right, or more are wrong than right,
    no T is best. Raises ValueError without any pair.
    """
    if not len(logits):
        raise ValueError("no pair to fit a temperature on")
    found = minimize_scalar(
        lambda log_t: float(np.logaddexp(0, -logits * np.exp(-log_t)).mean()),
        bounds=(np.log(COLDEST), np.log(HOTTEST)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(np.exp(found.x))
