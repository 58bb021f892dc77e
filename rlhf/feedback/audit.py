"""The log of what was done in a store: a chain of hashes that anyone can check.

An entry about an answer names it by its number (its id hashes its content, and could be guessed
from) and holds a digest of a random salt and the whole row. When a person withdraws consent,
content, salt and ids are deleted: nothing in the log tells what they said any more, and the chain,
which hashes digests, stays whole.
"""

import hashlib
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from rlhf.data.identity import Json, canonical
from rlhf.feedback.database import INSERTS
from rlhf.feedback.schema import answers, audit, audit_head

# What an entry vouches for; `superseded` changes later, and follows from the answers themselves.
SEALED = (
    "number",
    "id",
    "kind",
    "submission_id",
    "campaign_id",
    "item_id",
    "labeler_id",
    "body",
    "late",
)
# What is left of a withdrawn answer, `superseded` as it was then.
LEFT = ("number", "kind", "campaign_id", "item_id", "labeler_id", "superseded", "late")
ANSWERED = ("answered", "corrected", "recorded", "imported")
WITHDRAWN = "withdrawn"
SUBJECT_CHARACTERS = 200

_HEAD = select(audit_head).with_for_update()
_APPEND = insert(audit)
_MOVE_HEAD = update(audit_head).values(number=bindparam("last"), chain=bindparam("hash"))
_SAVE = {
    name: insert_into(answers).on_conflict_do_nothing().returning(answers.c.number)
    for name, insert_into in INSERTS.items()
}


@dataclass(frozen=True, slots=True)
class Entry:
    """Something done by `actor` to `subject`; `digest` is of its salted content, where it has
    one.
    """

    actor: str
    action: str
    subject: str
    digest: str = ""


def new_salt() -> str:
    """128 random bits, as hex."""
    return secrets.token_hex(16)


def salted_digest(salt: str, content: Json) -> str:
    """SHA-256 of a salt and a content, as hex."""
    return hashlib.sha256(f"{salt}{canonical(content)}".encode()).hexdigest()


def chained(previous: str, number: int, at: str, entry: Entry) -> str:
    """The hash of an entry and all before it, as hex."""
    fields = [previous, number, at, entry.actor, entry.action, entry.subject, entry.digest]
    return hashlib.sha256(canonical(fields).encode()).hexdigest()


def append(db: Connection, at: str, entries: Sequence[Entry]) -> None:
    """Adds entries to the log. Whoever writes holds the head of the log until they commit: do this
    last.
    """
    if not entries:
        return
    head = db.execute(_HEAD).one()
    number, chain = head.number, head.chain
    rows: list[Json] = []
    for given in entries:
        entry = replace(given, subject=given.subject[:SUBJECT_CHARACTERS])
        number += 1
        chain = chained(chain, number, at, entry)
        rows.append(
            {
                "number": number,
                "at": at,
                "actor": entry.actor,
                "action": entry.action,
                "subject": entry.subject,
                "digest": entry.digest,
                "chain": chain,
            }
        )
    db.execute(_APPEND, rows if len(rows) > 1 else rows[0])
    db.execute(_MOVE_HEAD, {"last": number, "hash": chain})


def append_recorded(db: Connection) -> None:
    """Salts and logs the answers that have no salt yet: those from before there was a log."""
    bare = select(answers).where(answers.c.salt.is_(None), answers.c.body.is_not(None))
    entries = []
    for row in db.execute(bare.order_by(answers.c.number)).mappings().all():
        salt = new_salt()
        db.execute(update(answers).where(answers.c.number == row["number"]).values(salt=salt))
        entries += entries_of([{**row, "salt": salt}], "recorded")
    append(db, datetime.now(UTC).isoformat(timespec="milliseconds"), entries)


def seal(row: Mapping[str, Any]) -> str:
    """The salted digest of a row of `answers`, as hex."""
    return salted_digest(row["salt"], {name: row[name] for name in SEALED})


def tombstone(row: Mapping[str, Any]) -> Entry:
    """The entry that says that a row of `answers` was emptied."""
    left = salted_digest("", {name: row[name] for name in LEFT})
    return Entry(row["labeler_id"], WITHDRAWN, subject_of(row["number"]), left)


def subject_of(number: int) -> str:
    """How the log names an answer."""
    return f"answer {number}"


def entries_of(rows: Iterable[Mapping[str, Any]], action: str) -> list[Entry]:
    """The entries for rows of `answers` that were just saved, their numbers included."""
    return [Entry(row["labeler_id"], action, subject_of(row["number"]), seal(row)) for row in rows]


def save_answer(db: Connection, row: Json) -> Json | None:
    """Inserts one row of `answers` with a salt; returns it with its number, or None where its ids
    are taken.
    """
    salted = {**row, "salt": new_salt()}
    number = db.execute(_SAVE[db.dialect.name], salted).scalar()
    return None if number is None else {**salted, "number": number}


def save_answers(db: Connection, rows: Sequence[Json]) -> list[Json]:
    """Inserts rows of `answers`, each with a salt; returns them with their numbers."""
    if not rows:
        return []
    salted = [{**row, "salt": new_salt()} for row in rows]
    saved = insert(answers).returning(answers.c.number, sort_by_parameter_order=True)
    numbers = db.execute(saved, salted).scalars().all()
    return [{**row, "number": number} for row, number in zip(salted, numbers, strict=True)]
