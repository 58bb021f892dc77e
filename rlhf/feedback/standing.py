"""Where a labeler stands in a campaign: one statement, at the beginning of every request."""

from dataclasses import dataclass

from sqlalchemy import Connection, and_, bindparam, select

from rlhf.feedback.campaigns import Campaign, campaign_of
from rlhf.feedback.schema import campaigns, consents, members

_MEMBER = and_(
    members.c.campaign_id == campaigns.c.id, members.c.labeler_id == bindparam("labeler")
)
_CONSENT = and_(
    consents.c.campaign_id == campaigns.c.id,
    consents.c.labeler_id == bindparam("labeler"),
    consents.c.guidelines_version == campaigns.c.guidelines_version,
)
_STANDING = (
    select(campaigns, members.c.since, consents.c.given_at)
    .select_from(campaigns.outerjoin(members, _MEMBER).outerjoin(consents, _CONSENT))
    .where(campaigns.c.name == bindparam("campaign"))
)


@dataclass(frozen=True, slots=True)
class Standing:
    """A campaign, whether the labeler may work on it, and whether they have to accept its
    guidelines first.
    """

    campaign: Campaign
    may_work: bool
    needs_consent: bool


def standing(db: Connection, campaign: str, labeler_id: str) -> Standing | None:
    """The labeler's standing in the campaign of this name; None where there is none."""
    row = db.execute(_STANDING, {"campaign": campaign, "labeler": labeler_id}).first()
    if row is None:
        return None
    found = campaign_of(row)
    settings = found.settings
    return Standing(
        found,
        not settings.members_only or row.since is not None,
        settings.consent and row.given_at is None,
    )
