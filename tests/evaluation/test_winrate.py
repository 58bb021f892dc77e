"""Win rates and their intervals against published values and worked examples."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from rlhf.evaluation.winrate import (
    Z95,
    best_of_n_kl_bound,
    of_counts,
    varies,
    verdict,
    wilson,
    win_rate,
)


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # Newcombe (1998), table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_against_published_values(hits: int, count: int, low: float, high: float) -> None:
    found = wilson(hits / count, count)
    assert found == pytest.approx((low, high), abs=5e-5)


@settings(deadline=None)
@given(st.integers(1, 500), st.data())
def test_wilson_is_scipys(count: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, count))
    exact = binomtest(hits, count).proportion_ci(0.95, method="wilson")
    found = wilson(hits / count, count)
    assert found == pytest.approx((exact.low, exact.high), abs=1e-9)
    assert 0 <= found[0] <= hits / count + 1e-9
    assert hits / count - 1e-9 <= found[1] <= 1


def test_wilson_is_symmetric_and_solves_its_equation() -> None:
    low, high = wilson(0.3, 50)
    assert wilson(0.7, 50) == pytest.approx((1 - high, 1 - low))
    for edge in (low, high):
        assert abs(0.3 - edge) == pytest.approx(Z95 * math.sqrt(edge * (1 - edge) / 50))


def test_ties_count_one_half() -> None:
    found = win_rate([3.0, 1.0, 2.0, 5.0, 0.0], [1.0, 1.0, 4.0, 0.0, 0.0])
    assert (found.wins, found.ties, found.losses) == (2, 2, 1)
    assert found.rate == pytest.approx(0.6)
    # A win and a loss added: rate (2 + 1 + 1) / 7 = 4/7; 2 ties take 2/4 of 7 * 4/7 * 3/7 = 12/7.
    assert varies(2, 2, 1) == pytest.approx(1 - 0.5 / (12 / 7))
    assert (found.low, found.high) == pytest.approx(wilson(0.6, 5 / (1 - 0.5 / (12 / 7))))
    assert found.to_json()["wins"] == 2
    assert found.decided() == (2 / 3, *wilson(2 / 3, 3))


def test_without_ties_the_interval_is_wilsons_and_ties_narrow_it() -> None:
    assert varies(30, 0, 20) == 1
    plain, tied = of_counts(30, 0, 20), of_counts(20, 20, 10)
    assert (plain.low, plain.high) == wilson(0.6, 50)
    assert tied.rate == plain.rate
    assert plain.low < tied.low < 0.6 < tied.high < plain.high


def test_ties_alone_decide_nothing_and_are_no_certainty() -> None:
    found = of_counts(0, 10, 0)
    assert found.decided() is None
    assert found.low < 0.5 < found.high
    assert found.high - found.low == pytest.approx(0.24, abs=0.01)


def test_the_other_side_wins_the_rest() -> None:
    ours, theirs = [3.0, 1.0, 2.0, 5.0], [1.0, 1.0, 4.0, 0.0]
    one, other = win_rate(ours, theirs), win_rate(theirs, ours)
    assert one.rate + other.rate == 1
    assert one.low + other.high == pytest.approx(1)
    assert (one.wins, one.losses) == (other.losses, other.wins)


def test_only_the_order_of_rewards_matters() -> None:
    ours, theirs = [3.0, 1.0, -2.0], [1.0, 2.0, -4.0]
    assert win_rate(ours, theirs) == win_rate(
        [math.exp(a) for a in ours], list(map(math.exp, theirs))
    )


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot compare 0 answers with 0"):
        win_rate([], [])
    with pytest.raises(ValueError, match="cannot compare 1 answers with 2"):
        win_rate([1.0], [1.0, 2.0])


def test_rewards_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="1 of 2 answers have rewards that are not numbers"):
        win_rate([math.nan, 1.0], [0.0, 0.0])
    with pytest.raises(ValueError, match="1 of 2 answers have rewards that are not numbers"):
        win_rate([0.0, 1.0], [math.nan, 0.0])


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [
        (0.51, 0.8, "ship"),
        (0.5, 0.8, "not enough evidence"),
        (0.4, 0.6, "not enough evidence"),
        (0.3, 0.5, "do not ship"),
        (0.5, 0.5, "do not ship"),
        (0.1, 0.4, "do not ship"),
    ],
)
def test_verdict_at_its_edges(low: float, high: float, says: str) -> None:
    assert verdict(low, high) == says


def test_how_many_judgements_tell_a_winner() -> None:
    # At 55 % won: 194 judgements leave one half inside, 783 do not.
    assert verdict(*wilson(0.55, 194)) == "not enough evidence"
    assert verdict(*wilson(0.55, 783)) == "ship"


def test_best_of_n_bound_by_hand() -> None:
    assert best_of_n_kl_bound(1) == 0
    assert best_of_n_kl_bound(2) == pytest.approx(math.log(2) - 0.5)
    assert best_of_n_kl_bound(16) == pytest.approx(2.7725887 - 15 / 16)


@pytest.mark.parametrize("n", [2, 4, 16])
def test_best_of_n_stays_within_its_bound(n: int) -> None:
    """By enumeration: the best of n draws from a known distribution, no two rewards alike."""
    shares = [0.05, 0.3, 0.25, 0.1, 0.2, 0.1]  # from the worst response to the best
    cumulated = [sum(shares[: i + 1]) for i in range(6)]
    best = [c**n - b**n for c, b in zip(cumulated, [0.0, *cumulated[:-1]], strict=True)]
    assert sum(best) == pytest.approx(1)
    kl = sum(p * math.log(p / q) for p, q in zip(best, shares, strict=True))
    assert 0 < kl <= best_of_n_kl_bound(n)
    fine = [1 / 2000] * 2000  # with many equally likely responses the bound is nearly reached
    ends = [((i + 1) / 2000) ** n - (i / 2000) ** n for i in range(2000)]
    near = sum(p * math.log(p / q) for p, q in zip(ends, fine, strict=True) if p > 0)
    assert near == pytest.approx(best_of_n_kl_bound(n), abs=0.01)
