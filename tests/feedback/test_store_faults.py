"""A disk that is full, a file that cannot be written, a database that is gone: one sentence,
nothing half-saved, and work goes on when it is over.
"""

import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hands import answer, campaign, claimed, item
from postgres import FOUND_NOWHERE, SystemServer, programs
from sqlalchemy import Engine, event, text

from rlhf.feedback import database
from rlhf.feedback.database import StoreUnavailableError
from rlhf.feedback.store import Judgement, Store


def fault(action: Callable[[], object]) -> str:
    """What is said: one line, without a statement or a password."""
    with pytest.raises(StoreUnavailableError) as caught:
        action()
    said = str(caught.value)
    assert "\n" not in said
    for word in ("SQL:", "INSERT", "SELECT", "UPDATE", "insert into", "sqlalche.me", "secret"):
        assert word not in said
    return said


def test_a_full_disk_saves_nothing_by_halves_and_is_over_when_there_is_room(tmp_path: Path) -> None:
    with Store(tmp_path / "store.db") as store:
        made = campaign(store, 3)
        task = claimed(store, made, "ada")
        limit = full_disk(store.database.engine)
        said = Judgement(tuple((one,) for one in task.shown))
        long = "reasons " * 20_000

        def send() -> object:
            return store.submit(task.item_id, "ada", said, submission_id="one", rationale=long)

        assert fault(send) == "the disk of the store is full: make room, and send it again"
        assert store.rankings(made) == []
        assert store.verify().findings == ()
        assert store.progress(made).done == 0
        limit(None)
        send()
        send()
        assert [one.rationale for one in store.rankings(made)] == [long]
        assert store.verify().findings == ()


def full_disk(engine: Engine) -> Callable[[int | None], None]:
    """Lets the file grow no further; called with None, it may grow again."""
    pages = [1]

    def limit(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute(f"pragma max_page_count = {pages[0]}")

    def change(_: int | None) -> None:
        pages[0] = 4_000_000

    event.listen(engine, "checkout", limit)
    return change


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("mount") is None, reason="mounts a small disk"
)
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.system(f"mount -t tmpfs -o size=1m tmpfs {disk} 2>/dev/null") != 0:
        pytest.skip("this machine lets nobody mount a disk")
    try:
        with Store(disk / "store.db") as store:
            made = campaign(store, 3)
            task = claimed(store, made, "ada")
            filler = disk / "filler"
            file = os.open(filler, os.O_CREAT | os.O_WRONLY)
            with suppress(OSError):
                while os.write(file, b"0" * 4096):
                    pass
            os.close(file)
            assert "disk of the store is full" in fault(
                lambda: [answer(store, task, str(n)) for n in range(200)]
            )
            kept = store.rankings(made, with_superseded=True)
            filler.unlink()
            answer(store, task, "after")
            assert len(store.rankings(made, with_superseded=True)) == len(kept) + 1
            assert store.verify().findings == ()
    finally:
        os.system(f"umount {disk}")


def test_a_file_that_cannot_be_written_is_read_and_says_so() -> None:
    """As somebody without rights: root may write everything."""
    folder = Path(tempfile.mkdtemp(prefix="rlhf-store-"))
    try:
        with Store(folder / "store.db") as store:
            made = campaign(store, 1)
        folder.chmod(0o755)
        (folder / "store.db").chmod(0o644)

        def work() -> str:
            try:
                with Store(folder / "store.db") as opened:
                    count = len(list(opened.items(made)))
                    return f"{count} items; {fault(lambda: opened.claim(made, 'ada'))}"
            except ValueError as error:
                return str(error)

        said = as_nobody(work)
        assert "readonly database" in said or "read-only" in said or "unable to open" in said
        assert "\n" not in said
        with Store(folder / "store.db") as store:
            assert store.verify().findings == ()
            assert claimed(store, made, "ada").prompt == item(0).prompt
    finally:
        shutil.rmtree(folder)


