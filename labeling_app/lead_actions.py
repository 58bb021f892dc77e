"""What a lead does to a campaign while it runs, under `/api/lead`. All of it is logged."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import Response, StreamingResponse
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool

from labeling_app.lead_bodies import (
    CampaignSent,
    ChangeSent,
    GoldSent,
    PrioritiesSent,
    ReviewSent,
    ReviewsSent,
)
from rlhf.data.identity import Json, canonical
from rlhf.feedback import leading
from rlhf.feedback.answering import Answer
from rlhf.feedback.reviewing import is_reviewable
from rlhf.feedback.store import Campaign, Store

MAX_UPLOAD_BYTES = 16 * 1024 * 1024


def lead_actions(store: Store, lead: Any, asked: Any) -> APIRouter:
    """The routes that change something. `lead` and `asked` are the annotated dependencies that give
    the visitor and the campaign.
    """
    router = APIRouter()

    @contextmanager
    def acting() -> Iterator[Connection]:
        with _refusals(), store.database.writing() as db:
            yield db

    @router.post("/campaigns")
    def make(sent: CampaignSent, me: lead) -> Json:
        """Makes a new campaign of any mode, without items."""
        with acting() as db:
            leading.make_campaign(
                db, me.labeler_id, sent.name, sent.mode, sent.guidelines, sent.settings
            )
        return {"campaign": campaign_json(store.campaign(sent.name))}

    @router.post("/change")
    def change(sent: ChangeSent, campaign: asked, me: lead) -> Json:
        """A new version of the campaign, of which its labelers are told."""
        if sent.version != campaign.version:
            raise HTTPException(
                409,
                f"the campaign is at version {campaign.version} by now, and you changed "
                f"{sent.version}: look at it again.",
            )
        with _refusals():
            changed = store.change_campaign(
                campaign,
                by=me.labeler_id,
                guidelines=sent.guidelines,
                settings=sent.settings,
                note=sent.note,
            )
        return {"campaign": campaign_json(changed)}

    # The body is read as it is: a file of items is larger than what the other routes take.
    @router.post("/items", openapi_extra=_file("A JSON Lines file of items."))
    async def add_items(request: Request, campaign: asked, me: lead) -> Json:
        """Adds the items of a JSON Lines file, all or none."""
        text = await _uploaded(request)

        def add() -> int:
            with acting() as db:
                return leading.add_lines(db, campaign, me.labeler_id, text)

        return {"added": await run_in_threadpool(add)}

    @router.post("/model", openapi_extra=_file("A JSON Lines file of responses."))
    async def add_model(
        request: Request,
        campaign: asked,
        me: lead,
        model: Annotated[str, Query(min_length=1, max_length=200)],
    ) -> Json:
        """Adds one model's responses to prompts that are there, all or none."""
        text = await _uploaded(request)

        def add() -> int:
            with acting() as db:
                return leading.add_model(db, campaign, me.labeler_id, model, text)

        return {"added": await run_in_threadpool(add)}

    @router.post("/gold")
    def gold(sent: GoldSent, campaign: asked, me: lead) -> Json:
        """Makes an item a gold one, or an item of work again."""
        expected = None if sent.expected is None else tuple(map(tuple, sent.expected))
        with acting() as db:
            leading.mark_gold(db, campaign, me.labeler_id, sent.item_id, expected)
        return {"item_id": sent.item_id, "gold": expected is not None}

    @router.post("/priorities")
    def priorities(sent: PrioritiesSent, campaign: asked, me: lead) -> Json:
        """Puts items earlier or later."""
        wanted = {one.item_id: one.priority for one in sent.priorities}
        with acting() as db:
            return {"set": leading.set_priorities(db, campaign, me.labeler_id, wanted)}

    @router.post("/review")
    def review(sent: ReviewSent, campaign: asked, me: lead) -> Json:
        """Asks for a review of one item."""
        with acting() as db:
            asked = leading.ask_review(db, campaign, me.labeler_id, sent.item_id)
        return {"asked": int(asked)}

    @router.post("/reviews")
    def reviews(sent: ReviewsSent, campaign: asked, me: lead) -> Json:
        """Asks for reviews of what labelers disagree on."""
        with acting() as db:
            asked = leading.ask_reviews(db, campaign, me.labeler_id, sent.below)
        return {"asked": asked}

    @router.get("/export", response_class=StreamingResponse)
    def export(
        campaign: asked, me: lead, without: Annotated[Sequence[str], Query(max_length=500)] = ()
    ) -> Response:
        """The rankings or demonstrations as JSON Lines, sorted by id, corrected ones among them;
        `without` leaves out labelers by name, and nobody else is.
        """
        rankings = store.rankings(campaign, with_superseded=True)
        written = store.demonstrations(campaign, with_superseded=True)
        answers: list[Answer] = [*rankings, *written]
        held = sorted(answers, key=lambda one: one.id)
        strangers = set(without) - {answer.labeler_id for answer in held}
        if strangers:
            raise HTTPException(422, f"nobody of the name {sorted(strangers)[0]!r} answered here.")
        kept = [answer for answer in held if answer.labeler_id not in without]
        said = f" without {', '.join(sorted(without))}" if without else ""
        with store.database.writing() as db:
            subject = f"{campaign.name}: {len(kept)} answers{said}"
            leading.log(db, me.labeler_id, "answers exported", subject)
        lines = (f"{canonical(answer.to_json())}\n" for answer in kept)
        name = quote(f"{campaign.name}.answers.jsonl")
        headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}"}
        return StreamingResponse(lines, media_type="application/x-ndjson", headers=headers)

    return router


def campaign_json(campaign: Campaign) -> Json:
    """What a lead may read and change of a campaign."""
    return {
        "name": campaign.name,
        "mode": campaign.mode,
        "reviewable": is_reviewable(campaign),
        "version": campaign.version,
        "guidelines": campaign.guidelines,
        "guidelines_version": campaign.guidelines_version,
        "settings": campaign.settings.model_dump(),
    }


def _file(description: str) -> Json:
    content = {"application/x-ndjson": {"schema": {"type": "string"}}}
    return {"requestBody": {"required": True, "description": description, "content": content}}


async def _uploaded(request: Request) -> str:
    """The text of an uploaded file; 413 where it is too large, 422 where it is no UTF-8."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_UPLOAD_BYTES:
            raise HTTPException(
                413, f"a file may hold {MAX_UPLOAD_BYTES >> 20} MiB: send it in parts."
            )
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = body[: error.start].count(b"\n") + 1
        raise HTTPException(422, f"line {line}: not UTF-8. Nothing was added.") from error


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise HTTPException(422, f"{error}.") from error
