"""The store of rankings: campaigns of items, claimed by labelers, answered once, never lost.

Every write is one transaction. Answers are append-only. Times are seconds since the epoch and are
passed in by simulations, so that a simulated campaign repeats exactly.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import and_, select

from rlhf.data.identity import Json, canonical, content_id
from rlhf.data.records import Demonstration, Prompt, Ranking
from rlhf.feedback import (
    answering,
    assignment,
    campaigns,
    gathered,
    leases,
    membership,
    progress,
    reviewing,
    withdrawal,
)
from rlhf.feedback.answering import Answer
from rlhf.feedback.assignment import Task, shown_order
from rlhf.feedback.audit import append
from rlhf.feedback.campaigns import Campaign
from rlhf.feedback.database import Database
from rlhf.feedback.items import Item, add_items, items_of
from rlhf.feedback.membership import Change
from rlhf.feedback.modes import Judgement
from rlhf.feedback.outlook import Ahead
from rlhf.feedback.progress import Progress
from rlhf.feedback.recording import iso_time, record
from rlhf.feedback.schema import assignments, items
from rlhf.feedback.schema import campaigns as campaign_table
from rlhf.feedback.verifying import Verified, verify
from rlhf.feedback.withdrawal import Withdrawn

__all__ = ["Campaign", "Change", "Item", "Judgement", "Progress", "Store", "Task", "shown_order"]


class Store:
    """The store at `address`: a path (SQLite) or a database URL. Opening migrates; close it or use
    `with`.
    """

    def __init__(self, address: str | Path) -> None:
        self.address = str(address)
        self.database = Database(address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Gives the connections back; the files can then be moved."""
        self.database.close()

    # Campaigns and their items

    def create_campaign(
        self, name: str, *, mode: str = "rank", guidelines: str = "", settings: Json | None = None
    ) -> Campaign:
        """The campaign of this name, made where it is not there yet (what there is stays as it
        is).
        """
        with self.database.writing() as db:
            campaigns.create(db, name, mode, guidelines, settings or {})
        return self.campaign(name)

    def change_campaign(
        self,
        campaign: Campaign,
        *,
        by: str,
        guidelines: str | None = None,
        settings: Json | None = None,
        note: str = "",
    ) -> Campaign:
        """The campaign with other guidelines or with `settings` laid over its own, as a new
        version; `note` is what its labelers are told.
        """
        with self.database.writing() as db:
            campaigns.change(db, campaign, by, guidelines, settings or {}, note)
        return self.campaign(campaign.name)

    def campaign(self, name: str) -> Campaign:
        """The campaign of this name; ValueError naming those that exist where there is none."""
        with self.database.reading() as db:
            named = select(campaign_table).where(campaign_table.c.name == name)
            row = db.execute(named).first()
        if row is not None:
            return campaigns.campaign_of(row)
        known = ", ".join(campaign.name for campaign in self.campaigns()) or "none yet"
        raise ValueError(f"no campaign named {name!r} in {self.database.name} (there: {known})")

    def newest(self) -> str:
        """The name of the newest campaign; empty where there is none."""
        newest = select(campaign_table.c.name).order_by(campaign_table.c.id.desc()).limit(1)
        with self.database.reading() as db:
            return db.execute(newest).scalar() or ""

    def campaigns(self) -> list[Campaign]:
        """All campaigns, oldest first."""
        with self.database.reading() as db:
            rows = db.execute(select(campaign_table).order_by(campaign_table.c.id)).all()
        return [campaigns.campaign_of(row) for row in rows]

    def add_items(self, campaign: Campaign, new: Iterable[Item]) -> int:
        """Adds the items whose prompt and set of responses the campaign does not hold yet; returns
        how many were added.

        Raises ValueError for an item that the campaign's mode cannot ask about, or with a response
        to another prompt.
        """
        with self.database.writing() as db:
            return add_items(db, campaign, new)

    def items(self, campaign: Campaign) -> Iterator[Item]:
        """The items of a campaign, in their order; checks and reviews left out."""
        with self.database.reading() as db:
            yield from list(items_of(db, campaign))

    # Labelers and what they are told

    def join(self, campaign: Campaign, labeler_id: str) -> None:
        """Lets a labeler work on a campaign that is for members only."""
        with self.database.writing() as db:
            membership.join(db, campaign, labeler_id, time.time())

    def may_work(self, campaign: Campaign, labeler_id: str) -> bool:
        """Whether the labeler may work on the campaign at all."""
        if not campaign.settings.members_only:
            return True
        with self.database.reading() as db:
            return membership.is_member(db, campaign, labeler_id)

    def consent(self, campaign: Campaign, labeler_id: str, guidelines_version: int) -> None:
        """Records that a labeler accepts the guidelines; ValueError where that version is not the
        newest.
        """
        with self.database.writing() as db:
            membership.consent(db, campaign, labeler_id, guidelines_version)

    def has_consented(self, campaign: Campaign, labeler_id: str) -> bool:
        """Whether the labeler has accepted the guidelines as they are now."""
        with self.database.reading() as db:
            return membership.has_consented(db, campaign, labeler_id)

    def changes(self, campaign: Campaign, labeler_id: str) -> list[Change]:
        """What has changed since the labeler was last told."""
        with self.database.reading() as db:
            return membership.changes_since(db, campaign, labeler_id)

    def told(self, campaign: Campaign, labeler_id: str, version: int) -> None:
        """Notes that the labeler has read of the changes up to this version."""
        with self.database.writing() as db:
            membership.tell(db, campaign, labeler_id, version)

    # Labelers at work

    def claim(
        self,
        campaign: Campaign,
        labeler_id: str,
        *,
        now: float | None = None,
        after: int | None = None,
        review: bool = False,
        most: int | None = None,
    ) -> Task | None:
        """The labeler's task: the one already open, else what they had begun before their lease
        ran out, else the next item that still wants a labeler; None when done.

        An item is leased for the campaign's `lease_minutes`; when the lease runs out another
        labeler may get it, but a late answer is still saved. `after` is the item in the labeler's
        hands: the one to follow it is claimed, so that the page can load it early. `review` asks
        for what labelers disagree on. Items with more than `most` responses are passed over.
        """
        moment = time.time() if now is None else now
        with self.database.reading() as db:
            expired = leases.any_expired(db, campaign, moment)
        if expired:
            with self.database.writing() as db:
                leases.release_expired(db, campaign, moment)
        with self.database.writing() as db:
            membership.join(db, campaign, labeler_id, moment)
            ahead = Ahead(after, review, most)
            return assignment.claim(db, campaign, labeler_id, moment, ahead)

    def extend(
        self,
        campaign: Campaign,
        labeler_id: str,
        item_ids: Sequence[int],
        *,
        now: float | None = None,
    ) -> None:
        """A sign of life: the labeler's leases on these items run from now on anew."""
        moment = time.time() if now is None else now
        with self.database.writing() as db:
            until = moment + campaign.settings.lease_minutes * 60
            leases.extend(db, labeler_id, item_ids, until)

    def task(self, item_id: int, labeler_id: str, campaign: Campaign | None = None) -> Task | None:
        """An item that this labeler was given before, as they saw it; None where they were not, or
        not for this campaign.
        """
        mine = and_(assignments.c.item_id == item_id, assignments.c.labeler_id == labeler_id)
        if campaign is not None:
            mine = and_(mine, assignments.c.campaign_id == campaign.id)
        with self.database.reading() as db:
            if db.execute(select(assignments.c.state).where(mine)).first() is None:
                return None
            item = db.execute(select(items).where(items.c.id == item_id)).one()
            asked = select(campaign_table).where(campaign_table.c.id == item.campaign_id)
            campaign = campaigns.campaign_of(db.execute(asked).one())
            return assignment.task_of(db, campaign, item, labeler_id)

    def kind_given(self, item_id: int, labeler_id: str, campaign: Campaign) -> str | None:
        """The kind of an item that this labeler was given for this campaign; None where it was
        not.
        """
        mine = and_(
            assignments.c.item_id == item_id,
            assignments.c.labeler_id == labeler_id,
            assignments.c.campaign_id == campaign.id,
        )
        joined = assignments.join(items, items.c.id == assignments.c.item_id)
        with self.database.reading() as db:
            return db.execute(select(items.c.kind).select_from(joined).where(mine)).scalar()

    def submit(
        self,
        item_id: int,
        labeler_id: str,
        said: Judgement,
        *,
        submission_id: str,
        duration_seconds: float = 0.0,
        rationale: str = "",
        now: float | None = None,
    ) -> Answer:
        """Saves a labeler's answer to an item and returns it as saved; sent twice, it is saved
        once.

        A `submission_id` belongs to one answer of one labeler to one item. A second answer by the
        same labeler to the same item supersedes the first. Raises ValueError where the labeler was
        never given the item, or the answer does not rank exactly the responses shown.
        """
        moment = time.time() if now is None else now
        with self.database.writing() as db:
            given = answering.hold(db, item_id, labeler_id)
            sent = answering.Sent(submission_id, duration_seconds, rationale)
            saved = answering.submit(db, given, said, sent, moment)
            append(db, iso_time(moment), saved.entries)
        return saved.answer

    def skip(self, item_id: int, labeler_id: str, reason: str = "") -> None:
        """Puts an item back for others; this labeler does not meet it again. An answered item
        stays answered.
        """
        with self.database.writing() as db:
            leases.skip(db, item_id, labeler_id, reason)

    def answer(self, item_id: int, labeler_id: str) -> Answer | None:
        """A labeler's own answer to an item, as it stands now; None where there is none."""
        with self.database.reading() as db:
            return gathered.answer_of(db, item_id, labeler_id)

    def own_answers(
        self, campaign: Campaign, labeler_id: str, limit: int, offset: int = 0
    ) -> list[tuple[int, Answer, Prompt]]:
        """A labeler's last answers in force, the newest first: item id, answer, what was asked. The
        first `offset` are left out.
        """
        with self.database.reading() as db:
            return gathered.own_answers(db, campaign, labeler_id, limit, offset)

    def save_draft(self, item_id: int, labeler_id: str, draft: Json) -> bool:
        """Keeps what a labeler has begun to answer; False where they were never given the item."""
        with self.database.writing() as db:
            return answering.save_draft(db, item_id, labeler_id, draft, time.time())

    def flag(self, item_id: int, labeler_id: str, kind: str, note: str = "") -> None:
        """Tells the lead of personal data or harm in an item; ValueError for another kind."""
        with self.database.writing() as db:
            answering.flag(db, item_id, labeler_id, kind, note, time.time())

    def open_reviews(self, campaign: Campaign, below: float = 0.6) -> int:
        """Asks reviewers about the items on which labelers agree on less than `below` of the pairs;
        returns how many are new.
        """
        with self.database.writing() as db:
            return reviewing.open_reviews(db, campaign, below)

    def votes_on(self, item_id: int) -> list[Ranking]:
        """The rankings that the review item of this id is about."""
        with self.database.reading() as db:
            return reviewing.votes_on(db, item_id)

    def record(self, campaign: Campaign, given: Iterable[Ranking]) -> int:
        """Saves rankings made elsewhere, each once, all or none; returns how many are new.

        Each goes to the item with its prompt and the responses it was shown; ValueError where the
        campaign holds no such item. A ranking that another one supersedes is saved as superseded.
        """
        with self.database.writing() as db:
            return record(db, campaign.id, list(given))

    def withdraw(self, labeler_id: str) -> Withdrawn:
        """Takes a person's consent back: deletes what they said and their login for good, and notes
        it in the log. ValueError for a labeler who is not there.
        """
        with self.database.writing() as db:
            done = withdrawal.withdraw(db, labeler_id, time.time())
        return replace(done, wiped=withdrawal.wipe(self.database))

    def verify(self) -> Verified:
        """Checks the log, and that the answers are those that were saved."""
        with self.database.reading() as db:
            return verify(db)

    # What was gathered

    def rankings(self, campaign: Campaign, *, with_superseded: bool = False) -> list[Ranking]:
        """The rankings of a campaign in the order in which they were saved.

        Left out: corrected ones, and those that a reviewer's ranking stands in for (unless
        `with_superseded`); repeats and other checks of the labelers; what was withdrawn.
        """
        bodies = self._bodies(campaign, "ranking", with_superseded)
        return [Ranking.from_json(body) for body in bodies]

    def demonstrations(
        self, campaign: Campaign, *, with_superseded: bool = False
    ) -> list[Demonstration]:
        """The demonstrations of a campaign in the order in which they were saved."""
        bodies = self._bodies(campaign, "demonstration", with_superseded)
        return [Demonstration.from_json(body) for body in bodies]

    def _bodies(self, campaign: Campaign, kind: str, with_superseded: bool) -> list[Json]:
        with self.database.reading() as db:
            return gathered.bodies(db, campaign, kind, with_superseded=with_superseded)

    def progress(self, campaign: Campaign, labeler_id: str = "") -> Progress:
        """How far a campaign is, and one labeler's share of it; checks count for the labeler
        alone.
        """
        with self.database.reading() as db:
            return progress.progress(db, campaign.id, labeler_id)

    def digest(self, campaign: Campaign) -> str:
        """A hash of the rankings in force, which changes when one is added or corrected."""
        return content_id(
            "rankings", canonical(sorted(ranking.id for ranking in self.rankings(campaign)))
        )
