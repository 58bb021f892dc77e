"""A campaign as a folder of files that a person can read, and that another store takes in whole.

    manifest.json         what the folder is, and the rows and SHA-256 of each file
    campaign.json         name, mode, and every version of guidelines and settings
    prompts.jsonl         by id
    responses.jsonl       by id
    items.jsonl           in their order: prompt, responses, how many labelers, checks, gold
    rankings.jsonl        by id, superseded ones too
    demonstrations.jsonl  by id, superseded ones too

Every row is canonical JSON, so that the same content is the same bytes. Labelers appear under their
pseudonym. Written by `write_snapshot`, taken in by `rlhf.feedback.restoring`.
"""

import hashlib
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, func, select

from rlhf.data.identity import Json, canonical
from rlhf.feedback.campaigns import Campaign
from rlhf.feedback.schema import (
    answers,
    assignments,
    campaign_versions,
    campaigns,
    flags,
    items,
    prompts,
    responses,
)

FORMAT = "rlhf-campaign"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
CAMPAIGN = "campaign.json"
KINDS = {"rankings.jsonl": "ranking", "demonstrations.jsonl": "demonstration"}
FILES = (CAMPAIGN, "prompts.jsonl", "responses.jsonl", "items.jsonl", *KINDS)
VERSION_FIELDS = (
    "version",
    "guidelines_version",
    "guidelines",
    "settings",
    "note",
    "changed_by",
    "changed_at",
)
ITEM_FIELDS = (
    "key",
    "prompt_id",
    "response_ids",
    "position",
    "wanted",
    "kind",
    "expected",
    "priority",
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How many rows each file has, and how many of each other thing stayed behind."""

    rows: dict[str, int]
    left_out: dict[str, int]


def write_snapshot(db: Connection, campaign: Campaign, folder: Path) -> Snapshot:
    """Writes a campaign into a folder, whole or not at all; ValueError where there is something at
    `folder` already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is not empty: name a folder that is not there yet")
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    part.mkdir(parents=True)
    try:
        facts = {name: _write_rows(part / name, _rows(db, campaign, name)) for name in FILES}
        manifest: Json = {"format": FORMAT, "version": FORMAT_VERSION, "files": facts}
        _write_rows(part / MANIFEST, [manifest])
        if folder.exists():
            folder.rmdir()
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    rows = {name: facts[name]["rows"] for name in FILES}
    return Snapshot(rows, _left_out(db, campaign))


def _write_rows(path: Path, rows: Iterable[Json]) -> Json:
    """Writes canonical lines; returns how many, and the hash of the bytes."""
    digest = hashlib.sha256()
    count = 0
    with path.open("xb") as file:
        for row in rows:
            line = f"{canonical(row)}\n".encode()
            digest.update(line)
            file.write(line)
            count += 1
        file.flush()
        os.fsync(file.fileno())
    return {"rows": count, "sha256": digest.hexdigest()}


def _rows(db: Connection, campaign: Campaign, name: str) -> Iterable[Json]:
    if name == CAMPAIGN:
        return [_campaign_row(db, campaign)]
    if name == "items.jsonl":
        return _item_rows(db, campaign)
    if name in KINDS:
        return _answer_rows(db, campaign, KINDS[name])
    return _text_rows(db, campaign, name)


def _campaign_row(db: Connection, campaign: Campaign) -> Json:
    row = db.execute(select(campaigns).where(campaigns.c.id == campaign.id)).one()
    table = campaign_versions.c
    versions = select(*(table[name] for name in VERSION_FIELDS)).where(
        table.campaign_id == campaign.id
    )
    found = db.execute(versions.order_by(table.version)).mappings()
    return {
        "name": row.name,
        "mode": row.mode,
        "created_at": row.created_at,
        "versions": [dict(version) for version in found],
    }


def _text_rows(db: Connection, campaign: Campaign, name: str) -> list[Json]:
    of_campaign = items.c.campaign_id == campaign.id
    if name == "prompts.jsonl":
        table, wanted = (
            prompts,
            set(db.execute(select(items.c.prompt_id).where(of_campaign)).scalars()),
        )
    else:
        table = responses
        lists = db.execute(select(items.c.response_ids).where(of_campaign)).scalars()
        wanted = {one for ids in lists for one in ids}
    rows = db.execute(select(table.c.id, table.c.body)).all()
    return [row.body for row in sorted(rows, key=lambda row: str(row.id)) if row.id in wanted]


def _item_rows(db: Connection, campaign: Campaign) -> list[Json]:
    original = items.alias()
    query = (
        select(*(items.c[name] for name in ITEM_FIELDS), original.c.key.label("of"))
        .select_from(items.outerjoin(original, original.c.id == items.c.of_item))
        .where(items.c.campaign_id == campaign.id)
    )
    rows = [dict(row) for row in db.execute(query).mappings()]
    return sorted(rows, key=lambda row: (row["position"], row["key"]))


def _answer_rows(db: Connection, campaign: Campaign, kind: str) -> list[Json]:
    query = (
        select(answers.c.body, answers.c.superseded, answers.c.late, items.c.key)
        .select_from(answers.join(items, items.c.id == answers.c.item_id))
        .where(
            answers.c.campaign_id == campaign.id,
            answers.c.kind == kind,
            answers.c.body.is_not(None),
        )
    )
    rows = [
        {**row.body, "item": row.key, "superseded": row.superseded, "late": row.late}
        for row in db.execute(query)
    ]
    return sorted(rows, key=lambda row: str(row["id"]))


def _left_out(db: Connection, campaign: Campaign) -> dict[str, int]:
    """What belongs to this store alone: it moves with `rlhf store migrate`."""
    of_campaign = items.c.campaign_id == campaign.id
    flagged = select(func.count()).select_from(flags.join(items)).where(of_campaign)
    skipped = select(func.count()).where(
        assignments.c.campaign_id == campaign.id, assignments.c.state == "skipped"
    )
    emptied = select(func.count()).where(
        answers.c.campaign_id == campaign.id, answers.c.body.is_(None)
    )
    counts = {"flags": flagged, "skips": skipped, "withdrawn answers": emptied}
    return {name: db.execute(query).scalar_one() for name, query in counts.items()}
