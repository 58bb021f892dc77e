"""Routes about others: accounts, invitations, who works on which campaign."""

import time
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Path, Request, Response

from labeling_app import people_bodies as bodies
from labeling_app.front_desk import FrontDesk, browser_of, refusals
from labeling_app.sign_in_routes import ListedId
from labeling_app.visitors import ROLES, CurrentVisitor, Role, Visitor, by_browser, only
from rlhf.feedback import invitations, passwords, people, sessions
from rlhf.feedback.store import Store

LabelerId = Annotated[bodies.Pseudonym, Path()]


def account_routes(desk: FrontDesk) -> APIRouter:
    """The routes under `/api/accounts`: leads see pseudonyms, admins logins too."""
    router = APIRouter(prefix="/api/accounts", tags=["people"])
    database = desk.store.database
    browser = by_browser(desk.sessions.visitor)
    for_leads, for_admins = Depends(only("lead", browser)), Depends(only("admin", browser))
    lead = Annotated[Visitor, for_leads]
    admin = Annotated[Visitor, for_admins]

    def view(account: people.Account, me: Visitor) -> bodies.AccountView:
        return bodies.AccountView(
            labeler_id=account.labeler_id,
            login=account.login if me.may("admin") else None,
            role=account.role,
            active=account.active,
            created_at=account.created_at,
            is_program=account.login is None,
        )

    @router.get("")
    def list_accounts(me: lead) -> list[bodies.AccountView]:
        """Every account, oldest first."""
        with database.reading() as db:
            return [view(account, me) for account in people.all_accounts(db)]

    @router.patch("/{labeler_id}")
    def change_account(
        labeler_id: LabelerId, sent: bodies.AccountChange, me: admin
    ) -> bodies.AccountView:
        """Another role, or closed or opened. Closing ends all sessions and tokens."""
        with refusals(), database.writing() as db:
            changed = people.change_account(
                db,
                labeler_id,
                role=sent.role,
                active=sent.active,
                by=me.labeler_id,
                moment=time.time(),
            )
        desk.sessions.forget(labeler_id)
        return view(changed, me)

    @router.post("/{labeler_id}/password-link", dependencies=[for_admins])
    def password_link(labeler_id: LabelerId, request: Request) -> bodies.Link:
        """A link by which somebody who forgot their password sets another, within a day."""
        now, seconds = time.time(), sessions.RESET_SECONDS
        with refusals(), database.writing() as db:
            account = people.account(db, labeler_id)
            if account.login is None or not account.active:
                raise ValueError("a closed account, or a program's, has no password to set")
            secret = sessions.start(
                db, labeler_id, "reset", "password link", moment=now, seconds=seconds
            )
        return bodies.Link(url=desk.link(request, f"password-{secret}"), expires_at=now + seconds)

    @router.post("/{labeler_id}/campaigns", dependencies=[for_leads])
    def add_member(labeler_id: LabelerId, sent: bodies.Membership) -> bodies.Done:
        """Lets somebody work on a campaign that is for members only."""
        with refusals():
            campaign = desk.campaign(sent.campaign)
            with database.reading() as db:
                people.account(db, labeler_id)
            desk.store.join(campaign, labeler_id)
        return bodies.Done()

    @router.delete("/{labeler_id}/campaigns", dependencies=[for_leads])
    def drop_member(labeler_id: LabelerId, campaign: bodies.CampaignName) -> bodies.Done:
        """Ends a membership; what was answered stays."""
        with refusals(), database.writing() as db:
            people.end_membership(db, desk.campaign(campaign).id, labeler_id)
        return bodies.Done()

    return router


