"""Alpha and tau-b: published and hand-worked values, other people's implementations, properties."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import kendalltau

from rlhf.feedback.coefficients import (
    Level,
    alpha_over_pairs,
    alpha_over_places,
    kendall_tau,
    krippendorff_alpha,
)
from rlhf.feedback.verdicts import verdicts_of

# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", example C: four observers,
# twelve units, a star for no value.
PUBLISHED = ("1 2 3 3 2 1 4 1 2 * * *", "1 2 3 3 2 2 4 1 2 5 * 3", "* 3 3 3 2 3 4 2 2 5 1 *",
             "1 2 3 3 2 4 4 1 2 5 1 *")  # fmt: skip


@dataclass(frozen=True)
class Order:
    """One labeler's order: a letter is a response, a word is a tie group."""

    labeler_id: str
    groups: tuple[tuple[str, ...], ...]
    prompt_id: str = "prompt"


def order(labeler: str, *groups: str, prompt: str = "prompt") -> Order:
    return Order(
        labeler, tuple(tuple(f"{prompt}-{one}" for one in group) for group in groups), prompt
    )


def published_counts() -> NDArray[np.int64]:
    """(units, values): how many observers gave each value."""
    counts = np.zeros((12, 5), dtype=np.int64)
    for observer in PUBLISHED:
        for unit, value in enumerate(observer.split()):
            if value != "*":
                counts[unit, int(value) - 1] += 1
    return counts


def test_alpha_of_the_published_example() -> None:
    units = np.arange(12)
    nominal = krippendorff_alpha(published_counts(), units, "nominal").value
    ordinal = krippendorff_alpha(published_counts(), units, "ordinal").value
    assert nominal == pytest.approx(0.743, abs=5e-4)
    assert ordinal == pytest.approx(0.815, abs=5e-4)


@pytest.mark.parametrize("level", ["nominal", "ordinal"])
@pytest.mark.parametrize("seed", range(5))
def test_alpha_agrees_with_the_reference(level: Level, seed: int) -> None:
    draw = np.random.default_rng(seed)
    counts = draw.integers(0, 3, size=(40, 6))
    expected = krippendorff.alpha(
        value_counts=counts, level_of_measurement=level, value_domain=np.arange(6)
    )
    found = krippendorff_alpha(counts, np.arange(40), level)
    assert found.value == pytest.approx(expected)


def test_alpha_over_pairs_worked_by_hand() -> None:
    # One prompt, three pairs in both directions: six units of two votes. ada: ab + ac + bc +;
    # bob: ab + ac + bc -. Four units agree (++ ++ -- --), two hold one + and one -.
    # Observed: 4 of 12 ordered votes differ. Marginals: 6 and 6, expected 2 * 6 * 6 / 11 of 12.
    made = [order("ada", "a", "b", "c"), order("bob", "a", "c", "b")]
    observed, expected = 4 / 12, (2 * 6 * 6) / (12 * 11)
    found = alpha_over_pairs(verdicts_of(made))
    assert found.value == pytest.approx(1 - observed / expected)
    assert found.interval is None


def test_places_share_their_mean_and_unlike_lists_are_other_items() -> None:
    tied = [order("ada", "ab", "c"), order("bob", "ab", "c")]
    assert alpha_over_places(tied).value == pytest.approx(1.0)
    apart = [order("ada", "a", "b"), order("bob", "a", "c")]
    assert alpha_over_places(apart).value is None


def test_far_apart_weighs_more_than_next_door_for_places_only() -> None:
    def crew(second: Sequence[str]) -> list[Order]:
        made = []
        for number in range(6):
            made.append(order("ada", *"abcd", prompt=f"p{number}"))
            made.append(order("bob", *(second if number == 0 else "abcd"), prompt=f"p{number}"))
        return made

    ends, neighbours = crew("dbca"), crew("bacd")
    far, near = alpha_over_places(ends).value, alpha_over_places(neighbours).value
    assert far is not None
    assert near is not None
    assert far < near < 1


def test_tau_is_the_mean_of_tau_b_over_labelers_and_items() -> None:
    draw = random.Random(3)
    made, expected = [], []
    for number in range(30):
        letters, orders = "abcde"[: draw.randint(2, 5)], []
        for labeler in ("ada", "bob", "cyd")[: draw.randint(1, 3)]:
            groups: list[str] = []
            for letter in draw.sample(letters, len(letters)):
                if groups and draw.random() < 0.3:
                    groups[-1] += letter
                else:
                    groups.append(letter)
            orders.append({one: level for level, group in enumerate(groups) for one in group})
            made.append(order(labeler, *groups, prompt=f"p{number}"))
        taus = [
            kendalltau([one[x] for x in letters], [two[x] for x in letters]).statistic
            for place, one in enumerate(orders)
            for two in orders[place + 1 :]
        ]
        known = [tau for tau in taus if not math.isnan(tau)]
        expected += [sum(known) / len(known)] if known else []
    found = kendall_tau(verdicts_of(made))
    assert found.value is not None
    assert found.value == pytest.approx(sum(expected) / len(expected))
    assert found.prompts == len(expected)
    assert found.interval is not None
    assert found.interval[0] < found.value < found.interval[1]


@settings(deadline=None)  # a busy machine
@given(st.integers(0, 5_000))
def test_names_do_not_matter_and_a_copy_of_everybody_agrees_more(seed: int) -> None:
    draw = random.Random(seed)
    made = [
        order(name, *draw.sample("abcd", 4), prompt=f"p{number}")
        for number in range(5)
        for name in ("ada", "bob")
    ]
    renamed = [
        Order({"ada": "zoe", "bob": "al"}[o.labeler_id], o.groups, o.prompt_id) for o in made
    ]
    doubled = made + [Order(o.labeler_id + "2", o.groups, o.prompt_id) for o in made]
    again = made + made  # a labeler's last judgement counts, and it is the same
    for measure in (lambda x: alpha_over_pairs(verdicts_of(x).latest()), alpha_over_places,
                    lambda x: kendall_tau(verdicts_of(x).latest())):  # fmt: skip
        value = measure(made).value
        assert value is not None
        assert measure(renamed).value == pytest.approx(value)
        assert measure(again).value == pytest.approx(value)
        more = measure(doubled).value
        assert more is not None
        assert more >= value - 1e-9


def test_random_votes_have_no_alpha_within_the_interval() -> None:
    draw = random.Random(0)
    made = [
        order(name, *draw.sample("abc", 3), prompt=f"p{number}")
        for number in range(300)
        for name in ("ada", "bob", "cyd")
    ]
    for found in (
        alpha_over_pairs(verdicts_of(made)),
        alpha_over_places(made),
        kendall_tau(verdicts_of(made)),
    ):
        assert found.interval is not None
        assert found.interval[0] < 0 < found.interval[1]
        assert found.interval[1] - found.interval[0] < 0.2
