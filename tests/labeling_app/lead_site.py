"""The lead's page and routes in an app of their own, behind the wall, signed in as anyone."""

import socket
import threading
from collections.abc import Callable
from typing import Any

import gradio as gr
import uvicorn
from fastapi import FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.staticfiles import StaticFiles
from sqlalchemy.exc import DBAPIError

from labeling_app.dashboard import HEAD, lead_page
from labeling_app.lead_routes import lead_routes
from labeling_app.page import STATIC, THEME
from labeling_app.replies import store_failed
from labeling_app.security import Wall
from labeling_app.visitors import Role, Visitor, only
from rlhf.feedback.store import Store


def lead_app(store: Store, role: Role = "lead", *, page: bool = False, **options: Any) -> FastAPI:
    """The app; `page` adds the dashboard itself."""

    def visitor(_request: Request) -> Visitor:
        return Visitor("labeler-lead", role)

    app = FastAPI()
    app.include_router(lead_routes(store, visitor, **options))
    app.add_exception_handler(DBAPIError, store_failed)
    app.mount("/page", StaticFiles(directory=STATIC), name="page")
    app.add_middleware(CORSMiddleware, allow_origins=[])
    app.add_middleware(Wall, hosts=("127.0.0.1", "testserver"))
    if page:

        def signed_in(request: Request) -> str:
            return only("lead", visitor)(request).labeler_id

        gr.mount_gradio_app(
            app,
            lead_page(),
            "/lead",
            auth_dependency=signed_in,
            footer_links=[],
            run_history=False,
            show_error=False,
            ssr_mode=False,
            mcp_server=False,
            enable_monitoring=False,
            theme=THEME,
            head=HEAD,
        )
    return app


def serve(app: Any, port: int = 0) -> tuple[str, Callable[[], None]]:
    """The address at which it is served, and what ends it."""
    listening = socket.create_server(("127.0.0.1", port))
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()

    def stop() -> None:
        server.should_exit = True
        thread.join(5)
        listening.close()

    return f"http://127.0.0.1:{listening.getsockname()[1]}", stop
