"""From a request's cookie or token to the visitor that it stands for."""

import time
from contextlib import suppress
from dataclasses import dataclass

from fastapi import HTTPException, Request, Response
from sqlalchemy.exc import DBAPIError

from labeling_app.visitors import Visitor
from rlhf.feedback import sessions
from rlhf.feedback.database import Database, StoreUnavailableError

# Asked of the store once in so many seconds, so that a page full of requests costs one look-up. A
# session that is revoked here ends at once; one revoked by another process, within this time.
REMEMBERED_SECONDS = 5.0
MAX_REMEMBERED = 10_000
# The store says when a session is over; the cookie only has to outlive it. 400 days is the longest
# that browsers keep one.
COOKIE_SECONDS = 400 * 86_400


@dataclass(frozen=True, slots=True)
class _Remembered:
    visitor: Visitor
    until: float


class Sessions:
    """Knows who is signed in. `secure`: people reach the app over https, whatever the last hop is.

    The state is a small memory of whom the store named lately, by digest.
    """

    def __init__(self, database: Database, *, secure: bool = False) -> None:
        self.database = database
        self.secure = secure
        self._remembered: dict[str, _Remembered] = {}

    def visitor(self, request: Request) -> Visitor:
        """Who makes the request; HTTPException 401 where nobody is signed in."""
        secret = self._secret(request)
        return self.visitor_of(secret or "")

    def visitor_of(self, secret: str) -> Visitor:
        """Whom a session's or token's secret stands for; HTTPException 401 for nobody."""
        found = self._lookup(secret) if secret else None
        if found is None:
            raise HTTPException(
                401, "sign in first.", {"WWW-Authenticate": 'Bearer realm="labeling"'}
            )
        return found

    def set_cookie(self, request: Request, response: Response, secret: str) -> None:
        """Gives the browser its session."""
        response.set_cookie(
            self._cookie(request),
            secret,
            max_age=COOKIE_SECONDS,
            path="/",
            secure=self._is_secure(request),
            httponly=True,
            samesite="lax",
        )

    def clear_cookie(self, request: Request, response: Response) -> None:
        """Takes the session away from the browser."""
        response.delete_cookie(
            self._cookie(request), path="/", secure=self._is_secure(request), httponly=True
        )

    def forget(self, labeler_id: str) -> None:
        """Asks the store anew about an account: its sessions, role or state have changed."""
        for digest, kept in list(self._remembered.items()):
            if kept.visitor.labeler_id == labeler_id:
                self._remembered.pop(digest, None)

    def _lookup(self, secret: str) -> Visitor | None:
        now = time.time()
        digest = sessions.digest_of(secret)
        kept = self._remembered.get(digest)
        if kept is not None and now < kept.until:
            return kept.visitor
        self._remembered.pop(digest, None)
        with self.database.reading() as db:
            bearer = sessions.bearer_of(db, digest, now)
        if bearer is None or bearer.kind == "reset":
            return None
        if now - bearer.seen_at > sessions.NOTED_EVERY_SECONDS:
            self._note_use(bearer, now)
        visitor = Visitor(bearer.labeler_id, bearer.role, bearer.kind, digest)
        if len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.clear()
        until = min(now + REMEMBERED_SECONDS, bearer.expires_at)
        self._remembered[digest] = _Remembered(visitor, until)
        return visitor

    def _note_use(self, bearer: sessions.Bearer, now: float) -> None:
        """Best effort: a store that cannot be written to can still be read from."""
        with suppress(DBAPIError, StoreUnavailableError), self.database.writing() as db:
            sessions.note_use(db, bearer, now)

    def _secret(self, request: Request) -> str | None:
        """A token where there is an Authorization header, whatever cookies come along; else the
        cookie.
        """
        header = request.headers.get("authorization")
        if header is None:
            return request.cookies.get(self._cookie(request))
        scheme, _, secret = header.partition(" ")
        return secret.strip() if scheme.lower() == "bearer" else None

    def _cookie(self, request: Request) -> str:
        return "__Host-rlhf" if self._is_secure(request) else "rlhf"

    def _is_secure(self, request: Request) -> bool:
        return self.secure or request.url.scheme == "https"
