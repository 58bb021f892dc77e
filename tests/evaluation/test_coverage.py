"""The 95 % intervals hold the truth in 93 to 97 % of 1,000 simulated evaluations."""

from collections.abc import Callable

import numpy as np
import pytest

from rlhf.evaluation.length_control import Array, length_controlled, squashed
from rlhf.evaluation.paired import difference
from rlhf.evaluation.winrate import of_counts

TRIALS = 1000
Drawn = np.random.Generator


def share_that_holds(trial: Callable[[Drawn], tuple[float, float]], truth: float) -> float:
    drawn = np.random.default_rng(11)
    spans = [trial(drawn) for _ in range(TRIALS)]
    return sum(low <= truth <= high for low, high in spans) / TRIALS


def logistic(odds: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-odds)), dtype=np.float64)


@pytest.mark.slow
@pytest.mark.parametrize("count", [100, 250])
@pytest.mark.parametrize(("wins", "ties"), [(0.6, 0.0), (0.5, 0.2), (0.2, 0.6), (0.7, 0.2)])
def test_wilson_with_ties(wins: float, ties: float, count: int) -> None:
    def trial(drawn: Drawn) -> tuple[float, float]:
        found = of_counts(*map(int, drawn.multinomial(count, [wins, ties, 1 - wins - ties])))
        return found.low, found.high

    assert 0.93 <= share_that_holds(trial, wins + ties / 2) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("count", [60, 150])
def test_the_bootstrap_over_prompts_with_several_judgements_each(count: int) -> None:
    """Prompts are hard or easy for both policies, and one to three people judge each."""
    grid = np.linspace(-6, 6, 2001)
    weight = np.exp(-(grid**2) / 2)
    truth = float((weight * (logistic(grid + 0.4) - logistic(grid))).sum() / weight.sum())

    def trial(drawn: Drawn) -> tuple[float, float]:
        at = np.repeat(np.arange(count), drawn.integers(1, 4, count))
        ease = drawn.normal(size=count)[at]
        ours = (drawn.random(len(at)) < logistic(ease + 0.4)).astype(float)
        theirs = (drawn.random(len(at)) < logistic(ease)).astype(float)
        found = difference(list(ours), list(theirs), [str(one) for one in at], draws=500)
        return found.low, found.high

    assert 0.93 <= share_that_holds(trial, truth) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("count", [100, 250])
@pytest.mark.parametrize(
    ("merit", "length", "longer", "ties"),
    [(0.4, 1.0, 0.3, 0.0), (0.0, 1.5, 1.0, 0.0), (1.2, 0.5, 0.0, 0.0), (0.4, 1.0, 0.3, 0.2)],
)
def test_length_controlled(
    merit: float, length: float, longer: float, ties: float, count: int
) -> None:
    def trial(drawn: Drawn) -> tuple[float, float]:
        apart = 12 * drawn.normal(longer, 1, count)
        share = logistic(merit + length * squashed(list(apart)))
        tied = 2 * ties * np.minimum(share, 1 - share)
        at = drawn.random(count)
        won = np.where(at < share - tied / 2, 1.0, np.where(at < share + tied / 2, 0.5, 0.0))
        found = length_controlled(list(won), list(apart))
        return found.low, found.high

    assert 0.93 <= share_that_holds(trial, float(logistic(np.array(merit)))) <= 0.97
