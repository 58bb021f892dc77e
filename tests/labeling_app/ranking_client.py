"""Asking the routes of the ranking page, as ada's browser does."""

from typing import Any
from uuid import uuid4

from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from labeling_app.routes import ranking_routes
from labeling_app.visitors import Visitor
from rlhf.data.records import Prompt, Response
from rlhf.feedback.store import Item, Store

ORIGIN = "http://127.0.0.1"


def routes_of(replies: Store, name: str) -> FastAPI:
    def visitor(_request: Request) -> Visitor:
        return Visitor("ada", "admin")

    app = FastAPI()
    app.include_router(ranking_routes(replies, name, visitor, "rlhf run x"))
    return app


def an_item(question: str, count: int = 3, wanted: int = 1) -> Item:
    prompt = Prompt.of(question)
    answers = (Response.of(prompt.id, f"Answer {n}", model=f"secret-{n}") for n in range(count))
    return Item(prompt, tuple(answers), wanted)


def next_item(client: TestClient, after: int | None = None) -> dict[str, Any]:
    reply = client.post("/api/next", params={} if after is None else {"after": after})
    assert reply.status_code == 200
    item: dict[str, Any] = reply.json()["item"]
    return item


def an_answer(item: dict[str, Any], *ranks: int, **changed: Any) -> dict[str, Any]:
    ids = [response["id"] for response in item["responses"]]
    said = {"ranks": dict(zip(ids, ranks, strict=False)), "none_acceptable": False}
    said |= {key: changed.pop(key) for key in said if key in changed}
    return {
        "submission_id": str(uuid4()),
        "item_id": item["item_id"],
        "answer": said,
        "duration_seconds": 12.5,
        **changed,
    }
