"""Answers: saved once, corrected by a later one, never lost; drafts, flags and reviews.

Each function works inside the caller's transaction.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, and_, bindparam, case, insert, select, update

from rlhf.data.identity import Json
from rlhf.data.records import Demonstration, Ranking
from rlhf.feedback.audit import Entry, append, entries_of, save_answer
from rlhf.feedback.campaigns import Campaign
from rlhf.feedback.database import insert_new
from rlhf.feedback.leases import count_places, drop_draft
from rlhf.feedback.modes import Judgement
from rlhf.feedback.progress import count_answer
from rlhf.feedback.recording import held_text, hold_labeler, iso_time, withdrawn
from rlhf.feedback.schema import answers, assignments, campaigns, drafts, flags, items, labelers

Answer = Ranking | Demonstration
FLAG_KINDS = ("personal_data", "harmful", "broken", "other")
MAX_DRAFT_CHARACTERS = 60_000


def answer_from(row: Json) -> Answer:
    """The record of a body of `answers`."""
    return Demonstration.from_json(row) if "text" in row else Ranking.from_json(row)


@dataclass(frozen=True, slots=True)
class Given:
    """An item that a labeler was given, held for them until the transaction ends."""

    item_id: int
    labeler_id: str
    campaign_id: int
    prompt_id: str
    of_item: int | None
    mode: str
    shown: tuple[str, ...]
    state: str
    leased_until: float


@dataclass(frozen=True, slots=True)
class Sent:
    """What comes with an answer: `submission_id` belongs to one answer. The `first` one to an item
    does not correct another.
    """

    submission_id: str
    duration_seconds: float = 0.0
    rationale: str = ""
    first: bool = False


class AnsweredBeforeError(ValueError):
    """The labeler has answered the item before, and this answer was to be the first."""


@dataclass(frozen=True, slots=True)
class Saved:
    """An answer as saved, and what the log has to say of it; `counted` where places of its item
    were counted anew, so that the item is held until the transaction ends.
    """

    answer: Answer
    entries: tuple[Entry, ...] = ()
    counted: bool = False


_GIVEN = (
    select(
        labelers.c.withdrawn_at,
        assignments.c.item_id,
        assignments.c.labeler_id,
        assignments.c.state,
        assignments.c.leased_until,
        assignments.c.shown,
        items.c.campaign_id,
        items.c.prompt_id,
        items.c.of_item,
        case((items.c.kind == "review", "review"), else_=campaigns.c.mode).label("mode"),
    )
    .select_from(
        assignments.join(labelers, labelers.c.id == assignments.c.labeler_id)
        .join(items, items.c.id == assignments.c.item_id)
        .join(campaigns, campaigns.c.id == items.c.campaign_id)
    )
    .where(
        assignments.c.item_id == bindparam("item"),
        assignments.c.labeler_id == bindparam("labeler"),
    )
)
# PostgreSQL locks in this order, and reads a row again where it had to wait for it.
_HELD = _GIVEN.with_for_update(key_share=True, of=[labelers, assignments])
_DONE = update(assignments).where(
    assignments.c.item_id == bindparam("item"), assignments.c.labeler_id == bindparam("labeler")
)
_DONE = _DONE.values(state="done")


def hold(db: Connection, item_id: int, labeler_id: str, campaign: Campaign | None = None) -> Given:
    """Holds the labeler and what they were given; ValueError where they were not given the item
    (for this campaign), or have withdrawn consent.
    """
    row = db.execute(_HELD, {"item": item_id, "labeler": labeler_id}).first()
    if row is None or (campaign is not None and row.campaign_id != campaign.id):
        raise ValueError(f"{labeler_id} was not given this item")
    if row.withdrawn_at is not None:
        raise withdrawn(labeler_id)
    return Given(
        row.item_id,
        row.labeler_id,
        row.campaign_id,
        row.prompt_id,
        row.of_item,
        row.mode,
        tuple(row.shown),
        row.state,
        row.leased_until,
    )


def submit(db: Connection, given: Given, said: Judgement, sent: Sent, moment: float) -> Saved:
    """Saves an answer once; see `Store.submit`. The caller appends the entries to the log, last."""
    earlier = None
    if given.state == "done":  # before that there is no answer to this item
        before = _sent_before(db, given, sent.submission_id)
        if before is not None:
            return Saved(before)
        if sent.first:
            raise AnsweredBeforeError(
                "you have answered this already, in another window or tab: send it again to "
                "replace that answer with this one"
            )
        earlier = _in_force(db, given)
    about: Json = {
        "prompt_id": given.prompt_id,
        "labeler_id": given.labeler_id,
        "submitted_at": iso_time(moment),
        "duration_seconds": sent.duration_seconds,
        "rationale": sent.rationale,
        "supersedes": earlier and earlier[0],
        "submission_id": sent.submission_id,
    }
    answer = _answer(db, given, said, about)
    if earlier is not None:
        replaced = and_(answers.c.item_id == given.item_id, answers.c.id == earlier[0])
        db.execute(update(answers).where(replaced).values(superseded=True))
        late = earlier[1]  # correcting does not bring an answer back in time
    else:
        late = not (given.state == "open" and given.leased_until >= moment)
    row: Json = {
        "id": answer.id,
        "kind": "demonstration" if isinstance(answer, Demonstration) else "ranking",
        "submission_id": sent.submission_id,
        "campaign_id": given.campaign_id,
        "item_id": given.item_id,
        "labeler_id": given.labeler_id,
        "body": answer.to_json(),
        "superseded": False,
        "late": late,
    }
    saved = save_answer(db, row)
    if saved is None:
        raise ValueError(f"submission {sent.submission_id} answered another task already")
    db.execute(_DONE, {"item": given.item_id, "labeler": given.labeler_id})
    counted = given.state not in ("open", "done")
    if counted:
        count_places(db, [given.item_id])
    drop_draft(db, given.item_id, given.labeler_id)
    if earlier is None:
        count_answer(db, given.campaign_id, given.labeler_id, given.item_id, late=late)
    action = "corrected" if earlier else "answered"
    return Saved(answer, tuple(entries_of([saved], action)), counted)


def _sent_before(db: Connection, given: Given, submission_id: str) -> Answer | None:
    """The answer that this submission saved; ValueError where it answered another task."""
    same = and_(
        answers.c.campaign_id == given.campaign_id, answers.c.submission_id == submission_id
    )
    sent = db.execute(select(answers).where(same)).first()
    if sent is None:
        return None
    if (sent.item_id, sent.labeler_id) != (given.item_id, given.labeler_id) or sent.body is None:
        raise ValueError(f"submission {submission_id} answered another task already")
    return answer_from(sent.body)


def _in_force(db: Connection, given: Given) -> tuple[str, bool] | None:
    """Id and lateness of the labeler's answer to the item, as it stands now."""
    mine = and_(
        answers.c.item_id == given.item_id,
        answers.c.labeler_id == given.labeler_id,
        answers.c.superseded.is_(False),
    )
    row = db.execute(select(answers.c.id, answers.c.late).where(mine)).first()
    return None if row is None else (row.id, row.late)


