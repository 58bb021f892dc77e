"""The app and the server of the labeling pages: one labeler on this machine, or a team that signs
in.

`create_app` is the whole app; `serve` runs it until it is interrupted.
"""

import time
import webbrowser
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import gradio as gr
import uvicorn
from fastapi import FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.staticfiles import StaticFiles

from labeling_app.api_description import describe
from labeling_app.dashboard import HEAD as LEAD_HEAD
from labeling_app.dashboard import lead_page
from labeling_app.front_desk import FrontDesk
from labeling_app.gate import Gate
from labeling_app.labelers import check_labeler_id
from labeling_app.lead_routes import lead_routes
from labeling_app.listening import (
    LOOPBACK_NAMES,
    address_shown,
    answered_hosts,
    check_host,
    is_loopback,
    listen,
)
from labeling_app.page import HEAD, STATIC, THEME, ranking_page
from labeling_app.people_pages import people_pages
from labeling_app.people_routes import account_routes, campaigns_of, invitation_routes, own_routes
from labeling_app.refusals import add_refusals
from labeling_app.routes import ranking_routes
from labeling_app.security import Wall, checked_origin
from labeling_app.sessions import Sessions
from labeling_app.sign_in_routes import session_routes, sign_in_routes
from labeling_app.visitors import CurrentVisitor, Visitor, only
from rlhf.feedback.invitations import invite_first_admin
from rlhf.feedback.store import Store


def create_app(
    store: Path | str,
    campaign: str | None = None,
    *,
    labeler_id: str | None = None,
    accounts: bool = False,
    public_url: str | None = None,
    hosts: Collection[str] = LOOPBACK_NAMES,
    next_step: str = "",
) -> FastAPI:
    """The app over `store`: for `labeler_id` alone or, with `accounts`, for those who sign in.

    Without a `campaign` visitors choose among those that they may work on, and a request that names
    none means the newest. `public_url` is where
    people find it behind a proxy; `hosts` are the other names that are answered. `next_step` is the
    command shown at the end. Raises ValueError where the campaign does not exist, the store of one
    labeler has none, or the id cannot be a labeler's.
    """
    if accounts == (labeler_id is not None):
        raise ValueError("the page is either for one labeler_id, or for those with accounts")
    origin = checked_origin(public_url) if public_url else None
    opened = Store(store)
    try:
        _check_campaign(opened, campaign, may_be_empty=accounts)
        machine = Visitor(check_labeler_id(labeler_id), "admin") if labeler_id else None
    except ValueError:
        opened.close()
        raise

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        opened.close()

    app = FastAPI(title="Labeling", lifespan=lifespan, openapi_url=None, docs_url=None)
    add_refusals(app)
    if machine is None:
        secure = origin is not None and origin.startswith("https:")
        desk = FrontDesk(opened, Sessions(opened.database, secure=secure), origin)
        current_visitor: CurrentVisitor = desk.sessions.visitor
        for routes in (sign_in_routes, session_routes, account_routes, invitation_routes):
            app.include_router(routes(desk))
    else:
        current_visitor = _always(machine)
    app.include_router(own_routes(opened, current_visitor))
    app.include_router(ranking_routes(opened, campaign or "", current_visitor, next_step))
    app.include_router(lead_routes(opened, current_visitor, opened=campaign or ""))
    describe(app, current_visitor)
    app.include_router(people_pages(with_accounts=accounts))
    app.mount("/page", StaticFiles(directory=STATIC), name="page")
    home = _home(opened, named=campaign is not None)
    app.add_middleware(Gate, current_visitor=current_visitor, home=home)
    # An empty list of origins, so that Gradio does not echo any origin with credentials.
    app.add_middleware(CORSMiddleware, allow_origins=[])
    app.add_middleware(Wall, hosts=hosts, public_url=public_url, cookies=accounts)
    _mount(app, lead_page(), "/lead", only("lead", current_visitor), LEAD_HEAD)
    _mount(app, ranking_page(), "/", current_visitor, HEAD)
    return app


