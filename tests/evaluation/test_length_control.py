"""The win rate at equal length, against what can be worked out and against scipy's optimum."""

from math import exp, log, sqrt

import numpy as np
import pytest
from scipy.optimize import minimize

from rlhf.evaluation.length_control import PRIOR, length_controlled, squashed
from rlhf.evaluation.winrate import Z95


def test_where_all_are_equally_long_it_is_the_win_rate_drawn_a_little_to_one_half() -> None:
    found = length_controlled([1.0] * 60 + [0.0] * 30, [0.0] * 90)
    odds = log(found.rate / (1 - found.rate))
    assert 60 - 90 * found.rate == pytest.approx(odds / PRIOR**2)  # the optimum's own equation
    assert found.rate == pytest.approx(60 / 90, abs=2e-3)
    assert found.effect == pytest.approx(0)
    # No ties: the model's own spread, 1 / (n p (1 - p) + 1 / prior^2).
    half = Z95 / sqrt(90 * found.rate * (1 - found.rate) + PRIOR**-2)
    assert found.low == pytest.approx(1 / (1 + exp(half - odds)), abs=1e-3)
    assert found.high == pytest.approx(1 / (1 + exp(-half - odds)), abs=1e-3)


def test_ties_make_the_interval_narrower() -> None:
    plain = length_controlled([1.0, 1.0, 0.0] * 30, [0.0] * 90)
    tied = length_controlled([1.0, 0.5, 0.5] * 30, [0.0] * 90)
    assert tied.rate == pytest.approx(plain.rate)
    assert plain.low < tied.low < tied.high < plain.high


def test_lengths_count_by_tanh_of_their_spread() -> None:
    # (2, -2, 2, -2) has a standard deviation of 2.
    assert squashed([2, -2, 2, -2]) == pytest.approx(np.tanh([1, -1, 1, -1]))
    assert squashed([3, 3, 3]) == pytest.approx([0, 0, 0])


def test_it_is_the_penalised_optimum() -> None:
    drawn = np.random.default_rng(3)
    apart = drawn.normal(4, 10, 80)
    won = np.round(2 * drawn.random(80)) / 2
    length = squashed(list(apart))

    def loss(weights: np.ndarray) -> float:
        odds = weights[0] + weights[1] * length
        fit = won @ np.logaddexp(0, -odds) + (1 - won) @ np.logaddexp(0, odds)
        return float(fit + weights @ weights / (2 * PRIOR**2))

    best = minimize(loss, np.zeros(2), tol=1e-12).x
    found = length_controlled(list(won), list(apart))
    assert found.rate == pytest.approx(1 / (1 + exp(-best[0])), abs=1e-5)
    assert found.effect == pytest.approx(best[1], abs=1e-4)


def test_a_policy_that_wins_by_length_alone_does_not_win_at_equal_length() -> None:
    # Longer always wins, shorter always loses, and it is longer three times of four.
    found = length_controlled([1.0] * 75 + [0.0] * 25, [10.0] * 75 + [-10.0] * 25)
    assert found.low < 0.5 < found.high
    assert found.rate < 0.63
    assert found.effect > 3
    better = length_controlled([1.0, 1.0, 1.0, 0.0] * 25, [10.0, -10.0, -10.0, 10.0] * 25)
    assert better.low > 0.5


def test_where_every_answer_is_longer_nothing_is_known_of_equal_length() -> None:
    found = length_controlled([1.0] * 100, [5.0 + place % 40 for place in range(100)])
    assert found.low < 0.5 < found.high
    alike = length_controlled([1.0] * 100, [3.0, -3.0] * 50)
    assert 0.94 < alike.low < alike.rate < alike.high < 1


def test_what_is_said_twice_of_a_prompt_is_said_once() -> None:
    shares, apart = [1.0, 0.0, 1.0, 1.0, 0.5, 0.0] * 5, [4.0, -2.0, 1.0, 0.0, -3.0, 2.0] * 5
    names = [f"p{i}" for i in range(30)]
    once = length_controlled(shares, apart)
    assert length_controlled(shares, apart, names) == once
    twice = length_controlled(shares * 2, apart * 2, names * 2)
    alone = length_controlled(shares * 2, apart * 2)
    assert alone.low > twice.low
    assert twice.low == pytest.approx(once.low, abs=0.02)


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot compare 0 answers by 0 lengths"):
        length_controlled([], [])
    with pytest.raises(ValueError, match="cannot compare 2 answers by 1 lengths"):
        length_controlled([1.0, 0.0], [1.0])
