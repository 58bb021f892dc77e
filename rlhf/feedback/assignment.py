"""Which labeler gets which item.

Each function works inside the caller's transaction. `items.taken` counts the places of an item that
are in use: as many labelers as hold a lease or have answered, but at most `wanted`. Whoever races
whom, an item has never more live leases and answers in time than wanted: SQLite has one writer at a
time, and PostgreSQL takes locks, always in the order campaign, labeler, assignment, item, log.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sqlalchemy import (
    BindParameter,
    Connection,
    Select,
    and_,
    bindparam,
    exists,
    insert,
    select,
    update,
)

from rlhf.data.identity import Json, seed_from
from rlhf.data.records import Prompt, Response
from rlhf.feedback.campaigns import Campaign
from rlhf.feedback.checks import AnyRow, check_due, gold_item, identical_item, repeat_item
from rlhf.feedback.items import load_texts, of_length
from rlhf.feedback.leases import PLACED, extend, of_labeler
from rlhf.feedback.outlook import Ahead, Outlook, of_kind, outlook
from rlhf.feedback.recording import hold_labeler
from rlhf.feedback.schema import assignments, drafts, items


@dataclass(frozen=True, slots=True)
class Task:
    """An item in one labeler's hands: the responses in the order in which they are shown.

    `draft` is what they had begun to answer; `leased_until` is in seconds since the epoch.
    """

    item_id: int
    labeler_id: str
    prompt: Prompt
    responses: tuple[Response, ...]
    mode: str = "rank"
    draft: Json | None = None
    leased_until: float = field(default=0.0, compare=False)

    @property
    def shown(self) -> tuple[str, ...]:
        return tuple(response.id for response in self.responses)


_GIVE = insert(assignments)
_TAKE = update(items).where(items.c.id == bindparam("item")).values(taken=items.c.taken + 1)


def shown_order(
    labeler_id: str, prompt_id: str, response_ids: Sequence[str], salt: str = ""
) -> tuple[str, ...]:
    """The order in which a labeler sees responses: shuffled by labeler and prompt, the same at
    every reload. `salt` gives a repeated item another order.
    """
    order = sorted(response_ids)
    parts = ("shown", labeler_id, prompt_id, salt) if salt else ("shown", labeler_id, prompt_id)
    random.Random(seed_from(*parts)).shuffle(order)
    return tuple(order)


def claim(
    db: Connection,
    campaign: Campaign,
    labeler_id: str,
    moment: float,
    ahead: Ahead,
) -> Task | None:
    """The labeler's open task, else the next one, else None; see `Store.claim`."""
    hold_labeler(db, labeler_id, moment)
    before = outlook(db, campaign, labeler_id, moment, ahead)
    return claim_held(db, campaign, labeler_id, moment, before, ahead)


def claim_held(
    db: Connection,
    campaign: Campaign,
    labeler_id: str,
    moment: float,
    before: Outlook,
    ahead: Ahead,
) -> Task | None:
    """What `claim` does, for a labeler who is held and whose outlook is known."""
    until = moment + campaign.settings.lease_minutes * 60
    opened = _open_items(db, campaign, labeler_id, ahead) if before.waiting else []
    waiting = [item for item in opened if item.id != ahead.after]
    if waiting:
        item = waiting[0]
        extend(db, labeler_id, [item.id], until)
        return task_of(db, campaign, item, labeler_id)
    begun = _own_expired(db, campaign, labeler_id, ahead) if before.begun else None
    if begun is not None:
        mine = of_labeler(begun.id, labeler_id)
        db.execute(update(assignments).where(mine).values(state="open", leased_until=until))
        _take(db, begun)
        return task_of(db, campaign, begun, labeler_id)
    if not campaign.settings.open:  # what is begun can be finished
        return None
    found = _next_item(db, campaign, labeler_id, before.given + 1, ahead)
    if found is None:
        return None
    return _give(db, campaign, labeler_id, found, before.given + 1, until)


def task_of(db: Connection, campaign: Campaign, item: AnyRow, labeler_id: str) -> Task:
    """The item as this labeler was given it, with their draft."""
    row = db.execute(select(assignments).where(of_labeler(item.id, labeler_id))).one()
    body = select(drafts.c.body).where(
        drafts.c.item_id == item.id, drafts.c.labeler_id == labeler_id
    )
    prompt, answers = load_texts(db, item.prompt_id, row.shown)
    mode = "review" if item.kind == "review" else campaign.mode
    draft = db.execute(body).scalar()
    return Task(item.id, labeler_id, prompt, answers, mode, draft, row.leased_until)


def _open_items(
    db: Connection, campaign: Campaign, labeler_id: str, ahead: Ahead
) -> Sequence[AnyRow]:
    mine = and_(
        assignments.c.labeler_id == labeler_id,
        assignments.c.campaign_id == campaign.id,
        assignments.c.state == "open",
        of_length(ahead.most),
    )
    joined = items.join(assignments, assignments.c.item_id == items.c.id)
    found = select(items).select_from(joined).where(mine, of_kind(review=ahead.review))
    ordered = found.order_by(assignments.c.ordinal)
    return db.execute(ordered.with_for_update(key_share=True, of=assignments)).all()


