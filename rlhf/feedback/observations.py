"""What a campaign has gathered, read for judging its quality: frozen records, nothing decided."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, func, select

from rlhf.feedback.database import Database
from rlhf.feedback.schema import answers, assignments, items, labelers, prompts, responses

Kind = Literal["work", "gold", "repeat", "identical", "review"]
CHARACTERS_PER_WORD = 6  # five and a blank, as typists count: it serves every language


class Asked(NamedTuple):
    """An item of the campaign. `of_item` is what a repeat, a check or a review is about."""

    id: int
    prompt_id: str
    kind: Kind
    of_item: int | None
    expected: tuple[tuple[str, ...], ...] | None
    response_ids: tuple[str, ...]
    wanted: int
    priority: float = 0.0


class Vote(NamedTuple):
    """One answer: a ranking, or a demonstration (then without groups). `at` is in seconds since
    the epoch; `corrects` an earlier answer of the same labeler, whose `seconds` are counted too: a
    correction is quick because the reading was done before.
    """

    number: int
    item_id: int
    prompt_id: str
    labeler_id: str
    groups: tuple[tuple[str, ...], ...]
    shown: tuple[str, ...]
    none_acceptable: bool
    at: float
    seconds: float
    late: bool = False
    corrects: bool = False


class Observations(NamedTuple):
    """A campaign as it stands. `votes` are those in force, oldest first; `corrections` counts, by
    labeler, the answers that they replaced; `given` counts assignments by labeler and state.
    `words` is the length of each prompt and response, by id.
    """

    items: Mapping[int, Asked]
    votes: tuple[Vote, ...]
    corrections: Mapping[str, int]
    given: Mapping[tuple[str, str], int]
    words: Mapping[str, float]


class Observer:
    """Reads a campaign again and again, each time only what is new: answers are append-only.

    What was superseded or withdrawn since is left out, whenever it was read. For one thread at a
    time.
    """

    def __init__(self, database: Database, campaign_id: int) -> None:
        self._database = database
        self._campaign_id = campaign_id
        self._held: dict[int, Vote | None] = {}  # by number; None for one without content
        self._words: dict[str, float] = {}

    def read(self) -> Observations:
        """The campaign as it stands, in one transaction."""
        of_campaign = answers.c.campaign_id == self._campaign_id
        with self._database.reading() as db:
            held = self._items(db)
            self._read_words(db, held)
            self._read_votes(db, held)
            replaced = select(answers.c.number).where(of_campaign, answers.c.superseded.is_(True))
            superseded = set(db.execute(replaced).scalars())
            withdrawn = select(labelers.c.id).where(labelers.c.withdrawn_at.is_not(None))
            gone = set(db.execute(withdrawn).scalars())
            states = (
                select(assignments.c.labeler_id, assignments.c.state, func.count())
                .where(assignments.c.campaign_id == self._campaign_id)
                .group_by(assignments.c.labeler_id, assignments.c.state)
            )
            given = {(row[0], row[1]): int(row[2]) for row in db.execute(states)}
        votes = [vote for vote in self._held.values() if vote and vote.labeler_id not in gone]
        corrections = Counter(vote.labeler_id for vote in votes if vote.corrects)
        return Observations(held, _in_force(votes, superseded), corrections, given, self._words)

    def _items(self, db: Connection) -> dict[int, Asked]:
        rows = db.execute(select(items).where(items.c.campaign_id == self._campaign_id)).all()
        return {
            row.id: Asked(
                row.id,
                row.prompt_id,
                row.kind,
                row.of_item,
                None if row.expected is None else _groups(row.expected),
                tuple(row.response_ids),
                row.wanted,
                row.priority,
            )
            for row in rows
        }

    def _read_votes(self, db: Connection, held: Mapping[int, Asked]) -> None:
        of_campaign = answers.c.campaign_id == self._campaign_id
        columns = (answers.c.number, answers.c.item_id, answers.c.labeler_id, answers.c.late)
        query = select(*columns, answers.c.body).where(of_campaign).order_by(answers.c.number)
        newest = query.where(answers.c.number > max(self._held, default=0))
        number = db.execute(select(func.count()).select_from(answers).where(of_campaign)).scalar()
        for row in db.execute(newest):
            self._held[row.number] = _vote(row, held)
        if len(self._held) != number:  # one with a lower number was committed later
            self._held = {row.number: _vote(row, held) for row in db.execute(query)}

    def _read_words(self, db: Connection, held: Mapping[int, Asked]) -> None:
        asked = {one for item in held.values() for one in (item.prompt_id, *item.response_ids)}
        if asked <= self._words.keys():
            return
        of_campaign = select(items.c.prompt_id).where(items.c.campaign_id == self._campaign_id)
        texts = select(responses.c.id, func.length(responses.c.body["text"].as_string()))
        for response_id, length in db.execute(texts.where(responses.c.prompt_id.in_(of_campaign))):
            self._words[response_id] = length / CHARACTERS_PER_WORD
        for row in db.execute(select(prompts).where(prompts.c.id.in_(of_campaign))):
            turns = row.body["messages"]
            self._words[row.id] = sum(len(turn["content"]) for turn in turns) / CHARACTERS_PER_WORD


def _in_force(votes: Sequence[Vote], superseded: Set[int]) -> tuple[Vote, ...]:
    spent: dict[tuple[int, str], float] = defaultdict(float)  # on answers that were replaced
    for vote in votes:
        if vote.number in superseded:
            spent[vote.item_id, vote.labeler_id] += vote.seconds
    return tuple(
        vote._replace(seconds=vote.seconds + spent[vote.item_id, vote.labeler_id])
        if vote.corrects
        else vote
        for vote in votes
        if vote.number not in superseded
    )


def _vote(row: Any, held: Mapping[int, Asked]) -> Vote | None:
    body = row.body
    if body is None:
        return None
    return Vote(
        row.number,
        row.item_id,
        held[row.item_id].prompt_id,
        row.labeler_id,
        _groups(body.get("groups", ())),
        tuple(body.get("shown", ())),
        body.get("none_acceptable", False),
        datetime.fromisoformat(body["submitted_at"]).timestamp() if body["submitted_at"] else 0.0,
        body["duration_seconds"],
        row.late,
        body.get("supersedes") is not None,
    )


def _groups(groups: Iterable[Iterable[str]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(group) for group in groups)
