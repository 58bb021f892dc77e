"""What the page asks of the server: the next item, saving a ranking, skipping."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError

from labeling_app.answers import SkipAnswer, SubmittedAnswer, progress_json, task_json
from labeling_app.texts import TEXTS
from labeling_app.visitors import CurrentVisitor, Visitor
from rlhf.data.identity import Json
from rlhf.data.records import Demonstration, Ranking
from rlhf.feedback.modes import mode_named
from rlhf.feedback.store import Campaign, Judgement, Store, Task


def ranking_routes(
    store: Store, campaign: Campaign, current_visitor: CurrentVisitor, next_step: str
) -> APIRouter:
    """The routes under `/api`. `current_visitor` says on whose behalf a request is made."""
    router = APIRouter(prefix="/api")

    def labeler_of(visitor: Annotated[Visitor, Depends(current_visitor)]) -> str:
        return visitor.labeler_id

    labeler = Depends(labeler_of)

    def progress(labeler_id: str) -> Json:
        return {"progress": progress_json(store.progress(campaign, labeler_id))}

    @router.get("/campaign", dependencies=[labeler])
    def campaign_facts() -> Json:
        return {"name": campaign.name, "next_step": next_step, "texts": TEXTS}

    # POST, because it takes an item on the labeler's behalf.
    @router.post("/next")
    def next_item(
        labeler_id: Annotated[str, labeler], after: Annotated[int | None, Query()] = None
    ) -> Json:
        """The item to rank or, with `after`, the one to follow it, claimed ahead of time."""
        with _refusals():
            task = next_task(store, campaign, labeler_id, after)
            item = None if task is None else task_json(task)
        return {"item": item, **progress(labeler_id)}

    @router.post("/submit")
    def submit(sent: SubmittedAnswer, labeler_id: Annotated[str, labeler]) -> Json:
        """Saves an answer once, however often it is sent; a later one corrects an earlier."""
        with _refusals():
            task = store.task(sent.item_id, labeler_id)
            if task is None:
                raise ValueError(f"{labeler_id} was not given item {sent.item_id}")
            said = mode_named(task.mode).check(sent.answer, task.shown)
            saved = store.submit(
                sent.item_id,
                labeler_id,
                said,
                submission_id=str(sent.submission_id),
                duration_seconds=sent.duration_seconds,
                rationale=sent.rationale.strip(),
            )
        if not _says(saved, said):
            raise HTTPException(409, "this submission id was used before, for another answer.")
        return {"answer_id": saved.id, **progress(labeler_id)}

    @router.post("/skip")
    def skip(answer: SkipAnswer, labeler_id: Annotated[str, labeler]) -> Json:
        """Gives an item back to the others; this labeler does not meet it again."""
        store.skip(answer.item_id, labeler_id, answer.reason.strip())
        return progress(labeler_id)

    return router


def next_task(store: Store, campaign: Campaign, labeler_id: str, after: int | None) -> Task | None:
    """The labeler's open task that is not `after`, claimed where there is none; None when done.

    The store hands open tasks out in the campaign's order, so the one claimed ahead may come
    first: whichever is not in the labeler's hands is the next.
    """
    task = store.claim(campaign, labeler_id)
    if after is None or task is None or task.item_id != after:
        return task
    return store.claim(campaign, labeler_id, ahead=True)


def _says(saved: Ranking | Demonstration, said: Judgement) -> bool:
    if isinstance(saved, Demonstration):
        return saved.text == said.text
    return (saved.groups, saved.none_acceptable) == (said.groups, said.none_acceptable)


def store_failed(_request: Request, error: Exception) -> JSONResponse:
    """A store that is locked, full or gone: said in one sentence, without the statement."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return JSONResponse({"detail": f"the store cannot be used ({cause})."}, 503)


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise HTTPException(422, f"{error}.") from error
