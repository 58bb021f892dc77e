"""Manners of voting: how a labeler's votes follow from what the others think, and from habits.

A labeler of manner (alpha, b) prefers the first of two responses with probability
sigmoid(alpha * margin + b . leanings), where the margin is the log-odds that the others give to the
first. alpha is 1 for who judges like the others, 0 for a coin, -1 for a contrarian; a leaning is
+1 or -1 where a habit (the longer one, the one shown first) points to the first or the second.
Manners are few and fixed, so that what is known about a labeler is a probability for each: exact,
without local optima, and as unsure as it ought to be after three votes. The reliability of
Crowd-BT (Chen et al. 2013, "Pairwise ranking aggregation in a crowdsourced setting"), with habits.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ALPHAS = (-1.0, -0.5, 0.0, 0.5)  # beside 1, which is everybody's until shown otherwise
STRENGTHS = (-3.0, -1.5, 1.5, 3.0)  # of a habit, in log-odds
LIKE_THE_OTHERS = 0.9  # the prior probability of (1, no habit): what everybody is shrunk towards


@dataclass(frozen=True, slots=True)
class Manners:
    """T manners: `alpha`, (T,); `leaning`, (T, L), one column a habit; `log_prior`, (T,)."""

    alpha: Array
    leaning: Array
    log_prior: Array


@dataclass(frozen=True, slots=True)
class Reliability:
    """How far a labeler's votes follow what the others think.

    `value` is 1 for like the others, 0 for a coin, -1 for a contrarian, with its `standard_error`
    (both of the posterior, hence shrunk towards 1). `leanings` are the habits found, in log-odds.
    `comparisons` is how many votes there were to judge by: what is said of few means little.
    """

    value: float
    standard_error: float
    leanings: tuple[float, ...]
    comparisons: float


@cache
def manners(num_leanings: int) -> Manners:
    """All manners with at most one habit each. Of the prior, half of what is not like the others
    goes to other alphas without a habit, half is spread over the habits.
    """
    without = [(alpha, (0.0,) * num_leanings) for alpha in (1.0, *ALPHAS)]
    habits = [
        (alpha, tuple(strength if k == habit else 0.0 for k in range(num_leanings)))
        for habit in range(num_leanings)
        for alpha in (0.0, 0.5, 1.0)
        for strength in STRENGTHS
    ]
    rest = (1 - LIKE_THE_OTHERS) * (0.5 if habits else 1.0)
    prior = [LIKE_THE_OTHERS, *[rest / len(ALPHAS)] * len(ALPHAS)]
    prior += [rest / len(habits) for _ in habits]
    every = without + habits
    return Manners(
        np.array([alpha for alpha, _ in every]),
        np.array([leaning for _, leaning in every]).reshape(len(every), num_leanings),
        np.log(prior),
    )


def first_chance(logits: Array) -> Array:
    """The probability of a vote for the first, from its log-odds; any shape."""
    chance: Array = 1 / (1 + np.exp(-np.clip(logits, -30, 30)))
    return chance


def log_chance(vote: Array, first: Array) -> Array:
    """Log-probability of votes (1 the first, 0 the second, 0.5 a tie: half of each)."""
    chance: Array = vote * np.log(first) + (1 - vote) * np.log1p(-first)
    return chance


def posterior(log_likelihood: Array, log_prior: Array) -> Array:
    """Probability of each manner, (J, T), from the log-likelihood of all votes of each labeler."""
    joint = log_likelihood + log_prior
    chances = np.exp(joint - joint.max(1, keepdims=True))
    normalised: Array = chances / chances.sum(1, keepdims=True)
    return normalised


def reliabilities(chances: Array, known: Manners, comparisons: Array) -> list[Reliability]:
    """A labeler a row of `chances` (J, T), who was judged by that many `comparisons` (J,)."""
    value = chances @ known.alpha
    variance = chances @ known.alpha**2 - value**2
    leanings = chances @ known.leaning
    return [
        Reliability(
            float(value[j]),
            float(np.sqrt(max(0.0, variance[j]))),
            tuple(float(one) for one in leanings[j]),
            float(comparisons[j]),
        )
        for j in range(len(chances))
    ]


def labeler_weights(
    found: dict[str, Reliability], *, min_comparisons: float = 10.0
) -> dict[str, float]:
    """What each labeler's rankings weigh in training, between 0 and 1: their reliability, 0 for a
    contrarian. Who was judged by fewer than `min_comparisons` weighs 1, like everybody at first.
    """
    return {
        labeler: 1.0 if one.comparisons < min_comparisons else min(1.0, max(0.0, one.value))
        for labeler, one in found.items()
    }
