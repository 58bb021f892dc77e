"""Stores copied as a whole: backups while people work, between SQLite and PostgreSQL, all or
nothing.
"""

import sqlite3
import stat
import threading
from pathlib import Path

import pytest
from hands import answer, campaign, claimed, item
from postgres import fresh_database
from sqlalchemy import text

from rlhf.feedback import moving
from rlhf.feedback.schema import metadata
from rlhf.feedback.store import Store


def fill(store: Store) -> None:
    """All tables that are filled by working: a correction, a skip, a draft, a withdrawal."""
    made = campaign(store, 6, wanted=2)
    store.change_campaign(made, by="lea", settings={"gold_share": 0.1}, note="more checks")
    task = claimed(store, made, "ada")
    answer(store, task, "1", "abc")
    answer(store, task, "2", "cba")
    other = claimed(store, made, "bob")
    store.flag(other.item_id, "bob", "harmful", "\u202ea note\x00")
    store.save_draft(other.item_id, "bob", {"ranks": {"é": 1.5}})
    answer(store, claimed(store, made, "cyd"), "3", "bca")
    store.skip(claimed(store, made, "cyd").item_id, "cyd", "too long")
    store.consent(store.campaign("main"), "ada", 1)
    store.open_reviews(made, below=1.1)
    gone = claimed(store, made, "dan")
    answer(store, gone, "4")
    store.withdraw("dan")


def contents(address: str | Path) -> dict[str, list[str]]:
    """Every row of every table, as the program reads it."""
    with Store(address) as store, store.database.reading() as db:
        return {
            name: sorted(str(tuple(row)) for row in db.execute(table.select()).all())
            for name, table in metadata.tables.items()
        }


@pytest.fixture(params=["sqlite", "postgresql"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "target" / "copy.db")
    return str(request.getfixturevalue("target_url"))


@pytest.fixture
def target_url(postgres_server: str) -> str:
    return fresh_database(postgres_server)


def test_a_store_is_copied_whole_between_databases(address: str, target: str) -> None:
    with Store(address) as store:
        fill(store)
        moved = moving.migrate_store(address, target)  # while the store is open
    assert contents(target) == contents(address)
    assert moved.rows["answers"] == 4
    assert moved.verified.findings == ()
    with Store(target) as copy:  # and work goes on in it
        made = copy.campaign("main")
        answer(copy, claimed(copy, made, "eve"), "5")
        copy.add_items(made, [item(99)])
        copy.create_campaign("next")
        assert copy.verify().findings == ()


def test_a_store_is_copied_into_an_empty_store_too(address: str, target: str) -> None:
    with Store(address) as store:
        fill(store)
    Store(target).close()
    moving.migrate_store(address, target)
    assert contents(target) == contents(address)


def test_a_copy_never_lands_on_another_store(address: str, target: str) -> None:
    with Store(address) as store:
        fill(store)
    with Store(target) as store:
        store.create_campaign("mine")
    before = contents(target)
    with pytest.raises(ValueError, match="is not empty"):
        moving.migrate_store(address, target)
    assert contents(target) == before
    with pytest.raises(ValueError, match="copied to itself"):
        moving.migrate_store(address, address)


def test_a_copy_that_fails_leaves_nothing(
    address: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store(address) as store:
        fill(store)
    counted = moving._counts
    calls = iter((counted, lambda db: {**counted(db), "answers": 0}))
    monkeypatch.setattr(moving, "_counts", lambda db: next(calls)(db))  # noqa: PLW0108
    with pytest.raises(ValueError, match="the copy is not what was copied"):
        moving.migrate_store(address, target)
    monkeypatch.undo()
    if "://" not in target:
        assert list(Path(target).parent.iterdir()) == []
    moving.migrate_store(address, target)  # it is as empty as before
    assert contents(target) == contents(address)


def test_a_database_of_something_else_is_left_alone(tmp_path: Path) -> None:
    Store(tmp_path / "store.db").close()
    with sqlite3.connect(tmp_path / "other.db") as db:
        db.execute("create table recipes (id integer)")
    with pytest.raises(ValueError, match=r"holds other tables \(recipes"):
        moving.migrate_store(tmp_path / "store.db", str(tmp_path / "other.db"))
    with pytest.raises(ValueError, match=r"no store at .*typo\.db"):
        moving.migrate_store(tmp_path / "typo.db", str(tmp_path / "new.db"))
    assert not (tmp_path / "typo.db").exists()


def test_a_backup_is_one_moment_of_a_store_in_use(address: str, tmp_path: Path) -> None:
    copies = [tmp_path / "copies" / f"{number}.db" for number in range(3)]
    with Store(address) as store:
        made = campaign(store, 200)
        stop = threading.Event()

        def work(labeler: str) -> None:
            for number in range(200):
                task = store.claim(made, labeler)
                if task is None or stop.is_set():
                    return
                answer(store, task, f"{labeler}-{number}")

        threads = [threading.Thread(target=work, args=(name,)) for name in ("ada", "bob")]
        for thread in threads:
            thread.start()
        found = [moving.backup(address, copy) for copy in copies]
        stop.set()
        for thread in threads:
            thread.join()
        for copy, verified in zip(copies, found, strict=True):
            assert verified.findings == ()
            assert stat.S_IMODE(copy.stat().st_mode) == 0o600
            assert sorted(copy.parent.glob(f"{copy.name}*")) == [copy]
            with Store(copy) as restored:
                assert restored.progress(made).done == verified.answers <= 200
                assert set(restored.rankings(made)) <= set(store.rankings(made))
                assert restored.verify().findings == ()
    with pytest.raises(ValueError, match="never replaces a file"):
        moving.backup(address, copies[0])


def test_a_backup_of_what_is_no_store_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no database, but long enough to look like one. " * 40)
    with pytest.raises(ValueError, match="file is not a database"):
        moving.backup(tmp_path / "notes.txt", tmp_path / "copies" / "copy.db")
    assert list((tmp_path / "copies").iterdir()) == []


def test_a_damaged_store_is_backed_up_as_it_is_and_says_so(tmp_path: Path) -> None:
    with Store(tmp_path / "store.db") as store:
        fill(store)
        with store.database.writing() as db:
            db.execute(text("update answers set late = 1 where number = 2"))
    found = moving.backup(tmp_path / "store.db", tmp_path / "copy.db")
    assert found.findings[0].startswith("answer 2 was altered")
    assert contents(tmp_path / "copy.db") == contents(tmp_path / "store.db")
