"""The store of rankings: campaigns of items, claimed by labelers, answered once, never lost.

Every write is one transaction. Rankings are append-only. Times are seconds since the epoch and are
passed in by simulations, so that a simulated campaign repeats exactly.
"""

import random
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, Row, and_, func, insert, or_, select, update

from rlhf.data.identity import Json, canonical, content_id, seed_from
from rlhf.data.records import Prompt, Ranking, Response
from rlhf.feedback.database import open_database
from rlhf.feedback.recording import add_labeler, iso_time, item_key, record
from rlhf.feedback.schema import (
    assignments,
    campaigns,
    items,
    prompts,
    rankings,
    responses,
)

LEASE_SECONDS = 30 * 60.0


@dataclass(frozen=True, slots=True)
class Campaign:
    """A body of work for labelers: what is asked (`mode`), by which `guidelines`, with free
    `settings`.
    """

    id: int
    name: str
    mode: str
    guidelines: str
    settings: Json


@dataclass(frozen=True, slots=True)
class Item:
    """One prompt with its responses, to be ranked by `wanted` labelers."""

    prompt: Prompt
    responses: tuple[Response, ...]
    wanted: int = 1


@dataclass(frozen=True, slots=True)
class Task:
    """An item in one labeler's hands: the responses in the order in which they are shown."""

    item_id: int
    labeler_id: str
    prompt: Prompt
    responses: tuple[Response, ...]

    @property
    def shown(self) -> tuple[str, ...]:
        return tuple(response.id for response in self.responses)


@dataclass(frozen=True, slots=True)
class Progress:
    """Rankings wanted and in hand, over a campaign; `mine` counts one labeler's."""

    wanted: int
    done: int
    mine: int
    labelers: int


def shown_order(labeler_id: str, prompt_id: str, response_ids: Sequence[str]) -> tuple[str, ...]:
    """The order in which a labeler sees responses: shuffled by labeler and prompt, the same at
    every reload.
    """
    order = sorted(response_ids)
    random.Random(seed_from("shown", labeler_id, prompt_id)).shuffle(order)
    return tuple(order)


