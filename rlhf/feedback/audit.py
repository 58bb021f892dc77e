"""The log of what was done in a store: a chain of hashes that anyone can check.

An entry about an answer holds a digest of a random salt and the answer's content. When a person
withdraws consent, content and salt are deleted: nothing in the log tells what they said any more,
and the chain, which hashes digests, stays whole.
"""

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, insert, select, update

from rlhf.data.identity import Json, canonical
from rlhf.feedback.schema import answers, audit, audit_head


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
    head = db.execute(select(audit_head).with_for_update()).one()
    number, chain = head.number, head.chain
    rows: list[Json] = []
    for entry in entries:
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
    db.execute(insert(audit), rows)
    db.execute(update(audit_head).values(number=number, chain=chain))


def append_recorded(db: Connection) -> None:
    """Salts and logs the answers that have no salt yet: those from before there was a log."""
    columns = (answers.c.number, answers.c.id, answers.c.labeler_id, answers.c.body)
    bare = select(*columns).where(answers.c.salt.is_(None), answers.c.body.is_not(None))
    entries = []
    for row in db.execute(bare.order_by(answers.c.number)).all():
        salt = new_salt()
        db.execute(update(answers).where(answers.c.number == row.number).values(salt=salt))
        entries.append(Entry(row.labeler_id, "recorded", row.id, salted_digest(salt, row.body)))
    append(db, datetime.now(UTC).isoformat(timespec="milliseconds"), entries)


def entries_of(rows: Iterable[Json], action: str) -> list[Entry]:
    """The entries for rows of `answers` that were just saved."""
    return [
        Entry(row["labeler_id"], action, row["id"], salted_digest(row["salt"], row["body"]))
        for row in rows
    ]
