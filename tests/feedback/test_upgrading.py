"""A store of the first version becomes one of the newest, whole or not at all."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from hands import claimed, item, ranked
from sqlalchemy import JSON, Connection, bindparam, inspect, text

from rlhf.data.records import Ranking
from rlhf.feedback import database, moving, progress
from rlhf.feedback.database import database_url, open_engine
from rlhf.feedback.recording import item_key
from rlhf.feedback.schema import metadata
from rlhf.feedback.store import Progress, Store

MIGRATIONS = Path(database.__file__).parent / "migrations"
GIVEN = [
    ranked(item(0), "ada", "abc"),
    ranked(item(0), "bob", "cab"),
    ranked(item(1), "ada", "bca"),
]


def old_store(address: str) -> list[Ranking]:
    """A store as version 0001 left it: three rankings (one corrected), a lease, a skip; returns the
    rankings.
    """
    corrected = ranked(item(1), "ada", "cab", supersedes=GIVEN[2].id)
    engine = open_engine(database_url(address))
    with engine.begin() as db:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = db
        command.upgrade(config, "0001")
        put(
            db,
            "campaigns",
            id=1,
            name="main",
            mode="rank",
            guidelines="Be fair.",
            settings={},
            created_at="2026-01-01",
        )
        for number in range(4):
            one = item(number, wanted=1)
            put(db, "prompts", id=one.prompt.id, body=one.prompt.to_json())
            for response in one.responses:
                put(
                    db,
                    "responses",
                    id=response.id,
                    prompt_id=one.prompt.id,
                    body=response.to_json(),
                )
            ids = [response.id for response in one.responses]
            put(
                db,
                "items",
                id=number + 1,
                campaign_id=1,
                prompt_id=one.prompt.id,
                key=item_key(one.prompt.id, ids),
                response_ids=ids,
                position=number,
                wanted=1,
            )
        for labeler in ("ada", "bob"):
            put(db, "labelers", id=labeler, created_at="2026-01-01")
        for item_id, labeler, state in (
            (1, "ada", "done"),
            (1, "bob", "done"),
            (2, "ada", "done"),
            (3, "ada", "skipped"),
            (4, "bob", "open"),
        ):
            put(
                db,
                "assignments",
                item_id=item_id,
                labeler_id=labeler,
                state=state,
                leased_until=9e9,
                reason="",
            )
        for number, ranking in enumerate([*GIVEN, corrected], 1):
            put(
                db,
                "rankings",
                number=number,
                id=ranking.id,
                submission_id=f"s{number}",
                campaign_id=1,
                item_id=1 + (number > 2),
                labeler_id=ranking.labeler_id,
                body=ranking.to_json(),
                superseded=number == 3,
            )
    engine.dispose()
    return [*GIVEN, corrected]


def put(db: Connection, table: str, **row: object) -> None:
    names = ", ".join(row)
    values = text(f"insert into {table} ({names}) values ({', '.join(f':{name}' for name in row)})")
    typed = [
        bindparam(name, type_=JSON) for name in row if name in ("settings", "body", "response_ids")
    ]
    db.execute(values.bindparams(*typed), row)


def state(address: str) -> str:
    """The schema and every row, as the database tells them."""
    if "://" not in address:
        with sqlite3.connect(address) as db:
            return "\n".join(db.iterdump())
    engine = open_engine(database_url(address))
    with engine.connect() as db:
        found = inspect(db)
        told = [
            (
                name,
                found.get_columns(name),
                found.get_indexes(name),
                found.get_foreign_keys(name),
                sorted(map(str, db.execute(text(f"select * from {name}")).all())),
            )
            for name in sorted(found.get_table_names())
        ]
    engine.dispose()
    return str(told)


def test_an_old_store_is_upgraded_when_it_is_opened(address: str) -> None:
    rankings = old_store(address)
    with Store(address) as store:
        made = store.campaign("main")
        assert store.rankings(made, with_superseded=True) == rankings
        assert store.rankings(made) == [rankings[0], rankings[1], rankings[3]]
        assert store.progress(made, "ada") == Progress(wanted=4, done=3, mine=2, labelers=2)
        verified = store.verify()
        assert (verified.findings, verified.answers) == ((), 4)
        assert claimed(store, made, "bob").prompt == item(3).prompt  # the lease is still his
        assert claimed(store, made, "cyd").prompt == item(2).prompt
        assert store.claim(made, "dan") is None
        again = ranked(item(0), "ada", "cba", supersedes=rankings[0].id)
        assert store.record(made, [again]) == 1
        assert store.verify().findings == ()


def test_the_migrations_make_the_tables_of_the_schema(address: str) -> None:
    old_store(address)
    with Store(address) as store, store.database.writing() as db:
        context = MigrationContext.configure(db, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        indexes = {
            index["name"] for one in metadata.tables for index in inspect(db).get_indexes(one)
        }
    assert {index.name for table in metadata.tables.values() for index in table.indexes} <= indexes


@pytest.mark.parametrize("fault", ["in the middle", "at the end", "in the database"])
def test_an_upgrade_that_fails_leaves_the_old_store_untouched(
    address: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_store(address)
    if fault == "in the database":  # somebody made a table of the same name
        engine = open_engine(database_url(address))
        with engine.begin() as db:
            db.execute(text("create table members (id integer)"))
        engine.dispose()
    before = state(address)

    def fail(*_: object) -> None:
        raise KeyError("injected")

    if fault == "at the end":
        monkeypatch.setattr(progress, "count_all", fail)
    elif fault == "in the middle":
        monkeypatch.setattr("alembic.op.bulk_insert", fail)
    with pytest.raises(ValueError, match=r"upgraded from version 0001 to 0003 .*left as it was"):
        Store(address)
    assert state(address) == before
    with pytest.raises(ValueError, match="left as it was"):
        moving.upgrade_store(address)
    assert state(address) == before
    if fault != "in the database":
        monkeypatch.undo()
        with Store(address) as store:
            assert store.verify().findings == ()


def test_upgrade_makes_a_backup_beside_it_first(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    old_store(str(path))
    before = state(str(path))
    done = moving.upgrade_store(path)
    assert (done.before, done.after, done.backup) == ("0001", "0003", tmp_path / "store.db.0001")
    assert state(str(tmp_path / "store.db.0001")) == before
    assert moving.upgrade_store(path).backup is None
    with Store(path) as store:
        assert store.verify().findings == ()


def test_an_old_store_is_backed_up_as_it_is(tmp_path: Path) -> None:
    old_store(str(tmp_path / "store.db"))
    moving.backup(tmp_path / "store.db", tmp_path / "copy.db")
    assert state(str(tmp_path / "copy.db")) == state(str(tmp_path / "store.db"))
    with pytest.raises(ValueError, match="at version 0001, not 0003: `rlhf store upgrade` first"):
        moving.migrate_store(tmp_path / "store.db", str(tmp_path / "other.db"))
    assert not (tmp_path / "other.db").exists()


def test_of_processes_that_open_an_old_store_at_once_one_upgrades(address: str) -> None:
    rankings = old_store(address)
    code = (
        "import sys\nfrom rlhf.feedback.store import Store\n"
        "with Store(sys.argv[1]) as store:\n"
        "    print(len(store.rankings(store.campaign('main'))), store.verify().findings)"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, address],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ,
        )
        for _ in range(4)
    ]
    ended = [process.communicate(timeout=120) for process in started]
    assert [out for out, _ in ended] == ["3 ()\n"] * 4, ended
    assert len(rankings) == 4
