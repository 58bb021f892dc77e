"""How a campaign goes now: little is read, so that a page can ask every few seconds.

Each function works inside the caller's transaction.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, func, select

from rlhf.feedback.campaigns import Campaign
from rlhf.feedback.membership import Change
from rlhf.feedback.schema import answers, assignments, campaign_versions, flags, items

RECENT_SECONDS = 3600.0
RECENT_MOST = 2000  # newest answers of the store that are looked at
RATE_NEEDS = 5  # answers in that time before a rate is given
LEAST_SECONDS = 600.0  # of a campaign that has just begun: a rate over less is chance


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a campaign goes. `recent` counts the answers of the last hour, checks included;
    `per_hour` those of them to items of work, None where too few came.
    """

    recent: int
    per_hour: float | None
    reviews_wanted: int
    reviews_done: int


@dataclass(frozen=True, slots=True)
class Flag:
    """What a labeler told the lead about an item; `of_item` is what it checks or reviews, where it
    is no work itself.
    """

    item_id: int
    of_item: int | None
    labeler_id: str
    kind: str
    note: str
    flagged_at: str


def pace(db: Connection, campaign: Campaign, moment: float) -> Pace:
    """The campaign's pace at `moment`, and its reviews."""
    asked = and_(items.c.campaign_id == campaign.id, items.c.kind == "review")
    wanted = select(func.sum(items.c.wanted)).where(asked)
    joined = answers.join(items, items.c.id == answers.c.item_id)
    made = select(func.count()).select_from(joined).where(asked, answers.c.superseded.is_(False))
    recent, per_hour = _rate(db, campaign, moment)
    return Pace(
        recent, per_hour, int(db.execute(wanted).scalar() or 0), db.execute(made).scalar_one()
    )


def _rate(db: Connection, campaign: Campaign, moment: float) -> tuple[int, float | None]:
    """Answers within the last hour, and answers to work per hour (None for too few)."""
    last = db.execute(select(func.max(answers.c.number))).scalar() or 0
    newest = (  # by number alone, whatever the campaign: that much is read, and no more
        select(answers.c.campaign_id, answers.c.body["submitted_at"].as_string(), items.c.kind)
        .select_from(answers.join(items, items.c.id == answers.c.item_id))
        .where(answers.c.number > last - RECENT_MOST)
    )
    made = [
        (datetime.fromisoformat(at).timestamp(), kind)
        for campaign_id, at, kind in db.execute(newest)
        if at and campaign_id == campaign.id
    ]
    recent = [(at, kind) for at, kind in made if moment - RECENT_SECONDS < at <= moment]
    if len(recent) < RATE_NEEDS:
        return len(recent), None
    span = RECENT_SECONDS
    if len(recent) == len(made):  # the campaign is younger, or more came than was looked at
        least = 1.0 if last > RECENT_MOST else LEAST_SECONDS
        span = min(span, max(least, moment - min(at for at, _ in recent)))
    work = sum(kind == "work" for _, kind in recent)
    return len(recent), work * 3600 / span or None


def skips_by_reason(db: Connection, campaign: Campaign) -> list[tuple[str, int]]:
    """Why items were skipped, the commonest first; without a reason: an empty text."""
    counted = (
        select(assignments.c.reason, func.count())
        .where(assignments.c.campaign_id == campaign.id, assignments.c.state == "skipped")
        .group_by(assignments.c.reason)
        .order_by(func.count().desc(), assignments.c.reason)
    )
    return [(reason, int(number)) for reason, number in db.execute(counted)]


def flags_of(db: Connection, campaign: Campaign, limit: int = 50) -> list[Flag]:
    """The newest flags, newest first."""
    raised = (
        select(flags, items.c.of_item)
        .join(items, items.c.id == flags.c.item_id)
        .where(items.c.campaign_id == campaign.id)
        .order_by(flags.c.number.desc())
        .limit(limit)
    )
    return [
        Flag(row.item_id, row.of_item, row.labeler_id, row.kind, row.note, row.flagged_at)
        for row in db.execute(raised)
    ]


def versions_of(db: Connection, campaign: Campaign) -> list[Change]:
    """Every version of the campaign, newest first."""
    held = (
        select(campaign_versions)
        .where(campaign_versions.c.campaign_id == campaign.id)
        .order_by(campaign_versions.c.version.desc())
    )
    rows = db.execute(held).all()
    before = [row.guidelines_version for row in rows[1:]] + [None]
    return [
        Change(
            row.version,
            row.guidelines_version,
            row.note,
            row.changed_by,
            row.changed_at,
            guidelines_changed=row.guidelines_version != earlier,
        )
        for row, earlier in zip(rows, before, strict=True)
    ]
