"""Sessions of browsers, tokens of programs, links to a new password: random secrets that stand for
an account.

Only SHA-256 digests are kept. Each function works inside the caller's transaction.
"""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, select, update

from rlhf.feedback.recording import iso_time
from rlhf.feedback.roles import Role
from rlhf.feedback.schema import accounts, labelers, sessions

Kind = Literal["session", "token", "reset"]
SESSION_SECONDS = 14 * 86_400.0  # from the last use
RESET_SECONDS = 86_400.0
# A use is noted this seldom: two hundred labelers at work must not write at every request.
NOTED_EVERY_SECONDS = 600.0
_KEPT_SECONDS = 30 * 86_400.0  # what is over is listed no longer, and deleted after this


@dataclass(frozen=True, slots=True)
class Bearer:
    """The account that a secret stands for. Times in seconds since the epoch."""

    labeler_id: str
    role: Role
    kind: Kind
    digest: str
    seen_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class Held:
    """A session or token as it may be listed: `id` names it and opens nothing."""

    id: str
    labeler_id: str
    kind: Kind
    name: str
    created_at: str
    seen_at: float
    expires_at: float


def digest_of(secret: str) -> str:
    """SHA-256 of a secret, as hex; the secret is random, so it needs no salt."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def new_secret(prefix: str = "") -> str:
    """256 random bits that are safe in a URL and a header."""
    return prefix + secrets.token_urlsafe(32)


def start(
    db: Connection, labeler_id: str, kind: Kind, name: str, *, moment: float, seconds: float
) -> str:
    """A new secret for the account, shown once; it ends after `seconds`, a session's from its last
    use.
    """
    secret = new_secret("rlhf_" if kind == "token" else "")
    db.execute(delete(sessions).where(sessions.c.expires_at < moment - _KEPT_SECONDS))
    row = {
        "token_digest": digest_of(secret),
        "labeler_id": labeler_id,
        "kind": kind,
        "name": name,
        "created_at": iso_time(moment),
        "seen_at": moment,
        "expires_at": moment + seconds,
        "revoked": False,
    }
    db.execute(insert(sessions).values(**row))
    return secret


def bearer_of(db: Connection, digest: str, moment: float) -> Bearer | None:
    """Whom a secret stands for now: None where it is unknown, over or revoked, or the account is
    closed or withdrawn.
    """
    joined = sessions.join(accounts, accounts.c.labeler_id == sessions.c.labeler_id)
    joined = joined.join(labelers, labelers.c.id == sessions.c.labeler_id)
    columns = (
        sessions.c.labeler_id,
        accounts.c.role,
        sessions.c.kind,
        sessions.c.token_digest,
        sessions.c.seen_at,
        sessions.c.expires_at,
    )
    good = (
        sessions.c.token_digest == digest,
        sessions.c.expires_at > moment,
        sessions.c.revoked.is_(False),
        accounts.c.active,
        labelers.c.withdrawn_at.is_(None),
    )
    row = db.execute(select(*columns).select_from(joined).where(*good)).first()
    return None if row is None else Bearer(*row)


def note_use(db: Connection, bearer: Bearer, moment: float) -> None:
    """Notes that a secret was used; a session then lasts its full time again."""
    values: dict[str, float] = {"seen_at": moment}
    if bearer.kind == "session":
        values["expires_at"] = moment + SESSION_SECONDS
    mine = and_(sessions.c.token_digest == bearer.digest, sessions.c.revoked.is_(False))
    db.execute(update(sessions).where(mine).values(**values))


def held(db: Connection, labeler_id: str, kind: Kind, moment: float) -> list[Held]:
    """The account's sessions or tokens that are in force, the latest used first."""
    mine = and_(_in_force(moment), sessions.c.labeler_id == labeler_id, sessions.c.kind == kind)
    rows = db.execute(select(sessions).where(mine).order_by(sessions.c.seen_at.desc())).all()
    return [
        Held(
            row.token_digest[:16],
            row.labeler_id,
            row.kind,
            row.name,
            row.created_at,
            row.seen_at,
            row.expires_at,
        )
        for row in rows
    ]


def owner_of(db: Connection, kind: Kind, session_id: str, moment: float) -> str | None:
    """Whose the session or token with this listed id is; None where there is none in force."""
    return db.execute(
        select(sessions.c.labeler_id).where(_in_force(moment), _listed(kind, session_id))
    ).scalar()


def revoke(db: Connection, kind: Kind, session_id: str) -> None:
    """Ends the session or token with this listed id."""
    db.execute(update(sessions).where(_listed(kind, session_id)).values(revoked=True))


def revoke_secret(db: Connection, digest: str) -> bool:
    """Ends the one with this digest; whether it was still in force."""
    mine = and_(sessions.c.token_digest == digest, sessions.c.revoked.is_(False))
    return db.execute(update(sessions).where(mine).values(revoked=True)).rowcount == 1


def revoke_all(db: Connection, labeler_id: str) -> None:
    """Ends everything that stands for the account."""
    mine = and_(sessions.c.labeler_id == labeler_id, sessions.c.revoked.is_(False))
    db.execute(update(sessions).where(mine).values(revoked=True))


def _in_force(moment: float) -> ColumnElement[bool]:
    return and_(sessions.c.revoked.is_(False), sessions.c.expires_at > moment)


def _listed(kind: Kind, session_id: str) -> ColumnElement[bool]:
    """By the first 16 hex digits of the digest; `startswith` would read `%` as a wildcard."""
    first = sessions.c.token_digest.startswith(session_id, autoescape=True)
    return and_(sessions.c.kind == kind, first)
