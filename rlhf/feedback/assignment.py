"""Which labeler gets which item.

Each function works inside the caller's transaction. `items.taken` counts the places of an item that
are in use: as many labelers as hold a lease or have answered, but at most `wanted`. Whoever races
whom, an item has never more live leases and answers in time than wanted: SQLite has one writer at a
time, and PostgreSQL takes locks, always in the order campaign, labeler, assignment, item, log.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    exists,
    func,
    insert,
    select,
    update,
)

from rlhf.data.identity import Json, seed_from
from rlhf.data.records import Prompt, Response
from rlhf.feedback.campaigns import Campaign
from rlhf.feedback.checks import AnyRow, check_due, gold_item, identical_item, met_by, repeat_item
from rlhf.feedback.items import load_texts
from rlhf.feedback.leases import PLACED, extend, of_labeler
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
    *,
    after: int | None,
    review: bool,
) -> Task | None:
    """The labeler's open task, else the next one, else None; see `Store.claim`."""
    hold_labeler(db, labeler_id, moment)
    until = moment + campaign.settings.lease_minutes * 60
    opened = _open_items(db, campaign, labeler_id, review=review)
    waiting = [item for item in opened if item.id != after]
    if waiting:
        item = waiting[0]
        extend(db, labeler_id, [item.id], until)
    elif (begun := _own_expired(db, campaign, labeler_id, review=review)) is not None:
        item = begun
        mine = of_labeler(item.id, labeler_id)
        db.execute(update(assignments).where(mine).values(state="open", leased_until=until))
        _take(db, item)
    elif not campaign.settings.open:  # what is begun can be finished
        return None
    else:
        found = _next_item(db, campaign, labeler_id, review=review)
        if found is None:
            return None
        item = found
        _give(db, campaign, labeler_id, item, until)
    return task_of(db, campaign, item, labeler_id)


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


def _of_kind(*, review: bool) -> ColumnElement[bool]:
    return items.c.kind == "review" if review else items.c.kind != "review"


def _open_items(
    db: Connection, campaign: Campaign, labeler_id: str, *, review: bool
) -> Sequence[AnyRow]:
    mine = and_(
        assignments.c.labeler_id == labeler_id,
        assignments.c.campaign_id == campaign.id,
        assignments.c.state == "open",
    )
    joined = items.join(assignments, assignments.c.item_id == items.c.id)
    found = select(items).select_from(joined).where(mine, _of_kind(review=review))
    ordered = found.order_by(assignments.c.ordinal)
    return db.execute(ordered.with_for_update(key_share=True, of=assignments)).all()


def _own_expired(
    db: Connection, campaign: Campaign, labeler_id: str, *, review: bool
) -> AnyRow | None:
    """What the labeler had begun before they went away, where it still wants somebody."""
    mine = and_(
        assignments.c.labeler_id == labeler_id,
        assignments.c.campaign_id == campaign.id,
        assignments.c.state == "expired",
        (items.c.taken < items.c.wanted) | items.c.kind.not_in(PLACED),
    )
    joined = items.join(assignments, assignments.c.item_id == items.c.id)
    found = select(items).select_from(joined).where(mine, _of_kind(review=review))
    first = found.order_by(assignments.c.ordinal).limit(1)
    return db.execute(first.with_for_update(key_share=True, skip_locked=True, of=items)).first()


def _next_item(
    db: Connection, campaign: Campaign, labeler_id: str, *, review: bool
) -> AnyRow | None:
    if review:
        return _free_item(db, campaign, labeler_id, "review")
    ordinal = _given(db, campaign, labeler_id) + 1
    check = check_due(campaign, labeler_id, ordinal)
    if check == "gold":
        item = gold_item(db, campaign, labeler_id)
    elif check == "repeat":
        item = repeat_item(db, campaign, labeler_id, ordinal)
    elif check == "identical":
        item = identical_item(db, campaign, labeler_id)
    else:
        item = None
    return item or _free_item(db, campaign, labeler_id, "work")


def _free_item(db: Connection, campaign: Campaign, labeler_id: str, kind: str) -> AnyRow | None:
    """The first item with a free place that this labeler has not met."""
    wanting = select(items).where(
        items.c.campaign_id == campaign.id,
        items.c.kind == kind,
        items.c.taken < items.c.wanted,
        ~met_by(labeler_id),
    )
    if kind == "review":  # nobody settles a dispute of their own
        voted = exists().where(
            assignments.c.item_id == items.c.of_item,
            assignments.c.labeler_id == labeler_id,
            assignments.c.state == "done",
        )
        wanting = wanting.where(~voted)
    balanced = [items.c.taken] if campaign.settings.order == "balanced" else []
    first = wanting.order_by(items.c.priority.desc(), *balanced, items.c.position).limit(1)
    free = db.execute(first.with_for_update(key_share=True, skip_locked=True)).first()
    if free is None:  # none is left, or others hold the last ones at this moment: wait for them
        free = db.execute(first.with_for_update(key_share=True)).first()
    return free


def _given(db: Connection, campaign: Campaign, labeler_id: str) -> int:
    """The ordinal of the last item that a labeler was given; 0 before the first."""
    mine = and_(assignments.c.labeler_id == labeler_id, assignments.c.campaign_id == campaign.id)
    last = db.execute(select(func.max(assignments.c.ordinal)).where(mine)).scalar()
    return int(last or 0)


def _give(db: Connection, campaign: Campaign, labeler_id: str, item: AnyRow, until: float) -> None:
    salt = "" if item.kind in ("work", "gold") else f"{item.kind} {item.id}"
    db.execute(
        insert(assignments).values(
            item_id=item.id,
            labeler_id=labeler_id,
            state="open",
            reason="",
            leased_until=until,
            campaign_id=campaign.id,
            ordinal=_given(db, campaign, labeler_id) + 1,
            shown=shown_order(labeler_id, item.prompt_id, item.response_ids, salt),
        )
    )
    _take(db, item)


def _take(db: Connection, item: AnyRow) -> None:
    if item.kind in PLACED:
        db.execute(update(items).where(items.c.id == item.id).values(taken=items.c.taken + 1))
