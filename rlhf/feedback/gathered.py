"""What a store has gathered: answers in force, one labeler's or a campaign's.

Each function works inside the caller's transaction.
"""

from sqlalchemy import ColumnElement, Connection, and_, select

from rlhf.data.identity import Json
from rlhf.data.records import Prompt
from rlhf.feedback.answering import Answer, answer_from
from rlhf.feedback.campaigns import Campaign
from rlhf.feedback.reviewing import settled_items
from rlhf.feedback.schema import answers, items, prompts

# Checks of the labelers themselves: they say nothing new about the responses.
_CHECKS = ("repeat", "identical")


def answer_of(db: Connection, item_id: int, labeler_id: str) -> Answer | None:
    """A labeler's answer to an item, as it stands now; None where there is none."""
    mine = and_(answers.c.item_id == item_id, answers.c.labeler_id == labeler_id)
    kept = and_(mine, answers.c.superseded.is_(False), answers.c.body.is_not(None))
    body = db.execute(select(answers.c.body).where(kept)).scalar()
    return None if body is None else answer_from(body)


def own_answers(
    db: Connection, campaign: Campaign, labeler_id: str, limit: int, offset: int
) -> list[tuple[int, Answer, Prompt]]:
    """A labeler's last answers in force from `offset` on, the newest first: item id, answer, what
    was asked.
    """
    mine = and_(
        answers.c.campaign_id == campaign.id,
        answers.c.labeler_id == labeler_id,
        answers.c.superseded.is_(False),
        answers.c.body.is_not(None),
    )
    joined = answers.join(items, items.c.id == answers.c.item_id).join(
        prompts, prompts.c.id == items.c.prompt_id
    )
    query = select(answers.c.item_id, answers.c.body, prompts.c.body).select_from(joined)
    newest = query.where(mine).order_by(answers.c.number.desc())
    rows = db.execute(newest.limit(limit).offset(offset)).all()
    return [(row[0], answer_from(row[1]), Prompt.from_json(row[2])) for row in rows]


def bodies(db: Connection, campaign: Campaign, kind: str, *, with_superseded: bool) -> list[Json]:
    """The answers of a kind in the order in which they were saved; see `Store.rankings` for what is
    left out.
    """
    wanted: list[ColumnElement[bool]] = [
        answers.c.campaign_id == campaign.id,
        answers.c.kind == kind,
        answers.c.body.is_not(None),
        items.c.kind.not_in(_CHECKS),
    ]
    if not with_superseded:
        wanted.append(answers.c.superseded.is_(False))
        wanted.append(items.c.id.not_in(settled_items(campaign)))
    joined = answers.join(items, items.c.id == answers.c.item_id)
    query = select(answers.c.body).select_from(joined).where(*wanted).order_by(answers.c.number)
    return list(db.execute(query).scalars())
