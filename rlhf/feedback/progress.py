"""How far a campaign is: what is wanted, and how many answers in force each labeler has given,
kept beside the answers.

Each function works inside the caller's transaction.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    select,
    update,
)

from rlhf.feedback.database import INSERTS, InsertNew
from rlhf.feedback.schema import answers, campaigns, items, tallies

COLUMNS = ("campaign_id", "labeler_id", "answers", "work", "late")

_MINE = tallies.c.labeler_id == bindparam("labeler")
_PROGRESS = (
    select(
        campaigns.c.wanted,
        func.coalesce(func.sum(tallies.c.work), 0),
        func.coalesce(func.sum(case((_MINE, tallies.c.answers))), 0),
        func.count(tallies.c.labeler_id),
        func.coalesce(func.sum(tallies.c.late), 0),
        func.coalesce(func.sum(case((_MINE, tallies.c.answers - tallies.c.work))), 0),
    )
    .select_from(campaigns.outerjoin(tallies, tallies.c.campaign_id == campaigns.c.id))
    .where(campaigns.c.id == bindparam("campaign"))
    .group_by(campaigns.c.id, campaigns.c.wanted)
)


def _count(insert: InsertNew) -> Any:
    is_work = case((items.c.kind == "work", 1), else_=0)
    work = select(is_work).where(items.c.id == bindparam("counted_item")).scalar_subquery()
    first = insert(tallies).values(answers=1, work=work)
    grown = {name: tallies.c[name] + first.excluded[name] for name in ("answers", "work", "late")}
    return first.on_conflict_do_update(index_elements=list(tallies.primary_key), set_=grown)


_COUNT = {name: _count(insert) for name, insert in INSERTS.items()}


@dataclass(frozen=True, slots=True)
class Progress:
    """Answers wanted and in hand, over a campaign's items; `mine` counts one labeler's. `late`
    ones, among `done`, came after their lease had run out. `checks`, among `mine`, are no work that
    is wanted.
    """

    wanted: int
    done: int
    mine: int
    labelers: int
    late: int = 0
    checks: int = 0


def progress(db: Connection, campaign_id: int, labeler_id: str) -> Progress:
    """How far a campaign is, and one labeler's share of it."""
    return Progress(*db.execute(_PROGRESS, {"campaign": campaign_id, "labeler": labeler_id}).one())


def count_wanted(db: Connection, campaign_id: int) -> None:
    """Counts anew what the campaign's items of work want; its row is held by the caller, so that
    nobody adds or marks items at the same time.
    """
    of_work = and_(items.c.campaign_id == campaign_id, items.c.kind == "work")
    wanted = select(func.coalesce(func.sum(items.c.wanted), 0)).where(of_work).scalar_subquery()
    db.execute(update(campaigns).where(campaigns.c.id == campaign_id).values(wanted=wanted))


def count_answer(
    db: Connection, campaign_id: int, labeler_id: str, item_id: int, *, late: bool
) -> None:
    """Adds one labeler's first answer to an item; a correction changes no count. Done after the
    answer is saved: from then on nobody makes the item a gold one.
    """
    who = {"campaign_id": campaign_id, "labeler_id": labeler_id}
    db.execute(_COUNT[db.dialect.name], {**who, "counted_item": item_id, "late": int(late)})


def recount(db: Connection, campaign_id: int, labeler_ids: Iterable[str]) -> None:
    """Counts the answers of labelers in a campaign anew."""
    for labeler_id in labeler_ids:
        mine = and_(tallies.c.campaign_id == campaign_id, tallies.c.labeler_id == labeler_id)
        db.execute(delete(tallies).where(mine))
        held = (answers.c.campaign_id == campaign_id, answers.c.labeler_id == labeler_id)
        db.execute(insert(tallies).from_select(COLUMNS, _counted(*held)))


def count_all(db: Connection) -> None:
    """Counts all answers, where nothing has been counted yet."""
    db.execute(insert(tallies).from_select(COLUMNS, _counted()))


def miscounted(db: Connection) -> list[tuple[int, str]]:
    """(campaign, labeler) whose kept counts are not what is counted."""
    kept = {_key(row): tuple(row) for row in db.execute(select(tallies)).all()}
    counted = {_key(row): tuple(row) for row in db.execute(_counted()).all()}
    return sorted(key for key in kept.keys() | counted.keys() if kept.get(key) != counted.get(key))


def _key(row: Row[tuple[object, ...]]) -> tuple[int, str]:
    return row.campaign_id, row.labeler_id


def _counted(*of: ColumnElement[bool]) -> Select[tuple[object, ...]]:
    return (
        select(
            answers.c.campaign_id,
            answers.c.labeler_id,
            func.count().label("answers"),
            func.sum(case((items.c.kind == "work", 1), else_=0)).label("work"),
            func.sum(case((answers.c.late, 1), else_=0)).label("late"),
        )
        .select_from(answers.join(items, items.c.id == answers.c.item_id))
        .where(answers.c.superseded.is_(False), answers.c.body.is_not(None), *of)
        .group_by(answers.c.campaign_id, answers.c.labeler_id)
    )
