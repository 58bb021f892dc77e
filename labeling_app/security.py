"""The wall around the app: which hosts are answered, who may write, what a page may load.

Gradio adds none of this by itself. Its own events all run in the browser here, so that nothing but
the routes under `/api/` may be written to.
"""

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 384 * 1024  # the longest text that a labeler can write, escaped as JSON
SAFE_METHODS = ("GET", "HEAD")
# Gradio compiles its templates and its browser-side events, hence 'unsafe-eval'; the rest keeps
# a text that got through from loading, sending or framing anything.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "frame-src 'none'",
        "object-src 'none'",
        "frame-ancestors 'none'",
        "base-uri 'self'",
        "form-action 'self'",
    )
)
CACHING = {"/api/": "no-store", "/page/": "no-cache"}
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Wall:
    """ASGI middleware: refuses foreign hosts, foreign writers and large bodies; adds the headers.

    The check of the host keeps a page of another name that resolves to this machine out.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self.app = app
        self.hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(SECURITY_HEADERS)
                if scope["path"].startswith(("/api/", "/page/")):
                    headers["Cache-Control"] = (
                        "no-store" if "/api/" in scope["path"] else "no-cache"
                    )
            await send(message)

        refusal = self._refusal(scope)
        answer = self.app if refusal is None else refusal
        await answer(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if urlsplit(f"//{host}").hostname not in self.hosts:
            return _refuse(421, f"this server does not answer for the host {host!r}")
        if scope["method"] in SAFE_METHODS:
            return None
        if not scope["path"].startswith("/api/"):
            return _refuse(405, "nothing can be written here")
        if not _same_origin(headers, scope["scheme"], host):
            return _refuse(403, "writing from another site is refused")
        length = headers.get("content-length", "")
        if not length.isdigit() or int(length) > MAX_BODY_BYTES:
            return _refuse(413, f"the body must say its length, at most {MAX_BODY_BYTES} bytes")
        return None


def _same_origin(headers: Headers, scheme: str, host: str) -> bool:
    """Browsers send Origin with every POST, and Sec-Fetch-Site; programs may send neither."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if origin is not None and origin != f"{scheme}://{host}":
        return False
    return site is None or site == "same-origin"


def _refuse(status: int, reason: str) -> JSONResponse:
    return JSONResponse({"detail": reason}, status)
