"""The gate before the pages: those who are not signed in are sent to sign in.

The routes under `/api/` guard themselves; this is for what a browser opens, Gradio's own files
included, and for large uploads, which must not be read before it is known whose they are.
"""

from collections.abc import Callable
from urllib.parse import quote

from fastapi import HTTPException, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from labeling_app.security import UPLOADS
from labeling_app.visitors import CurrentVisitor, Role, Visitor

# Pages for those who are not signed in yet, and our scripts and styles, which hold no data.
OPEN_PAGES = ("/sign-in", "/invitation")
OPEN_FOLDERS = ("/api/", "/page/")
FOR_ROLES: dict[str, Role] = {"/lead": "lead", "/people": "lead", "/api/lead": "lead"}


class Gate:
    """ASGI middleware: lets visitors see the pages for their role.

    `home` names the address that a visitor to `/` is sent on to, or None where they may stay.
    """

    def __init__(
        self,
        app: ASGIApp,
        current_visitor: CurrentVisitor,
        home: Callable[[Visitor, Request], str | None],
    ) -> None:
        self.app = app
        self.current_visitor = current_visitor
        self.home = home

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer: ASGIApp = self.app
        if scope["type"] == "http" and not _is_open(scope["path"]):
            refusal = await run_in_threadpool(self._refusal, Request(scope))
            answer = refusal or self.app
        await answer(scope, receive, send)

    def _refusal(self, request: Request) -> Response | None:
        path = request.url.path
        try:
            visitor = self.current_visitor(request)
        except HTTPException as error:
            if "text/html" not in request.headers.get("accept", "") or path.startswith("/api/"):
                return JSONResponse({"detail": error.detail}, error.status_code)
            asked = path if not request.url.query else f"{path}?{request.url.query}"
            after = "" if asked == "/" else f"?next={quote(asked, safe='/')}"
            return RedirectResponse(f"/sign-in{after}", 303)
        for page, role in FOR_ROLES.items():
            if (path == page or path.startswith(f"{page}/")) and not visitor.may(role):
                said = f"this is for the role {role!r}, and you are {visitor.role!r}."
                return JSONResponse({"detail": said}, 403)
        if path == "/lead":  # as people write it; Gradio has the page at `/lead/`
            return RedirectResponse(str(request.url.replace(scheme="", netloc="", path="/lead/")))
        onward = self.home(visitor, request) if path == "/" else None
        return None if onward is None else RedirectResponse(onward, 303)


def _is_open(path: str) -> bool:
    if path.startswith(UPLOADS):
        return False
    return path in OPEN_PAGES or path.startswith(OPEN_FOLDERS)
