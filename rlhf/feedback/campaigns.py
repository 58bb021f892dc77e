"""Campaigns: what is asked of labelers, over which items, by which guidelines. Versioned.

Each function works inside the caller's transaction.
"""

import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from sqlalchemy import Connection, Row, and_, func, insert, select, update

from rlhf.data.identity import Json, content_id, seed_from
from rlhf.data.records import Prompt, Response
from rlhf.feedback.audit import Entry, append
from rlhf.feedback.database import insert_new
from rlhf.feedback.modes import mode_named
from rlhf.feedback.recording import add_labeler, held_text, hold_labeler, iso_time, item_key
from rlhf.feedback.schema import (
    campaign_versions,
    campaigns,
    consents,
    items,
    members,
    prompts,
    responses,
)

Kind = Literal["work", "gold", "repeat", "identical", "review"]


class CampaignSettings(BaseModel):
    """How a campaign is run. Shares are of the items that a labeler is given.

    `overlap` is how many labelers a further share (`overlap_share`) of the items wants instead of
    one. Labelers who are not `members` see a campaign only where it is open to everyone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    overlap: int = Field(default=1, ge=1, le=100)
    overlap_share: float = Field(default=0.0, ge=0, le=1)
    order: Literal["position", "balanced"] = "position"
    lease_minutes: float = Field(default=30.0, gt=0, le=24 * 60)
    gold_share: float = Field(default=0.0, ge=0, le=0.5)
    repeat_share: float = Field(default=0.0, ge=0, le=0.5)
    repeat_after: int = Field(default=20, ge=1)
    identical_share: float = Field(default=0.0, ge=0, le=0.5)
    consent: bool = False
    members_only: bool = False
    open: bool = True
    pay_per_answer: float = Field(default=0.0, ge=0)
    currency: str = Field(default="", max_length=10)

    @model_validator(mode="after")
    def _mostly_work(self) -> Self:
        if self.gold_share + self.repeat_share + self.identical_share > 0.9:
            raise ValueError("gold, repeated and identical items: 90 % of the work at most")
        return self


@dataclass(frozen=True, slots=True)
class Campaign:
    """A body of work for labelers: what is asked (`mode`), by which `guidelines`, run by which
    `settings`. Every change makes a new `version`; `guidelines_version` counts those of the
    guidelines.
    """

    id: int
    name: str
    mode: str
    guidelines: str
    settings: CampaignSettings
    version: int = 1
    guidelines_version: int = 1


@dataclass(frozen=True, slots=True)
class Change:
    """One version of a campaign: who changed it, when, and the note told to labelers."""

    version: int
    guidelines_version: int
    note: str
    changed_by: str
    changed_at: str
    guidelines_changed: bool


@dataclass(frozen=True, slots=True)
class Item:
    """One prompt with its responses, to be judged by `wanted` labelers (0: by the campaign's
    overlap).

    A `gold` item holds the `expected` answer: tie groups of response ids.
    """

    prompt: Prompt
    responses: tuple[Response, ...]
    wanted: int = 1
    priority: float = 0.0
    expected: tuple[tuple[str, ...], ...] | None = None


def checked_settings(settings: Json) -> CampaignSettings:
    """The settings; ValueError that names the first that does not fit."""
    try:
        return CampaignSettings.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"setting {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def create(
    db: Connection, name: str, mode: str, guidelines: str, settings: Json, *, by: str = ""
) -> bool:
    """Makes the campaign where there is none of this name; False where there is."""
    if db.execute(select(campaigns.c.id).where(campaigns.c.name == name)).first() is not None:
        return False
    if not name.strip() or len(name) > 200:
        raise ValueError(f"a campaign's name has 1 to 200 characters, got {len(name)}")
    mode_named(mode)
    kept = checked_settings(settings).model_dump(exclude_unset=True)
    now = iso_time(time.time())
    text = held_text(guidelines)
    row = {"name": name, "mode": mode, "guidelines": text, "settings": kept, "created_at": now}
    if not insert_new(db, campaigns, [row]):
        return False
    made = db.execute(select(campaigns.c.id).where(campaigns.c.name == name)).scalar_one()
    _note_version(db, made, 1, 1, text, kept, "", by, now)
    append(db, now, [Entry(by, "campaign made", name)])
    return True


def change(
    db: Connection, campaign: Campaign, by: str, guidelines: str | None, settings: Json, note: str
) -> None:
    """A new version: other guidelines, or settings laid over those there are."""
    now = iso_time(time.time())
    held = select(campaigns).where(campaigns.c.id == campaign.id)
    row = db.execute(held.with_for_update(key_share=True)).one()
    text = row.guidelines if guidelines is None else held_text(guidelines)
    merged = {**row.settings, **settings}
    kept = checked_settings(merged).model_dump(exclude_unset=True)
    if (text, kept) == (row.guidelines, row.settings):
        return
    version = row.version + 1
    guidelines_version = row.guidelines_version + (text != row.guidelines)
    values = {"guidelines": text, "settings": kept, "version": version}
    db.execute(
        update(campaigns)
        .where(campaigns.c.id == campaign.id)
        .values(**values, guidelines_version=guidelines_version)
    )
    _note_version(db, campaign.id, version, guidelines_version, text, kept, note, by, now)
    append(db, now, [Entry(by, "campaign changed", f"{campaign.name} version {version}")])


def _note_version(
    db: Connection,
    campaign_id: int,
    version: int,
    guidelines_version: int,
    guidelines: str,
    settings: Json,
    note: str,
    by: str,
    now: str,
) -> None:
    db.execute(
        insert(campaign_versions).values(
            campaign_id=campaign_id,
            version=version,
            guidelines_version=guidelines_version,
            guidelines=guidelines,
            settings=settings,
            note=held_text(note),
            changed_by=by,
            changed_at=now,
        )
    )


def campaign_of(row: Row[tuple[object, ...]]) -> Campaign:
    """The record of a row of `campaigns`."""
    return Campaign(
        row.id,
        row.name,
        row.mode,
        row.guidelines,
        CampaignSettings.model_validate(row.settings),
        row.version,
        row.guidelines_version,
    )


def changes_since(db: Connection, campaign: Campaign, labeler_id: str) -> list[Change]:
    """The changes that a labeler has not been told of; none to one who has not begun yet."""
    mine = and_(members.c.campaign_id == campaign.id, members.c.labeler_id == labeler_id)
    told = db.execute(select(members.c.told_version).where(mine)).scalar()
    table = campaign_versions.c
    rows = db.execute(
        select(campaign_versions)
        .where(table.campaign_id == campaign.id, table.version >= (told or campaign.version))
        .order_by(table.version)
    ).all()
    return [
        Change(
            row.version,
            row.guidelines_version,
            row.note,
            row.changed_by,
            row.changed_at,
            row.guidelines_version != before.guidelines_version,
        )
        for before, row in pairwise(rows)
    ]


def join(db: Connection, campaign: Campaign, labeler_id: str, moment: float) -> None:
    """Makes a labeler a member of the campaign, told of its newest version."""
    mine = and_(members.c.campaign_id == campaign.id, members.c.labeler_id == labeler_id)
    if db.execute(select(members.c.since).where(mine)).first() is None:
        add_labeler(db, labeler_id, moment)
        row = {"campaign_id": campaign.id, "labeler_id": labeler_id, "since": iso_time(moment)}
        insert_new(db, members, [{**row, "told_version": campaign.version}])


def tell(db: Connection, campaign: Campaign, labeler_id: str, version: int) -> None:
    """Notes that a labeler has read of the changes up to this version."""
    mine = and_(members.c.campaign_id == campaign.id, members.c.labeler_id == labeler_id)
    newer = and_(mine, members.c.told_version < min(version, campaign.version))
    db.execute(update(members).where(newer).values(told_version=min(version, campaign.version)))


def is_member(db: Connection, campaign: Campaign, labeler_id: str) -> bool:
    """Whether the labeler may work on the campaign."""
    if not campaign.settings.members_only:
        return True
    mine = and_(members.c.campaign_id == campaign.id, members.c.labeler_id == labeler_id)
    return db.execute(select(members.c.since).where(mine)).first() is not None


def consent(db: Connection, campaign: Campaign, labeler_id: str, version: int) -> None:
    """Records that a labeler accepts the guidelines in this version; ValueError where they have
    changed since.
    """
    if version != campaign.guidelines_version:
        raise ValueError(
            f"the guidelines are at version {campaign.guidelines_version} now, not {version}: read "
            "them again"
        )
    if has_consented(db, campaign, labeler_id):
        return
    now = time.time()
    hold_labeler(db, labeler_id, now)
    join(db, campaign, labeler_id, now)
    row = {"campaign_id": campaign.id, "labeler_id": labeler_id, "guidelines_version": version}
    if not insert_new(db, consents, [{**row, "given_at": iso_time(now)}]):
        return
    subject = f"{campaign.name} guidelines {version}"
    append(db, iso_time(now), [Entry(labeler_id, "consent given", subject)])


def has_consented(db: Connection, campaign: Campaign, labeler_id: str) -> bool:
    """Whether the labeler has accepted the guidelines as they are now."""
    given = and_(
        consents.c.campaign_id == campaign.id,
        consents.c.labeler_id == labeler_id,
        consents.c.guidelines_version == campaign.guidelines_version,
    )
    return db.execute(select(consents.c.given_at).where(given)).first() is not None


def add_items(db: Connection, campaign: Campaign, new: Iterable[Item]) -> int:
    """Adds the items that the campaign does not hold yet; returns how many were added."""
    fewest, most = mode_named(campaign.mode).responses
    if campaign.mode == "rank":  # longer lists can be imported, though no page shows them
        most = sys.maxsize
    of_campaign = items.c.campaign_id == campaign.id
    # One at a time, so that positions and keys are counted once.
    held_campaign = select(campaigns.c.id).where(campaigns.c.id == campaign.id)
    db.execute(held_campaign.with_for_update(key_share=True))
    held = set(db.execute(select(items.c.key).where(of_campaign)).scalars())
    position = db.execute(select(func.count()).select_from(items).where(of_campaign)).scalar_one()
    known_prompts = set(db.execute(select(prompts.c.id)).scalars())
    known_responses = set(db.execute(select(responses.c.id)).scalars())
    prompt_rows: list[Json] = []
    response_rows: list[Json] = []
    item_rows: list[Json] = []
    for item in new:
        key = item_key(item.prompt.id, [response.id for response in item.responses])
        if key in held:
            continue
        _check_item(item, fewest, most)
        held.add(key)
        if item.prompt.id not in known_prompts:
            known_prompts.add(item.prompt.id)
            prompt_rows.append({"id": item.prompt.id, "body": item.prompt.to_json()})
        for response in item.responses:
            if response.id not in known_responses:
                known_responses.add(response.id)
                row: Json = {"id": response.id, "prompt_id": item.prompt.id}
                response_rows.append({**row, "body": response.to_json()})
        item_rows.append(
            {
                "campaign_id": campaign.id,
                "prompt_id": item.prompt.id,
                "key": key,
                "response_ids": [response.id for response in item.responses],
                "position": position + len(item_rows),
                "wanted": item.wanted or _overlap(campaign, key),
                "kind": "work" if item.expected is None else "gold",
                "expected": item.expected,
                "priority": item.priority,
            }
        )
    for table, rows in ((prompts, prompt_rows), (responses, response_rows), (items, item_rows)):
        if rows:
            db.execute(insert(table), rows)
    return len(item_rows)


def prioritise(db: Connection, campaign: Campaign, priorities: dict[str, float]) -> None:
    """Sets which items come first, by prompt id; higher is earlier."""
    for prompt_id, priority in priorities.items():
        where = and_(items.c.campaign_id == campaign.id, items.c.prompt_id == prompt_id)
        db.execute(update(items).where(where).values(priority=priority))


def items_of(db: Connection, campaign: Campaign) -> Iterator[Item]:
    """The work and gold items of a campaign, in their order."""
    kept = and_(items.c.campaign_id == campaign.id, items.c.kind.in_(("work", "gold")))
    for row in db.execute(select(items).where(kept).order_by(items.c.position)).all():
        prompt, answers = load_texts(db, row.prompt_id, row.response_ids)
        expected = row.expected and tuple(tuple(group) for group in row.expected)
        yield Item(prompt, answers, row.wanted, row.priority, expected)


def load_texts(
    db: Connection, prompt_id: str, response_ids: list[str]
) -> tuple[Prompt, tuple[Response, ...]]:
    """A prompt and responses to it, in the order of their ids as given."""
    body = db.execute(select(prompts.c.body).where(prompts.c.id == prompt_id)).scalar_one()
    rows = db.execute(select(responses.c.body).where(responses.c.id.in_(response_ids))).scalars()
    by_id = {row["id"]: Response.from_json(row) for row in rows}
    return Prompt.from_json(body), tuple(by_id[response] for response in response_ids)


def _overlap(campaign: Campaign, key: str) -> int:
    """The campaign's overlap for a share of items chosen by content, else one."""
    drawn = seed_from("overlap", campaign.name, key) / (1 << 63)
    return campaign.settings.overlap if drawn < campaign.settings.overlap_share else 1


def _check_item(item: Item, fewest: int, most: int) -> None:
    ids = [response.id for response in item.responses]
    if len(set(ids)) < fewest or len(set(ids)) < len(ids):
        needs = "at least two different responses" if fewest == 2 else f"{fewest} response"
        raise ValueError(f"{item.prompt.id} needs {needs} to be ranked, got {len(set(ids))}")
    if len(ids) > most:
        raise ValueError(f"{item.prompt.id} has {len(ids)} responses: at most {most} can be shown")
    strangers = [response.id for response in item.responses if response.prompt_id != item.prompt.id]
    if strangers:
        raise ValueError(f"{strangers[0]} does not answer {item.prompt.id}")
    if item.wanted < 0:
        raise ValueError(f"{item.prompt.id} wants {item.wanted} labelers: at least 1")
    if item.expected is not None:
        expected = [response for group in item.expected for response in group]
        if sorted(expected) != sorted(ids):
            raise ValueError(f"the expected order of {item.prompt.id} is not over its responses")


def review_key(key: str) -> str:
    """The key of the item that reviews the item of this key."""
    return content_id("item", ["review", key])
