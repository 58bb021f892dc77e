"""Reviews: what labelers disagree on is put to a reviewer, whose order stands in for theirs.

Each function works inside the caller's transaction.
"""

from collections.abc import Sequence
from itertools import combinations

from sqlalchemy import Connection, Row, Select, and_, select

from rlhf.data.identity import Json
from rlhf.data.records import Ranking
from rlhf.feedback.campaigns import Campaign
from rlhf.feedback.database import insert_new
from rlhf.feedback.items import review_key
from rlhf.feedback.modes import mode_named
from rlhf.feedback.schema import answers, items


def is_reviewable(campaign: Campaign) -> bool:
    """Whether a reviewer's order can stand in for what labelers said."""
    return mode_named(campaign.mode).feeds == "preferences"


def check_reviewable(campaign: Campaign) -> None:
    """ValueError where `is_reviewable` says no."""
    if not is_reviewable(campaign):
        raise ValueError(
            f"answers of the mode {campaign.mode!r} are not reviewed: only orders to train on are"
        )


def open_reviews(db: Connection, campaign: Campaign, below: float) -> int:
    """Asks for a review of every item whose labelers agree on less than `below` of its pairs (a tie
    is a verdict too); returns how many were asked for now.
    """
    check_reviewable(campaign)
    rows = db.execute(
        select(items, answers.c.body)
        .join(answers, answers.c.item_id == items.c.id)
        .where(
            items.c.campaign_id == campaign.id,
            items.c.kind == "work",
            answers.c.superseded.is_(False),
            answers.c.body.is_not(None),
            answers.c.kind == "ranking",
        )
        .order_by(items.c.position, answers.c.number)
    ).all()
    by_item: dict[int, list[Row[tuple[object, ...]]]] = {}
    for found in rows:
        by_item.setdefault(found.id, []).append(found)
    held = set(db.execute(select(items.c.of_item).where(items.c.kind == "review")).scalars())
    asked = 0
    for item_id, votes in by_item.items():
        share = _share_alike([Ranking.from_json(vote.body) for vote in votes])
        if item_id in held or share is None or share >= below:
            continue
        item = votes[0]
        row: Json = {
            "campaign_id": campaign.id,
            "prompt_id": item.prompt_id,
            "key": review_key(str(item.key)),
            "response_ids": item.response_ids,
            "position": item.position,
            "wanted": 1,
            "kind": "review",
            "of_item": item_id,
            "priority": 1.0 - share,
        }
        asked += insert_new(db, items, [row])
    return asked


def _share_alike(votes: Sequence[Ranking]) -> float | None:
    """The share of pairs on which two labelers say the same (ties are a verdict too)."""
    alike = total = 0
    for one, two in combinations(votes, 2):
        first, second = one.positions(), two.positions()
        for a, b in combinations(sorted(set(first) & set(second)), 2):
            total += 1
            alike += _sign(first[a] - first[b]) == _sign(second[a] - second[b])
    return alike / total if total else None


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)


def settled_items(campaign: Campaign) -> Select[tuple[int]]:
    """The items for which a reviewer's answer stands in, whatever labelers said or will say."""
    review, answer = items.alias(), answers.alias()
    joined = review.join(answer, answer.c.item_id == review.c.id)
    return (
        select(review.c.of_item)
        .select_from(joined)
        .where(
            review.c.campaign_id == campaign.id,
            review.c.kind == "review",
            answer.c.superseded.is_(False),
            answer.c.body.is_not(None),
        )
    )


def votes_on(db: Connection, item_id: int) -> list[Ranking]:
    """What labelers said of the item that a review is about, oldest first."""
    of_item = select(items.c.of_item).where(items.c.id == item_id).scalar_subquery()
    kept = and_(
        answers.c.item_id == of_item, answers.c.superseded.is_(False), answers.c.body.is_not(None)
    )
    bodies = db.execute(select(answers.c.body).where(kept).order_by(answers.c.number)).scalars()
    return [Ranking.from_json(body) for body in bodies]
