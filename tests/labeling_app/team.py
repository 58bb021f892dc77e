"""A team on a real store, for tests: people of every role, and how they reach the app."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal
from fastapi import FastAPI
from fastapi.testclient import TestClient

from rlhf.data.records import Prompt, Response
from rlhf.feedback import passwords, people, sessions
from rlhf.feedback.roles import ROLES, Role
from rlhf.feedback.store import Item, Store

ORIGIN = "http://127.0.0.1"
PASSWORD = "violet anchor rowing"
OPEN = ExitStack()


@cache
def portal() -> BlockingPortal:
    """One event loop for the requests of all clients; it ends with the process."""
    return OPEN.enter_context(start_blocking_portal())


@cache
def kept() -> str:
    """One hash for all: Argon2 is slow on purpose."""
    return passwords.hash_password(PASSWORD)


def item(question: str, count: int = 3, wanted: int = 5) -> Item:
    prompt = Prompt.of(question)
    answers = (Response.of(prompt.id, f"Answer {n}", model=f"secret-{n}") for n in range(count))
    return Item(prompt, tuple(answers), wanted)


def person(store: Store, login: str, role: Role = "labeler", moment: float = 1e9) -> str:
    """An account with PASSWORD; returns its pseudonym."""
    with store.database.writing() as db:
        return people.make_account(db, login, kept(), role, by="", moment=moment)


def begin(
    store: Store,
    labeler_id: str,
    moment: float,
    kind: sessions.Kind = "session",
    seconds: float = sessions.SESSION_SECONDS,
) -> str:
    """The secret of a new session or token."""
    with store.database.writing() as db:
        return sessions.start(db, labeler_id, kind, "test", moment=moment, seconds=seconds)


@dataclass
class Team:
    """One person of each role, a second labeler, and a browser for each."""

    store: Store
    app: FastAPI
    moment: float
    ids: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for role in ROLES:
            self.join(role, role)
        self.join("other")

    def join(self, name: str, role: Role = "labeler") -> str:
        self.ids[name] = person(self.store, f"{name}@example.org", role, self.moment)
        self.secrets[name] = begin(self.store, self.ids[name], self.moment)
        return self.ids[name]

    def browser(self, name: str | None) -> TestClient:
        """A browser of this person, signed in; None is nobody's."""
        headers = {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}
        client = self._client(headers)
        if name is not None:
            client.cookies.set("rlhf", self.secrets[name])
        return client

    def program(self, token: str) -> TestClient:
        """A program that sends a token."""
        headers = {"Authorization": f"Bearer {token}"}
        return self._client(headers)

    def _client(self, headers: dict[str, str]) -> TestClient:
        client = TestClient(self.app, base_url=ORIGIN, headers=headers, follow_redirects=False)
        client.portal = portal()  # or each request would start an event loop of its own
        return client


def ranked(found: dict[str, Any], submission_id: str) -> dict[str, Any]:
    """The body of a submit that ranks the responses of an item in the order shown."""
    ids = [response["id"] for response in found["responses"]]
    return {
        "submission_id": submission_id,
        "item_id": found["item_id"],
        "answer": {"ranks": {one: rank + 1 for rank, one in enumerate(ids)}},
        "duration_seconds": 3.5,
    }
