"""Taking in a campaign that `rlhf.feedback.snapshot` wrote: all of it, or nothing."""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, func, insert, select

from rlhf.data.identity import Json, seeded_uuid
from rlhf.data.jsonl import read_jsonl
from rlhf.data.records import Demonstration, Ranking
from rlhf.feedback.audit import Entry, append, entries_of, save_answers
from rlhf.feedback.campaigns import checked_settings
from rlhf.feedback.database import insert_missing
from rlhf.feedback.modes import mode_named
from rlhf.feedback.progress import count_wanted, recount
from rlhf.feedback.recording import hold_labeler, iso_time
from rlhf.feedback.schema import (
    assignments,
    campaign_versions,
    campaigns,
    items,
    prompts,
    responses,
)
from rlhf.feedback.seals import seal_gold, seal_versions
from rlhf.feedback.snapshot import CAMPAIGN, FILES, FORMAT, FORMAT_VERSION, ITEM_FIELDS, MANIFEST
from rlhf.feedback.verifying import verify

_OF_THE_ROW = ("item", "superseded", "late")  # what a row adds to the answer's own fields


@dataclass(frozen=True, slots=True)
class Restored:
    """The campaign that was made, and how many rows each file gave."""

    campaign: str
    rows: dict[str, int]


def restore(db: Connection, folder: Path, name: str | None = None) -> Restored:
    """Makes the campaign of a folder, under `name` where it is to have another; pseudonyms, ids and
    times stay what they are.

    Raises ValueError where a file is missing, was changed or does not fit, where the store holds a
    campaign of that name, and where a labeler has withdrawn from this store.
    """
    files = {one: list(read_jsonl(folder / one)) for one in _checked_files(folder)}
    try:
        (about,) = files[CAMPAIGN]
        called = name or about["name"]
        _restore(db, files, about, called)
        findings = verify(db).findings
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"{folder}: a row does not have the fields it needs: {error}") from error
    if findings:
        raise ValueError(f"{folder} was not taken in: {'; '.join(findings)}")
    return Restored(called, {one: len(rows) for one, rows in files.items()})


def _restore(db: Connection, files: dict[str, list[Json]], about: Json, name: str) -> None:
    campaign_id = _make_campaign(db, about, name)
    _add_texts(db, files)
    made = _add_items(db, campaign_id, files["items.jsonl"])
    given = [*files["rankings.jsonl"], *files["demonstrations.jsonl"]]
    given.sort(key=lambda row: (row["submitted_at"], row["id"]))
    saved = _add_answers(db, campaign_id, made, given)
    _mark_done(db, campaign_id, saved)
    count_wanted(db, campaign_id)
    recount(db, campaign_id, {row["labeler_id"] for row in saved})
    entry = Entry("", "campaign imported", name)
    now = iso_time(time.time())
    append(db, now, [entry, *entries_of(saved, "imported")])
    seal_versions(db, now, campaign_id)
    seal_gold(db, now, campaign_id, list(made))


def _checked_files(folder: Path) -> Sequence[str]:
    """The files of the folder, whose hashes are those of the manifest."""
    if not (folder / MANIFEST).is_file():
        raise ValueError(f"{folder} is no exported campaign: it has no {MANIFEST}")
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        facts = manifest["files"]
        known = (manifest["format"], manifest["version"]) == (FORMAT, FORMAT_VERSION)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder / MANIFEST} cannot be read: {error}") from error
    if not known or sorted(facts) != sorted(FILES):
        raise ValueError(f"{folder / MANIFEST} is of another format: export with this version")
    for one, fact in facts.items():
        if not (folder / one).is_file():
            raise ValueError(f"{folder / one} is missing: export the campaign again")
        with (folder / one).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != fact["sha256"]:
            raise ValueError(f"{folder / one} was changed after the export: its hash is {digest}")
    return FILES


