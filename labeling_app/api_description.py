"""The description of the HTTP API (OpenAPI), for programs and those who write them."""

from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI
from fastapi.openapi.utils import get_openapi

from labeling_app.visitors import CurrentVisitor, Visitor
from rlhf.data.identity import Json

ABOUT = """
What the labeling pages do, over HTTP. Bodies and answers are JSON. A refusal is
`{"detail": "one sentence."}` with a status from 400 to 499; 503 means that the store cannot be used
just now: send the same request again, with the same `submission_id`.

Send a token as `Authorization: Bearer rlhf_…`, or the session's cookie. Writes that bring a cookie
must come from the app's own pages (`Origin`). Work routes take the name of the campaign as the
query parameter `campaign`.
""".strip()
PUBLIC = {
    "/api/login",
    "/api/invitations/look",
    "/api/invitations/accept",
    "/api/invitations/password",
}
_ITEM = {
    "item_id": 197433502817,
    "mode": "rank",
    "turns": [{"role": "user", "text": "Which is best?", "markdown": "Which is best?"}],
    "responses": [
        {"id": "response-3d1f", "text": "This one.", "markdown": "This one."},
        {"id": "response-8a02", "text": "That one.", "markdown": "That one."},
    ],
    "draft": None,
}
_PROGRESS = {"mine": 4, "done": 120, "wanted": 300}
# What the routes of `labeling_app.routes` answer, which are plain JSON. A test holds them against
# the real answers.
EXAMPLES: dict[str, Json] = {
    "/api/next": {"item": _ITEM, "version": 3, "open": True, "progress": _PROGRESS},
    "/api/submit": {"answer_id": "ranking-51cc", "version": 3, "progress": _PROGRESS},
    "/api/skip": {"progress": _PROGRESS},
    "/api/draft": {"item_id": 197433502817},
    "/api/flag": {"item_id": 197433502817},
    "/api/heartbeat": {"version": 3},
    "/api/told": {"version": 3},
    "/api/consent": {"guidelines_version": 2},
    "/api/mine": {
        "answers": [
            {
                "item_id": 197433502817,
                "answered_at": "2026-01-05T09:00:00.000+00:00",
                "title": "Which is best?",
            }
        ]
    },
    "/api/items/{item_id}": {
        **_ITEM,
        "answer": {
            "ranks": {"response-3d1f": 1, "response-8a02": 2},
            "none_acceptable": False,
        },
        "rationale": "It names the source.",
    },
}


def describe(app: FastAPI, current_visitor: CurrentVisitor) -> None:
    """Adds `/api/openapi.json`, for those who are signed in; include the other routes first."""
    router = APIRouter(prefix="/api")
    made: list[Json] = []

    @router.get("/openapi.json", tags=["about"])
    def openapi(_visitor: Annotated[Visitor, Depends(current_visitor)]) -> Json:
        """This description."""
        if not made:
            made.append(description(app))
        return made[0]

    app.include_router(router)


def description(app: FastAPI) -> Json:
    """The OpenAPI document of the app's routes."""
    document = get_openapi(
        title="Labeling API",
        version="1",
        description=ABOUT,
        routes=app.routes,
        separate_input_output_schemas=False,
    )
    schemes = {
        "token": {"type": "http", "scheme": "bearer", "description": "A token for a program."},
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": "rlhf",
            "description": "A browser's session; named `__Host-rlhf` over https.",
        },
    }
    document.setdefault("components", {})["securitySchemes"] = schemes
    for path, operations in document["paths"].items():
        for operation in operations.values():
            operation["security"] = [] if path in PUBLIC else [{"token": []}, {"session": []}]
            refused = {"description": "Refused: `detail` says why, in one sentence."}
            operation["responses"].pop("422", None)
            operation["responses"]["4XX"] = refused
            if path in EXAMPLES:
                content = operation["responses"]["200"].setdefault("content", {})
                content.setdefault("application/json", {})["example"] = EXAMPLES[path]
    return document
