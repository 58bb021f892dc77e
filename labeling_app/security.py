"""The wall around the app: which hosts are answered, who may write, what a page may load.

Gradio adds none of this by itself. Its own events all run in the browser here, so that nothing but
the routes under `/api/` may be written to.
"""

import re
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 384 * 1024  # the longest text that a labeler can write, escaped as JSON
# Files of items that a lead adds; everything else that is sent is small.
MAX_UPLOAD_BYTES = 16 * 1024 * 1024
UPLOADS = "/api/lead/"
SAFE_METHODS = ("GET", "HEAD")
WRITING_METHODS = ("POST", "PATCH", "DELETE")
PLAIN_PAGES = ("/sign-in", "/invitation", "/account", "/people", "/campaigns")
GRADIO_PAGES = ("/", "/lead")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d{1,5})?")
_STRICT = {
    "default-src": "'self'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "font-src": "'self' data:",
    "connect-src": "'self'",
    "frame-src": "'none'",
    "object-src": "'none'",
    "frame-ancestors": "'none'",
    "base-uri": "'self'",
    "form-action": "'self'",
}
# Gradio compiles its templates and its browser-side events, hence 'unsafe-eval'; the rest keeps
# a text that got through from loading, sending or framing anything.
_GRADIO = {
    **_STRICT,
    "script-src": "'self' 'unsafe-inline' 'unsafe-eval'",
    "style-src": "'self' 'unsafe-inline'",
}
STRICT_POLICY = "; ".join(f"{name} {value}" for name, value in _STRICT.items())
CONTENT_SECURITY_POLICY = "; ".join(f"{name} {value}" for name, value in _GRADIO.items())
SECURITY_HEADERS = {
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
    `public_url` is where people find the app behind a proxy: its host is answered, and writes to
    it must come from its pages. With `cookies`, a write that brings a cookie must say where it
    comes from, as browsers do; tokens and cookieless programs need not.
    """

    def __init__(
        self,
        app: ASGIApp,
        hosts: Collection[str],
        public_url: str | None = None,
        *,
        cookies: bool = False,
    ) -> None:
        self.app = app
        self.public_origin = public_url and checked_origin(public_url)
        self.public_host = urlsplit(self.public_origin).hostname if self.public_origin else None
        self.hosts = frozenset((*hosts, *([self.public_host] if self.public_host else [])))
        self.cookies = cookies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add_headers(MutableHeaders(scope=message), scope)
            await send(message)

        refusal = self._refusal(scope)
        answer = self.app if refusal is None else refusal
        await answer(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        name = host_name(host)
        if name not in self.hosts or len(headers.getlist("host")) != 1:
            return _refuse(421, "this server does not answer for that host")
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            return _refuse(400, "an address cannot hold the character NUL")
        if scope["method"] in SAFE_METHODS:
            return None
        if not scope["path"].startswith("/api/") or scope["method"] not in WRITING_METHODS:
            return _refuse(405, "nothing can be written here")
        origin = f"{scope['scheme']}://{host}"
        if self.public_origin and name == self.public_host:
            origin = self.public_origin
        if not self._same_origin(headers, origin):
            return _refuse(403, "writing from another site is refused")
        most = MAX_UPLOAD_BYTES if scope["path"].startswith(UPLOADS) else MAX_BODY_BYTES
        length = headers.get("content-length", "0")  # without one there is no body
        stated = length.isascii() and length.isdecimal() and len(length) < 12
        if "transfer-encoding" in headers or not stated or int(length) > most:
            return _refuse(413, f"the body must say its length, at most {most} bytes")
        return None

    def _same_origin(self, headers: Headers, wanted: str) -> bool:
        """Browsers send Origin with every write, and Sec-Fetch-Site; programs may send neither."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin is not None and origin.lower() != wanted:
            return False
        if origin is None and site is None:
            return "authorization" in headers or not (self.cookies and "cookie" in headers)
        return site is None or site == "same-origin"


def host_name(host: str) -> str | None:
    """The name in a Host header, in lower case; None where it is no plain name or address."""
    found = _HOST.fullmatch(host)
    return None if found is None else found[1].strip("[]")


def checked_origin(url: str) -> str:
    """The origin of a public URL, as browsers write it; ValueError where it is more than that."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    host = (parts.hostname or "").lower()
    bare = parts.path in ("", "/") and not (parts.query or parts.fragment or "@" in parts.netloc)
    if parts.scheme not in ("http", "https") or not bare or not _HOST.fullmatch(_bracketed(host)):
        raise ValueError(
            f"the public URL {url!r} is not where people find the page: give scheme and name "
            "alone, as https://rank.example.org"
        )
    default = {"http": 80, "https": 443}[parts.scheme]
    shown_port = "" if port in (None, default) else f":{port}"
    return f"{parts.scheme}://{_bracketed(host)}{shown_port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _add_headers(headers: MutableHeaders, scope: Scope) -> None:
    headers.update(SECURITY_HEADERS)
    strict = scope["path"] in PLAIN_PAGES
    headers["Content-Security-Policy"] = STRICT_POLICY if strict else CONTENT_SECURITY_POLICY
    if strict or scope["path"] in GRADIO_PAGES or scope["path"].startswith("/api/"):
        headers["Cache-Control"] = "no-store"
    elif scope["path"].startswith("/page/"):
        headers["Cache-Control"] = "no-cache"


def _refuse(status: int, reason: str) -> JSONResponse:
    return JSONResponse({"detail": f"{reason}."}, status)
