"""Checks of the labelers, mixed in unseen: gold items, repeats, and pairs of the same response.

Each function works inside the caller's transaction.
"""

from sqlalchemy import ColumnElement, Connection, Row, and_, exists, select

from rlhf.data.identity import Json, content_id, seed_from
from rlhf.feedback.campaigns import Campaign
from rlhf.feedback.database import insert_new
from rlhf.feedback.items import of_length
from rlhf.feedback.leases import of_labeler
from rlhf.feedback.schema import assignments, items, responses

COPY = "~again"  # ends the id of the second showing of a response, in a check for position bias

AnyRow = Row[tuple[object, ...]]


def met_by(labeler_id: str) -> ColumnElement[bool]:
    return exists().where(
        assignments.c.item_id == items.c.id, assignments.c.labeler_id == labeler_id
    )


def check_due(campaign: Campaign, labeler_id: str, ordinal: int) -> str:
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


def gold_item(
    db: Connection, campaign: Campaign, labeler_id: str, most: int | None
) -> AnyRow | None:
    gold = select(items).where(
        items.c.campaign_id == campaign.id,
        items.c.kind == "gold",
        of_length(most),
        ~met_by(labeler_id),
    )
    return db.execute(gold.order_by(items.c.position).limit(1)).first()


def repeat_item(
    db: Connection, campaign: Campaign, labeler_id: str, ordinal: int, most: int | None
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
        of_length(most),
    )
    joined = items.join(assignments, assignments.c.item_id == items.c.id)
    found = select(items).select_from(joined).where(answered, ~repeated)
    original = db.execute(found.order_by(assignments.c.ordinal).limit(1)).first()
    if original is None:
        return None
    return _check_item(db, original, "repeat", original.response_ids)


def identical_item(
    db: Connection, campaign: Campaign, labeler_id: str, most: int | None
) -> AnyRow | None:
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
        items.c.campaign_id == campaign.id,
        items.c.kind == "work",
        of_length(most),
        ~met_by(labeler_id),
        ~checked,
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
        db.execute(select(assignments).where(of_labeler(item.id, labeler_id))).first() is not None
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
