"""Which items labelers disagree on, and when: worked by hand."""

import pytest
from test_quality import asked, observed, vote

from rlhf.feedback.disagreement import (
    ITEMS_IN_PERIOD,
    agreement_by_time,
    disputes,
    hourly,
    work_votes,
)
from rlhf.feedback.verdicts import verdicts_of


def test_disputes_are_the_shares_of_like_verdicts_worst_first() -> None:
    items = [asked(number) for number in (1, 2, 3, 4)]
    review = asked(9, "review", 2)
    votes = [vote(item, "ada", "a", "b", "c") for item in items[:3]]
    votes += [
        vote(items[0], "bob", "a", "b", "c"),  # all alike: no dispute
        vote(items[1], "bob", "c", "b", "a"),  # none
        vote(items[2], "bob", "ab", "c"),  # 2 of 3
        vote(items[3], "bob", "a", "b", "c"),  # alone
        vote(review, "rev", "a", "b", "c"),
    ]
    seen = observed([*items, review], votes)
    work = work_votes(seen)
    found = disputes(seen, work, verdicts_of(work))
    assert [(one.item_id, one.pairs, one.labelers, one.review) for one in found] == [
        (2, 3, 2, "done"),
        (3, 3, 2, ""),
    ]
    assert [one.share for one in found] == [0.0, pytest.approx(2 / 3)]
    assert len(disputes(seen, work, verdicts_of(work), limit=1)) == 1


def test_agreement_by_time_puts_an_item_where_its_last_answer_came() -> None:
    items = [asked(number) for number in range(1, 2 * ITEMS_IN_PERIOD + 1)]
    votes = []
    for number, item in enumerate(items):
        order = ("a", "b", "c") if number < ITEMS_IN_PERIOD else ("c", "b", "a")
        votes.append(vote(item, "ada", "a", "b", "c")._replace(at=0.0))
        votes.append(vote(item, "bob", *order)._replace(at=100.0 + number))
    early, late = agreement_by_time(votes, verdicts_of(votes))
    assert (early.agreement.strict, late.agreement.strict) == (1.0, 0.0)
    assert (early.start, early.items, late.end) == (100.0, ITEMS_IN_PERIOD, 100.0 + len(items) - 1)
    assert agreement_by_time(votes[:10], verdicts_of(votes[:10])) == []


def test_hourly_counts_a_page_left_open_as_the_lease() -> None:
    item = asked(1)
    votes = [vote(item, "ada", "a", "b", "c", seconds=60.0) for _ in range(19)]
    found = hourly([*votes, votes[0]._replace(seconds=80_000.0)], 600.0, 20)
    assert found is not None
    assert found.value == pytest.approx(3600 / ((19 * 60 + 600) / 20))
    assert found.interval[0] < found.value < found.interval[1] <= 60.0
    assert hourly(votes, 600.0, 20) is None
