"""What the page asks of the server: the next item, saving a ranking, skipping."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError

from labeling_app.answers import RankAnswer, SkipAnswer, progress_json, task_json
from labeling_app.texts import TEXTS
from rlhf.data.identity import Json
from rlhf.feedback.store import Campaign, Store, Task

CurrentLabeler = Callable[[Request], str]


def ranking_routes(
    store: Store, campaign: Campaign, current_labeler: CurrentLabeler, next_step: str
) -> APIRouter:
    """The routes under `/api`. `current_labeler` says on whose behalf a request is made."""
    router = APIRouter(prefix="/api")
    labeler = Depends(current_labeler)

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
    def submit(answer: RankAnswer, labeler_id: Annotated[str, labeler]) -> Json:
        """Saves a ranking once, however often it is sent."""
        with _refusals():
            groups = answer.groups()
            ranking = store.submit(
                answer.item_id,
                labeler_id,
                groups,
                submission_id=str(answer.submission_id),
                none_acceptable=answer.none_acceptable,
                duration_seconds=answer.duration_seconds,
            )
        if (ranking.groups, ranking.none_acceptable) != (groups, answer.none_acceptable):
            raise HTTPException(409, "this submission id was used before, for another ranking.")
        return {"ranking_id": ranking.id, **progress(labeler_id)}

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
