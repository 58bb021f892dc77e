"""Opening the database: engine, pragmas, migrations; reading and writing; what faults mean.

SQLite needs `BEGIN IMMEDIATE` for what writes, or two labelers claim the same item without an
error; what only reads takes no lock, and in WAL mode never waits for a writer.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event, inspect
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DataError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from rlhf.data.identity import Json

HEAD = "0003"
BUSY_TIMEOUT_SECONDS = 30
_READING = {"rlhf_reading": True}
_UPGRADING = 0x726C6866  # PostgreSQL's advisory lock of whoever makes or upgrades the tables

# What a database says, and what it means to whoever reads it.
_MEANINGS = (
    ("disk is full", "the disk of the store is full: make room, and send it again"),
    ("No space left", "the disk of the store is full: make room, and send it again"),
    ("database is locked", "the store is busy, another program holds it: send it again"),
    ("readonly database", "the store is read-only: make its file and folder writable"),
    ("disk I/O error", "the disk of the store cannot be read or written: look at its health"),
    ("malformed", "the file of the store is damaged: restore a backup"),
)


class StoreUnavailableError(RuntimeError):
    """The database is full, locked, read-only or gone: one sentence, without the statement.

    Nothing is half-saved. Where the connection broke while saving, sending the same submission
    again is safe: it is saved once.
    """


class Database:
    """The database at `address`: a path (SQLite) or a database URL, at the newest version.

    Raises ValueError where the file is not a database, cannot be opened, or was written by a newer
    version. Reading and writing raise StoreUnavailableError where the database fails.
    """

    def __init__(self, address: str | Path) -> None:
        self.url = database_url(address)
        self.engine = open_engine(self.url)
        try:
            migrate(self.engine)
        except DatabaseError as error:
            self.engine.dispose()
            raise ValueError(f"cannot open the store at {self.name}: {_cause(error)}") from error
        except Exception:
            self.engine.dispose()
            raise
        self._reader = reading_engine(self.engine)

    @property
    def name(self) -> str:
        """The address as it may be shown: a path, or a URL without its password."""
        return shown_name(self.url)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction that may write: all of it is saved, or none."""
        with faults_explained(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads, and sees the store as it was at one moment."""
        with faults_explained(), self._reader.begin() as connection:
            yield connection

    def close(self) -> None:
        """Gives the connections back; the files can then be moved."""
        self.engine.dispose()


def shown_name(url: URL) -> str:
    """An address as it may be shown: a path, or a URL without its password."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.render_as_string(hide_password=True)


@contextmanager
def faults_explained() -> Iterator[None]:
    """Raises StoreUnavailableError where the database fails, ValueError for what it cannot hold;
    faults of this program stay what they are.
    """
    try:
        yield
    except (IntegrityError, ProgrammingError):
        raise
    except (DataError, OverflowError) as error:
        raise ValueError(f"the store cannot hold this: {_cause(error)}") from error
    except PoolTimeoutError as error:
        raise StoreUnavailableError("the store is busy, all its connections are in use") from error
    except DBAPIError as error:
        cause = _cause(error)
        meant = next((meaning for words, meaning in _MEANINGS if words in cause), None)
        if meant is None and _is_gone(error):
            meant = "the database cannot be reached, or closed the connection: send it again"
        raise StoreUnavailableError(meant or f"the store failed: {cause}") from error


def _is_gone(error: DBAPIError) -> bool:
    """Whether PostgreSQL could not be reached: no code, or one of class 08 or 57 (it is ending)."""
    code = getattr(error.orig, "sqlstate", "")
    return error.connection_invalidated or code is None or code.startswith(("08", "57"))


def _cause(error: Exception) -> str:
    """What the driver said, in one line: no statement, no parameters."""
    said = str(error.orig if isinstance(error, DBAPIError) else error)
    return said.strip().splitlines()[0] if said.strip() else type(error).__name__


def database_url(address: str | Path) -> URL:
    """The URL of an address; PostgreSQL's is given the driver that comes with this project."""
    if not (isinstance(address, str) and "://" in address):
        return make_url(f"sqlite:///{Path(address).absolute()}")
    try:
        url = make_url(address)
    except (ArgumentError, ValueError) as error:
        raise ValueError(
            "this is no database URL: write postgresql://USER:PASSWORD@HOST:PORT/NAME, with what "
            "is not a letter or a digit in the password as %XX"
        ) from error
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    return url


def open_engine(url: URL) -> Engine:
    """An engine with what each kind of database needs; nothing is migrated."""
    if url.get_backend_name() == "sqlite":
        path = Path(url.database or "")
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():  # logins and what people said: for the owner alone
            path.touch(mode=0o600)
        engine = create_engine(
            url, connect_args={"timeout": BUSY_TIMEOUT_SECONDS}, pool_size=16, max_overflow=16
        )
        event.listen(engine, "connect", _set_pragmas)
        event.listen(engine, "begin", _begin)
        return engine
    try:
        return create_engine(url, pool_pre_ping=True, pool_size=16, max_overflow=16)
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise ValueError(
            f"cannot open a store of the kind {url.drivername!r} ({error}): use a path for SQLite, "
            "or postgresql:// with `pip install 'rlhf-pipeline[postgres]'`"
        ) from error


def reading_engine(engine: Engine) -> Engine:
    """The engine with transactions that only read, each from one moment."""
    if engine.dialect.name == "postgresql":
        return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return engine.execution_options(**_READING)


def _set_pragmas(connection: object, _record: object) -> None:
    connection.isolation_level = None  # type: ignore[attr-defined]
    cursor = connection.cursor()  # type: ignore[attr-defined]
    _write_ahead(cursor)
    for pragma in ("foreign_keys=on", "synchronous=full"):
        cursor.execute(f"pragma {pragma}")
    cursor.close()


def _write_ahead(cursor: sqlite3.Cursor) -> None:
    """Switches to the write-ahead log, which stays. Of two that switch a new file at once, SQLite
    refuses one on the spot, whatever its timeout: it asks again.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            cursor.execute("pragma journal_mode=wal")
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _begin(connection: Connection) -> None:
    reading = connection.get_execution_options().get("rlhf_reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def version_of(engine: Engine) -> str | None:
    """The version of the tables; None where there are none yet."""
    with reading_engine(engine).connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        found = connection.exec_driver_sql("select version_num from alembic_version").scalar()
        return None if found is None else str(found)


def migrate(engine: Engine) -> None:
    """Makes or upgrades the tables where they are not at the newest version, in one transaction:
    whole, or as they were.

    Raises ValueError for tables of a newer version, and where an upgrade fails.
    """
    version = version_of(engine)
    if version == HEAD:
        return
    if version is not None and version > HEAD:
        raise ValueError(
            f"the store is at version {version}, this program knows {HEAD}: install a newer "
            "rlhf-pipeline"
        )
    try:
        with engine.begin() as connection:
            upgrade_tables(connection)
    except Exception as error:
        if version is None:
            raise
        raise ValueError(
            f"the store at {shown_name(engine.url)} could not be upgraded from version {version} "
            f"to {HEAD} ({_cause(error)}): it was left as it was"
        ) from error


def upgrade_tables(connection: Connection) -> None:
    """Brings the tables to the newest version, inside the caller's transaction. Whoever comes
    second waits, and finds it done.
    """
    from alembic import command
    from alembic.config import Config

    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"select pg_advisory_xact_lock({_UPGRADING})")
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


InsertNew = Callable[[Table], Any]  # either of the two below: alike, but not one type
INSERTS: dict[str, InsertNew] = {"postgresql": postgresql.insert, "sqlite": sqlite_insert}


def insert_new(db: Connection, table: Table, rows: Sequence[Json]) -> int:
    """Inserts the rows whose keys are not there yet, whoever else inserts them at the same time;
    returns how many were new.
    """
    insert = INSERTS[db.dialect.name]
    key = next(iter(table.primary_key))
    saved = insert(table).on_conflict_do_nothing().returning(key)  # drivers tell no row count
    return sum(db.execute(saved, row).first() is not None for row in rows)


def insert_missing(db: Connection, table: Table, rows: Sequence[Json]) -> None:
    """What `insert_new` does, for many rows at once and uncounted."""
    insert = INSERTS[db.dialect.name]
    if rows:
        db.execute(insert(table).on_conflict_do_nothing().inline(), list(rows))
