"""Leases: an item is a labeler's for a while, and its place is another's when that is over.

Each function works inside the caller's transaction.
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    func,
    select,
    update,
)

from rlhf.feedback.campaigns import Campaign
from rlhf.feedback.recording import held_text
from rlhf.feedback.schema import assignments, drafts, items

PLACED = ("work", "review")  # kinds of which only so many are wanted

_DROP_DRAFT = drafts.delete().where(
    drafts.c.item_id == bindparam("item"), drafts.c.labeler_id == bindparam("labeler")
)


def extend(db: Connection, labeler_id: str, item_ids: Sequence[int], until: float) -> None:
    """Keeps the labeler's leases on these items alive, where they still are."""
    mine = and_(
        assignments.c.item_id.in_(item_ids),
        assignments.c.labeler_id == labeler_id,
        assignments.c.state == "open",
        assignments.c.leased_until < until,
    )
    db.execute(update(assignments).where(mine).values(leased_until=until))


def any_expired(db: Connection, campaign: Campaign, moment: float) -> bool:
    """Whether a lease has run out whose place is not free yet."""
    return db.execute(_due(campaign, moment).limit(1)).first() is not None


def release_expired(db: Connection, campaign: Campaign, moment: float) -> None:
    """Frees the places whose lease has run out. In a transaction of its own: it holds the
    assignments of many.
    """
    due = _due(campaign, moment).order_by(assignments.c.item_id)
    rows = db.execute(due.with_for_update(skip_locked=True)).all()
    for row in rows:
        mine = of_labeler(row.item_id, row.labeler_id)
        db.execute(update(assignments).where(mine).values(state="expired"))
    count_places(db, [row.item_id for row in rows])


def _due(campaign: Campaign, moment: float) -> Select[tuple[int, str]]:
    return select(assignments.c.item_id, assignments.c.labeler_id).where(
        assignments.c.campaign_id == campaign.id,
        assignments.c.state == "open",
        assignments.c.leased_until <= moment,
    )


def count_places(db: Connection, item_ids: Iterable[int]) -> None:
    """Sets how many places of these items are taken, after assignments have changed."""
    for item_id in sorted(set(item_ids)):
        # Locked first, counted then: the count has to see what others saved before they let go.
        held = select(items).where(items.c.id == item_id, items.c.kind.in_(PLACED))
        item = db.execute(held.with_for_update(key_share=True)).first()
        if item is None:
            continue
        placed = and_(assignments.c.item_id == item_id, assignments.c.state.in_(("open", "done")))
        count = db.execute(select(func.count()).select_from(assignments).where(placed)).scalar_one()
        taken = min(item.wanted, count)
        if taken != item.taken:
            db.execute(update(items).where(items.c.id == item_id).values(taken=taken))


def skip(db: Connection, item_id: int, labeler_id: str, reason: str) -> bool:
    """Puts an item back for others; False where it is answered. An item whose lease ran out is put
    back by it too, or it would come back to this labeler.
    """
    begun = assignments.c.state.in_(("open", "expired"))
    mine = and_(of_labeler(item_id, labeler_id), begun)
    put_back = update(assignments).where(mine).values(state="skipped", reason=held_text(reason))
    done = db.execute(put_back).rowcount == 1
    if done:
        count_places(db, [item_id])
        drop_draft(db, item_id, labeler_id)
    return done


def drop_draft(db: Connection, item_id: int, labeler_id: str) -> None:
    """Forgets what was begun: it has been answered or skipped."""
    db.execute(_DROP_DRAFT, {"item": item_id, "labeler": labeler_id})


def of_labeler(item_id: int, labeler_id: str) -> ColumnElement[bool]:
    """The one assignment of an item to a labeler."""
    return and_(assignments.c.item_id == item_id, assignments.c.labeler_id == labeler_id)
