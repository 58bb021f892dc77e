"""Which labeler gets which item: leases, checks mixed in unseen, skips.

Each function works inside the caller's transaction. `items.taken` counts the places of an item that
are in use: as many labelers as hold a lease or have answered, but at most `wanted`. Whoever races
whom, an item has never more live leases and answers in time than wanted: SQLite has one writer at a
time, and PostgreSQL takes locks, always in the order campaign, labeler, assignment, item, log.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    exists,
    func,
    insert,
    select,
    update,
)

from rlhf.data.identity import Json, content_id, seed_from
from rlhf.data.records import Prompt, Response
from rlhf.feedback.campaigns import Campaign, load_texts
from rlhf.feedback.database import insert_new
from rlhf.feedback.recording import held_text, hold_labeler
from rlhf.feedback.schema import assignments, drafts, items, responses

COPY = "~again"  # ends the id of the second showing of a response, in a check for position bias
_PLACED = ("work", "review")  # kinds of which only so many are wanted

AnyRow = Row[tuple[object, ...]]


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
        mine = _assignment(item.id, labeler_id)
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
    row = db.execute(select(assignments).where(_assignment(item.id, labeler_id))).one()
    body = select(drafts.c.body).where(
        drafts.c.item_id == item.id, drafts.c.labeler_id == labeler_id
    )
    prompt, answers = load_texts(db, item.prompt_id, row.shown)
    mode = "review" if item.kind == "review" else campaign.mode
    draft = db.execute(body).scalar()
    return Task(item.id, labeler_id, prompt, answers, mode, draft, row.leased_until)


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
        mine = _assignment(row.item_id, row.labeler_id)
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
        held = select(items).where(items.c.id == item_id, items.c.kind.in_(_PLACED))
        item = db.execute(held.with_for_update(key_share=True)).first()
        if item is None:
            continue
        placed = and_(assignments.c.item_id == item_id, assignments.c.state.in_(("open", "done")))
        count = db.execute(select(func.count()).select_from(assignments).where(placed)).scalar_one()
        taken = min(item.wanted, count)
        if taken != item.taken:
            db.execute(update(items).where(items.c.id == item_id).values(taken=taken))


def skip(db: Connection, item_id: int, labeler_id: str, reason: str) -> bool:
    """Puts an item back for others; False where it was not open."""
    mine = and_(_assignment(item_id, labeler_id), assignments.c.state == "open")
    put_back = update(assignments).where(mine).values(state="skipped", reason=held_text(reason))
    done = db.execute(put_back).rowcount == 1
    if done:
        count_places(db, [item_id])
        drop_draft(db, item_id, labeler_id)
    return done


def drop_draft(db: Connection, item_id: int, labeler_id: str) -> None:
    """Forgets what was begun: it has been answered or skipped."""
    mine = and_(drafts.c.item_id == item_id, drafts.c.labeler_id == labeler_id)
    db.execute(drafts.delete().where(mine))


def _assignment(item_id: int, labeler_id: str) -> ColumnElement[bool]:
    return and_(assignments.c.item_id == item_id, assignments.c.labeler_id == labeler_id)


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
        (items.c.taken < items.c.wanted) | items.c.kind.not_in(_PLACED),
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
    check = _check_due(campaign, labeler_id, ordinal)
    if check == "gold":
        item = _gold_item(db, campaign, labeler_id)
    elif check == "repeat":
        item = _repeat_item(db, campaign, labeler_id, ordinal)
    elif check == "identical":
        item = _identical_item(db, campaign, labeler_id)
    else:
        item = None
    return item or _free_item(db, campaign, labeler_id, "work")


def _free_item(db: Connection, campaign: Campaign, labeler_id: str, kind: str) -> AnyRow | None:
    """The first item with a free place that this labeler has not met."""
    wanting = select(items).where(
        items.c.campaign_id == campaign.id,
        items.c.kind == kind,
        items.c.taken < items.c.wanted,
        ~_met(labeler_id),
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


def _met(labeler_id: str) -> ColumnElement[bool]:
    return exists().where(
        assignments.c.item_id == items.c.id, assignments.c.labeler_id == labeler_id
    )


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
    if item.kind in _PLACED:
        db.execute(update(items).where(items.c.id == item.id).values(taken=items.c.taken + 1))


# Checks


def _check_due(campaign: Campaign, labeler_id: str, ordinal: int) -> str:
    """Which check, if any, stands at this place of a labeler's work: the same draw every time."""
    settings = campaign.settings
    drawn = seed_from("check", campaign.name, labeler_id, ordinal) / (1 << 63)
    for kind, share in (
        ("gold", settings.gold_share),
        ("repeat", settings.repeat_share),
        ("identical", settings.identical_share),
    ):
        if drawn < share:
            return kind
        drawn -= share
    return ""


