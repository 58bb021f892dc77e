"""Calibration and temperature: worked by hand, and on planted data (identity 24)."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlhf.reward.calibration import calibration_of, chance, fit_temperature, reliability
from rlhf.reward.votes import hits


def test_reliability_by_hand() -> None:
    # From both sides: .9 and .8 were chosen, so .9, .8 right and .1, .2 wrong.
    error, bins = reliability(np.array([0.92, 0.81]))
    assert [count for *_, count in bins] == [1, 1, 1, 1]
    assert error == pytest.approx((0.08 + 0.19 + 0.08 + 0.19) / 4)
    # Three of four at .75: calibrated. The fourth chose what had .25.
    error, bins = reliability(np.array([0.75] * 3 + [0.25]))
    assert error == 0
    assert bins == ((0.25, 0.25, 4), (0.75, 0.75, 4))


def test_a_sure_prediction_falls_in_the_last_bin() -> None:
    error, bins = reliability(np.array([1.0, 1.0, 0.0]))
    assert [(p, count) for p, _, count in bins] == [(0.0, 3), (1.0, 3)]
    assert error == pytest.approx(1 / 3)


def test_scores_by_hand() -> None:
    found = calibration_of(np.array([math.log(3), -math.log(3), 0.0]))  # .75, .25 and .5
    assert found.brier == pytest.approx((0.25**2 + 0.75**2 + 0.5**2) / 3)
    assert found.nats == pytest.approx(-(math.log(0.75) + math.log(0.25) + math.log(0.5)) / 3)
    coin = calibration_of(np.zeros(7))
    assert (coin.brier, coin.nats) == pytest.approx((0.25, math.log(2)))


def test_huge_odds_neither_overflow_nor_warn() -> None:
    assert list(chance(np.array([-2000.0, 0.0, 2000.0]))) == [0.0, 0.5, 1.0]
    assert calibration_of(np.array([-2000.0])).nats == 2000


def planted(temperature: float, pairs: int = 20_000) -> np.ndarray:
    """Log-odds of what was chosen, by a model that is `temperature` times too sure."""
    random = np.random.default_rng(3)
    gaps = random.normal(0, 1.5, pairs)
    won = random.random(pairs) < chance(gaps)
    return np.where(won, gaps, -gaps) * temperature


@pytest.mark.parametrize("too_sure", [0.5, 1.0, 3.0])
def test_the_temperature_that_was_planted_is_found(too_sure: float) -> None:
    """Identity 24: the true model's error tends to 0, and the temperature brings it there."""
    logits = planted(too_sure)
    found = fit_temperature(logits)
    assert found == pytest.approx(too_sure, rel=0.03)
    assert calibration_of(logits / found).error < 0.01
    if too_sure != 1:
        assert calibration_of(logits).error > 0.05


@given(st.lists(st.integers(-800, 800), min_size=1, max_size=30))
def test_a_temperature_changes_no_order_and_never_predicts_worse(gaps: list[int]) -> None:
    """Identity 24: accuracy is unchanged, exactly."""
    logits = np.array(gaps) / 100
    found = fit_temperature(logits)
    assert list(hits(logits / found)) == list(hits(logits))
    assert calibration_of(logits / found).nats <= calibration_of(logits).nats + 1e-6


def test_no_pair_is_refused_and_perfect_pairs_stay_finite() -> None:
    with pytest.raises(ValueError, match="no pair to fit a temperature on"):
        fit_temperature(np.zeros(0))
    assert fit_temperature(np.array([1.0, 2.0])) == pytest.approx(0.02, rel=0.01)
    assert fit_temperature(np.array([-1.0, -2.0])) == pytest.approx(50, rel=0.01)