def serve(
    store: Path | str,
    campaign: str | None = None,
    *,
    labeler_id: str | None = None,
    accounts: bool = False,
    host: str = "127.0.0.1",
    port: int = 7860,
    public_url: str | None = None,
    proxies: Collection[str] = (),
    open_browser: bool = True,
    next_step: str = "",
) -> None:
    """Serves the pages until it is interrupted; prints the address once it can be opened, and a
    one-time link where there is no admin yet.

    Port 0 takes a free one. `proxies` are the addresses whose X-Forwarded-Proto and -For are
    believed. Raises ValueError for an address that others could reach without accounts, for a
    port that is taken, and for all that `create_app` refuses.
    """
    bound = check_host(host, accounts=accounts)
    listening = listen(bound, port)
    try:
        app = create_app(
            store,
            campaign,
            labeler_id=labeler_id,
            accounts=accounts,
            public_url=public_url,
            hosts=answered_hosts(bound),
            next_step=next_step,
        )
        local = address_shown(bound, listening.getsockname()[1])
        url = checked_origin(public_url) if public_url else local
        print(f"Labeling page: {url}", flush=True)  # noqa: T201
        for line in _advice(bound, public_url):
            print(line, flush=True)  # noqa: T201
        first = _first_admin_link(store, url) if accounts else None
        if first is not None:
            print(f"First admin (once, within an hour): {first}", flush=True)  # noqa: T201
        if open_browser:
            webbrowser.open(first or url)
        config = uvicorn.Config(
            app,
            log_level="warning",
            timeout_graceful_shutdown=2,
            server_header=False,
            proxy_headers=bool(proxies),
            forwarded_allow_ips=list(proxies),
        )
        with suppress(KeyboardInterrupt):  # how a labeler stops it: uvicorn has shut down by then
            uvicorn.Server(config).run(sockets=[listening])
    finally:
        listening.close()


def _check_campaign(store: Store, name: str | None, *, may_be_empty: bool) -> None:
    """ValueError where the named campaign is not there, or there is none at all; a team may sign in
    before there is any.
    """
    if name is not None:
        store.campaign(name)
    elif not may_be_empty and not store.campaigns():
        raise ValueError(
            f"there is no campaign in {store.database.name} yet: `rlhf label CONFIG` makes one "
            "over a run's responses, `rlhf import FILE --into STORE` one over a file"
        )


def _always(visitor: Visitor) -> CurrentVisitor:
    def current_visitor(_request: Request) -> Visitor:
        return visitor

    return current_visitor


def _home(store: Store, *, named: bool) -> Callable[[Visitor, Request], str | None]:
    """Where `/` leads: to the only campaign, else to the list of them."""

    def home(visitor: Visitor, request: Request) -> str | None:
        if named or "campaign" in request.query_params:
            return None
        open_to = [one for one in campaigns_of(store, visitor) if one.may_work]
        if len(open_to) != 1:
            return "/campaigns"
        return f"/?campaign={quote(open_to[0].name, safe='')}"

    return home


def _mount(
    app: FastAPI, page: gr.Blocks, path: str, current_visitor: CurrentVisitor, head: str
) -> None:
    def signed_in(request: Request) -> str:
        return current_visitor(request).labeler_id

    gr.mount_gradio_app(
        app,
        page,
        path,
        auth_dependency=signed_in,
        footer_links=[],
        run_history=False,
        show_error=False,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        max_file_size=1,
        theme=THEME,
        head=head,
    )


def _advice(bound: str, public_url: str | None) -> list[str]:
    if is_loopback(bound):
        return []
    if public_url is None:
        return [
            f"It answers at {' and '.join(answered_hosts(bound))} only: --public-url names where "
            "others find it."
        ]
    if not public_url.startswith("https:"):
        return ["Passwords travel unencrypted without https: put a TLS proxy in front of it."]
    return []


def _first_admin_link(store: Path | str, url: str) -> str | None:
    with Store(store) as opened, opened.database.writing() as db:
        secret = invite_first_admin(db, time.time())
    return None if secret is None else f"{url}/invitation#{secret}"