def _answer(db: Connection, given: Given, said: Judgement, about: Json) -> Answer:
    if said.text is not None:
        return Demonstration.of(text=said.text, edited_from=next(iter(given.shown), None), **about)
    details = dict(said.details)
    if given.mode == "review":
        judged = and_(answers.c.item_id == given.of_item, answers.c.superseded.is_(False))
        ids = db.execute(select(answers.c.id).where(judged).order_by(answers.c.number)).scalars()
        details["adjudicates"] = list(ids)
    return Ranking.of(
        groups=tuple(tuple(group) for group in said.groups),
        shown=given.shown,
        none_acceptable=said.none_acceptable,
        mode=given.mode,
        details=details,
        **about,
    )


def save_draft(db: Connection, item_id: int, labeler_id: str, body: Json, moment: float) -> bool:
    """Keeps what a labeler has begun to answer, in place of what was kept before. False where the
    item is not in their hands (any more).
    """
    mine = and_(assignments.c.item_id == item_id, assignments.c.labeler_id == labeler_id)
    if db.execute(select(assignments.c.state).where(mine)).scalar() is None:
        return False
    hold_labeler(db, labeler_id, moment)
    row = {"body": body, "saved_at": iso_time(moment)}
    if not insert_new(db, drafts, [{"item_id": item_id, "labeler_id": labeler_id, **row}]):
        held = and_(drafts.c.item_id == item_id, drafts.c.labeler_id == labeler_id)
        db.execute(update(drafts).where(held).values(row))
    return True


def flag(
    db: Connection, item_id: int, labeler_id: str, kind: str, note: str, moment: float
) -> None:
    """Tells the lead that something is wrong with an item; the labeler's work goes on."""
    if kind not in FLAG_KINDS:
        raise ValueError(f"{kind!r} is no kind of flag: {', '.join(FLAG_KINDS)}")
    mine = and_(assignments.c.item_id == item_id, assignments.c.labeler_id == labeler_id)
    if db.execute(select(assignments.c.state).where(mine)).first() is None:
        raise ValueError(f"{labeler_id} was not given this item")
    hold_labeler(db, labeler_id, moment)
    now = iso_time(moment)
    row = {"item_id": item_id, "labeler_id": labeler_id, "kind": kind}
    db.execute(insert(flags).values(**row, note=held_text(note), flagged_at=now))
    append(db, now, [Entry(labeler_id, "flagged", f"item {item_id}: {kind}")])
