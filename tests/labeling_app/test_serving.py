"""Starting the server: addresses, ports, what it prints, what it does not import."""

import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from labeling_app.server import serve
from labeling_app.texts import TEXTS
from rlhf.data.records import Prompt, Response
from rlhf.feedback.store import Item, Store

STATIC = Path(__file__).parents[2] / "labeling_app" / "static"
SERVE = """
import sys
from labeling_app.server import serve
assert not {"torch", "transformers", "trl"} & set(sys.modules), "a heavy import"
serve(sys.argv[1], "replies", labeler_id="ada", port=0, open_browser=False)
"""


@pytest.fixture
def address(tmp_path: Path) -> str:
    prompt = Prompt.of("Which?")
    answers = tuple(Response.of(prompt.id, text) for text in ("this", "that"))
    with Store(tmp_path / "store.db") as store:
        store.add_items(store.create_campaign("replies"), [Item(prompt, answers)])
        return store.address


def test_it_serves_on_a_free_port_prints_where_and_stops_when_interrupted(address: str) -> None:
    start = time.perf_counter()
    server = subprocess.Popen(
        [sys.executable, "-c", SERVE, address], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    try:
        line = server.stdout.readline()
        found = re.fullmatch(r"Labeling page: (http://127\.0\.0\.1:\d+)\n", line)
        assert found, line
        with urllib.request.urlopen(found[1]) as page:
            assert b"gradio" in page.read()
        assert time.perf_counter() - start < 20
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(10) == 0


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org", ""])
def test_an_address_that_others_can_reach_is_refused(address: str, host: str) -> None:
    with pytest.raises(ValueError, match=r"without accounts.*--accounts.*ssh -L"):
        serve(address, "replies", labeler_id="ada", host=host, port=0, open_browser=False)


def test_a_port_that_is_taken_is_named(address: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"port {port} .*0 takes any that is free"):
            serve(address, "replies", labeler_id="ada", port=port, open_browser=False)


def test_every_text_is_used_and_every_text_used_is_there() -> None:
    others = ("dashboard", "plots", "people")  # pages with texts of their own
    scripts = [path for path in STATIC.glob("*.js") if not path.name.startswith(others)]
    browser = "\n".join(path.read_text() for path in scripts)
    server = "\n".join((STATIC.parent / f"{name}.py").read_text() for name in ("markup", "page"))
    put_together = (
        "role_",
        "skip_",
        "flag_",
        "kind_",
        "mode_",
        "state_",
        "diff_",
    )  # looked up by a name that is put together
    unused = {key for key in TEXTS if not re.search(rf"\b{key}\b", browser + server)}
    assert {key for key in unused if not key.startswith(put_together)} == set()
    used = re.findall(r"\btexts\.(\w+)", browser) + re.findall(r"\bsay\(\"(\w+)\"", browser)
    used += re.findall(r"_t\(\"(\w+)\"", server)
    assert len(used) > 30
    assert set(used) <= set(TEXTS)
