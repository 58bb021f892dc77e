"""The app as a process of its own over a seeded store, to be killed and counted."""

import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, and_, func, select

from rlhf.data.identity import Json
from rlhf.data.records import Prompt, Response
from rlhf.feedback import people, sessions
from rlhf.feedback.schema import answers, assignments, items
from rlhf.feedback.store import Item, Store

CAMPAIGN = "benchmark"
RESPONSES = 9
_WORDS = ("the", "cat", "sat", "on", "a", "mat", "while", "rain", "fell", "in", "our", "kitchen")


class Site:
    """A store at `address`, and the process that serves it."""

    def __init__(self, address: str) -> None:
        self.address = address
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def seed(self, count: int, labelers: int) -> list[str]:
        """Makes a campaign and accounts; returns a token for each labeler."""
        draw = random.Random(7)
        settings: Json = {"overlap": 3, "overlap_share": 0.2}
        with Store(self.address) as store:
            campaign = store.create_campaign(CAMPAIGN, settings=settings)
            store.add_items(campaign, (_item(number, draw) for number in range(count)))
            now = time.time()
            with store.database.writing() as db:
                made = [
                    people.make_account(db, None, "", "labeler", by="", moment=now)
                    for _ in range(labelers)
                ]
                return [
                    sessions.start(db, one, "token", "benchmark", moment=now, seconds=86_400.0)
                    for one in made
                ]

    def start(self, timeout_seconds: float = 60.0) -> float:
        """Starts the server; returns the seconds until it answers."""
        begun = time.monotonic()
        command = [sys.executable, "-m", "pipelines.cli", "label", "--db", self.address]
        command += ["--campaign", CAMPAIGN, "--accounts", "--port", str(self.port), "--no-browser"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while time.monotonic() < begun + timeout_seconds:
            try:
                urllib.request.urlopen(f"{self.url}/api/campaign", timeout=5)
            except urllib.error.HTTPError:  # it answers: nobody is signed in
                return time.monotonic() - begun
            except OSError:
                time.sleep(0.05)
            if self._process.poll() is not None:
                raise RuntimeError(f"the server ended with {self._process.returncode}")
        raise TimeoutError(f"the server did not answer within {timeout_seconds} s")

    def kill(self) -> None:
        """As a crash does it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """As an operator does it."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(timeout=20)

    def count(self, acknowledged: Sequence[str]) -> Json:
        """What became of the acknowledged answers, and whether an item was given out too often."""
        with Store(self.address) as store, store.database.reading() as db:
            held = Counter(db.execute(select(answers.c.submission_id)).scalars())
            in_time = _counts(db.execute(_per_item(answers, answers.c.late.is_(False))))
            live = and_(assignments.c.state == "open", assignments.c.leased_until > time.time())
            leased = _counts(db.execute(_per_item(assignments, live)))
            wanted = _counts(db.execute(select(items.c.id, items.c.wanted)))
        return {
            "lost": sum(held[one] == 0 for one in acknowledged),
            "duplicated": sum(count > 1 for count in held.values()),
            "over_assigned": sum(
                in_time.get(one, 0) + leased.get(one, 0) > most for one, most in wanted.items()
            ),
        }


def _per_item(table: Table, where: ColumnElement[bool]) -> Select[Any]:
    return select(table.c.item_id, func.count()).where(where).group_by(table.c.item_id)


def _counts(rows: Iterable[Any]) -> dict[int, int]:
    return {row[0]: row[1] for row in rows}


def _item(number: int, draw: random.Random) -> Item:
    prompt = Prompt.of(f"Question {number}: " + " ".join(draw.choices(_WORDS, k=20)))
    texts = (f"{letter} " + " ".join(draw.choices(_WORDS, k=60)) for letter in "abcdefghi")
    return Item(prompt, tuple(Response.of(prompt.id, text) for text in texts), wanted=0)


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A real PostgreSQL server over TCP-less sockets in `folder`, from the wheel."""
    import pgserver

    server = pgserver.get_server(folder / "postgres", cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