def invitation_routes(desk: FrontDesk) -> APIRouter:
    """The routes under `/api/invitations`. Whoever holds a link may look at it and accept it."""
    router = APIRouter(prefix="/api/invitations", tags=["people"])
    database = desk.store.database
    for_leads = Depends(only("lead", by_browser(desk.sessions.visitor)))
    lead = Annotated[Visitor, for_leads]

    @router.get("", dependencies=[for_leads])
    def list_invitations() -> list[bodies.InvitationView]:
        """Those that can still be accepted."""
        with database.reading() as db:
            found = invitations.open_invitations(db, time.time())
        return [
            bodies.InvitationView(
                id=one.id,
                role=one.role,
                campaign=one.campaign,
                made_by=one.made_by,
                expires_at=one.expires_at,
            )
            for one in found
        ]

    @router.post("")
    def invite(sent: bodies.Invite, request: Request, me: lead) -> bodies.Link:
        """A link that makes one account. A lead invites labelers and reviewers, an admin anyone."""
        _check_may_invite(me, sent.role)
        now, seconds = time.time(), sent.days * 86_400
        with refusals(), database.writing() as db:
            secret = invitations.invite(
                db, sent.role, sent.campaign, by=me.labeler_id, moment=now, seconds=seconds
            )
        return bodies.Link(url=desk.link(request, secret), expires_at=now + seconds)

    @router.delete("/{invitation_id}")
    def withdraw(invitation_id: ListedId, me: lead) -> bodies.Done:
        """Makes an invitation void."""
        now = time.time()
        with database.writing() as db:
            offered = invitations.open_invitations(db, now)
            for one in (one for one in offered if one.id == invitation_id):
                _check_may_invite(me, one.role)
            gone = invitations.withdraw_invitation(db, invitation_id, by=me.labeler_id, moment=now)
        if not gone:
            raise HTTPException(404, "it is not there, or it was used.")
        return bodies.Done()

    @router.post("/look")
    def look(sent: bodies.Opened) -> bodies.Offer:
        """What the holder of a link is offered."""
        with refusals(404), database.reading() as db:
            found = invitations.invitation_of(db, sent.token, time.time())
        return bodies.Offer(role=found.role, campaign=found.campaign, expires_at=found.expires_at)

    @router.post("/accept")
    async def accept(sent: bodies.Accepted, request: Request, response: Response) -> bodies.Me:
        """Makes the account and signs in."""

        def make() -> str:
            now = time.time()
            with database.reading() as db:  # before the hash: a stranger must not cost its time
                invitations.invitation_of(db, sent.token, now)
            login = people.checked_login(sent.login)
            made = passwords.hash_password(passwords.check_password(sent.password, login))
            with database.writing() as db:
                labeler_id = invitations.accept(db, sent.token, login, made, now)
                return sessions.start(
                    db,
                    labeler_id,
                    "session",
                    browser_of(request),
                    moment=now,
                    seconds=sessions.SESSION_SECONDS,
                )

        with refusals():
            secret = await desk.slowly(make)
        desk.end_session(request)
        desk.sessions.set_cookie(request, response, secret)
        me = desk.sessions.visitor_of(secret)
        return bodies.Me(labeler_id=me.labeler_id, role=me.role, by=me.by)

    @router.post("/password")
    async def password_by_link(sent: bodies.PasswordByLink) -> bodies.Done:
        """Sets the password of the account that a password link was made for; then sign in."""

        def change() -> str:
            now, digest = time.time(), sessions.digest_of(sent.token.removeprefix("password-"))
            with database.reading() as db:
                bearer = sessions.bearer_of(db, digest, now)
                if bearer is None or bearer.kind != "reset":
                    raise ValueError("this link is used or over: ask an admin for a new one")
                login = people.account(db, bearer.labeler_id).login or ""
            made = passwords.hash_password(passwords.check_password(sent.password, login))
            mine = bearer.labeler_id
            with database.writing() as db:
                if not sessions.revoke_secret(db, digest):
                    raise ValueError("this link was used just now: ask an admin for a new one")
                people.change_password(db, mine, made, by=mine, moment=now)
            return mine

        with refusals():
            desk.sessions.forget(await desk.slowly(change))
        return bodies.Done()

    return router


def own_routes(store: Store, current_visitor: CurrentVisitor) -> APIRouter:
    """Who one is, and what there is to work on: with accounts and without."""
    router = APIRouter(prefix="/api", tags=["people"])
    visitor = Annotated[Visitor, Depends(current_visitor)]

    @router.get("/me")
    def me(found: visitor) -> bodies.Me:
        """The pseudonym and the role of whoever asks."""
        return bodies.Me(labeler_id=found.labeler_id, role=found.role, by=found.by)

    @router.get("/campaigns")
    def list_campaigns(found: visitor) -> list[bodies.CampaignView]:
        """The campaigns that one may work on; leads see all of them."""
        return campaigns_of(store, found)

    return router


def campaigns_of(store: Store, visitor: Visitor) -> list[bodies.CampaignView]:
    """What a visitor may know of the campaigns."""
    listed = [
        bodies.CampaignView(
            name=campaign.name,
            mode=campaign.mode,
            is_open=campaign.settings.open,
            may_work=store.may_work(campaign, visitor.labeler_id),
        )
        for campaign in store.campaigns()
    ]
    return [one for one in listed if one.may_work or visitor.may("lead")]


def _check_may_invite(me: Visitor, role: Role) -> None:
    if ROLES.index(role) >= ROLES.index("lead") and not me.may("admin"):
        raise HTTPException(403, f"inviting a {role} is for admins.")