class Store:
    """The store at `address`: a path (SQLite) or a database URL. Opening migrates; close it or use
    `with`.
    """

    def __init__(self, address: str | Path) -> None:
        self.address = str(address)
        self._engine = open_database(address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Gives the connections back; the files can then be moved."""
        self._engine.dispose()

    # Campaigns and their items

    def create_campaign(
        self, name: str, *, mode: str = "rank", guidelines: str = "", settings: Json | None = None
    ) -> Campaign:
        """The campaign of this name, made where it is not there yet (its settings are then left as
        they are).
        """
        with self._engine.begin() as db:
            if db.execute(select(campaigns.c.id).where(campaigns.c.name == name)).first() is None:
                row = {
                    "name": name,
                    "mode": mode,
                    "guidelines": guidelines,
                    "settings": settings or {},
                }
                db.execute(insert(campaigns).values(**row, created_at=iso_time(time.time())))
        return self.campaign(name)

    def campaign(self, name: str) -> Campaign:
        """The campaign of this name; ValueError naming those that exist where there is none."""
        with self._engine.begin() as db:
            row = db.execute(select(campaigns).where(campaigns.c.name == name)).first()
            if row is None:
                known = ", ".join(db.execute(select(campaigns.c.name)).scalars()) or "none yet"
                raise ValueError(f"no campaign named {name!r} in {self.address} (there: {known})")
        return Campaign(row.id, row.name, row.mode, row.guidelines, row.settings)

    def campaigns(self) -> list[Campaign]:
        """All campaigns, oldest first."""
        with self._engine.begin() as db:
            rows = db.execute(select(campaigns).order_by(campaigns.c.id)).all()
        return [Campaign(row.id, row.name, row.mode, row.guidelines, row.settings) for row in rows]

    def add_items(self, campaign: Campaign, new: Iterable[Item]) -> int:
        """Adds the items whose prompt and set of responses the campaign does not hold yet; returns
        how many were added.

        Raises ValueError for an item with fewer than two responses, or with a response to another
        prompt.
        """
        added = 0
        with self._engine.begin() as db:
            of_campaign = items.c.campaign_id == campaign.id
            held = set(db.execute(select(items.c.key).where(of_campaign)).scalars())
            position = db.execute(
                select(func.count()).select_from(items).where(of_campaign)
            ).scalar_one()
            known_prompts = set(db.execute(select(prompts.c.id)).scalars())
            known_responses = set(db.execute(select(responses.c.id)).scalars())
            for item in new:
                key = item_key(item.prompt.id, [response.id for response in item.responses])
                if key in held:
                    continue
                _check_item(item)
                if item.prompt.id not in known_prompts:
                    db.execute(
                        insert(prompts).values(id=item.prompt.id, body=item.prompt.to_json())
                    )
                    known_prompts.add(item.prompt.id)
                for response in item.responses:
                    if response.id not in known_responses:
                        row = {
                            "id": response.id,
                            "prompt_id": item.prompt.id,
                            "body": response.to_json(),
                        }
                        db.execute(insert(responses).values(**row))
                        known_responses.add(response.id)
                db.execute(
                    insert(items).values(
                        campaign_id=campaign.id,
                        prompt_id=item.prompt.id,
                        key=key,
                        response_ids=[response.id for response in item.responses],
                        position=position + added,
                        wanted=item.wanted,
                    )
                )
                held.add(key)
                added += 1
        return added

    def items(self, campaign: Campaign) -> Iterator[Item]:
        """The items of a campaign, in their order."""
        with self._engine.begin() as db:
            rows = db.execute(
                select(items).where(items.c.campaign_id == campaign.id).order_by(items.c.position)
            ).all()
            loaded = [(self._load(db, row.prompt_id, row.response_ids), row.wanted) for row in rows]
        for (prompt, answers), wanted in loaded:
            yield Item(prompt, answers, wanted)

    # Labelers at work

    def claim(
        self, campaign: Campaign, labeler_id: str, *, now: float | None = None, ahead: bool = False
    ) -> Task | None:
        """The labeler's task: the one already open, else the first item that still wants a
        labeler; None when done.

        An item is leased for `LEASE_SECONDS`; when the lease runs out another labeler may get it,
        but a late answer is still saved. `ahead` claims a second item while one is open, so that
        the page can load it early.
        """
        moment = time.time() if now is None else now
        with self._engine.begin() as db:
            add_labeler(db, labeler_id, moment)
            mine = select(assignments.c.item_id).where(
                assignments.c.labeler_id == labeler_id, assignments.c.state == "open"
            )
            of_campaign = items.c.campaign_id == campaign.id
            open_items = (
                select(items).where(of_campaign, items.c.id.in_(mine)).order_by(items.c.position)
            )
            opened = db.execute(open_items).all()
            index = 1 if ahead else 0
            if len(opened) > index:
                item = opened[index]
                db.execute(
                    update(assignments)
                    .where(assignments.c.item_id == item.id, assignments.c.labeler_id == labeler_id)
                    .values(leased_until=moment + LEASE_SECONDS)
                )
            else:
                free = self._first_free_item(db, campaign, labeler_id, moment)
                if free is None:
                    return None
                item = free
                row = {"item_id": item.id, "labeler_id": labeler_id, "state": "open", "reason": ""}
                db.execute(insert(assignments).values(**row, leased_until=moment + LEASE_SECONDS))
            prompt, answers = self._load(db, item.prompt_id, item.response_ids)
        by_id = {answer.id: answer for answer in answers}
        shown = shown_order(labeler_id, prompt.id, list(by_id))
        return Task(item.id, labeler_id, prompt, tuple(by_id[response] for response in shown))

    def _first_free_item(
        self, db: Connection, campaign: Campaign, labeler_id: str, moment: float
    ) -> Row[tuple[object, ...]] | None:
        taken = (
            select(func.count())
            .where(
                assignments.c.item_id == items.c.id,
                or_(
                    assignments.c.state == "done",
                    and_(assignments.c.state == "open", assignments.c.leased_until > moment),
                ),
            )
            .scalar_subquery()
        )
        met = select(assignments.c.item_id).where(assignments.c.labeler_id == labeler_id)
        wanting = select(items).where(
            items.c.campaign_id == campaign.id, taken < items.c.wanted, items.c.id.not_in(met)
        )
        first = wanting.order_by(items.c.position).limit(1)
        return db.execute(first.with_for_update(skip_locked=True)).first()

    def submit(
        self,
        item_id: int,
        labeler_id: str,
        groups: Sequence[Sequence[str]],
        *,
        submission_id: str,
        none_acceptable: bool = False,
        duration_seconds: float = 0.0,
        rationale: str = "",
        now: float | None = None,
    ) -> Ranking:
        """Saves a labeler's answer to an item and returns it as saved; sent twice, it is saved
        once.

        A `submission_id` belongs to one answer of one labeler to one item. A second answer by the
        same labeler to the same item supersedes the first. Raises ValueError where the labeler was
        never given the item, or the answer does not rank exactly the responses shown.
        """
        moment = time.time() if now is None else now
        with self._engine.begin() as db:
            assigned = and_(
                assignments.c.item_id == item_id, assignments.c.labeler_id == labeler_id
            )
            if db.execute(select(assignments.c.state).where(assigned)).first() is None:
                raise ValueError(f"{labeler_id} was not given item {item_id}")
            item = db.execute(select(items).where(items.c.id == item_id)).one()
            sent = db.execute(
                select(rankings).where(
                    rankings.c.campaign_id == item.campaign_id,
                    rankings.c.submission_id == submission_id,
                )
            ).first()
            if sent is not None:
                if (sent.item_id, sent.labeler_id) != (item_id, labeler_id):
                    raise ValueError(f"submission {submission_id} answered another task already")
                return Ranking.from_json(sent.body)
            earlier = db.execute(
                select(rankings.c.id).where(
                    rankings.c.item_id == item_id,
                    rankings.c.labeler_id == labeler_id,
                    rankings.c.superseded.is_(False),
                )
            ).scalar()
            ranking = Ranking.of(
                prompt_id=item.prompt_id,
                labeler_id=labeler_id,
                groups=tuple(tuple(group) for group in groups),
                shown=shown_order(labeler_id, item.prompt_id, item.response_ids),
                none_acceptable=none_acceptable,
                submitted_at=iso_time(moment),
                duration_seconds=duration_seconds,
                rationale=rationale,
                supersedes=earlier,
                submission_id=submission_id,
            )
            if earlier is not None:
                mine = and_(rankings.c.item_id == item_id, rankings.c.id == earlier)
                db.execute(update(rankings).where(mine).values(superseded=True))
            db.execute(
                insert(rankings).values(
                    id=ranking.id,
                    submission_id=submission_id,
                    campaign_id=item.campaign_id,
                    item_id=item_id,
                    labeler_id=labeler_id,
                    body=ranking.to_json(),
                    superseded=False,
                )
            )
            db.execute(update(assignments).where(assigned).values(state="done"))
        return ranking

    def skip(self, item_id: int, labeler_id: str, reason: str = "") -> None:
        """Puts an item back for others; this labeler does not meet it again. An answered item
        stays answered.
        """
        with self._engine.begin() as db:
            mine = and_(
                assignments.c.item_id == item_id,
                assignments.c.labeler_id == labeler_id,
                assignments.c.state == "open",
            )
            db.execute(update(assignments).where(mine).values(state="skipped", reason=reason))

    def record(self, campaign: Campaign, given: Iterable[Ranking]) -> int:
        """Saves rankings made elsewhere, each once, all or none; returns how many are new.

        Each goes to the item with its prompt and the responses it was shown; ValueError where the
        campaign holds no such item. A ranking that another one supersedes is saved as superseded.
        """
        with self._engine.begin() as db:
            return record(db, campaign.id, list(given))

    # What was gathered

    def rankings(self, campaign: Campaign, *, with_superseded: bool = False) -> list[Ranking]:
        """The rankings of a campaign in the order in which they were saved, corrected ones left
        out by default.
        """
        wanted = [rankings.c.campaign_id == campaign.id]
        if not with_superseded:
            wanted.append(rankings.c.superseded.is_(False))
        with self._engine.begin() as db:
            rows = (
                db.execute(select(rankings.c.body).where(*wanted).order_by(rankings.c.number))
                .scalars()
                .all()
            )
        return [Ranking.from_json(row) for row in rows]

    def progress(self, campaign: Campaign, labeler_id: str = "") -> Progress:
        """How far a campaign is, and one labeler's share of it."""
        of_campaign = and_(rankings.c.campaign_id == campaign.id, rankings.c.superseded.is_(False))
        with self._engine.begin() as db:
            wanted = db.execute(
                select(func.sum(items.c.wanted)).where(items.c.campaign_id == campaign.id)
            ).scalar()
            rows = db.execute(
                select(rankings.c.labeler_id, func.count())
                .where(of_campaign)
                .group_by(rankings.c.labeler_id)
            ).all()
        by_labeler = {row[0]: row[1] for row in rows}
        return Progress(
            wanted or 0, sum(by_labeler.values()), by_labeler.get(labeler_id, 0), len(by_labeler)
        )

    def digest(self, campaign: Campaign) -> str:
        """A hash of the rankings in force, which changes when one is added or corrected."""
        return content_id(
            "rankings", canonical(sorted(ranking.id for ranking in self.rankings(campaign)))
        )

    def _load(
        self, db: Connection, prompt_id: str, response_ids: list[str]
    ) -> tuple[Prompt, tuple[Response, ...]]:
        prompt = Prompt.from_json(
            db.execute(select(prompts.c.body).where(prompts.c.id == prompt_id)).scalar_one()
        )
        rows = db.execute(
            select(responses.c.body).where(responses.c.id.in_(response_ids))
        ).scalars()
        by_id = {row["id"]: Response.from_json(row) for row in rows}
        return prompt, tuple(by_id[response] for response in response_ids)


def _check_item(item: Item) -> None:
    ids = [response.id for response in item.responses]
    if len(set(ids)) < 2 or len(set(ids)) < len(ids):
        raise ValueError(
            f"{item.prompt.id} needs at least two different responses to be ranked, got "
            f"{len(set(ids))}"
        )
    strangers = [response.id for response in item.responses if response.prompt_id != item.prompt.id]
    if strangers:
        raise ValueError(f"{strangers[0]} does not answer {item.prompt.id}")
    if item.wanted < 1:
        raise ValueError(f"{item.prompt.id} wants {item.wanted} labelers: at least 1")
