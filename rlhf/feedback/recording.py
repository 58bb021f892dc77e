"""Writing to the store: labelers, and rankings that were made elsewhere. Each function works inside
the caller's transaction.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection, and_, insert, select, update

from rlhf.data.identity import Json, content_id, seeded_uuid
from rlhf.data.records import Ranking
from rlhf.feedback.schema import assignments, items, labelers, rankings


def item_key(prompt_id: str, response_ids: Sequence[str]) -> str:
    """What makes an item the same item: its prompt and the set of its responses."""
    return content_id("item", [prompt_id, sorted(response_ids)])


def iso_time(moment: float) -> str:
    """Seconds since the epoch as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")


def add_labeler(db: Connection, labeler_id: str, moment: float) -> None:
    """Makes the labeler known; ValueError for an empty id."""
    if not labeler_id.strip():
        raise ValueError("a labeler needs an id")
    if db.execute(select(labelers.c.id).where(labelers.c.id == labeler_id)).first() is None:
        db.execute(insert(labelers).values(id=labeler_id, created_at=iso_time(moment)))


def record(db: Connection, campaign_id: int, given: Sequence[Ranking]) -> int:
    """Saves the rankings that the campaign does not hold yet; returns how many those are."""
    of_campaign = rankings.c.campaign_id == campaign_id
    bodies = db.execute(select(rankings.c.body).where(of_campaign)).scalars().all()
    held = {body["id"] for body in bodies}
    new = list({ranking.id: ranking for ranking in given if ranking.id not in held}.values())
    item_ids = _item_ids(db, campaign_id, new)
    corrected = {body["supersedes"] for body in bodies} | {ranking.supersedes for ranking in given}
    for labeler_id in {ranking.labeler_id for ranking in new}:
        add_labeler(db, labeler_id, time.time())
    rows: list[Json] = [
        {
            "id": ranking.id,
            "submission_id": ranking.submission_id
            or seeded_uuid("recorded", campaign_id, ranking.id),
            "campaign_id": campaign_id,
            "item_id": item_ids[ranking.id],
            "labeler_id": ranking.labeler_id,
            "body": ranking.to_json(),
            "superseded": ranking.id in corrected,
        }
        for ranking in new
    ]
    if rows:
        db.execute(insert(rankings), rows)
    for replaced in {ranking.supersedes for ranking in new} & held:
        where = and_(of_campaign, rankings.c.id == replaced)
        db.execute(update(rankings).where(where).values(superseded=True))
    _mark_done(db, {(row["item_id"], row["labeler_id"]) for row in rows})
    return len(rows)


def _item_ids(db: Connection, campaign_id: int, new: Sequence[Ranking]) -> dict[str, int]:
    """Ranking id -> the item that asked for it."""
    asked = select(items.c.key, items.c.id).where(items.c.campaign_id == campaign_id)
    by_key = {row.key: row.id for row in db.execute(asked)}
    item_ids: dict[str, int] = {}
    for ranking in new:
        item_id = by_key.get(item_key(ranking.prompt_id, ranking.shown))
        if item_id is None:
            raise ValueError(
                f"{ranking.id} ranks responses to {ranking.prompt_id} that are no item of the "
                f"campaign: add the item with {', '.join(sorted(ranking.shown))} first"
            )
        item_ids[ranking.id] = item_id
    return item_ids


def _mark_done(db: Connection, done: set[tuple[int, str]]) -> None:
    columns = (assignments.c.item_id, assignments.c.labeler_id)
    known = {(item_id, labeler_id) for item_id, labeler_id in db.execute(select(*columns)).all()}
    fresh: list[Json] = [
        {"item_id": item_id, "labeler_id": labeler_id, "state": "done"}
        | {"leased_until": 0.0, "reason": ""}
        for item_id, labeler_id in sorted(done - known)
    ]
    if fresh:
        db.execute(insert(assignments), fresh)
    for item_id, labeler_id in done & known:
        where = and_(columns[0] == item_id, columns[1] == labeler_id)
        db.execute(update(assignments).where(where).values(state="done"))
