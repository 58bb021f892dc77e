"""How many judgements, and when to stop asking for more."""

from math import comb, sqrt

import numpy as np
import pytest

from rlhf.evaluation.power import judgements_needed, rate_told
from rlhf.evaluation.sequential import interval, log_evidence, look


@pytest.mark.parametrize(("rate", "needed"), [(0.55, 783), (0.60, 194), (0.40, 194), (0.70, 47)])
def test_judgements_needed_are_the_published_ones(rate: float, needed: int) -> None:
    assert judgements_needed(rate) == needed


def test_judgements_needed_by_hand() -> None:
    # 60 % against 50 %: (1.959964 * 0.5 + 0.841621 * sqrt(0.24))^2 / 0.1^2 = 193.85.
    exact = (1.959964 * 0.5 + 0.841621 * sqrt(0.24)) ** 2 / 0.01
    assert exact == pytest.approx(193.85, abs=0.01)
    assert judgements_needed(0.6) == 194
    assert judgements_needed(0.6, power=0.9) == 259
    assert judgements_needed(0.6, alpha=0.01) > judgements_needed(0.6, alpha=0.05)
    assert judgements_needed(0.7, against=0.6) == 182


def test_so_many_find_a_difference_as_often_as_they_promise() -> None:
    wins = np.random.default_rng(0).binomial(194, 0.6, 20000)
    z = (wins / 194 - 0.5) / sqrt(0.25 / 194)
    assert (z > 1.959964).mean() == pytest.approx(0.8, abs=0.02)


def test_what_so_many_can_tell() -> None:
    assert rate_told(194) == 0.6
    assert rate_told(193) == 0.601
    assert rate_told(2) is None
    assert rate_told(182, against=0.6) == 0.7


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"rate": 0.5}, "no number of judgements tells 50% from itself"),
        ({"rate": 60.0}, "rate must lie between 0 and 1, got 60"),
        ({"rate": 0.6, "power": 1.0}, "power must lie between 0 and 1"),
        ({"rate": 0.6, "alpha": 0.0}, "alpha must lie between 0 and 1"),
    ],
)
def test_what_has_no_answer_is_refused(asked: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        judgements_needed(**asked)


def test_evidence_by_hand() -> None:
    # A flat prior over the share: 6 wins and 1 loss are 1/56 likely, at one half 1/128.
    found = look([1.0] * 6 + [0.0, 0.5])
    assert found.evidence == pytest.approx(128 / 56)
    assert (found.says, found.wins, found.losses) == ("go on", 6, 1)
    # w wins in a row: 2^w / (w + 1); 7 bring 16, 8 bring 28.4, and 20 are asked for.
    assert look([1.0] * 7).says == "go on"
    assert look([1.0] * 8).says == "better"
    assert look([0.0] * 8).says == "worse"
    assert look([1.0] * 8, alpha=0.02).says == "go on"


def test_the_interval_ends_where_the_evidence_reaches_its_limit() -> None:
    low, high = interval(30, 10)
    for edge in (low, high):
        assert log_evidence(30, 10, edge) == pytest.approx(np.log(20), abs=1e-9)
    assert low < 0.75 < high
    assert interval(10, 30) == pytest.approx((1 - high, 1 - low))
    assert interval(0, 0) == (0.0, 1.0)
    assert look([]).says == "go on"
    assert np.isfinite(look([1.0] * 3000).evidence)
    assert look([0.5] * 9).to_json()["evidence"] == 1.0


def test_it_is_a_fair_game_against_the_truth() -> None:
    """By enumeration: the expected evidence against the true share is 1 at every moment."""
    for share in (0.5, 0.3):
        for count in (1, 2, 7, 20):
            expected = sum(
                comb(count, wins)
                * share**wins
                * (1 - share) ** (count - wins)
                * np.exp(log_evidence(wins, count - wins, share))
                for wins in range(count + 1)
            )
            assert expected == pytest.approx(1)


def test_looking_after_every_judgement_is_wrong_once_in_twenty_at_most() -> None:
    drawn = np.random.default_rng(5).random((200, 250)) < 0.5
    wins = drawn.cumsum(1)
    often = 0
    peeked = 0
    for row in wins:
        numbers = np.arange(1, 251)
        z = np.abs(row / numbers - 0.5) / np.sqrt(0.25 / numbers)
        peeked += bool((z[9:] > 1.96).any())
        often += any(
            log_evidence(int(w), int(n - w), 0.5) >= np.log(20)
            for w, n in zip(row, numbers, strict=True)
        )
    assert often / 200 <= 0.05
    assert peeked / 200 > 0.25  # what looking at a plain interval would have done
