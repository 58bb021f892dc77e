"""What there may be for a labeler who asks for an item: one statement in place of four.

It takes no locks: what it promises is looked for again, what it rules out cannot come about while
the labeler is held.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, func, select

from rlhf.feedback.campaigns import Campaign
from rlhf.feedback.leases import PLACED
from rlhf.feedback.schema import assignments, items


@dataclass(frozen=True, slots=True)
class Ahead:
    """Which item is wanted next: the one to follow `after`, or any; a review or work; with at most
    `most` responses, where no more can be shown.
    """

    after: int | None = None
    review: bool = False
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Outlook:
    """What there may be for a labeler: how many items they were `given`, whether another one is
    open (`waiting`) or was `begun` before its lease ran out; and whether the lease of anybody is
    over (`due`), whose place has to be freed first.
    """

    given: int
    waiting: bool
    begun: bool
    due: bool


def _looking(*, review: bool) -> Select[Any]:
    """The statement of `Outlook`."""
    mine = and_(
        assignments.c.labeler_id == bindparam("labeler"),
        assignments.c.campaign_id == bindparam("campaign"),
    )
    here = items.join(assignments, assignments.c.item_id == items.c.id)
    own = select(1).select_from(here).where(mine, of_kind(review=review))
    free = (items.c.taken < items.c.wanted) | items.c.kind.not_in(PLACED)
    other = assignments.c.item_id != bindparam("after")
    over = and_(
        assignments.c.campaign_id == bindparam("campaign"),
        assignments.c.state == "open",
        assignments.c.leased_until <= bindparam("moment"),
    )
    return select(
        select(func.coalesce(func.max(assignments.c.ordinal), 0)).where(mine).scalar_subquery(),
        own.where(assignments.c.state == "open", other).exists(),
        own.where(assignments.c.state == "expired", free).exists(),
        select(1).select_from(assignments).where(over).exists(),
    )


def of_kind(*, review: bool) -> ColumnElement[bool]:
    """Items to review, or all others."""
    return items.c.kind == "review" if review else items.c.kind != "review"


_OUTLOOK = {review: _looking(review=review) for review in (False, True)}


def outlook(
    db: Connection, campaign: Campaign, labeler_id: str, moment: float, ahead: Ahead
) -> Outlook:
    """What there may be for a labeler who is held, beside the item in their hands."""
    who = {"labeler": labeler_id, "campaign": campaign.id}
    asked = {**who, "after": ahead.after or 0, "moment": moment}
    return Outlook(*db.execute(_OUTLOOK[ahead.review], asked).one())
