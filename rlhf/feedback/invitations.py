"""Invitations by link: a secret that makes one account, once, for a while.

Each function works inside the caller's transaction.
"""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, select, update

from rlhf.feedback import membership
from rlhf.feedback.audit import Entry, append
from rlhf.feedback.campaigns import campaign_of
from rlhf.feedback.people import has_admin, make_account
from rlhf.feedback.recording import iso_time
from rlhf.feedback.roles import Role
from rlhf.feedback.schema import campaigns, invitations
from rlhf.feedback.sessions import digest_of, new_secret

INVITATION_DAYS = 7.0
FIRST_ADMIN_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Invitation:
    """An offer of an account: `campaign` names the one that the invited becomes a member of."""

    id: str
    role: Role
    campaign: str | None
    made_by: str
    expires_at: float
    used_by: str | None


def invite(
    db: Connection,
    role: Role,
    campaign: str | None,
    *,
    by: str,
    moment: float,
    seconds: float = INVITATION_DAYS * 86_400,
) -> str:
    """A new invitation's secret; ValueError where there is no such campaign."""
    secret = new_secret()
    campaign_id = None
    if campaign is not None:
        named = select(campaigns.c.id).where(campaigns.c.name == campaign)
        campaign_id = db.execute(named).scalar()
        if campaign_id is None:
            raise ValueError(f"no campaign named {campaign!r}")
    row = {
        "token_digest": digest_of(secret),
        "role": role,
        "campaign_id": campaign_id,
        "made_by": by,
        "expires_at": moment + seconds,
    }
    db.execute(insert(invitations).values(**row))
    made = f"{digest_of(secret)[:16]} {role}"
    append(db, iso_time(moment), [Entry(by, "invitation made", made)])
    return secret


def invite_first_admin(db: Connection, moment: float) -> str | None:
    """The secret that makes the first admin, good for an hour; None where there is an admin. An
    earlier one that was not used is void.
    """
    if has_admin(db):
        return None
    unused = and_(invitations.c.made_by == "", invitations.c.used_by.is_(None))
    db.execute(delete(invitations).where(unused))
    return invite(db, "admin", None, by="", moment=moment, seconds=FIRST_ADMIN_SECONDS)


def invitation_of(db: Connection, secret: str, moment: float) -> Invitation:
    """The invitation that can still be accepted with this secret; else ValueError."""
    found = _listed(db, and_(invitations.c.token_digest == digest_of(secret), _open(moment)))
    if not found:
        raise ValueError("this invitation is used, over or withdrawn: ask for a new one")
    return found[0]


def open_invitations(db: Connection, moment: float) -> list[Invitation]:
    """Those that can still be accepted, the first to run out first."""
    return _listed(db, _open(moment))


def accept(db: Connection, secret: str, login: str, password_hash: str, moment: float) -> str:
    """Makes the account that was offered and returns its pseudonym.

    Raises ValueError where the invitation is no longer good, or the login is taken.
    """
    offered = invitation_of(db, secret, moment)
    by = offered.made_by
    mine = and_(invitations.c.token_digest == digest_of(secret), _open(moment))
    # Taken before anything is made: of two who accept at once, one is refused.
    taken = db.execute(update(invitations).where(mine).values(used_by="-"))
    if taken.rowcount != 1:
        raise ValueError("this invitation was used just now: ask for a new one")
    labeler_id = make_account(db, login, password_hash, offered.role, by=by, moment=moment)
    named = invitations.c.token_digest == digest_of(secret)
    db.execute(update(invitations).where(named).values(used_by=labeler_id))
    if offered.campaign is not None:
        row = db.execute(select(campaigns).where(campaigns.c.name == offered.campaign)).one()
        membership.join(db, campaign_of(row), labeler_id, moment)
    return labeler_id


def withdraw_invitation(db: Connection, invitation_id: str, *, by: str, moment: float) -> bool:
    """Makes an invitation void; False where none of this id was open."""
    listed = invitations.c.token_digest.startswith(invitation_id, autoescape=True)
    gone = db.execute(delete(invitations).where(listed, _open(moment))).rowcount == 1
    if gone:
        append(db, iso_time(moment), [Entry(by, "invitation withdrawn", invitation_id)])
    return gone


def _open(moment: float) -> ColumnElement[bool]:
    return and_(invitations.c.used_by.is_(None), invitations.c.expires_at > moment)


def _listed(db: Connection, which: ColumnElement[bool]) -> list[Invitation]:
    joined = invitations.outerjoin(campaigns, campaigns.c.id == invitations.c.campaign_id)
    columns = (
        invitations.c.token_digest,
        invitations.c.role,
        campaigns.c.name,
        invitations.c.made_by,
        invitations.c.expires_at,
        invitations.c.used_by,
    )
    query = select(*columns).select_from(joined).where(which).order_by(invitations.c.expires_at)
    return [Invitation(row[0][:16], *row[1:]) for row in db.execute(query).all()]
