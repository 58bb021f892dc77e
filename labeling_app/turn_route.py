"""The route of an answer: it is saved, and the item ahead comes with the reply."""

import json
import time
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool

from labeling_app import answers
from labeling_app.desk import (
    CampaignName,
    Desk,
    check_consent,
    check_reviewer,
    desk_of,
)
from labeling_app.replies import AsciiJson, refusals
from labeling_app.visitors import CurrentVisitor
from rlhf.data.identity import Json
from rlhf.data.records import Demonstration, Ranking
from rlhf.feedback.answering import Sent, hold
from rlhf.feedback.database import StoreUnavailableError
from rlhf.feedback.modes import mode_named
from rlhf.feedback.outlook import Ahead
from rlhf.feedback.store import Judgement, Store
from rlhf.feedback.turns import Turn, take


def turn_route(
    router: APIRouter, store: Store, opened: str, current_visitor: CurrentVisitor
) -> None:
    """The one route that is asked once per item: one thread, one transaction, one validation, and
    nothing is said of the body before it is known who sends it.
    """

    @router.post("/submit", response_model=None, openapi_extra=_body(answers.SubmittedAnswer))
    async def submit(
        request: Request,
        campaign: CampaignName = opened,
        first: Annotated[bool, Query()] = False,
        ahead: Annotated[bool, Query()] = False,
        after: answers.ItemName | None = None,
        review: Annotated[bool, Query()] = False,
    ) -> Response:
        """Saves an answer once, however often it is sent; a later one corrects an earlier, unless
        it says that it is the `first`. With `ahead`, `item` is what `next` gives then: to follow
        `after`, or any.
        """
        body = await request.body()

        def turn() -> Response:
            visitor, name = current_visitor(request), campaign or store.newest()
            with refusals(), store.database.writing() as db:
                desk = check_consent(desk_of(db, store, visitor, name))
                check_reviewer(desk, review=review)
                sent = _parsed(request, body)
                wanted = desk.ahead(after, review=review) if ahead else None
                turn = _taken(db, desk, sent, wanted, first=first)
            reply = {"answer_id": turn.answer.id, "version": desk.campaign.version}
            if wanted is not None:
                reply["item"] = _item_ahead(desk, turn, wanted)
            return AsciiJson({**reply, **desk.progress_json(turn.progress)})

        return await run_in_threadpool(turn)


def _parsed(request: Request, body: bytes) -> answers.SubmittedAnswer:
    """The answer that was sent; RequestValidationError or ValueError where it is none."""
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise ValueError("an answer is sent as application/json")
    try:
        return answers.SubmittedAnswer.model_validate(json.loads(body))
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error
    except UnicodeDecodeError as error:
        raise ValueError("the body is not UTF-8") from error
    except ValueError as error:
        raise ValueError(f"the body is no JSON: {error}") from error


def _taken(
    db: Connection,
    desk: Desk,
    sent: answers.SubmittedAnswer,
    wanted: Ahead | None,
    *,
    first: bool,
) -> Turn:
    """The answer, checked against what was shown, and saved."""
    given = hold(db, desk.item(sent.item_id), desk.labeler_id, desk.campaign)
    check_reviewer(desk, review=given.mode == "review")
    answer = answers.renamed(sent.answer, answers.names_of_copies(given.shown))
    said = mode_named(given.mode).check(answer, given.shown)
    with_it = Sent(str(sent.submission_id), sent.duration_seconds, sent.rationale, first)
    turn = take(db, desk.campaign, given, said, with_it, wanted, time.time())
    _check_same(turn.answer, said, sent.rationale)
    return turn


def _body(model: type[BaseModel]) -> Json:
    """A body in the API's description, for a route that reads it itself."""
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": model.model_json_schema()}},
        }
    }


def _item_ahead(desk: Desk, turn: Turn, wanted: Ahead) -> Json | None:
    """The item that was claimed. Where it cannot be shown the answer is saved all the same, and
    `next` says why.
    """
    task = turn.task
    try:
        if turn.apart:
            task = desk.claim(wanted)
        return None if task is None else desk.task_json(task)
    except (ValueError, StoreUnavailableError):
        return None


def _check_same(saved: Ranking | Demonstration, said: Judgement, rationale: str) -> None:
    """HTTPException where the submission id had saved something else before."""
    if not _says(saved, said):
        raise HTTPException(409, "this submission id was used before, for another answer.")
    if saved.rationale != rationale:
        raise HTTPException(
            409,
            "this submission id was used before, with another rationale: send it under a new one "
            "to correct the answer.",
        )


def _says(saved: Ranking | Demonstration, said: Judgement) -> bool:
    if isinstance(saved, Demonstration):
        return saved.text == said.text
    same = (saved.groups, saved.none_acceptable) == (said.groups, said.none_acceptable)
    return same and said.details.items() <= saved.details.items()
