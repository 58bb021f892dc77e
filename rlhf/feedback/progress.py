"""How far a campaign is: what is wanted, and how many answers in force each labeler has given,
kept beside the answers.

Each function works inside the caller's transaction.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    case,
    delete,
    func,
    insert,
    select,
    update,
)

from rlhf.feedback.database import insert_new
from rlhf.feedback.schema import answers, items, tallies

COLUMNS = ("campaign_id", "labeler_id", "answers", "work", "late")


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
    by_labeler = select(tallies).where(tallies.c.campaign_id == campaign_id)
    of_work = and_(items.c.campaign_id == campaign_id, items.c.kind == "work")
    wanted = db.execute(select(func.sum(items.c.wanted)).where(of_work)).scalar()
    rows = db.execute(by_labeler).all()
    return Progress(
        wanted=wanted or 0,
        done=sum(row.work for row in rows),
        mine=sum(row.answers for row in rows if row.labeler_id == labeler_id),
        labelers=len(rows),
        late=sum(row.late for row in rows),
        checks=sum(row.answers - row.work for row in rows if row.labeler_id == labeler_id),
    )


def count_answer(
    db: Connection, campaign_id: int, labeler_id: str, kind: str, *, late: bool
) -> None:
    """Adds one labeler's first answer to an item of this kind; a correction changes no count."""
    row = {"campaign_id": campaign_id, "labeler_id": labeler_id}
    counts = {"answers": 1, "work": int(kind == "work"), "late": int(late)}
    if insert_new(db, tallies, [{**row, **counts}]):
        return
    mine = and_(tallies.c.campaign_id == campaign_id, tallies.c.labeler_id == labeler_id)
    grown = {name: tallies.c[name] + more for name, more in counts.items() if more}
    db.execute(update(tallies).where(mine).values(grown))


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