def _gold_item(db: Connection, campaign: Campaign, labeler_id: str) -> AnyRow | None:
    gold = select(items).where(
        items.c.campaign_id == campaign.id, items.c.kind == "gold", ~_met(labeler_id)
    )
    return db.execute(gold.order_by(items.c.position).limit(1)).first()


def _repeat_item(
    db: Connection, campaign: Campaign, labeler_id: str, ordinal: int
) -> AnyRow | None:
    """Something that the labeler answered a while ago, as an item of its own."""
    again, met = items.alias(), assignments.alias()
    repeated = exists().where(
        again.c.of_item == items.c.id,
        again.c.kind == "repeat",
        met.c.item_id == again.c.id,
        met.c.labeler_id == labeler_id,
    )
    answered = and_(
        assignments.c.labeler_id == labeler_id,
        assignments.c.campaign_id == campaign.id,
        assignments.c.state == "done",
        assignments.c.ordinal <= ordinal - campaign.settings.repeat_after,
        items.c.kind == "work",
    )
    joined = items.join(assignments, assignments.c.item_id == items.c.id)
    found = select(items).select_from(joined).where(answered, ~repeated)
    original = db.execute(found.order_by(assignments.c.ordinal).limit(1)).first()
    if original is None:
        return None
    return _check_item(db, original, "repeat", original.response_ids)


def _identical_item(db: Connection, campaign: Campaign, labeler_id: str) -> AnyRow | None:
    """An item that the labeler has not met, with its first response in place of its last: two
    cards that say the same.
    """
    again, met = items.alias(), assignments.alias()
    checked = exists().where(
        again.c.of_item == items.c.id,
        again.c.kind == "identical",
        met.c.item_id == again.c.id,
        met.c.labeler_id == labeler_id,
    )
    fresh = select(items).where(
        items.c.campaign_id == campaign.id, items.c.kind == "work", ~_met(labeler_id), ~checked
    )
    last = db.execute(fresh.order_by(items.c.position.desc()).limit(1)).first()
    if last is None or len(last.response_ids) < 2:
        return None
    first = last.response_ids[0]
    body = db.execute(select(responses.c.body).where(responses.c.id == first)).scalar_one()
    copy = f"{first}{COPY}"
    row: Json = {"id": copy, "prompt_id": last.prompt_id, "body": {**body, "id": copy}}
    insert_new(db, responses, [row])
    item = _check_item(db, last, "identical", [*last.response_ids[:-1], copy])
    return None if _already_met(db, item, labeler_id) else item


def _already_met(db: Connection, item: AnyRow, labeler_id: str) -> bool:
    return (
        db.execute(select(assignments).where(_assignment(item.id, labeler_id))).first() is not None
    )


def _check_item(db: Connection, original: AnyRow, kind: str, response_ids: list[str]) -> AnyRow:
    """The check of this kind on an item, made where it is not there yet. It wants nobody, so that
    it is given by the draw alone.
    """
    key = content_id("item", [kind, original.key])
    same = and_(items.c.campaign_id == original.campaign_id, items.c.key == key)
    row: Json = {
        "campaign_id": original.campaign_id,
        "prompt_id": original.prompt_id,
        "key": key,
        "response_ids": response_ids,
        "position": original.position,
        "wanted": 0,
        "kind": kind,
        "of_item": original.id,
    }
    if db.execute(select(items.c.id).where(same)).first() is None:
        insert_new(db, items, [row])
    return db.execute(select(items).where(same)).one()
