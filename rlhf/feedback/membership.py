"""Who works on a campaign, which of its changes they were told of, and what they consented to.

Each function works inside the caller's transaction.
"""

import time
from dataclasses import dataclass
from itertools import pairwise

from sqlalchemy import (
    Connection,
    and_,
    select,
    update,
)

from rlhf.data.identity import Json
from rlhf.feedback.audit import Entry, append
from rlhf.feedback.campaigns import Campaign, CampaignSettings
from rlhf.feedback.database import insert_new
from rlhf.feedback.recording import add_labeler, hold_labeler, iso_time
from rlhf.feedback.schema import campaign_versions, consents, members
from rlhf.feedback.seals import CONSENTED, consent_subject

# Settings whose change concerns those who work. How items are given out concerns the lead alone,
# and labelers who are told of checks look out for them.
TOLD = {"open", "consent", "lease_minutes", "pay_per_answer", "currency"}


@dataclass(frozen=True, slots=True)
class Change:
    """One version of a campaign: who changed it, when, and the note told to labelers."""

    version: int
    guidelines_version: int
    note: str
    changed_by: str
    changed_at: str
    guidelines_changed: bool


def changes_since(db: Connection, campaign: Campaign, labeler_id: str) -> list[Change]:
    """The changes that a labeler has not been told of and that concern them: what the lead wrote a
    note about, the guidelines, and `TOLD` settings. None to one who has not begun yet.
    """
    mine = and_(members.c.campaign_id == campaign.id, members.c.labeler_id == labeler_id)
    told = db.execute(select(members.c.told_version).where(mine)).scalar()
    table = campaign_versions.c
    rows = db.execute(
        select(campaign_versions)
        .where(table.campaign_id == campaign.id, table.version >= (told or campaign.version))
        .order_by(table.version)
    ).all()
    return [
        Change(
            row.version,
            row.guidelines_version,
            row.note,
            row.changed_by,
            row.changed_at,
            row.guidelines_version != before.guidelines_version,
        )
        for before, row in pairwise(rows)
        if row.note
        or row.guidelines_version != before.guidelines_version
        or _told_of(row.settings) != _told_of(before.settings)
    ]


def _told_of(settings: Json) -> Json:
    return CampaignSettings.model_validate(settings).model_dump(include=TOLD)


def join(db: Connection, campaign: Campaign, labeler_id: str, moment: float) -> None:
    """Makes a labeler a member of the campaign, told of its newest version."""
    mine = and_(members.c.campaign_id == campaign.id, members.c.labeler_id == labeler_id)
    if db.execute(select(members.c.since).where(mine)).first() is None:
        add_labeler(db, labeler_id, moment)
        row = {"campaign_id": campaign.id, "labeler_id": labeler_id, "since": iso_time(moment)}
        insert_new(db, members, [{**row, "told_version": campaign.version}])


def tell(db: Connection, campaign: Campaign, labeler_id: str, version: int) -> None:
    """Notes that a labeler has read of the changes up to this version."""
    mine = and_(members.c.campaign_id == campaign.id, members.c.labeler_id == labeler_id)
    newer = and_(mine, members.c.told_version < min(version, campaign.version))
    db.execute(update(members).where(newer).values(told_version=min(version, campaign.version)))


def is_member(db: Connection, campaign: Campaign, labeler_id: str) -> bool:
    """Whether the labeler may work on the campaign."""
    if not campaign.settings.members_only:
        return True
    mine = and_(members.c.campaign_id == campaign.id, members.c.labeler_id == labeler_id)
    return db.execute(select(members.c.since).where(mine)).first() is not None


def consent(db: Connection, campaign: Campaign, labeler_id: str, version: int) -> None:
    """Records that a labeler accepts the guidelines in this version; ValueError where they have
    changed since.
    """
    if version != campaign.guidelines_version:
        raise ValueError(
            f"the guidelines are at version {campaign.guidelines_version} now, not {version}: read "
            "them again"
        )
    if has_consented(db, campaign, labeler_id):
        return
    now = time.time()
    hold_labeler(db, labeler_id, now)
    join(db, campaign, labeler_id, now)
    row = {"campaign_id": campaign.id, "labeler_id": labeler_id, "guidelines_version": version}
    if not insert_new(db, consents, [{**row, "given_at": iso_time(now)}]):
        return
    subject = consent_subject(campaign.name, version)
    append(db, iso_time(now), [Entry(labeler_id, CONSENTED, subject)])


def has_consented(db: Connection, campaign: Campaign, labeler_id: str) -> bool:
    """Whether the labeler has accepted the guidelines as they are now."""
    given = and_(
        consents.c.campaign_id == campaign.id,
        consents.c.labeler_id == labeler_id,
        consents.c.guidelines_version == campaign.guidelines_version,
    )
    return db.execute(select(consents.c.given_at).where(given)).first() is not None
