"""Writing to the store: labelers, and rankings that were made elsewhere. Each function works inside
the caller's transaction.
"""

import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection, and_, bindparam, func, insert, select, update

from rlhf.data.identity import Json, content_id, seeded_uuid
from rlhf.data.records import Ranking
from rlhf.feedback.audit import append, entries_of, save_answers
from rlhf.feedback.database import insert_new
from rlhf.feedback.progress import recount
from rlhf.feedback.schema import answers, assignments, campaigns, items, labelers

_LABELER = (
    select(labelers.c.withdrawn_at)
    .where(labelers.c.id == bindparam("labeler"))
    .with_for_update(key_share=True)
)


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
        insert_new(db, labelers, [{"id": labeler_id, "created_at": iso_time(moment)}])


def hold_labeler(db: Connection, labeler_id: str, moment: float) -> None:
    """Makes the labeler known, and all that this labeler does wait for what they are doing.

    Raises ValueError for one who has withdrawn consent.
    """
    mine = {"labeler": labeler_id}
    row = db.execute(_LABELER, mine).first()
    if row is None:
        add_labeler(db, labeler_id, moment)
        row = db.execute(_LABELER, mine).one()
    if row.withdrawn_at is not None:
        raise withdrawn(labeler_id)


def withdrawn(labeler_id: str) -> ValueError:
    """What is said where somebody has withdrawn consent."""
    return ValueError(
        f"{labeler_id} has withdrawn consent: nothing is saved under this pseudonym any more"
    )


def held_text(text: str) -> str:
    """A text as both databases can hold it: PostgreSQL knows no NUL."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def record(db: Connection, campaign_id: int, given: Sequence[Ranking]) -> int:
    """Saves the rankings that the campaign does not hold yet; returns how many those are."""
    of_campaign = answers.c.campaign_id == campaign_id
    # One import at a time, in the order of locks that `rlhf.feedback.assignment` names.
    held_campaign = select(campaigns.c.id).where(campaigns.c.id == campaign_id)
    db.execute(held_campaign.with_for_update(key_share=True))
    for labeler_id in sorted({ranking.labeler_id for ranking in given}):
        hold_labeler(db, labeler_id, time.time())
    stored = db.execute(select(answers.c.id, answers.c.body).where(of_campaign)).all()
    held = {row.id for row in stored}
    new = list({ranking.id: ranking for ranking in given if ranking.id not in held}.values())
    asked = _items_asked(db, campaign_id, new)
    corrected = {row.body["supersedes"] for row in stored if row.body}
    corrected |= {ranking.supersedes for ranking in given}
    rows: list[Json] = [
        {
            "id": ranking.id,
            "kind": "ranking",
            "submission_id": ranking.submission_id
            or seeded_uuid("recorded", campaign_id, ranking.id),
            "campaign_id": campaign_id,
            "item_id": asked[ranking.id],
            "labeler_id": ranking.labeler_id,
            "body": ranking.to_json(),
            "superseded": ranking.id in corrected,
            "late": False,
        }
        for ranking in new
    ]
    saved = save_answers(db, rows)
    for replaced in {ranking.supersedes for ranking in new} & held:
        where = and_(of_campaign, answers.c.id == replaced)
        db.execute(update(answers).where(where).values(superseded=True))
    _mark_done(db, campaign_id, new, asked)
    recount(db, campaign_id, {ranking.labeler_id for ranking in new})
    append(db, iso_time(time.time()), entries_of(saved, "recorded"))
    return len(rows)


def _items_asked(db: Connection, campaign_id: int, new: Sequence[Ranking]) -> dict[str, int]:
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


def _mark_done(
    db: Connection, campaign_id: int, new: Sequence[Ranking], asked: dict[str, int]
) -> None:
    """Each (item, labeler) is done; where it was not before, it takes a place of the item."""
    order: dict[tuple[int, str], Ranking] = {}
    for ranking in new:
        order.setdefault((asked[ranking.id], ranking.labeler_id), ranking)
    columns = (assignments.c.item_id, assignments.c.labeler_id, assignments.c.state)
    of_campaign = assignments.c.campaign_id == campaign_id
    states = {(row[0], row[1]): row[2] for row in db.execute(select(*columns).where(of_campaign))}
    given = Counter(labeler_id for _, labeler_id in states)
    fresh: list[Json] = []
    taken: Counter[int] = Counter()
    for (item_id, labeler_id), ranking in order.items():
        state = states.get((item_id, labeler_id))
        taken[item_id] += state not in ("open", "done")
        if state is None:
            given[labeler_id] += 1
            fresh.append(
                {
                    "item_id": item_id,
                    "labeler_id": labeler_id,
                    "state": "done",
                    "leased_until": 0.0,
                    "reason": "",
                    "campaign_id": campaign_id,
                    "ordinal": given[labeler_id],
                    "shown": list(ranking.shown),
                }
            )
        elif state != "done":
            where = and_(columns[0] == item_id, columns[1] == labeler_id)
            db.execute(update(assignments).where(where).values(state="done"))
    if fresh:
        db.execute(insert(assignments), fresh)
    if any(taken.values()):
        places = func.min if db.dialect.name == "sqlite" else func.least
        grown = update(items).where(items.c.id == bindparam("at"))
        grown = grown.values(taken=places(items.c.wanted, items.c.taken + bindparam("more")))
        db.execute(grown, [{"at": at, "more": more} for at, more in sorted(taken.items()) if more])
