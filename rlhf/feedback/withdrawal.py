"""When a person takes their consent back: what they said is deleted; that they did, stays.

`withdraw` works inside the caller's transaction; `wipe` afterwards, outside of any.
"""

import hashlib
import sqlite3
from dataclasses import dataclass

from sqlalchemy import Connection, Table, and_, delete, func, select, text, update
from sqlalchemy.exc import OperationalError

from rlhf.feedback.audit import Entry, append, tombstone
from rlhf.feedback.database import Database, faults_explained
from rlhf.feedback.leases import count_places
from rlhf.feedback.recording import iso_time
from rlhf.feedback.schema import (
    accounts,
    answers,
    assignments,
    drafts,
    flags,
    labelers,
    responses,
    sessions,
    tallies,
    throttles,
)

_HELD_TEXT = (answers, drafts, flags, assignments, accounts, sessions, throttles)
_WAIT_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """What was emptied or deleted; `wiped` says whether nothing is left of it in the database's
    files.
    """

    labeler_id: str
    answers: int
    drafts: int
    wiped: bool = False


@dataclass(frozen=True, slots=True)
class Said:
    """What a person said that the store still holds: the ids of their answers, and all that they
    wrote (answers, reasons, notes, drafts).
    """

    ids: frozenset[str]
    texts: frozenset[str]


def said_by(db: Connection, labeler_id: str) -> Said | None:
    """What to look for in copies of a person's answers; None for a labeler who is not there. A
    text that is also the answer of a model is left out: those words are not theirs alone.
    """
    if db.execute(select(labelers.c.id).where(labelers.c.id == labeler_id)).first() is None:
        return None
    kept = and_(answers.c.labeler_id == labeler_id, answers.c.body.is_not(None))
    bodies = db.execute(select(answers.c.id, answers.c.body).where(kept)).all()
    texts = {row.body.get(name) or "" for row in bodies for name in ("rationale", "text")}
    drafted = select(drafts.c.body).where(drafts.c.labeler_id == labeler_id)
    for draft in db.execute(drafted).scalars():
        texts |= {one for one in draft.values() if isinstance(one, str)}
    texts |= set(db.execute(select(flags.c.note).where(flags.c.labeler_id == labeler_id)).scalars())
    skipped = select(assignments.c.reason).where(assignments.c.labeler_id == labeler_id)
    texts |= set(db.execute(skipped).scalars())
    texts -= {body.get("text", "") for body in db.execute(select(responses.c.body)).scalars()}
    return Said(frozenset(row.id for row in bodies), frozenset(text for text in texts if text))


def withdrawn_labelers(db: Connection) -> set[str]:
    """Those who have taken their consent back."""
    gone = select(labelers.c.id).where(labelers.c.withdrawn_at.is_not(None))
    return set(db.execute(gone).scalars())


def withdraw(db: Connection, labeler_id: str, moment: float) -> Withdrawn:
    """Deletes what a labeler said (answers, rationales, drafts, notes and reasons) with its salts,
    and their login; their answers stay as empty rows with a tombstone each, and their items want
    somebody else.

    Raises ValueError for a labeler who is not there. Done twice, it deletes nothing more.
    """
    known = select(labelers.c.withdrawn_at).where(labelers.c.id == labeler_id)
    row = db.execute(known.with_for_update(key_share=True)).first()
    if row is None:
        raise ValueError(f"no labeler {labeler_id!r} in the store: give the pseudonym")
    kept = and_(answers.c.labeler_id == labeler_id, answers.c.body.is_not(None))
    rows = db.execute(select(answers).where(kept).order_by(answers.c.number)).mappings()
    emptied = [dict(answer) for answer in rows]
    for answer in emptied:
        gone = f"withdrawn-{answer['number']}"
        nothing = {"body": None, "salt": None, "id": gone, "submission_id": gone}
        db.execute(update(answers).where(answers.c.number == answer["number"]).values(nothing))
    begun = _forget(db, drafts, labeler_id)
    _forget_person(db, labeler_id)
    _give_back(db, labeler_id)
    now = iso_time(moment)
    if row.withdrawn_at is None:
        left = update(labelers).where(labelers.c.id == labeler_id).values(withdrawn_at=now)
        db.execute(left)
        first = [Entry(labeler_id, "consent withdrawn", labeler_id)]
    else:
        first = []
    append(db, now, [*first, *(tombstone(answer) for answer in emptied)])
    return Withdrawn(labeler_id, len(emptied), begun)


def _forget(db: Connection, table: Table, labeler_id: str) -> int:
    mine = table.c.labeler_id == labeler_id
    count = db.execute(select(func.count()).select_from(table).where(mine)).scalar_one()
    db.execute(delete(table).where(mine))
    return count


def _forget_person(db: Connection, labeler_id: str) -> None:
    """The login, and the failed logins that name it; sessions; what they wrote beside answers."""
    login = select(accounts.c.login).where(accounts.c.labeler_id == labeler_id)
    name = db.execute(login).scalar()
    if name is not None:
        digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()
        db.execute(delete(throttles).where(throttles.c.key == f"login:{digest}"))
    for table in (sessions, accounts, tallies):
        _forget(db, table, labeler_id)
    db.execute(update(flags).where(flags.c.labeler_id == labeler_id).values(note=""))


def _give_back(db: Connection, labeler_id: str) -> None:
    """Frees the places of what they had answered or begun."""
    mine = assignments.c.labeler_id == labeler_id
    placed = and_(mine, assignments.c.state.in_(("open", "done")))
    item_ids = db.execute(select(assignments.c.item_id).where(placed)).scalars().all()
    db.execute(update(assignments).where(placed).values(state="withdrawn"))
    db.execute(update(assignments).where(mine).values(reason=""))
    count_places(db, item_ids)


def wipe(database: Database) -> bool:
    """Writes the files of the database anew, so that they hold nothing of what was deleted; False
    where somebody held them too long, and it has to be done again.
    """
    if database.url.get_backend_name() == "sqlite":
        return _wipe_sqlite(database)
    with faults_explained(), database.engine.connect() as connection:
        return _wipe_postgres(connection.execution_options(isolation_level="AUTOCOMMIT"))


def _wipe_sqlite(database: Database) -> bool:
    connection = database.engine.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute("vacuum")
        cursor.execute("pragma wal_checkpoint(truncate)")
        busy = cursor.fetchone()
    except sqlite3.OperationalError:
        return False
    finally:
        connection.close()
    return busy is not None and not busy[0]


def _wipe_postgres(connection: Connection) -> bool:
    connection.execute(text(f"set lock_timeout = '{_WAIT_SECONDS}s'"))
    try:
        for table in _HELD_TEXT:
            connection.execute(text(f"vacuum (full) {table.name}"))
    except OperationalError:
        return False
    finally:
        connection.execute(text("reset lock_timeout"))
    return True
