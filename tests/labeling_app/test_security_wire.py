"""What no well-behaved client sends, byte by byte, to a real server."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn
from team import item

from labeling_app.server import create_app
from rlhf.feedback.store import Store

Send = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def send(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Send]:
    """Sends bytes and returns all that comes back; `HOST` stands for the server's address."""
    path: Path = tmp_path_factory.mktemp("wire") / "store.db"
    with Store(path) as store:
        store.add_items(store.create_campaign("open"), [item("Which?")])
    app = create_app(str(path), "open", accounts=True)
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    address = listening.getsockname()

    def sent(request: bytes) -> bytes:
        with socket.create_connection(address[:2], timeout=20) as wire:
            wire.sendall(request.replace(b"HOST", b"127.0.0.1:%d" % address[1]))
            found = b""
            try:
                while part := wire.recv(65536):
                    found += part
            except ConnectionResetError:
                pass
        return found

    yield sent
    server.should_exit = True
    thread.join(5)
    listening.close()


POST = b"POST /api/login HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\n"
END = b"Connection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (POST + b"Transfer-Encoding: chunked\r\n" + END + b"5\r\n12345\r\n0\r\n\r\n", 413),
        (
            POST
            + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n"
            + END
            + b"2\r\n{}\r\n0\r\n\r\n",
            400,
        ),
        (POST + b"Content-Length: 99999999\r\n" + END, 413),
        (POST + b"Content-Length: -5\r\n" + END, 400),
        (POST + b"Content-Length: 2\r\nContent-Length: 9\r\n" + END + b"{}", 400),
        (POST + b"Content-Length: 2\r\nOrigin: http://evil.test\r\n" + END + b"{}", 403),
        (POST + b"Content-Length: 2\r\nHost: evil.test\r\n" + END + b"{}", 421),
        (POST + b"Content-Length: 4\r\n" + END + b"\xff\xfe\x00\x01", 422),
        (b"GET / HTTP/1.1\r\n" + END, 421),
        (b"GET / HTTP/1.1\r\nHost: evil.test\r\n" + END, 421),
        (b"GET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\n" + END, 421),
        (b"GET / HTTP/1.1\r\nHost: \xff\xfe\r\n" + END, 421),
        (b"GET /api/me HTTP/1.1\r\nHost: HOST\r\nCookie: rlhf=\xff\xfe; \x01\r\n" + END, 400),
        (b"GET /api/me HTTP/1.1\r\nHost: HOST\r\nCookie: rlhf=\xff\xfe\r\n" + END, 401),
        (b"GET /api/me HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer \xff\r\n" + END, 401),
        (b"GET /%00 HTTP/1.1\r\nHost: HOST\r\n" + END, 400),
        (b"GET /api/me?x=%00 HTTP/1.1\r\nHost: HOST\r\n" + END, 400),
        (b"GET /%ff%fe HTTP/1.1\r\nHost: HOST\r\n" + END, 401),
        (b"GET /page/../../etc/passwd HTTP/1.1\r\nHost: HOST\r\n" + END, 404),
        (b"GET /page/%2e%2e/server.py HTTP/1.1\r\nHost: HOST\r\n" + END, 404),
        (b"GET /page/..%2fserver.py HTTP/1.1\r\nHost: HOST\r\n" + END, 404),
        (b"GET /page//etc/passwd HTTP/1.1\r\nHost: HOST\r\n" + END, 404),
        (b"GET //evil.test/ HTTP/1.1\r\nHost: HOST\r\n" + END, 401),
        (b"TRACE /api/me HTTP/1.1\r\nHost: HOST\r\n" + END, 405),
        (b"PUT /api/me HTTP/1.1\r\nHost: HOST\r\nContent-Length: 0\r\n" + END, 405),
        (b"OPTIONS /api/me HTTP/1.1\r\nHost: HOST\r\nOrigin: http://evil.test\r\n" + END, 405),
        (b"not http at all\r\n\r\n", 400),
    ],
)
def test_odd_requests_get_a_refusal(send: Send, request_bytes: bytes, status: int) -> None:
    reply = send(request_bytes)
    assert re.match(rb"HTTP/1.1 (\d+)", reply), reply[:100]
    assert int(reply[9:12]) == status, reply[:300]
    assert b"evil" not in reply
    assert b"root:" not in reply
    assert b"import" not in reply


def test_a_page_asked_for_leads_to_the_sign_in_and_nowhere_else(send: Send) -> None:
    for asked in (b"//evil.test/", b"/%0d%0aSet-Cookie:x=1", b"/?a=%0d%0aX:1", b"/\\evil.test"):
        request = b"GET " + asked + b" HTTP/1.1\r\nHost: HOST\r\nAccept: text/html\r\n" + END
        reply = send(request)
        assert reply.startswith(b"HTTP/1.1 303"), reply[:100]
        head = reply.partition(b"\r\n\r\n")[0]
        (location,) = re.findall(rb"\r\nlocation: ([^\r]*)", head)
        assert location.startswith(b"/sign-in")
        assert b"set-cookie" not in head.lower().replace(location.lower(), b"")
