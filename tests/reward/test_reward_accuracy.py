"""Accuracy and calibration of scores, worked by hand."""

import math
import tracemalloc

import numpy as np
import pytest

from rlhf.reward import accuracy
from rlhf.reward.accuracy import bootstrapped, measure, pair_accuracy, scored_rows
from rlhf.reward.rankings import RankedPrompt


def ranked(words: tuple[int, ...], *pairs: tuple[int, int]) -> RankedPrompt:
    better, worse = zip(*pairs, strict=True)
    return RankedPrompt(
        f"p{words}",
        (5,),
        ((6,),) * len(words),
        words,
        better,
        worse,
        (1 / len(pairs),) * len(pairs),
    )


ONE = ranked((3, 9, 9), (0, 1), (0, 2), (1, 2))
TWO = ranked((4, 2), (0, 1))


def test_accuracy_by_hand() -> None:
    # right, equal (one half), wrong; then right
    found = pair_accuracy([ONE, TWO], [[1.0, -1.0, 1.0], [0.5, 0.2]])
    assert found.value == pytest.approx((1 + 0.5 + 0 + 1) / 4)
    assert (found.pairs, found.prompts) == (4, 2)
    # a bootstrap of two prompts draws one of (1.5 of 3), (1 of 1), (2.5 of 4)
    assert (found.low, found.high) == pytest.approx((0.5, 1.0))


def test_interval_shrinks_with_prompts_not_with_votes() -> None:
    right, wrong = [1.0, 0.0], [0.0, 1.0]
    few = pair_accuracy([TWO] * 20, [right, wrong] * 10)
    many = pair_accuracy([TWO] * 320, [right, wrong] * 160)
    thrice = ranked((4, 2), *[(0, 1)] * 3)
    repeated = pair_accuracy([thrice] * 20, [right, wrong] * 10)
    assert few.value == many.value == repeated.value == 0.5
    # +- 1.96 sqrt(.25 / n), by bootstrap
    assert few.high - few.low == pytest.approx(2 * 1.96 * math.sqrt(0.25 / 20), rel=0.15)
    assert many.high - many.low == pytest.approx(2 * 1.96 * math.sqrt(0.25 / 320), rel=0.15)
    assert repeated.pairs == 60
    assert repeated.high - repeated.low == pytest.approx(few.high - few.low, abs=1e-9)


@pytest.mark.parametrize("most", [1, 70, 1 << 20])
def test_intervals_are_those_of_all_draws_at_once(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    hits, votes = np.arange(33.0) % 4, np.full(33, 3.0)
    draws = np.random.default_rng(5).integers(0, 33, (1000, 33))
    spread = hits[draws].sum(1) / votes[draws].sum(1)
    monkeypatch.setattr(accuracy, "MOST_DRAWN", most)
    found = bootstrapped(hits, votes, seed=5)
    assert (found.low, found.high) == tuple(np.quantile(spread, [0.025, 0.975]))


def test_intervals_of_many_prompts_take_little_memory() -> None:
    tracemalloc.start()
    bootstrapped(np.ones(4000), np.ones(4000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40e6  # all draws at once: 96 MB


def test_the_longest_is_the_baseline() -> None:
    found = measure([ONE, TWO], [[3.0, 2.0, 1.0], [0.5, 0.2]])
    assert found.accuracy.value == 1
    # shorter won, shorter won, as long (one half), longer won
    assert found.length_baseline.value == pytest.approx((0 + 0 + 0.5 + 1) / 4)


def test_the_true_model_is_calibrated_and_one_twice_as_sure_is_not() -> None:
    random = np.random.default_rng(4)
    gaps = random.normal(0, 1.5, 5_000)
    first_won = random.random(5_000) < 1 / (1 + np.exp(-gaps))
    data = [ranked((1, 1), (0, 1) if won else (1, 0)) for won in first_won]
    scores = [[gap, 0.0] for gap in gaps]
    plain = measure(data, scores)
    assert plain.calibration_error < 0.015
    halved = [[gap / 2, 0.0] for gap in gaps]
    assert measure(data, halved).calibration_error > 0.05
    assert measure(data, halved, scale=2).calibration_error == plain.calibration_error
    assert measure(data, halved).accuracy == plain.accuracy


def test_no_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="no strict pair to measure accuracy on"):
        measure([], [])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_scores_that_are_no_numbers_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="1 of 2 prompts have scores that are not numbers"):
        measure([ONE, TWO], [[bad, 0.0, 0.0], [0.5, 0.2]])


def test_scores_must_match_the_prompts() -> None:
    with pytest.raises(ValueError, match="shorter"):
        pair_accuracy([ONE, TWO], [[1.0, 0.0, 0.0]])


def test_rows_name_scores_words_and_votes() -> None:
    (row,) = scored_rows([TWO], [[0.12345678, -1.0]])
    assert row == {
        "prompt_id": TWO.prompt_id,
        "scores": [0.123457, -1.0],
        "words": [4, 2],
        "votes": [[0, 1]],
    }
