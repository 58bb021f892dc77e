"""A small OpenAI-compatible server on loopback, whose replies a test decides."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from rlhf.data.identity import Json

Reply = str | int | tuple[int, dict[str, str]] | bytes | None  # a text, a status, bytes, or silence


@dataclass(slots=True)
class Served:
    """Where the server is, and what it was asked."""

    url: str
    asked: list[Json] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)

    @property
    def questions(self) -> list[str]:
        return [one["messages"][0]["content"] for one in self.asked]


@contextmanager
def served(answer: Callable[[str], Reply]) -> Iterator[Served]:
    """Serves `answer` (question -> reply) until the end of the block."""
    held = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found.asked.append({"path": self.path, **body})
            found.keys.append(self.headers.get("Authorization"))
            said = answer(body["messages"][0]["content"])
            if said is None:
                held.wait(5)
                return
            headers: dict[str, str] = {}
            status = said if isinstance(said, int) else 200
            if isinstance(said, tuple):
                status, headers = said
            content = (
                said
                if isinstance(said, bytes)
                else json.dumps(
                    {"choices": [{"message": {"content": said if isinstance(said, str) else "no"}}]}
                ).encode()
            )
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found = Served(f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield found
    finally:
        held.set()
        server.shutdown()
        server.server_close()
        thread.join()
