"""What the page asks of the server: the campaign, the next item, saving an answer, its drafts."""

import json
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from sqlalchemy.exc import DBAPIError

from labeling_app import answers
from labeling_app.rendering import inert_markdown
from labeling_app.texts import TEXTS
from labeling_app.visitors import CurrentVisitor, Role, Visitor
from rlhf.data.identity import Json
from rlhf.data.records import Demonstration, Ranking
from rlhf.feedback.modes import mode_named
from rlhf.feedback.store import Campaign, Judgement, Store, Task

MAX_OWN_ANSWERS = 200


class AsciiJson(JSONResponse):
    """JSON in ASCII: texts of models may hold half a surrogate pair, which UTF-8 cannot."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


class OneSentence(APIRoute):
    """A route that refuses a body or a parameter that does not fit in one sentence."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_or_refuse(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                first = error.errors()[0]
                at = ".".join(str(part) for part in first["loc"] if part != "body") or "body"
                return AsciiJson({"detail": f"{at}: {first['msg']}."}, 422)

        return handle_or_refuse


@dataclass(frozen=True, slots=True)
class Desk:
    """Someone at work on a campaign."""

    store: Store
    labeler_id: str
    role: Role
    campaign: Campaign

    def progress(self) -> Json:
        """What every reply after an answer ends in."""
        found = self.store.progress(self.campaign, self.labeler_id)
        return {"progress": answers.progress_json(found, self.campaign)}

    def asked(self, item_id: int) -> tuple[str, tuple[str, ...]]:
        """The mode of an item that the labeler was given for this campaign, and the responses
        shown; ValueError where it was not.
        """
        asked = self.store.asked(item_id, self.labeler_id, self.campaign)
        if asked is None:
            raise ValueError(f"{self.labeler_id} was not given item {item_id}")
        return asked

    def task(self, item_id: int) -> Task:
        """An item that the labeler was given for this campaign; ValueError where it was not."""
        task = self.store.task(item_id, self.labeler_id, self.campaign)
        if task is None:
            raise ValueError(f"{self.labeler_id} was not given item {item_id}")
        return task

    def task_json(self, task: Task) -> Json:
        votes = self.store.votes_on(task.item_id) if task.mode == "review" else None
        return answers.task_json(task, votes)


def ranking_routes(
    store: Store, campaign: Campaign, current_visitor: CurrentVisitor, next_step: str
) -> APIRouter:
    """The routes under `/api`. `current_visitor` says on whose behalf a request is made;
    `campaign` is the one meant where a request names none.
    """
    at_campaign = _member_desk(store, campaign.name, current_visitor)
    at_work = _worker_desk(at_campaign)
    router = APIRouter(
        prefix="/api", route_class=OneSentence, default_response_class=AsciiJson, tags=["work"]
    )
    _campaign_routes(router, at_campaign, next_step)
    _answer_routes(router, at_work)
    _item_routes(router, at_work)
    return router


def _member_desk(store: Store, opened: str, current_visitor: CurrentVisitor) -> Callable[..., Desk]:
    def desk(request: Request, campaign: Annotated[str, Query(max_length=200)] = opened) -> Desk:
        """Who may work on which campaign: every route of work passes here."""
        visitor = current_visitor(request)
        try:
            found = store.campaign(campaign)
        except ValueError as error:
            raise HTTPException(404, f"there is no campaign named {campaign!r}.") from error
        if not store.may_work(found, visitor.labeler_id):
            raise HTTPException(403, f"you are not a member of the campaign {campaign!r}.")
        return Desk(store, visitor.labeler_id, visitor.role, found)

    return desk


def _worker_desk(at_campaign: Callable[..., Desk]) -> Callable[..., Desk]:
    @wraps(at_campaign)  # the same parameters; called, because each dependency is another thread
    def desk(*given: Any, **named: Any) -> Desk:
        found = at_campaign(*given, **named)
        if _needs_consent(found):
            raise HTTPException(
                409, "the guidelines have to be read and accepted before the work goes on."
            )
        return found

    return desk


