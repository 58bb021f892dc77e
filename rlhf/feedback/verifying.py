"""Whether a store holds what was saved in it: the log's chain, the answers against the log, and
what is kept twice.

Found is what was altered, added or removed behind the store's back. Not found is a log that was
written anew from its beginning to its end: keep the head that `verify` returns elsewhere.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Text, cast, func, select

from rlhf.data.identity import Json, canonical, content_id
from rlhf.feedback import audit as log
from rlhf.feedback import seals
from rlhf.feedback.progress import miscounted
from rlhf.feedback.recording import item_key
from rlhf.feedback.schema import (
    answers,
    assignments,
    audit,
    audit_head,
    campaign_versions,
    campaigns,
    items,
    prompts,
    responses,
)

_ROWS_AT_ONCE = 2000


@dataclass(frozen=True, slots=True)
class Verified:
    """What was checked, and each kind of fault by its first number; none where all is well.

    `head` is the number and the hash of the last entry of the log.
    """

    entries: int
    answers: int
    withdrawn: int
    head: str
    findings: tuple[str, ...]


@dataclass(slots=True)
class _Log:
    """What the log says of each answer: by number, the labeler and the digest. The digests of
    versions of campaigns; of gold items by subject, the newest; (labeler, subject) of consents.
    """

    saved: dict[str, tuple[str, str]] = field(default_factory=dict)
    emptied: dict[str, tuple[str, str]] = field(default_factory=dict)
    versions: set[str] = field(default_factory=set)
    gold: dict[str, str] = field(default_factory=dict)
    consents: set[tuple[str, str]] = field(default_factory=set)


class _Findings:
    """Faults by kind: the first is named, the others are counted."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self._count: dict[str, int] = {}

    def add(self, kind: str, sentence: str) -> None:
        self._first.setdefault(kind, sentence)
        self._count[kind] = self._count.get(kind, 0) + 1

    def sentences(self) -> tuple[str, ...]:
        return tuple(
            sentence + (f" (and {self._count[kind] - 1} more)" if self._count[kind] > 1 else "")
            for kind, sentence in self._first.items()
        )


def verify(db: Connection) -> Verified:
    """Checks all of a store, in one reading transaction."""
    found = _Findings()
    said = _Log()
    head = _check_log(db, said, found)
    held, withdrawn = _check_answers(db, said, found)
    _check_texts(db, found)
    _check_items(db, said, found)
    _check_campaigns(db, said, found)
    _check_consents(db, said, found)
    for campaign_id, labeler_id in miscounted(db):
        found.add("tally", f"answers of {labeler_id} in campaign {campaign_id} are miscounted")
    return Verified(head[0], held, withdrawn, f"{head[0]}:{head[1]}", found.sentences())


def _rows(db: Connection, query: Any) -> Iterator[Json]:
    for row in db.execute(query.execution_options(yield_per=_ROWS_AT_ONCE)).mappings():
        yield dict(row)


def _check_log(db: Connection, said: _Log, found: _Findings) -> tuple[int, str]:
    """Recomputes the chain; returns the number and the hash of the last entry."""
    number, chain = 0, ""
    for row in _rows(db, select(audit).order_by(audit.c.number)):
        if row["number"] != number + 1:
            found.add("gap", f"log entry {number + 1} is missing")
        number = row["number"]
        entry = log.Entry(row["actor"], row["action"], row["subject"], row["digest"])
        if log.chained(chain, number, row["at"], entry) != row["chain"]:
            found.add("chain", f"log entry {number} was altered, or the one before it")
        chain = row["chain"]
        if entry.action in log.ANSWERED:
            said.saved[entry.subject] = (entry.actor, entry.digest)
        elif entry.action == log.WITHDRAWN:
            said.emptied[entry.subject] = (entry.actor, entry.digest)
        elif entry.action in seals.MADE:
            said.versions.add(entry.digest)
        elif entry.action in seals.GOLD:
            said.gold[entry.subject] = entry.digest
        elif entry.action == seals.CONSENTED:
            said.consents.add((entry.actor, entry.subject))
    heads = [tuple(row) for row in db.execute(select(audit_head.c.number, audit_head.c.chain))]
    if heads != [(number, chain)]:
        found.add("head", f"the log ends at entry {number}, but its head says otherwise: {heads}")
    return number, chain


def _check_answers(db: Connection, said: _Log, found: _Findings) -> tuple[int, int]:
    """Each answer against its entry, each emptied one against its tombstone; returns how many there
    are of either.
    """
    columns = [column for column in answers.c if column.name != "body"]
    query = select(*columns, cast(answers.c.body, Text).label("body")).order_by(answers.c.number)
    replaced = _superseded_ids(db)
    held = withdrawn = 0
    seen = set()
    for read in _rows(db, query):
        row = {**read, "body": _parsed(read["body"])}
        subject = log.subject_of(row["number"])
        seen.add(subject)
        if row["body"] is None and row["salt"] is None:
            withdrawn += 1
            left = log.tombstone(row)
            if said.emptied.get(subject) != (left.actor, left.digest):
                found.add("tombstone", f"{subject} is empty, and no entry of the log says so")
            continue
        held += 1
        if subject not in said.saved:
            found.add("unlogged", f"{subject} has no entry in the log")
        elif row["salt"] is None or said.saved[subject] != (row["labeler_id"], log.seal(row)):
            found.add("answer", f"{subject} was altered: it is not what the log sealed")
        elif row["superseded"] != ((row["campaign_id"], row["id"]) in replaced):
            found.add("superseded", f"{subject} is wrongly marked as corrected or as in force")
        if subject in said.emptied:
            found.add("back", f"{subject} was withdrawn, but has content")
    for subject in said.saved.keys() - seen:
        found.add("lost", f"{subject} is in the log, but not in the store")
    return held, withdrawn


