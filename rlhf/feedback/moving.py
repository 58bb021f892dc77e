"""A store as a whole: backed up while it is in use, copied between SQLite and PostgreSQL, upgraded.

All or nothing: what fails leaves no file and no table behind.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Integer, Table, func, inspect, select, text
from sqlalchemy.engine import URL

from rlhf.feedback.database import (
    HEAD,
    database_url,
    faults_explained,
    migrate,
    open_engine,
    reading_engine,
    shown_name,
    upgrade_tables,
    version_of,
)
from rlhf.feedback.schema import audit_head, metadata
from rlhf.feedback.verifying import Verified, verify

_ROWS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Moved:
    """Where a copy is, how many rows each table has, and what verifying it found."""

    target: str
    rows: dict[str, int]
    verified: Verified


@dataclass(frozen=True, slots=True)
class Upgraded:
    """From which version to which; `backup` is the copy that was made before (SQLite)."""

    before: str
    after: str
    backup: Path | None


def check_there(address: str | Path) -> URL:
    """The URL of a store that has to exist; ValueError where there is no such file."""
    url = database_url(address)
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).is_file():
        raise ValueError(f"no store at {url.database}: give the path of its file, or its URL")
    return url


def backup(address: str | Path, to: Path) -> Verified:
    """A consistent copy of a store, as one SQLite file, while others work in it; checks the copy.

    Raises ValueError where `to` is there already.
    """
    url = check_there(address)
    if to.exists():
        raise ValueError(f"{to} is there already: a backup never replaces a file, name another")
    if url.get_backend_name() != "sqlite":
        return migrate_store(address, str(to)).verified
    with _new_file(to) as part, faults_explained():
        _copy_file(Path(str(url.database)), part)
        engine = open_engine(database_url(part))
        try:
            if version_of(engine) != HEAD:  # an older store is copied as it is
                return Verified(0, 0, 0, "", ())
            with engine.begin() as connection:
                return verify(connection)
        finally:
            engine.dispose()


def _copy_file(source: Path, part: Path) -> None:
    """By SQLite's own backup, from one moment; the copy is one file, without a log beside it."""
    try:
        with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(part)) as new:
            old.backup(new)
            new.execute("pragma journal_mode = delete")
    except sqlite3.DatabaseError as error:
        raise ValueError(f"{source} cannot be backed up: {error}") from error


@contextmanager
def _new_file(path: Path) -> Iterator[Path]:
    """A file beside `path`, for its owner's eyes, that takes its name once it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        yield part
        with closing(sqlite3.connect(part)) as whole:
            whole.execute("pragma journal_mode = delete")
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.link(part, path)  # unlike a rename, never replaces what came there meanwhile
    finally:
        for name in (part.name, f"{part.name}-wal", f"{part.name}-shm"):
            part.with_name(name).unlink(missing_ok=True)


def migrate_store(address: str | Path, to: str | Path) -> Moved:
    """Copies all of a store into an empty database, of the same kind or the other, and checks that
    every row came and that the log is whole.

    Raises ValueError where `to` holds anything, and where the store is of another version.
    """
    source, target = check_there(address), database_url(to)
    if source == target:
        raise ValueError(f"{shown_name(source)} cannot be copied to itself: name another database")
    if target.get_backend_name() != "sqlite" or Path(str(target.database)).exists():
        return _moved(source, target, target)
    with _new_file(Path(str(target.database))) as part:
        return _moved(source, database_url(part), target)


def _moved(source: URL, into: URL, target: URL) -> Moved:
    old, new = open_engine(source), open_engine(into)
    try:
        with faults_explained():
            version = version_of(old)
            if version != HEAD:
                raise ValueError(
                    f"the store at {shown_name(source)} is at version {version or 'none'}, not "
                    f"{HEAD}: `rlhf store upgrade` first"
                )
            with reading_engine(old).begin() as reading, new.begin() as writing:
                _check_empty(writing, shown_name(target))
                rows = _copy_rows(reading, writing)
                whole = verify(writing)
                if whole != verify(reading) or rows != _counts(writing):
                    raise ValueError("the copy is not what was copied: nothing was kept of it")
                return Moved(shown_name(target), rows, whole)
    finally:
        old.dispose()
        new.dispose()


def _check_empty(db: Connection, name: str) -> None:
    """Makes the tables where there are none; ValueError where a table holds a row."""
    there = set(inspect(db).get_table_names())
    if there and not set(metadata.tables) <= there:
        raise ValueError(
            f"{name} holds other tables ({', '.join(sorted(there))[:100]}): give an empty database"
        )
    upgrade_tables(db)
    full = {table: count for table, count in _counts(db).items() if count}
    if full not in ({}, {"audit_head": 1}) or db.execute(select(audit_head.c.number)).scalar():
        raise ValueError(f"{name} is not empty ({full}): give an empty database")
    db.execute(audit_head.delete())


def _counts(db: Connection) -> dict[str, int]:
    return {
        table.name: db.execute(select(func.count()).select_from(table)).scalar_one()
        for table in metadata.sorted_tables
    }


def _copy_rows(reading: Connection, writing: Connection) -> dict[str, int]:
    rows = {}
    for table in metadata.sorted_tables:
        query = select(table).order_by(*table.primary_key)
        found = reading.execute(query.execution_options(yield_per=_ROWS_AT_ONCE)).mappings()
        rows[table.name] = 0
        for some in found.partitions():
            writing.execute(table.insert(), [dict(row) for row in some])
            rows[table.name] += len(some)
        _set_counter(writing, table)
    return rows


def _set_counter(db: Connection, table: Table) -> None:
    """PostgreSQL counts on from what was copied."""
    key = table.autoincrement_column
    if db.dialect.name != "postgresql" or key is None or not isinstance(key.type, Integer):
        return
    counter = db.execute(
        text("select pg_get_serial_sequence(:table, :key)"), {"table": table.name, "key": key.name}
    ).scalar()
    if counter is not None:
        last = select(func.setval(counter, func.coalesce(func.max(key), 1), func.count() > 0))
        db.execute(last.select_from(table))


def upgrade_store(address: str | Path) -> Upgraded:
    """Brings a store to the newest version; a SQLite file is copied beside itself before.

    Raises ValueError where there is no store, and where the upgrade fails: it is left as it was.
    """
    url = check_there(address)
    engine = open_engine(url)
    try:
        with faults_explained():
            before = version_of(engine)
            if before is None:
                raise ValueError(f"{shown_name(url)} holds no store")
            copy = None
            if before < HEAD and url.get_backend_name() == "sqlite":
                copy = _free_name(Path(str(url.database)), before)
                backup(address, copy)
            migrate(engine)
    finally:
        engine.dispose()
    return Upgraded(before, HEAD, copy)


def _free_name(path: Path, version: str) -> Path:
    tried = path.with_name(f"{path.name}.{version}")
    number = 1
    while tried.exists():
        number += 1
        tried = path.with_name(f"{path.name}.{version}-{number}")
    return tried