def _needs_consent(desk: Desk) -> bool:
    if not desk.campaign.settings.consent:
        return False
    return not desk.store.has_consented(desk.campaign, desk.labeler_id)


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
            "needs_consent": _needs_consent(desk),
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
        after: answers.Number | None = None,
        review: Annotated[bool, Query()] = False,
    ) -> Json:
        """The item to answer or, with `after`, the one to follow it, claimed ahead of time."""
        if review and not Visitor(desk.labeler_id, desk.role).may("reviewer"):
            raise HTTPException(403, "reviews are for the role 'reviewer'.")
        with _refusals():
            task = desk.store.claim(desk.campaign, desk.labeler_id, after=after, review=review)
            item = None if task is None else desk.task_json(task)
        return {"item": item, "version": desk.campaign.version, **desk.progress()}

    @router.post("/submit", response_model=None)
    def submit(sent: answers.SubmittedAnswer, desk: Annotated[Desk, at]) -> Json:
        """Saves an answer once, however often it is sent; a later one corrects an earlier."""
        with _refusals():
            mode, shown = desk.asked(sent.item_id)
            answer = answers.renamed(sent.answer, answers.names_of_copies(shown))
            said = mode_named(mode).check(answer, shown)
            saved = desk.store.submit(
                sent.item_id,
                desk.labeler_id,
                said,
                submission_id=str(sent.submission_id),
                duration_seconds=sent.duration_seconds,
                rationale=sent.rationale,
            )
        if not _says(saved, said):
            raise HTTPException(409, "this submission id was used before, for another answer.")
        return {"answer_id": saved.id, **desk.progress()}

    @router.post("/skip", response_model=None)
    def skip(sent: answers.SkipAnswer, desk: Annotated[Desk, at]) -> Json:
        """Gives an item back to the others; this labeler does not meet it again."""
        with _refusals():
            desk.asked(sent.item_id)
            desk.store.skip(sent.item_id, desk.labeler_id, sent.reason)
        return desk.progress()

    @router.get("/mine", response_model=None)
    def mine(
        desk: Annotated[Desk, at],
        limit: Annotated[int, Query(ge=1, le=MAX_OWN_ANSWERS)] = 20,
    ) -> Json:
        """The labeler's own last answers, the newest first."""
        found = desk.store.own_answers(desk.campaign, desk.labeler_id, limit)
        return {"answers": [answers.own_answer_json(*one) for one in found]}


def _item_routes(router: APIRouter, at_work: Callable[..., Desk]) -> None:
    at = Depends(at_work)

    @router.get("/items/{item_id}", response_model=None)
    def item(item_id: answers.Number, desk: Annotated[Desk, at]) -> Json:
        """An item as the labeler saw it, with their own answer to it, so that it can be
        corrected.
        """
        try:
            task = desk.task(item_id)
        except ValueError as error:
            raise HTTPException(404, f"{error}.") from error
        answer = desk.store.answer(item_id, desk.labeler_id)
        with _refusals():
            row = desk.task_json(task)
        names = {real: name for name, real in answers.names_of_copies(task.shown).items()}
        row["answer"] = answer and answers.renamed(answers.answer_json(answer), names)
        row["rationale"] = answer.rationale if answer else ""
        return row

    @router.post("/flag", response_model=None)
    def flag(sent: answers.FlaggedItem, desk: Annotated[Desk, at]) -> Json:
        """Tells the lead of something wrong with an item, which stays with the labeler."""
        with _refusals():
            desk.asked(sent.item_id)
            desk.store.flag(sent.item_id, desk.labeler_id, sent.kind, sent.note)
        return {"item_id": sent.item_id}

    @router.post("/draft", response_model=None)
    def draft(sent: answers.SavedDraft, desk: Annotated[Desk, at]) -> Json:
        """Keeps what the labeler has begun, on whichever machine they go on."""
        with _refusals():
            desk.asked(sent.item_id)
            desk.store.save_draft(sent.item_id, desk.labeler_id, sent.draft)
        return {"item_id": sent.item_id}

    @router.post("/heartbeat", response_model=None)
    def heartbeat(sent: answers.ItemsInHand, desk: Annotated[Desk, at]) -> Json:
        """Keeps the labeler's leases alive; says which version the campaign is at."""
        desk.store.extend(desk.campaign, desk.labeler_id, sent.item_ids)
        return {"version": desk.campaign.version}


def _says(saved: Ranking | Demonstration, said: Judgement) -> bool:
    if isinstance(saved, Demonstration):
        return saved.text == said.text
    same = (saved.groups, saved.none_acceptable) == (said.groups, said.none_acceptable)
    return same and said.details.items() <= saved.details.items()


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