def _make_campaign(db: Connection, about: Json, name: str) -> int:
    if db.execute(select(campaigns.c.id).where(campaigns.c.name == name)).first() is not None:
        raise ValueError(f"the store holds a campaign {name!r}: take it in as `--campaign NAME`")
    mode_named(about["mode"])
    newest = about["versions"][-1]
    for version in about["versions"]:
        checked_settings(version["settings"])
    fields = ("version", "guidelines_version", "guidelines", "settings")
    row = {"name": name, "mode": about["mode"], "created_at": about["created_at"]}
    made = db.execute(insert(campaigns).values(**row, **{one: newest[one] for one in fields}))
    assert made.inserted_primary_key is not None
    campaign_id = int(made.inserted_primary_key[0])
    versions = [{"campaign_id": campaign_id, **version} for version in about["versions"]]
    db.execute(insert(campaign_versions), versions)
    return campaign_id


def _add_texts(db: Connection, files: dict[str, list[Json]]) -> None:
    """Prompts and responses that the store does not hold; `verify` checks that they are their
    ids'.
    """
    rows = [{"id": row["id"], "body": row} for row in files["prompts.jsonl"]]
    insert_missing(db, prompts, rows)
    insert_missing(
        db,
        responses,
        [
            {"id": row["id"], "prompt_id": row["prompt_id"], "body": row}
            for row in files["responses.jsonl"]
        ],
    )


def _add_items(db: Connection, campaign_id: int, given: Sequence[Json]) -> dict[str, Json]:
    """Key -> the item's id and kind. What is repeated or reviewed goes in before what does it."""
    made: dict[str, Json] = {}
    for first in (True, False):
        rows: list[Json] = [
            {
                **{one: row[one] for one in ITEM_FIELDS},
                "campaign_id": campaign_id,
                "of_item": None if first else made[row["of"]]["id"],
            }
            for row in given
            if (row["of"] is None) == first
        ]
        if rows:
            added = insert(items).returning(items.c.id, sort_by_parameter_order=True)
            ids = db.execute(added, rows).scalars().all()
            for row, item_id in zip(rows, ids, strict=True):
                made[row["key"]] = {"id": item_id, "prompt_id": row["prompt_id"], **row}
    return made


def _add_answers(
    db: Connection, campaign_id: int, item_ids: dict[str, Json], given: Sequence[Json]
) -> list[Json]:
    for labeler_id in sorted({row["labeler_id"] for row in given}):
        hold_labeler(db, labeler_id, time.time())
    rows = []
    for row in given:
        body = {key: value for key, value in row.items() if key not in _OF_THE_ROW}
        kind = "demonstration" if "text" in body else "ranking"
        record = Demonstration.from_json(body) if "text" in body else Ranking.from_json(body)
        item = item_ids[row["item"]]
        shown = record.shown if isinstance(record, Ranking) else item["response_ids"]
        if record.prompt_id != item["prompt_id"] or set(shown) != set(item["response_ids"]):
            raise ValueError(f"{record.id} does not answer its item {row['item']}")
        rows.append(
            {
                "id": record.id,
                "kind": kind,
                "submission_id": record.submission_id
                or seeded_uuid("recorded", campaign_id, record.id),
                "campaign_id": campaign_id,
                "item_id": item["id"],
                "labeler_id": record.labeler_id,
                "body": body,
                "superseded": row["superseded"],
                "late": row["late"],
            }
        )
    return save_answers(db, rows)


def _mark_done(db: Connection, campaign_id: int, saved: Sequence[Json]) -> None:
    """Each (item, labeler) is done, in the order of the answers, and takes a place."""
    given: Counter[str] = Counter()
    done: dict[tuple[int, str], Json] = {}
    for row in saved:
        key = (row["item_id"], row["labeler_id"])
        if key in done:
            continue
        given[row["labeler_id"]] += 1
        edited = row["body"].get("edited_from")
        done[key] = {
            "item_id": row["item_id"],
            "labeler_id": row["labeler_id"],
            "state": "done",
            "leased_until": 0.0,
            "reason": "",
            "campaign_id": campaign_id,
            "ordinal": given[row["labeler_id"]],
            "shown": row["body"].get("shown") or ([edited] if edited else []),
        }
    if done:
        db.execute(insert(assignments), list(done.values()))
    count = select(func.count()).where(assignments.c.item_id == items.c.id).scalar_subquery()
    placed = items.c.kind.in_(("work", "review")) & (items.c.campaign_id == campaign_id)
    places = func.min if db.dialect.name == "sqlite" else func.least
    db.execute(items.update().where(placed).values(taken=places(items.c.wanted, count)))
