"""Where a campaign stands now: counted by the database, so that a page can ask every few seconds.

Each function works inside the caller's transaction.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, case, func, select

from rlhf.feedback.campaigns import Campaign, Change
from rlhf.feedback.schema import answers, assignments, campaign_versions, flags, items

RECENT_SECONDS = 3600.0
RECENT_MOST = 2000  # answers looked at for the rate
RATE_NEEDS = 5  # answers in that time before a rate is given


@dataclass(frozen=True, slots=True)
class Pace:
    """Answers to items of work: `wanted` and `done`, `late` ones among these; checks and reviews
    are counted apart. `per_hour` is over the last hour, None where too few came; `hours_to_go` is
    at that rate. `recent` counts the answers of the last hour, checks included.
    """

    wanted: int
    done: int
    late: int
    checks: int
    labelers: int
    recent: int
    per_hour: float | None
    hours_to_go: float | None
    reviews_wanted: int
    reviews_done: int


@dataclass(frozen=True, slots=True)
class Flag:
    """What a labeler told the lead about an item."""

    item_id: int
    labeler_id: str
    kind: str
    note: str
    flagged_at: str


def pace(db: Connection, campaign: Campaign, moment: float) -> Pace:
    """How far the campaign is at `moment`, and how fast."""
    in_force = and_(answers.c.campaign_id == campaign.id, answers.c.superseded.is_(False))
    by_kind = (
        select(items.c.kind, func.count(), func.sum(case((answers.c.late, 1), else_=0)))
        .select_from(answers.join(items, items.c.id == answers.c.item_id))
        .where(in_force)
        .group_by(items.c.kind)
    )
    made = {kind: (int(number), int(late)) for kind, number, late in db.execute(by_kind)}
    wanting = (
        select(items.c.kind, func.sum(items.c.wanted))
        .where(items.c.campaign_id == campaign.id, items.c.kind.in_(("work", "review")))
        .group_by(items.c.kind)
    )
    wanted = {kind: int(number or 0) for kind, number in db.execute(wanting)}
    people = select(func.count(func.distinct(answers.c.labeler_id))).where(in_force)
    recent, work_per_hour = _rate(db, campaign, moment)
    done, late = made.get("work", (0, 0))
    to_go = max(0, wanted.get("work", 0) - done)
    return Pace(
        wanted=wanted.get("work", 0),
        done=done,
        late=late,
        checks=sum(made.get(kind, (0, 0))[0] for kind in ("gold", "repeat", "identical")),
        labelers=int(db.execute(people).scalar_one()),
        recent=recent,
        per_hour=work_per_hour,
        hours_to_go=to_go / work_per_hour if work_per_hour else None,
        reviews_wanted=wanted.get("review", 0),
        reviews_done=made.get("review", (0, 0))[0],
    )


def _rate(db: Connection, campaign: Campaign, moment: float) -> tuple[int, float | None]:
    """Answers within the last hour, and answers to work per hour (None for too few)."""
    newest = (
        select(answers.c.body["submitted_at"].as_string(), items.c.kind)
        .select_from(answers.join(items, items.c.id == answers.c.item_id))
        .where(answers.c.campaign_id == campaign.id, answers.c.body.is_not(None))
        .order_by(answers.c.number.desc())
        .limit(RECENT_MOST)
    )
    made = [(datetime.fromisoformat(at).timestamp(), kind) for at, kind in db.execute(newest) if at]
    recent = [(at, kind) for at, kind in made if moment - RECENT_SECONDS < at <= moment]
    if len(recent) < RATE_NEEDS:
        return len(recent), None
    span = RECENT_SECONDS
    if len(recent) == RECENT_MOST:  # more came: the rate is that of those looked at
        span = max(1.0, moment - min(at for at, _ in recent))
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
        select(flags)
        .join(items, items.c.id == flags.c.item_id)
        .where(items.c.campaign_id == campaign.id)
        .order_by(flags.c.number.desc())
        .limit(limit)
    )
    return [
        Flag(row.item_id, row.labeler_id, row.kind, row.note, row.flagged_at)
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
