"""A labeler's turn: an answer saved and the item ahead claimed, in one transaction.

The page asks once per item this way, and the log is held for one commit. The order of locks is
`rlhf.feedback.assignment`'s: the item ahead is claimed before the log is appended to.
"""

from dataclasses import dataclass

from sqlalchemy import Connection

from rlhf.feedback.answering import Answer, Given, Sent, submit
from rlhf.feedback.assignment import Task, claim_held
from rlhf.feedback.audit import append
from rlhf.feedback.campaigns import Campaign
from rlhf.feedback.modes import Judgement
from rlhf.feedback.outlook import Ahead, outlook
from rlhf.feedback.progress import Progress, progress
from rlhf.feedback.recording import iso_time


@dataclass(frozen=True, slots=True)
class Turn:
    """The answer as saved, and the item ahead. `apart`: it has to be claimed in a transaction of
    its own, because others wait for places that this one holds or that are to be freed first.
    """

    answer: Answer
    progress: Progress
    task: Task | None = None
    apart: bool = False


def take(
    db: Connection,
    campaign: Campaign,
    given: Given,
    said: Judgement,
    sent: Sent,
    ahead: Ahead | None,
    moment: float,
) -> Turn:
    """Saves the answer to what is held and, where one is wanted, claims the item ahead."""
    saved = submit(db, given, said, sent, moment)
    task, apart = None, False
    if ahead is not None:
        before = outlook(db, campaign, given.labeler_id, moment, ahead)
        # Two who hold an item each and ask for the other's would wait for each other for ever.
        apart = saved.counted or before.due
        if not apart:
            task = claim_held(db, campaign, given.labeler_id, moment, before, ahead)
    found = progress(db, campaign.id, given.labeler_id)
    append(db, iso_time(moment), saved.entries)
    return Turn(saved.answer, found, task, apart)
