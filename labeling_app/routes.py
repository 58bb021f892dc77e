"""What the page asks of the server: the campaign, the next item, saving an answer, its drafts."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query

from labeling_app import answers
from labeling_app.desk import (
    MAX_ITEM_ID,
    Desk,
    check_reviewer,
    member_desk,
    worker_desk,
)
from labeling_app.rendering import inert_markdown
from labeling_app.replies import AsciiJson, OneSentence, refusals
from labeling_app.texts import TEXTS
from labeling_app.turn_route import turn_route
from labeling_app.visitors import CurrentVisitor, Visitor
from rlhf.data.identity import Json
from rlhf.feedback.store import Store

MAX_OWN_ANSWERS = 200


def ranking_routes(
    store: Store, opened: str, current_visitor: CurrentVisitor, next_step: str
) -> APIRouter:
    """The routes under `/api`. `current_visitor` says on whose behalf a request is made; `opened`
    names the campaign that is meant where a request names none, or nothing for the newest.
    """
    at_campaign = member_desk(store, opened, current_visitor)
    at_work = worker_desk(store, opened, current_visitor)
    router = APIRouter(
        prefix="/api", route_class=OneSentence, default_response_class=AsciiJson, tags=["work"]
    )
    _campaign_routes(router, at_campaign, next_step)
    turn_route(router, store, opened, current_visitor)
    _answer_routes(router, at_work)
    _item_routes(router, at_work)
    _keeping_routes(router, at_campaign)
    return router


def _campaign_routes(router: APIRouter, at_campaign: Callable[..., Desk], next_step: str) -> None:
    at = Depends(at_campaign)

    @router.get("/campaign", response_model=None)
    def campaign_facts(desk: Annotated[Desk, at]) -> Json:
        """What is asked, by which guidelines, and what has changed since one was last told."""
        visitor, campaign = Visitor(desk.labeler_id, desk.role), desk.campaign
        changes = desk.store.changes(campaign, desk.labeler_id)
        return {
            "name": campaign.name,
            "mode": campaign.mode,
            "guidelines": campaign.guidelines,
            "guidelines_markdown": inert_markdown(campaign.guidelines),
            "guidelines_version": campaign.guidelines_version,
            "needs_consent": desk.needs_consent,
            "version": campaign.version,
            "changes": [answers.change_json(change) for change in changes],
            "next_step": next_step if visitor.may("lead") else "",
            "texts": TEXTS,
            "labeler_id": desk.labeler_id,
            "role": desk.role,
            "review": visitor.may("reviewer"),
            "heartbeat_seconds": answers.heartbeat_seconds(campaign),
        }

    @router.post("/consent", response_model=None)
    def consent(sent: answers.Consent, desk: Annotated[Desk, at]) -> Json:
        """Records that the labeler accepts the guidelines as they are now."""
        try:
            desk.store.consent(desk.campaign, desk.labeler_id, sent.guidelines_version)
        except ValueError as error:
            raise HTTPException(409, f"{error}.") from error
        return {"guidelines_version": sent.guidelines_version}

    @router.post("/told", response_model=None)
    def told(sent: answers.Told, desk: Annotated[Desk, at]) -> Json:
        """Notes that the labeler has read of the changes up to a version."""
        desk.store.told(desk.campaign, desk.labeler_id, sent.version)
        return {"version": sent.version}


def _answer_routes(router: APIRouter, at_work: Callable[..., Desk]) -> None:
    at = Depends(at_work)

    # POST, because it takes an item on the labeler's behalf.
    @router.post("/next", response_model=None)
    def next_item(
        desk: Annotated[Desk, at],
        after: answers.ItemName | None = None,
        review: Annotated[bool, Query()] = False,
    ) -> Json:
        """The item to answer or, with `after`, the one to follow it, claimed ahead of time."""
        check_reviewer(desk, review=review)
        with refusals():
            task = desk.claim(desk.ahead(after, review=review))
            item = None if task is None else desk.task_json(task)
        facts = {"version": desk.campaign.version, "open": desk.campaign.settings.open}
        return {"item": item, **facts, **desk.progress()}

    @router.post("/skip", response_model=None)
    def skip(sent: answers.SkipAnswer, desk: Annotated[Desk, at]) -> Json:
        """Gives an item back to the others; this labeler does not meet it again."""
        with refusals():
            desk.store.skip(desk.given(sent.item_id), desk.labeler_id, sent.reason)
        return desk.progress()

    @router.get("/mine", response_model=None)
    def mine(
        desk: Annotated[Desk, at],
        limit: Annotated[int, Query(ge=1, le=MAX_OWN_ANSWERS)] = 20,
        offset: Annotated[int, Query(ge=0, le=MAX_ITEM_ID)] = 0,
    ) -> Json:
        """The labeler's own last answers, the newest first, the first `offset` left out."""
        found = desk.store.own_answers(desk.campaign, desk.labeler_id, limit, offset)
        return {
            "answers": [
                answers.own_answer_json(desk.name(item_id), answer, prompt)
                for item_id, answer, prompt in found
            ]
        }


def _item_routes(router: APIRouter, at_work: Callable[..., Desk]) -> None:
    at = Depends(at_work)

    @router.get("/items/{item_id}", response_model=None)
    def item(item_id: answers.ItemName, desk: Annotated[Desk, at]) -> Json:
        """An item as the labeler saw it, with their own answer to it, so that it can be
        corrected.
        """
        try:
            task = desk.task(item_id)
        except ValueError as error:
            raise HTTPException(404, f"{error}.") from error
        answer = desk.store.answer(task.item_id, desk.labeler_id)
        with refusals():
            row = desk.task_json(task)
        names = {real: name for name, real in answers.names_of_copies(task.shown).items()}
        row["answer"] = answer and answers.renamed(answers.answer_json(answer), names)
        row["rationale"] = answer.rationale if answer else ""
        return row

    @router.post("/flag", response_model=None)
    def flag(sent: answers.FlaggedItem, desk: Annotated[Desk, at]) -> Json:
        """Tells the lead of something wrong with an item, which stays with the labeler."""
        with refusals():
            desk.store.flag(desk.given(sent.item_id), desk.labeler_id, sent.kind, sent.note)
        return {"item_id": sent.item_id}


def _keeping_routes(router: APIRouter, at_campaign: Callable[..., Desk]) -> None:
    """What keeps work that was begun: other guidelines must not lose it while they are read."""
    at = Depends(at_campaign)

    @router.post("/draft", response_model=None)
    def draft(sent: answers.SavedDraft, desk: Annotated[Desk, at]) -> Json:
        """Keeps what the labeler has begun, on whichever machine they go on."""
        with refusals():
            desk.store.save_draft(desk.given(sent.item_id), desk.labeler_id, sent.draft)
        return {"item_id": sent.item_id}

    @router.post("/heartbeat", response_model=None)
    def heartbeat(sent: answers.ItemsInHand, desk: Annotated[Desk, at]) -> Json:
        """Keeps the labeler's leases alive; says which version the campaign is at."""
        desk.store.extend(desk.campaign, desk.labeler_id, desk.items(sent.item_ids))
        return {"version": desk.campaign.version}
