"""Where labelers disagree, and when: items by agreement, agreement by time; and time as money."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from rlhf.feedback.agreement import Agreement, Interval, agreement_over
from rlhf.feedback.intervals import student
from rlhf.feedback.observations import Observations, Vote
from rlhf.feedback.verdicts import Verdicts

MOST_PERIODS = 12
ITEMS_IN_PERIOD = 15  # fewer would be noise


@dataclass(frozen=True, slots=True)
class Dispute:
    """An item of work and the share of pairs on which two of its labelers say the same (a tie is a
    verdict too). `review` is empty, `asked` or `done`.
    """

    item_id: int
    share: float
    pairs: int
    labelers: int
    review: str


@dataclass(frozen=True, slots=True)
class Period:
    """Agreement on the items whose last answer came between two times, in seconds since the
    epoch.
    """

    start: float
    end: float
    items: int
    agreement: Agreement


@dataclass(frozen=True, slots=True)
class Hourly:
    """Answers per hour of one labeler's working time, with a 95 % interval."""

    value: float
    interval: Interval


def disputes(
    observed: Observations, votes: Sequence[Vote], table: Verdicts, limit: int = 12
) -> list[Dispute]:
    """The items of work that labelers agree on least, the worst first, by how they judged them
    before any review. `table` holds the verdicts of `votes`, those of `work_votes`.
    """
    if not len(table):
        return []
    items = np.array([vote.item_id for vote in votes])[table.rankings]
    codes, places = np.unique(items, return_inverse=True)
    keys, pairs = np.unique(places * (table.pairs.max() + 1) + table.pairs, return_inverse=True)
    said = np.bincount(pairs * 3 + table.signs + 1, minlength=3 * len(keys)).reshape(-1, 3)
    item_of = keys // (table.pairs.max() + 1)
    alike = np.bincount(item_of, weights=(said * (said - 1) // 2).sum(axis=1))
    number = said.sum(axis=1)
    total = np.bincount(item_of, weights=number * (number - 1) // 2)
    judged = np.flatnonzero((total > 0) & (alike < total))
    labelers: dict[int, set[str]] = defaultdict(set)
    for vote in votes:
        labelers[vote.item_id].add(vote.labeler_id)
    shares = alike[judged] / total[judged]
    order = np.lexsort((codes[judged], -total[judged], shares))[:limit]
    reviews = _reviews(observed)
    return [
        Dispute(
            int(codes[judged[at]]),
            float(shares[at]),
            int(total[judged[at]]),
            len(labelers[int(codes[judged[at]])]),
            reviews.get(int(codes[judged[at]]), ""),
        )
        for at in order
    ]


def _reviews(observed: Observations) -> dict[int, str]:
    answered = {vote.item_id for vote in observed.votes}
    return {
        item.of_item: "done" if item.id in answered else "asked"
        for item in observed.items.values()
        if item.kind == "review" and item.of_item is not None
    }


def agreement_by_time(votes: Sequence[Vote], table: Verdicts) -> list[Period]:
    """Agreement over the campaign, oldest first: an item counts when its last answer came, and each
    period holds as many items as the next. `table` holds the verdicts of `votes`.
    """
    by_item: dict[int, list[Vote]] = defaultdict(list)
    for vote in votes:
        by_item[vote.item_id].append(vote)
    shared = sorted(
        (max(vote.at for vote in made), item)
        for item, made in by_item.items()
        if len({vote.labeler_id for vote in made}) > 1
    )
    number = min(MOST_PERIODS, len(shared) // ITEMS_IN_PERIOD)
    item_of = np.array([vote.item_id for vote in votes], dtype=np.int64)[table.rankings]
    periods = []
    for part in np.array_split(np.arange(len(shared)), number) if number else []:
        chosen = [shared[at] for at in part.tolist()]
        of_period = np.isin(item_of, [item for _, item in chosen])
        agreement = agreement_over(table.where(of_period).latest())
        periods.append(Period(chosen[0][0], chosen[-1][0], len(chosen), agreement))
    return periods


def work_votes(observed: Observations) -> list[Vote]:
    """The votes on items of work, those without an order left out."""
    return [
        vote
        for vote in observed.votes
        if vote.groups and observed.items[vote.item_id].kind == "work"
    ]


def hourly(votes: Sequence[Vote], longest_seconds: float, needed: int) -> Hourly | None:
    """Answers per hour in view, checks included; None below `needed` answers.

    More than `longest_seconds` (the lease) is a page that was left open, and counts as that.
    """
    seconds = np.array([min(vote.seconds, longest_seconds) for vote in votes if vote.seconds > 0])
    if len(seconds) < max(2, needed):
        return None
    mean = float(seconds.mean())
    reach = student(len(seconds) - 1) * float(seconds.std(ddof=1)) / sqrt(len(seconds))
    fastest = max(mean - reach, float(seconds.min()))
    return Hourly(3600 / mean, (3600 / (mean + reach), 3600 / fastest))
