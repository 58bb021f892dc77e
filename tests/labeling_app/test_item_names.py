"""The numbers under which labelers know items: one each, and in no order that tells anything."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from labeling_app.item_names import BITS, item_named, name_of
from rlhf.feedback.campaigns import Campaign, CampaignSettings

CAMPAIGN = Campaign(1, "replies", "rank", "", CampaignSettings(), secret="5e" * 32)
NAMES = st.integers(0, 2**BITS - 1)


@given(number=NAMES, labeler=st.text(max_size=20))
def test_names_are_a_permutation(number: int, labeler: str) -> None:
    """Each way undoes the other, over all numbers: so no two items share a name."""
    name = name_of(CAMPAIGN, labeler, number)
    assert 0 <= name < 2**BITS
    assert item_named(CAMPAIGN, labeler, name) == number
    assert name_of(CAMPAIGN, labeler, item_named(CAMPAIGN, labeler, number)) == number


def test_names_tell_neither_order_nor_other_labelers_names() -> None:
    """Of 1,000 items in a row, names rise from one to the next in about half of the places."""
    names = [name_of(CAMPAIGN, "ada", number) for number in range(1, 1001)]
    rises = sum(one < other for one, other in pairwise(names))
    assert 440 < rises < 560  # 3.8 standard deviations of a fair coin
    assert not set(names) & {name_of(CAMPAIGN, "bo", number) for number in range(1, 1001)}
    other = replace(CAMPAIGN, secret="ab" * 32)
    assert not set(names) & {name_of(other, "ada", number) for number in range(1, 1001)}
    # Few names are such that an id could stand behind them: guesses find nothing.
    assert sum(item_named(CAMPAIGN, "ada", guess) < 2**31 for guess in range(1000)) <= 2
