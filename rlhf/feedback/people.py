"""Accounts: people who sign in, and programs that hold a token, each under a pseudonym.

The pseudonym is the only id in answers, exports and the log; the login stays in `accounts`.
Each function works inside the caller's transaction.
"""

import re
import secrets
import unicodedata
from dataclasses import dataclass

from sqlalchemy import Connection, Row, and_, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from rlhf.feedback.audit import Entry, append
from rlhf.feedback.recording import add_labeler, iso_time
from rlhf.feedback.roles import Role
from rlhf.feedback.schema import accounts, labelers, members
from rlhf.feedback.sessions import revoke_all

_PSEUDONYM = re.compile(r"labeler-[0-9a-f]{8}")
_UNFIT = {"Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp"}  # unseen, unassigned, or blank


@dataclass(frozen=True, slots=True)
class Account:
    """Who may work, and as what. `login` is None for a program, which has a token alone."""

    labeler_id: str
    login: str | None
    role: Role
    active: bool
    created_at: str


def checked_login(login: str) -> str:
    """The login as it is kept (one form for all ways to type it); ValueError where it cannot be
    one.
    """
    kept = unicodedata.normalize("NFKC", login).strip().casefold()
    if not 3 <= len(kept) <= 100 or any(unicodedata.category(one) in _UNFIT for one in kept):
        raise ValueError(
            "a login is a name or an e-mail address of 3 to 100 characters, without blanks"
        )
    if _PSEUDONYM.fullmatch(kept):
        raise ValueError("this login looks like a pseudonym: choose another one")
    return kept


def make_account(
    db: Connection,
    login: str | None,
    password_hash: str,
    role: Role,
    *,
    by: str,
    moment: float,
) -> str:
    """Makes an account and returns its new pseudonym; ValueError where the login is taken."""
    labeler_id = _new_pseudonym(db)
    add_labeler(db, labeler_id, moment)
    row = {
        "labeler_id": labeler_id,
        "login": login or labeler_id,
        "password_hash": password_hash,
        "role": role,
        "active": True,
        "created_at": iso_time(moment),
    }
    try:
        db.execute(insert(accounts).values(**row))
    except IntegrityError as error:
        raise ValueError("this login is taken: choose another one") from error
    append(db, iso_time(moment), [Entry(by or labeler_id, "account made", f"{labeler_id} {role}")])
    return labeler_id


def all_accounts(db: Connection) -> list[Account]:
    """Every account, oldest first."""
    found = select(accounts).order_by(accounts.c.created_at, accounts.c.labeler_id)
    return [_account_of(row) for row in db.execute(found).all()]


def account(db: Connection, labeler_id: str) -> Account:
    """The account of this pseudonym; ValueError where there is none."""
    row = db.execute(select(accounts).where(accounts.c.labeler_id == labeler_id)).first()
    if row is None:
        raise ValueError(f"there is no account {labeler_id!r}")
    return _account_of(row)


def kept_password(db: Connection, login: str) -> tuple[str, str] | None:
    """Pseudonym and password hash of an active account that signs in with `login`."""
    held = (accounts.c.login == login, accounts.c.active, accounts.c.password_hash != "")
    joined = accounts.join(labelers, labelers.c.id == accounts.c.labeler_id)
    query = select(accounts.c.labeler_id, accounts.c.password_hash).select_from(joined)
    row = db.execute(query.where(*held, labelers.c.withdrawn_at.is_(None))).first()
    return None if row is None else (row.labeler_id, row.password_hash)


def keep_password(db: Connection, labeler_id: str, password_hash: str) -> None:
    """Stores another hash of a password."""
    mine = accounts.c.labeler_id == labeler_id
    db.execute(update(accounts).where(mine).values(password_hash=password_hash))


def change_password(
    db: Connection, labeler_id: str, password_hash: str, *, by: str, moment: float
) -> None:
    """Another password: every session and token of the account ends."""
    keep_password(db, labeler_id, password_hash)
    revoke_all(db, labeler_id)
    append(db, iso_time(moment), [Entry(by, "password changed", labeler_id)])


def change_account(
    db: Connection,
    labeler_id: str,
    *,
    role: Role | None,
    active: bool | None,
    by: str,
    moment: float,
) -> Account:
    """The account with another role, or closed or opened; closing ends its sessions and tokens.

    Raises ValueError where no active admin would be left.
    """
    # Locked first, so that two admins cannot remove each other at once.
    reigning = and_(accounts.c.role == "admin", accounts.c.active)
    admins = db.execute(select(accounts.c.labeler_id).where(reigning).with_for_update()).scalars()
    before = account(db, labeler_id)
    after = Account(
        labeler_id,
        before.login,
        before.role if role is None else role,
        before.active if active is None else active,
        before.created_at,
    )
    if set(admins) == {labeler_id} and not (after.role == "admin" and after.active):
        raise ValueError("this is the only active admin: make another one first")
    if before.login is None and after.role != before.role:
        raise ValueError("an account of a program stays a labeler's")
    mine = accounts.c.labeler_id == labeler_id
    db.execute(update(accounts).where(mine).values(role=after.role, active=after.active))
    if not after.active:
        revoke_all(db, labeler_id)
    entries = []
    if after.role != before.role:
        entries.append(Entry(by, "role changed", f"{labeler_id} {after.role}"))
    if after.active != before.active:
        said = "account opened" if after.active else "account closed"
        entries.append(Entry(by, said, labeler_id))
    append(db, iso_time(moment), entries)
    return after


def has_admin(db: Connection) -> bool:
    """Whether anybody can administer this store."""
    reigning = and_(accounts.c.role == "admin", accounts.c.active)
    return db.execute(select(accounts.c.labeler_id).where(reigning)).first() is not None


def end_membership(db: Connection, campaign_id: int, labeler_id: str) -> None:
    """Takes somebody off the members of a campaign; what they answered stays."""
    mine = and_(members.c.campaign_id == campaign_id, members.c.labeler_id == labeler_id)
    db.execute(delete(members).where(mine))


def _new_pseudonym(db: Connection) -> str:
    while True:
        made = f"labeler-{secrets.token_hex(4)}"
        if db.execute(select(labelers.c.id).where(labelers.c.id == made)).first() is None:
            return made


def _account_of(row: Row[tuple[object, ...]]) -> Account:
    login = None if row.login == row.labeler_id else row.login
    return Account(row.labeler_id, login, row.role, row.active, row.created_at)