def as_nobody(work: Callable[[], str]) -> str:
    """What `work` returns in a process without rights."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            said = work()
        except BaseException as error:  # noqa: BLE001 - told to the parent
            said = f"{type(error).__name__}: {error}\n"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        said = told.read()
    os.waitpid(child, 0)
    return said


def test_a_file_that_is_no_database_or_damaged_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with Store(path) as store:
        campaign(store, 300)
    damaged = bytearray(path.read_bytes())
    damaged[4096 * 3 : 4096 * 20] = os.urandom(4096 * 17)
    path.write_bytes(damaged)
    with pytest.raises((ValueError, StoreUnavailableError), match=r"damaged|malformed|cannot open"):
        use(path)


def use(path: Path) -> None:
    with Store(path) as store:
        store.verify()
        list(store.items(store.campaign("main")))


def test_a_store_that_another_program_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_SECONDS", 0.2)
    with Store(tmp_path / "store.db") as store:
        made = campaign(store, 1)
        other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
        other.execute("begin immediate")
        said = fault(lambda: store.claim(made, "ada"))
        assert said == "the store is busy, another program holds it: send it again"
        assert len(list(store.items(made))) == 1  # reading waits for nobody
        other.execute("rollback")
        other.close()
        assert claimed(store, made, "ada").prompt == item(0).prompt


@pytest.fixture
def own_server() -> Iterator[SystemServer]:
    """A PostgreSQL that a test may stop and start."""
    found = programs()
    if found is None:
        pytest.skip(FOUND_NOWHERE)
    folder = Path(tempfile.mkdtemp(prefix="rlhf-postgres-"))
    folder.chmod(0o755)
    server = SystemServer(found, folder)
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def test_postgresql_goes_away_and_comes_back(own_server: SystemServer) -> None:
    with Store(own_server.url.replace("postgres@", "postgres:secret@")) as store:
        made = campaign(store, 4)
        task = claimed(store, made, "ada")
        answer(store, task, "one")
        own_server.stop()
        for action in (
            lambda: store.claim(made, "ada"),
            lambda: answer(store, task, "two"),
            lambda: store.progress(made),
        ):
            assert fault(action).startswith("the database cannot be reached")
        own_server.start()
        answer(store, task, "two")
        answer(store, task, "two")
        assert len(store.rankings(made, with_superseded=True)) == 2
        assert store.verify().findings == ()


def test_a_connection_that_breaks_in_the_middle_saves_nothing_by_halves(
    own_server: SystemServer,
) -> None:
    with Store(own_server.url) as store:
        made = campaign(store, 4)

        def break_off() -> None:
            with store.database.writing() as db:
                db.execute(text("update items set wanted = 9"))
                own_server.stop()
                db.execute(text("update items set wanted = 8"))

        assert fault(break_off).startswith("the database cannot be reached")
        own_server.start()
        assert {one.wanted for one in store.items(made)} == {1}


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    with pytest.raises(ValueError, match="cannot open the store at postgresql") as caught:
        Store("postgresql://ada:secret@127.0.0.1:9/labels")
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="this is no database URL") as caught:
        Store("postgresql://ada:sec:ret@[::1/labels")
    assert "ret" not in str(caught.value).replace("letter", "")


@pytest.mark.parametrize("words", ["a\x00b", "\U0001f600", "\u202eabc", "'; drop table items; --"])
def test_odd_texts_are_kept_on_both(store: Store, words: str) -> None:
    made = campaign(store, 2)
    task = claimed(store, made, "ada")
    store.save_draft(task.item_id, "ada", {"rationale": words})
    assert claimed(store, made, "ada").draft == {"rationale": words}
    said = Judgement(tuple((one,) for one in task.shown))
    store.submit(task.item_id, "ada", said, submission_id="one", rationale=words)
    assert store.rankings(made)[0].rationale == words
    other = claimed(store, made, "ada")
    store.flag(other.item_id, "ada", "other", words)
    store.skip(other.item_id, "ada", words)
    store.change_campaign(made, by="lea", guidelines=words, note=words)
    assert store.verify().findings == ()


def test_numbers_that_no_database_holds_are_refused(store: Store) -> None:
    made = campaign(store, 1)
    for huge in (2**40, 2**70):
        with pytest.raises(ValueError, match=r"not given this item|cannot hold"):
            store.submit(huge, "ada", Judgement(), submission_id="one")
    assert store.rankings(made) == []


def test_many_wait_for_a_connection(store: Store) -> None:
    """More threads than connections: they wait, and all are served."""
    made = campaign(store, 60)
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            answer(store, claimed(store, made, f"l{number}"), str(number))
        except BaseException as error:  # noqa: BLE001 - told to the test
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert store.progress(made).done == 60
