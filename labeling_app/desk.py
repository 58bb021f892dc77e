"""Someone at work on a campaign: who may, and by which numbers they know its items."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import HTTPException, Query, Request
from sqlalchemy import Connection

from labeling_app import answers
from labeling_app.item_names import item_named, name_of
from labeling_app.visitors import CurrentVisitor, Role, Visitor
from rlhf.data.identity import Json
from rlhf.feedback.modes import MAX_RESPONSES
from rlhf.feedback.outlook import Ahead
from rlhf.feedback.progress import Progress
from rlhf.feedback.standing import standing
from rlhf.feedback.store import Campaign, Store, Task

MAX_ITEM_ID = 2**31 - 1  # what PostgreSQL can count
CampaignName = Annotated[str, Query(max_length=200)]


@dataclass(frozen=True, slots=True)
class Desk:
    """Someone at work on a campaign."""

    store: Store
    labeler_id: str
    role: Role
    campaign: Campaign
    needs_consent: bool

    def progress(self) -> Json:
        """What every reply after an answer ends in."""
        return self.progress_json(self.store.progress(self.campaign, self.labeler_id))

    def progress_json(self, found: Progress) -> Json:
        return {"progress": answers.progress_json(found, self.campaign)}

    def item(self, name: int) -> int:
        """The id of the item that this labeler knows by a number; ValueError where there can be
        none.
        """
        found = self.items([name])
        if not found:
            raise self._never_given()
        return found[0]

    def items(self, names: Sequence[int]) -> list[int]:
        """The ids of items by their numbers; what can be none is left out."""
        ids = [item_named(self.campaign, self.labeler_id, name) for name in names]
        return [item_id for item_id in ids if item_id <= MAX_ITEM_ID]

    def name(self, item_id: int) -> int:
        """The number by which this labeler knows an item."""
        return name_of(self.campaign, self.labeler_id, item_id)

    def ahead(self, after: int | None, *, review: bool) -> Ahead:
        """Which item is wanted next, among those that the page has letters for. `after` is a number
        by which the labeler knows an item.
        """
        return Ahead(None if after is None else self.item(after), review, MAX_RESPONSES)

    def claim(self, ahead: Ahead) -> Task | None:
        return self.store.claim(
            self.campaign,
            self.labeler_id,
            after=ahead.after,
            review=ahead.review,
            most=ahead.most,
        )

    def given(self, name: int) -> int:
        """The id of an item that the labeler was given for this campaign; ValueError where it was
        not, HTTPException where it is a review and they are no reviewer any more.
        """
        item_id = self.item(name)
        kind = self.store.kind_given(item_id, self.labeler_id, self.campaign)
        if kind is None:
            raise self._never_given()
        check_reviewer(self, review=kind == "review")
        return item_id

    def task(self, name: int) -> Task:
        """An item that the labeler was given for this campaign, refused as by `given`."""
        task = self.store.task(self.item(name), self.labeler_id, self.campaign)
        if task is None:
            raise self._never_given()
        check_reviewer(self, review=task.mode == "review")
        return task

    def task_json(self, task: Task) -> Json:
        votes = self.store.votes_on(task.item_id) if task.mode == "review" else None
        return answers.task_json(task, self.name(task.item_id), votes)

    def _never_given(self) -> ValueError:
        return ValueError(f"{self.labeler_id} was not given this item")


def desk_of(db: Connection, store: Store, visitor: Visitor, campaign: str) -> Desk:
    """The visitor's desk; HTTPException where there is no such campaign, or it is not for them."""
    found = standing(db, campaign, visitor.labeler_id)
    if found is None:
        raise HTTPException(404, f"there is no campaign named {campaign!r}.")
    if not found.may_work:
        raise HTTPException(403, f"you are not a member of the campaign {campaign!r}.")
    return Desk(store, visitor.labeler_id, visitor.role, found.campaign, found.needs_consent)


def check_consent(desk: Desk) -> Desk:
    """The desk; HTTPException where the guidelines have to be accepted first."""
    if desk.needs_consent:
        raise HTTPException(
            409, "the guidelines have to be read and accepted before the work goes on."
        )
    return desk


def check_reviewer(desk: Desk, *, review: bool) -> None:
    """HTTPException where somebody who is no reviewer (any more) asks for a review or answers
    one.
    """
    if review and not Visitor(desk.labeler_id, desk.role).may("reviewer"):
        raise HTTPException(403, "reviews are for the role 'reviewer'.")


def member_desk(store: Store, opened: str, current_visitor: CurrentVisitor) -> Callable[..., Desk]:
    """The dependency of every route of work: the desk of whoever may work on the campaign that is
    named, else the one that was `opened`, else the newest.
    """

    def desk(request: Request, campaign: CampaignName = opened) -> Desk:
        visitor, name = current_visitor(request), campaign or store.newest()
        with store.database.reading() as db:
            return desk_of(db, store, visitor, name)

    return desk


def worker_desk(store: Store, opened: str, current_visitor: CurrentVisitor) -> Callable[..., Desk]:
    """The same, for what needs the guidelines to be accepted."""
    at_campaign = member_desk(store, opened, current_visitor)

    def desk(request: Request, campaign: CampaignName = opened) -> Desk:
        return check_consent(at_campaign(request, campaign))

    return desk
