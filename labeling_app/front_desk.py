"""What the routes about people share: the store, who is signed in, and where links lead."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import anyio
from fastapi import HTTPException, Request

from labeling_app.sessions import Sessions
from rlhf.feedback.sessions import revoke_secret
from rlhf.feedback.signing_in import TooManyAttemptsError
from rlhf.feedback.store import Campaign, Store

# Argon2 takes 64 MiB and a core each: a crowd at the door must not take the labelers' threads.
HASHED_AT_ONCE = 2
T = TypeVar("T")


@dataclass(frozen=True)
class FrontDesk:
    """Where accounts are dealt with. `origin` is that of the public URL, where there is one."""

    store: Store
    sessions: Sessions
    origin: str | None = None
    hashing: anyio.CapacityLimiter = field(
        default_factory=lambda: anyio.CapacityLimiter(HASHED_AT_ONCE)
    )

    def link(self, request: Request, secret: str) -> str:
        """The address that opens an invitation; the secret stays in the browser."""
        origin = self.origin or f"{request.url.scheme}://{request.url.netloc}"
        return f"{origin}/invitation#{secret}"

    def campaign(self, name: str) -> Campaign:
        """The campaign of this name; ValueError that tells nothing of the others."""
        for campaign in self.store.campaigns():
            if campaign.name == name:
                return campaign
        raise ValueError(f"there is no campaign {name!r}")

    def end_session(self, request: Request) -> None:
        """Ends the session that a request came with, if any."""
        try:
            visitor = self.sessions.visitor(request)
        except HTTPException:
            return
        if visitor.by == "session":
            with self.store.database.writing() as db:
                revoke_secret(db, visitor.secret)
            self.sessions.forget(visitor.labeler_id)

    async def slowly(self, work: Callable[[], T]) -> T:
        """Runs what hashes a password in a thread of its own kind."""
        return await anyio.to_thread.run_sync(work, limiter=self.hashing)


@contextmanager
def refusals(status: int = 422) -> Iterator[None]:
    """Turns a ValueError into a refusal of one sentence."""
    try:
        yield
    except TooManyAttemptsError as error:
        waiting = {"Retry-After": str(error.seconds)}
        raise HTTPException(429, f"{error}.", waiting) from error
    except ValueError as error:
        raise HTTPException(status, f"{error}.") from error


def address_of(request: Request) -> str:
    """Where a request comes from; behind a trusted proxy, what the proxy says."""
    return request.client.host if request.client else "unknown"


def browser_of(request: Request) -> str:
    """What the browser calls itself, short, so that a person knows their sessions apart."""
    told = request.headers.get("user-agent", "")
    return "".join(one for one in told if one.isprintable())[:100] or "unknown browser"
