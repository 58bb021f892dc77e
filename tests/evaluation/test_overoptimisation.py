"""Gao's curves: planted numbers come back, peaks are where calculus puts them, intervals cover."""

from math import e, exp, log, sqrt
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlhf.evaluation.overoptimisation import Curve, Kind, fit, why_not

KL = (1.0, 4.0, 9.0, 16.0)  # d = 1, 2, 3, 4


def test_reinforcement_learning_by_hand() -> None:
    # alpha 0.8, beta 0.4: R = d (0.8 - 0.4 log d), highest at d = e^(2 - 1) = e, there 0.4 e.
    gains = [0.8, 2 * (0.8 - 0.4 * log(2)), 3 * (0.8 - 0.4 * log(3)), 4 * (0.8 - 0.4 * log(4))]
    curve = fit("rl", KL, gains)
    assert (curve.alpha, curve.beta) == pytest.approx((0.8, 0.4))
    assert curve.peak == pytest.approx(e)
    assert (curve.peak_low, curve.peak_high) == pytest.approx((e, e))
    assert curve.at(e**2) == pytest.approx(0.4 * e)
    assert curve.at(0) == 0
    assert (curve.points, curve.reach, curve.peaks_within_reach) == (4, 4, True)


def test_best_of_n_by_hand() -> None:
    # alpha 1, beta 1/4: d - d^2 / 4 is 0.75, 1, 0.75, 0; highest at d = 2.
    curve = fit("best-of-n", KL, [0.75, 1.0, 0.75, 0.0])
    assert (curve.alpha, curve.beta, curve.peak) == pytest.approx((1, 0.25, 2))
    assert curve.at(4) == pytest.approx(1)


def test_a_point_at_sft_says_nothing_and_is_not_counted() -> None:
    with_start = fit("best-of-n", (0.0, *KL), [0.3, 0.75, 1.0, 0.75, 0.0])
    assert with_start == fit("best-of-n", KL, [0.75, 1.0, 0.75, 0.0])


def test_noise_widens_the_peak_s_interval_by_hand() -> None:
    # Best-of-n at d = 1, 2, 3, 4, gains missed by (c, -c, c, -c): u = d, v = -d^2, so
    # uu = 30, uv = -100, vv = 354, determinant 620; u.e = -2 c, v.e = 10 c.
    c = 0.01
    curve = fit("best-of-n", KL, [0.75 + c, 1 - c, 0.75 + c, -c])
    alpha = 1 + (354 * -2 * c + 100 * 10 * c) / 620
    beta = 0.25 + (30 * 10 * c + 100 * -2 * c) / 620
    assert (curve.alpha, curve.beta) == pytest.approx((alpha, beta))
    missed = 4 * c * c - ((alpha - 1) * -2 * c + (beta - 0.25) * 10 * c)
    # Fieller's ends solve (alpha - r beta)^2 = t^2 s^2 (vv + 2 r uv + r^2 uu) / 620, r = 2 peak.
    t, s2 = 4.302652729911275, missed / 2
    for end in (curve.peak_low, curve.peak_high):
        assert end is not None
        r = 2 * end
        assert (alpha - r * beta) ** 2 == pytest.approx(
            t * t * s2 * (354 + 2 * r * -100 + r * r * 30) / 620
        )
    assert curve.peak_low is not None
    assert curve.peak is not None
    assert curve.peak_high is not None
    assert curve.peak_low < curve.peak < curve.peak_high


def test_a_curve_that_only_rises_has_no_peak() -> None:
    curve = fit("rl", KL, [d * (1 + 0.2 * log(d)) for d in (1, 2, 3, 4)])
    assert curve.beta == pytest.approx(-0.2)
    assert (curve.peak, curve.peaks_within_reach) == (None, False)


def test_a_peak_beyond_what_was_measured_is_not_within_reach() -> None:
    curve = fit("rl", KL, [d * (1.2 - 0.4 * log(d)) for d in (1, 2, 3, 4)])
    assert curve.peak == pytest.approx(exp(2))
    assert not curve.peaks_within_reach


@pytest.mark.parametrize(
    ("kl", "reason"),
    [
        ((0.0, 1.0, 4.0, 9.0), "3 measured away from SFT, and a curve wants 4"),
        ((), "0 measured"),
        ((4.0, 4.1, 4.2, 4.3, 0.0), "about the same distance"),
    ],
)
def test_too_few_or_too_close_points_are_refused(kl: tuple[float, ...], reason: str) -> None:
    assert reason in why_not(kl)
    with pytest.raises(ValueError, match="no curve can be fitted"):
        fit("rl", kl, [1.0] * len(kl))


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not a number"):
        fit("rl", KL, [1.0, 2.0, float("nan"), 3.0])


@given(
    kind=st.sampled_from(["rl", "best-of-n"]),
    alpha=st.floats(-3, 3),
    beta=st.floats(-2, 2),
    kl=st.lists(st.floats(0.05, 60), min_size=6, max_size=12, unique_by=lambda one: round(one, 1)),
)
def test_planted_numbers_come_back(kind: Kind, alpha: float, beta: float, kl: list[float]) -> None:
    if why_not(kl):
        return
    planted = Curve(kind, alpha, beta, 0, 0, None, None, None)
    found = fit(kind, kl, [planted.at(one) for one in kl])
    assert (found.alpha, found.beta) == pytest.approx((alpha, beta), abs=1e-6)


@pytest.mark.parametrize("kind", ["rl", "best-of-n"])
def test_the_interval_of_the_peak_covers_the_truth(kind: Kind) -> None:
    random = Random(7)
    kl = [0.5, 1, 2, 4, 6, 9, 12, 16, 25]
    truth = Curve(kind, 1.0, 0.25 if kind == "best-of-n" else 0.5, 0, 0, None, None, None)
    peak = 2.0 if kind == "best-of-n" else exp(1.0)
    covered = 0
    for _ in range(1000):
        curve = fit(kind, kl, [truth.at(one) + random.gauss(0, 0.1) for one in kl])
        low, high = curve.peak_low, curve.peak_high
        covered += (low is None or low <= peak) and (high is None or peak <= high)
    assert 930 <= covered <= 970
    assert sqrt(25) == curve.reach
