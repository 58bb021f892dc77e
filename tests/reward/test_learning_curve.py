"""Learning curves: planted laws come back, and what cannot be foretold is not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf.reward.learning_curve import (
    EXPONENTS,
    Forecast,
    Law,
    fit_law,
    forecast,
    nested_subset,
)

SIZES = (150, 300, 600, 1200)


@pytest.mark.parametrize("exponent", EXPONENTS)
@pytest.mark.parametrize(("limit", "drop"), [(0.8, 1.0), (0.72, 0.4), (1.0, 0.5)])
def test_a_planted_law_comes_back(limit: float, drop: float, exponent: float) -> None:
    law = Law(limit, drop, exponent)
    found = fit_law(SIZES, np.array([law.at(n) for n in SIZES]))
    assert found.exponent == exponent
    assert (found.limit, found.drop) == pytest.approx((limit, drop), abs=1e-9)


@given(st.lists(st.floats(0.3, 1.0), min_size=4, max_size=4))
def test_a_law_never_falls_and_never_passes_one(accuracy: list[float]) -> None:
    law = fit_law(SIZES, np.array(accuracy))
    assert law.drop >= 0
    assert law.limit <= 1
    assert law.at(150) <= law.at(1200) + 1e-12
    best_constant = ((np.mean(accuracy) - np.array(accuracy)) ** 2).sum()
    missed = sum((law.at(n) - seen) ** 2 for n, seen in zip(SIZES, accuracy, strict=True))
    assert missed <= best_constant + 1e-9


def trained(
    law: Law, prompts: int, sizes: tuple[int, ...] = SIZES
) -> tuple[np.ndarray, np.ndarray]:
    """Hits of a model whose chance to be right on a vote follows `law`, the same votes at each
    size: a vote that a small model gets right, a larger one does too.
    """
    hard = np.random.default_rng(1).random((prompts, 6))
    hits = np.stack([(hard < law.at(n)).sum(1) for n in sizes]).astype(np.float64)
    return hits, np.full(prompts, 6.0)


def test_many_prompts_foretell_the_planted_number() -> None:
    """0.8 - 2 / sqrt(n) is .75 at 1,600 rankings: 400 more than there are."""
    hits, votes = trained(Law(0.8, 2.0, 0.5), 6_000)
    found = forecast(SIZES, hits, votes, 0.75)
    assert found.more is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low <= 400 <= found.high
    assert found.more == pytest.approx(400, rel=0.3)
    assert found.within_reach == 1


def test_few_prompts_say_how_little_they_know() -> None:
    hits, votes = trained(Law(0.8, 2.0, 0.5), 250)
    found = forecast(SIZES, hits, votes, 0.76)  # at 2,500 rankings, were the law known
    assert found.low is not None
    assert found.low <= 1300
    assert found.high is None


def test_beyond_its_limit_more_rankings_do_not_get_there() -> None:
    hits, votes = trained(Law(0.7, 2.0, 0.5), 2_000)
    found = forecast(SIZES, hits, votes, 0.8)
    assert (found.more, found.within_reach) == (None, 0)
    assert found.words() == "more rankings of this kind will not get there"


def test_a_flat_curve_does_not_get_anywhere() -> None:
    hits, votes = trained(Law(0.6, 0.0, 0.5), 2_000)
    assert forecast(SIZES, hits, votes, 0.7).more is None


def test_what_is_reached_needs_no_more() -> None:
    hits, votes = trained(Law(0.8, 2.0, 0.5), 500)
    assert forecast(SIZES, hits, votes, 0.6) == Forecast(0.6, 0, 0, 0, 1.0)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Forecast(0.7, 0, 0, 0, 1.0), "no more rankings are needed for that accuracy"),
        (
            Forecast(0.7, 1300, 810, 5000, 0.97),
            "about 1,300 more rankings of this kind (810 to 5,000)",
        ),
        (
            Forecast(0.7, 1300, 810, None, 0.6),
            "about 1,300 more rankings of this kind (810 at least, or they never get there)",
        ),
        (
            Forecast(0.7, None, 810, None, 0.37),
            "more rankings of this kind may not get there (in 37 % of the fits they do)",
        ),
        (Forecast(0.7, None, None, None, 0.02), "more rankings of this kind will not get there"),
    ],
)
def test_the_answer_in_words(found: Forecast, words: str) -> None:
    assert found.words() == words


def test_two_sizes_are_too_few() -> None:
    hits, votes = trained(Law(0.8, 2.0, 0.5), 50, (600, 1200))
    with pytest.raises(ValueError, match="needs three sizes or more"):
        forecast((600, 1200), hits, votes, 0.7)


@settings(max_examples=25)
@given(st.sets(st.text(min_size=1, max_size=4), min_size=1, max_size=40), st.floats(0.01, 1.0))
def test_subsets_are_nested_and_of_the_size_asked_for(ids: set[str], share: float) -> None:
    part = nested_subset(ids, share)
    assert part <= ids
    assert len(part) == max(1, round(share * len(ids)))
    assert part <= nested_subset(ids, min(1.0, 1.5 * share))
    assert part == nested_subset(sorted(ids), share)
