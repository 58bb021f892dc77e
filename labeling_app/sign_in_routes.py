"""Routes for oneself: signing in and out, one's password, sessions and tokens."""

import time
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request, Response

from labeling_app import people_bodies as bodies
from labeling_app.front_desk import FrontDesk, address_of, browser_of, refusals
from labeling_app.visitors import Visitor, by_browser
from rlhf.feedback import passwords, people, sessions
from rlhf.feedback.audit import Entry, append
from rlhf.feedback.membership import join
from rlhf.feedback.recording import iso_time
from rlhf.feedback.signing_in import check_slowly, sign_in

ListedId = Annotated[str, Path(pattern="^[0-9a-f]{16}$", examples=["9f86d081884c7d65"])]
_ENDED = "it is not there, or it has ended already."


def sign_in_routes(desk: FrontDesk) -> APIRouter:
    """The routes under `/api` for signing in and out, and for one's password."""
    router = APIRouter(prefix="/api", tags=["people"])
    database = desk.store.database
    person = Annotated[Visitor, Depends(by_browser(desk.sessions.visitor))]

    @router.post("/login")
    async def login(sent: bodies.SignIn, request: Request, response: Response) -> bodies.Me:
        """Begins a session in this browser. Guessing is slowed down: 429 says how long to wait."""
        with refusals(401):
            signed = await desk.slowly(
                lambda: sign_in(
                    database,
                    sent.login,
                    sent.password,
                    address=address_of(request),
                    browser=browser_of(request),
                    moment=time.time(),
                )
            )
        desk.end_session(request)
        desk.sessions.set_cookie(request, response, signed.secret)
        me = desk.sessions.visitor_of(signed.secret)
        return bodies.Me(labeler_id=me.labeler_id, role=me.role, by=me.by)

    @router.post("/logout", dependencies=[Depends(by_browser(desk.sessions.visitor))])
    def logout(request: Request, response: Response) -> bodies.Done:
        """Ends this session."""
        desk.end_session(request)
        desk.sessions.clear_cookie(request, response)
        return bodies.Done()

    @router.post("/password")
    async def password(
        sent: bodies.NewPassword, request: Request, response: Response, me: person
    ) -> bodies.Done:
        """Another password; ends all sessions and tokens of the account but begins one here."""

        def change() -> str:
            now = time.time()
            with database.reading() as db:
                name = people.account(db, me.labeler_id).login or ""
            check_slowly(database, name, sent.old, address=address_of(request), moment=now)
            made = passwords.hash_password(passwords.check_password(sent.new, name))
            with database.writing() as db:
                people.change_password(db, me.labeler_id, made, by=me.labeler_id, moment=now)
                return sessions.start(
                    db,
                    me.labeler_id,
                    "session",
                    browser_of(request),
                    moment=now,
                    seconds=sessions.SESSION_SECONDS,
                )

        with refusals():
            secret = await desk.slowly(change)
        desk.sessions.forget(me.labeler_id)
        desk.sessions.set_cookie(request, response, secret)
        return bodies.Done()

    return router


def session_routes(desk: FrontDesk) -> APIRouter:
    """The routes under `/api` that list and end sessions and tokens, and make tokens."""
    router = APIRouter(prefix="/api", tags=["people"])
    database = desk.store.database
    person = Annotated[Visitor, Depends(by_browser(desk.sessions.visitor))]
    whose = Annotated[
        bodies.Pseudonym | None,
        Query(description="Somebody else's, for admins (and a lead, of a program)."),
    ]

    def listed(
        kind: Literal["session", "token"], me: Visitor, labeler_id: str | None
    ) -> list[bodies.SessionView]:
        owner = me.labeler_id if labeler_id is None else labeler_id
        _only_own_or_governed(desk, me, owner)
        with database.reading() as db:
            held = sessions.held(db, owner, kind, time.time())
        return [
            bodies.SessionView(
                id=one.id,
                name=one.name,
                created_at=one.created_at,
                seen_at=one.seen_at,
                expires_at=one.expires_at,
                is_this=me.secret.startswith(one.id),
            )
            for one in held
        ]

    def end(kind: Literal["session", "token"], me: Visitor, session_id: str) -> bodies.Done:
        now = time.time()
        with database.reading() as db:
            owner = sessions.owner_of(db, kind, session_id, now)
        if owner is None:
            raise HTTPException(404, _ENDED)
        _only_own_or_governed(desk, me, owner, hidden=True)
        with database.writing() as db:
            sessions.revoke(db, kind, session_id)
            append(db, iso_time(now), [Entry(me.labeler_id, f"{kind} ended", owner)])
        desk.sessions.forget(owner)
        return bodies.Done()

    @router.get("/sessions")
    def list_sessions(me: person, labeler_id: whose = None) -> list[bodies.SessionView]:
        """One's browsers that are signed in, the latest used first."""
        return listed("session", me, labeler_id)

    @router.delete("/sessions/{session_id}")
    def end_session(session_id: ListedId, me: person) -> bodies.Done:
        """Ends a session of one's own; an admin ends anyone's."""
        return end("session", me, session_id)

    @router.get("/tokens")
    def list_tokens(me: person, labeler_id: whose = None) -> list[bodies.SessionView]:
        """One's tokens by name and last use."""
        return listed("token", me, labeler_id)

    @router.delete("/tokens/{token_id}")
    def end_token(token_id: ListedId, me: person) -> bodies.Done:
        """Ends a token of one's own; an admin ends anyone's, a lead those of programs."""
        return end("token", me, token_id)

    @router.post("/tokens")
    def make_token(sent: bodies.NewToken, me: person) -> bodies.TokenMade:
        """A token for a program, shown once: send it as `Authorization: Bearer …`."""
        if sent.new_labeler and not me.may("lead"):
            raise HTTPException(403, "a token for a new labeler is for the role 'lead'.")
        if sent.campaign is not None and not sent.new_labeler:
            raise HTTPException(422, "a campaign goes with a new labeler only.")
        now, seconds, owner = time.time(), sent.days * 86_400, me.labeler_id
        with refusals():
            campaign = None if sent.campaign is None else desk.campaign(sent.campaign)
            with database.writing() as db:
                if sent.new_labeler:
                    made_by = me.labeler_id
                    owner = people.make_account(db, None, "", "labeler", by=made_by, moment=now)
                if campaign is not None:
                    join(db, campaign, owner, now)
                token = sessions.start(db, owner, "token", sent.name, moment=now, seconds=seconds)
                append(db, iso_time(now), [Entry(me.labeler_id, "token made", owner)])
        return bodies.TokenMade(
            token=token,
            id=sessions.digest_of(token)[:16],
            labeler_id=owner,
            expires_at=now + seconds,
        )

    return router


def _only_own_or_governed(
    desk: FrontDesk, me: Visitor, owner: str, *, hidden: bool = False
) -> None:
    """Lets admins at what is anyone's, and leads at what is a program's; 403, or 404 where not even
    its being there is to be told.
    """
    if owner == me.labeler_id or me.may("admin"):
        return
    if me.may("lead"):
        with desk.store.database.reading() as db, refusals(404):
            if people.account(db, owner).login is None:
                return
    raise HTTPException(404, _ENDED) if hidden else HTTPException(403, "this is for admins.")