def _own_expired(
    db: Connection, campaign: Campaign, labeler_id: str, ahead: Ahead
) -> AnyRow | None:
    """What the labeler had begun before they went away, where it still wants somebody."""
    mine = and_(
        assignments.c.labeler_id == labeler_id,
        assignments.c.campaign_id == campaign.id,
        assignments.c.state == "expired",
        (items.c.taken < items.c.wanted) | items.c.kind.not_in(PLACED),
        of_length(ahead.most),
    )
    joined = items.join(assignments, assignments.c.item_id == items.c.id)
    found = select(items).select_from(joined).where(mine, of_kind(review=ahead.review))
    if not ahead.review:
        found = found.where(items.c.id.not_in(_votes_known(labeler_id)))
    first = found.order_by(assignments.c.ordinal).limit(1)
    return db.execute(first.with_for_update(key_share=True, skip_locked=True, of=items)).first()


def _next_item(
    db: Connection, campaign: Campaign, labeler_id: str, ordinal: int, ahead: Ahead
) -> AnyRow | None:
    most = ahead.most
    if ahead.review:
        return _free_item(db, campaign, labeler_id, "review", most)
    check = check_due(campaign, labeler_id, ordinal)
    if check == "gold":
        item = gold_item(db, campaign, labeler_id, most)
    elif check == "repeat":
        item = repeat_item(db, campaign, labeler_id, ordinal, most)
    elif check == "identical":
        item = identical_item(db, campaign, labeler_id, most)
    else:
        item = None
    return item or _free_item(db, campaign, labeler_id, "work", most)


def _free_item(
    db: Connection, campaign: Campaign, labeler_id: str, kind: str, most: int | None
) -> AnyRow | None:
    """The first item with a free place that this labeler has not met."""
    who = {"campaign": campaign.id, "labeler": labeler_id}
    # Lengths are looked at only where the first one is too long: that reads every item on the way.
    for longest in (None,) if most is None else (None, most):
        first, waited_for = _first_free(kind, campaign.settings.order == "balanced", longest)
        # Where none is left, or others hold the last ones at this moment: wait for them.
        found = db.execute(first, who).first() or db.execute(waited_for, who).first()
        if found is None or most is None or len(found.response_ids) <= most:
            return found
    return None


@cache
def _first_free(kind: str, balanced: bool, most: int | None) -> tuple[Select[Any], Select[Any]]:
    wanting = select(items).where(
        items.c.campaign_id == bindparam("campaign"),
        items.c.kind == kind,
        items.c.taken < items.c.wanted,
        of_length(most),
        ~exists().where(
            assignments.c.item_id == items.c.id, assignments.c.labeler_id == bindparam("labeler")
        ),
    )
    if kind == "review":  # nobody settles a dispute of their own, or one they are about to join
        voting = exists().where(
            assignments.c.item_id == items.c.of_item,
            assignments.c.labeler_id == bindparam("labeler"),
            assignments.c.state.in_(("open", "done")),
        )
        wanting = wanting.where(~voting)
    else:
        wanting = wanting.where(items.c.id.not_in(_votes_known(bindparam("labeler"))))
    evenly = [items.c.taken] if balanced else []
    first = wanting.order_by(items.c.priority.desc(), *evenly, items.c.position).limit(1)
    return (
        first.with_for_update(key_share=True, skip_locked=True),
        first.with_for_update(key_share=True),
    )


def _votes_known(labeler_id: str | BindParameter[str]) -> Select[tuple[int]]:
    """The items whose votes a reviewer was shown: their own would not be independent any more."""
    review, given = items.alias(), assignments.alias()
    return (
        select(review.c.of_item)
        .select_from(review.join(given, given.c.item_id == review.c.id))
        .where(given.c.labeler_id == labeler_id, review.c.kind == "review")
    )


def _give(
    db: Connection, campaign: Campaign, labeler_id: str, item: AnyRow, ordinal: int, until: float
) -> Task:
    salt = "" if item.kind in ("work", "gold") else f"{item.kind} {item.id}"
    shown = shown_order(labeler_id, item.prompt_id, item.response_ids, salt)
    row: Json = {
        "item_id": item.id,
        "labeler_id": labeler_id,
        "state": "open",
        "reason": "",
        "leased_until": until,
        "campaign_id": campaign.id,
        "ordinal": ordinal,
        "shown": shown,
    }
    db.execute(_GIVE, row)
    _take(db, item)
    prompt, answers = load_texts(db, item.prompt_id, shown)
    mode = "review" if item.kind == "review" else campaign.mode
    return Task(item.id, labeler_id, prompt, answers, mode, None, until)


def _take(db: Connection, item: AnyRow) -> None:
    if item.kind in PLACED:
        db.execute(_TAKE, {"item": item.id})
