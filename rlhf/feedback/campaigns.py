"""Campaigns: what is asked of labelers, over which items, by which guidelines. Versioned.

Each function works inside the caller's transaction.
"""

import time
from dataclasses import dataclass, field
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from sqlalchemy import Connection, Row, insert, select, update

from rlhf.data.identity import Json
from rlhf.feedback.audit import Entry, append
from rlhf.feedback.database import insert_new
from rlhf.feedback.modes import mode_named
from rlhf.feedback.recording import held_text, iso_time
from rlhf.feedback.schema import (
    campaign_versions,
    campaigns,
)
from rlhf.feedback.seals import version_seal

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
    secret: str = field(default="", repr=False)


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
    append(db, now, [Entry(by, "campaign made", name, version_seal(name, 1, 1, text, kept))])
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
    seal = version_seal(campaign.name, version, guidelines_version, text, kept)
    append(db, now, [Entry(by, "campaign changed", f"{campaign.name} version {version}", seal)])


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
        row.secret,
    )
