"""Two policies prompt by prompt, and many of them at once."""

import pytest
from scipy.stats import binomtest

from rlhf.evaluation.paired import difference
from rlhf.evaluation.several import corrected, sign_test
from rlhf.evaluation.winrate import of_counts


def test_the_difference_is_that_of_the_means_and_the_interval_holds_it() -> None:
    found = difference([1.0, 1.0, 0.5, 0.0] * 10, [0.0, 1.0, 0.5, 0.5] * 10)
    assert found.value == pytest.approx(0.125)
    assert found.low < 0.125 < found.high
    assert found.clusters == 40


def test_what_is_hard_for_both_cancels_out() -> None:
    ours = [1.0, 0.0] * 50
    assert difference(ours, ours).to_json() == {"value": 0, "low": 0, "high": 0, "clusters": 100}
    ahead = [1.0 if place < 10 else share for place, share in enumerate(ours)]
    found = difference(ahead, ours)
    assert found.value == pytest.approx(0.05)
    assert found.is_real  # five of a hundred prompts, all one way
    assert not difference(ours, ours[::-1]).is_real


def test_the_bootstrap_is_over_prompts_not_judgements() -> None:
    ours, theirs = [1.0, 0.0, 1.0, 1.0, 0.0] * 6, [0.0, 0.0, 1.0, 0.0, 1.0] * 6
    names = [f"p{place}" for place in range(30)]
    once = difference(ours, theirs, names)
    many = difference(ours * 4, theirs * 4, names * 4)
    assert (many.low, many.high) == pytest.approx((once.low, once.high))
    assert difference(ours * 4, theirs * 4).low > once.low


def test_the_seed_decides_and_the_sides_mirror() -> None:
    ours, theirs = [1.0, 0.0, 0.5] * 90, [0.0, 0.5, 0.5] * 90
    few = [difference(ours, theirs, draws=100, seed=seed) for seed in (1, 1, 2)]
    assert few[0] == few[1] != few[2]
    there, back = difference(ours, theirs), difference(theirs, ours)
    assert (there.value, there.low) == pytest.approx((-back.value, -back.high))


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot compare 2 comparisons with 1"):
        difference([1.0, 0.0], [1.0])


def test_ties_say_nothing_to_the_sign_test() -> None:
    assert sign_test(of_counts(9, 0, 1)) == pytest.approx(2 * (1 + 10) / 2**10)
    assert sign_test(of_counts(9, 50, 1)) == pytest.approx(binomtest(9, 10).pvalue)
    assert sign_test(of_counts(0, 5, 0)) == 1.0


def test_holm_by_hand() -> None:
    # Alone: 2 (1 + 10) / 2^10 = 0.0215; 2 / 2^8 = 0.0078; 1. Of three: 2 x, 3 x, 1 x.
    found = corrected({"a": of_counts(9, 0, 1), "b": of_counts(8, 0, 0), "c": of_counts(5, 0, 5)})
    assert found["a"] == pytest.approx(2 * 22 / 2**10)
    assert found["b"] == pytest.approx(3 * 2 / 2**8)
    assert found["c"] == 1.0