def _superseded_ids(db: Connection) -> set[tuple[int, str]]:
    """(campaign, id) of each answer that another one corrects."""
    query = select(answers.c.campaign_id, cast(answers.c.body, Text).label("body"))
    found = set()
    for row in _rows(db, query):
        body = _parsed(row["body"])
        if isinstance(body, dict) and body.get("supersedes"):
            found.add((row["campaign_id"], body["supersedes"]))
    return found


def _parsed(text: str | None) -> Any:
    """The JSON of a text; what is none is kept as a text, which no digest is of."""
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text


def _check_texts(db: Connection, found: _Findings) -> None:
    """Prompts and responses are named by the hash of what they say."""
    for row in _rows(db, select(prompts.c.id, cast(prompts.c.body, Text).label("body"))):
        body = _parsed(row["body"])
        if _id_of(body, "prompt") != row["id"]:
            found.add("prompt", f"{row['id']} was altered: its text does not hash to its id")
    columns = (responses.c.id, responses.c.prompt_id, cast(responses.c.body, Text).label("body"))
    for row in _rows(db, select(*columns)):
        body = _parsed(row["body"])
        own = row["id"].partition("~")[0]  # a copy, for a check, says what the original says
        if _id_of(body, "response") != own or body["prompt_id"] != row["prompt_id"]:
            found.add("response", f"{row['id']} was altered: its text does not hash to its id")


def _id_of(body: Any, kind: str) -> str:
    try:
        if kind == "prompt":
            return content_id(kind, body["messages"])
        finished = body.get("finished", True)
        return content_id(kind, [body["prompt_id"], body["text"], finished])
    except (KeyError, TypeError, AttributeError):
        return ""


def _check_items(db: Connection, said: _Log, found: _Findings) -> None:
    """The key of each item hashes what it asks about, its places are those in use, and what is
    expected of it is what the log sealed.
    """
    placed = assignments.c.state.in_(("open", "done"))
    count = (
        select(assignments.c.item_id, func.count().label("count"))
        .where(placed)
        .group_by(assignments.c.item_id)
        .subquery()
    )
    joined = items.outerjoin(count, count.c.item_id == items.c.id)
    query = select(items, func.coalesce(count.c.count, 0).label("count")).select_from(joined)
    keys = {row.id: row.key for row in db.execute(select(items.c.id, items.c.key))}
    for row in _rows(db, query.order_by(items.c.id)):
        if row["kind"] in ("work", "gold"):
            key = item_key(row["prompt_id"], row["response_ids"])
        else:
            key = content_id("item", [row["kind"], keys.get(row["of_item"])])
        if key != row["key"]:
            found.add("item", f"item {row['id']} was altered: it asks about something else")
        if row["kind"] in ("work", "review") and row["taken"] != min(row["wanted"], row["count"]):
            found.add("places", f"item {row['id']} has {row['taken']} places taken, miscounted")
        seal = seals.gold_seal(row["id"], row["expected"] if row["kind"] == "gold" else None)
        if seal != said.gold.get(f"item {row['id']}", ""):
            found.add("gold", f"the expected order of item {row['id']} is not what the log sealed")


def _check_consents(db: Connection, said: _Log, found: _Findings) -> None:
    """Each consent is in the log, and each of the log in the store."""
    held = {(who, subject[: log.SUBJECT_CHARACTERS]) for who, subject in seals.consents_held(db)}
    for who, subject in sorted(held ^ said.consents):
        where = "the store" if (who, subject) in held else "the log"
        found.add("consent", f"the consent of {who} to {subject} is in {where} alone")


def _check_campaigns(db: Connection, said: _Log, found: _Findings) -> None:
    """Each campaign is its newest version, and each version is what the log sealed."""
    for campaign in db.execute(select(campaigns).order_by(campaigns.c.id)).all():
        newest = db.execute(
            select(campaign_versions)
            .where(campaign_versions.c.campaign_id == campaign.id)
            .order_by(campaign_versions.c.version.desc())
            .limit(1)
        ).first()
        fields = ("version", "guidelines_version", "guidelines", "settings")
        if newest is None or canonical([getattr(newest, name) for name in fields]) != canonical(
            [getattr(campaign, name) for name in fields]
        ):
            found.add("campaign", f"campaign {campaign.name!r} is not its newest version")
        sealed = seals.version_seals(db, campaign.id)
        if [version for _, version, _ in sealed] != list(range(1, campaign.version + 1)):
            found.add("versions", f"versions of campaign {campaign.name!r} are missing")
        for name, version, seal in sealed:
            if seal not in said.versions:
                found.add("version", f"version {version} of campaign {name!r} was altered")
        of_work = (items.c.campaign_id == campaign.id, items.c.kind == "work")
        wanted = db.execute(select(func.sum(items.c.wanted)).where(*of_work)).scalar() or 0
        if wanted != campaign.wanted:
            found.add("wanted", f"campaign {campaign.name!r} wants {wanted}, not {campaign.wanted}")
