"""The app and the server of the ranking page: one labeler, on this machine.

`create_app` is the whole app; `serve` runs it until it is interrupted.
"""

import ipaddress
import socket
import webbrowser
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import gradio as gr
import uvicorn
from fastapi import FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.staticfiles import StaticFiles
from sqlalchemy.exc import DBAPIError

from labeling_app.labelers import check_labeler_id
from labeling_app.page import HEAD, STATIC, THEME, ranking_page
from labeling_app.routes import ranking_routes, store_failed
from labeling_app.security import Wall
from labeling_app.visitors import Visitor
from rlhf.feedback.store import Store

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")


def create_app(
    store: Path | str, campaign: str, *, labeler_id: str, next_step: str = ""
) -> FastAPI:
    """The app that lets `labeler_id` work on the items of `campaign` in `store`.

    `next_step` is the command shown at the end. Raises ValueError where the campaign does not
    exist, or the id cannot be a labeler's.
    """
    check_labeler_id(labeler_id)
    opened = Store(store)
    try:
        found = opened.campaign(campaign)
    except ValueError:
        opened.close()
        raise

    def current_visitor(_request: Request) -> Visitor:
        return Visitor(labeler_id, "admin")

    def signed_in(request: Request) -> str:
        return current_visitor(request).labeler_id

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        opened.close()

    app = FastAPI(title="Ranking page", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.include_router(ranking_routes(opened, found, current_visitor, next_step))
    app.add_exception_handler(DBAPIError, store_failed)
    app.mount("/page", StaticFiles(directory=STATIC), name="page")
    # An empty list of origins, so that Gradio does not echo any origin with credentials.
    app.add_middleware(CORSMiddleware, allow_origins=[])
    app.add_middleware(Wall, hosts=LOOPBACK_NAMES)
    gr.mount_gradio_app(
        app,
        ranking_page(),
        "/",
        auth_dependency=signed_in,
        footer_links=[],
        run_history=False,
        show_error=False,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        max_file_size=1,
        theme=THEME,
        head=HEAD,
    )
    return app


def serve(
    store: Path | str,
    campaign: str,
    *,
    labeler_id: str,
    host: str = "127.0.0.1",
    port: int = 7860,
    open_browser: bool = True,
    next_step: str = "",
) -> None:
    """Serves the ranking page until it is interrupted; prints its address once it can be opened.

    Port 0 takes a free one. Raises ValueError for an address that others could reach, for a port
    that is taken, and for all that `create_app` refuses.
    """
    listening = _listen(_loopback(host), port)
    try:
        app = create_app(store, campaign, labeler_id=labeler_id, next_step=next_step)
        address, taken = listening.getsockname()[:2]
        url = f"http://[{address}]:{taken}" if ":" in address else f"http://{address}:{taken}"
        config = uvicorn.Config(
            app, log_level="warning", timeout_graceful_shutdown=2, server_header=False
        )
        print(f"Ranking page: {url}", flush=True)  # noqa: T201
        if open_browser:
            webbrowser.open(url)
        with suppress(KeyboardInterrupt):  # how a labeler stops it: uvicorn has shut down by then
            uvicorn.Server(config).run(sockets=[listening])
    finally:
        listening.close()


def _loopback(host: str) -> str:
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local:
        raise ValueError(
            f"the ranking page does not open on {host!r}: it has no accounts yet, so anyone who "
            "reaches it could rank. Use host 127.0.0.1, and from another machine a tunnel: "
            "ssh -L 7860:127.0.0.1:7860 THIS_MACHINE"
        )
    return "127.0.0.1" if host == "localhost" else host


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)
    except (OSError, OverflowError) as error:
        listening.close()
        raise ValueError(
            f"port {port} on {host} cannot be used ({error}): stop what uses it, or take another "
            "one (0 takes any that is free)"
        ) from error
    return listening
