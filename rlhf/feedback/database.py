"""Opening the database: engine, pragmas, migrations; reading and writing.

SQLite needs `BEGIN IMMEDIATE` for what writes, or two labelers claim the same item without an
error; what only reads takes no lock, and in WAL mode never waits for a writer.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event, inspect
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DatabaseError, NoSuchModuleError

HEAD = "0002"
BUSY_TIMEOUT_SECONDS = 30
_READING = {"rlhf_reading": True}


class Database:
    """The database at `address`: a path (SQLite) or a database URL, at the newest version.

    Raises ValueError where the file is not a database, cannot be opened, or was written by a newer
    version.
    """

    def __init__(self, address: str | Path) -> None:
        self.url = database_url(address)
        self.engine = open_engine(self.url)
        try:
            _migrate(self.engine)
        except DatabaseError as error:
            self.engine.dispose()
            raise ValueError(f"cannot open the store at {self.name}: {error.orig}") from error
        except Exception:
            self.engine.dispose()
            raise
        self._reader = self.engine.execution_options(**_READING)

    @property
    def name(self) -> str:
        """The address as it may be shown: a path, or a URL without its password."""
        url = self.url
        if url.get_backend_name() == "sqlite":
            return str(url.database)
        return url.render_as_string(hide_password=True)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction that may write: all of it is saved, or none."""
        with self.engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads."""
        with self._reader.begin() as connection:
            yield connection

    def close(self) -> None:
        """Gives the connections back; the files can then be moved."""
        self.engine.dispose()


def database_url(address: str | Path) -> URL:
    """The URL of an address; PostgreSQL's is given the driver that comes with this project."""
    if not (isinstance(address, str) and "://" in address):
        return make_url(f"sqlite:///{Path(address).absolute()}")
    url = make_url(address)
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    return url


def open_engine(url: URL) -> Engine:
    """An engine with what each kind of database needs; nothing is migrated."""
    if url.get_backend_name() == "sqlite":
        Path(url.database or "").parent.mkdir(parents=True, exist_ok=True)
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


def _set_pragmas(connection: object, _record: object) -> None:
    connection.isolation_level = None  # type: ignore[attr-defined]
    cursor = connection.cursor()  # type: ignore[attr-defined]
    for pragma in ("journal_mode=wal", "foreign_keys=on", "synchronous=full"):
        cursor.execute(f"pragma {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    reading = connection.get_execution_options().get("rlhf_reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _migrate(engine: Engine) -> None:
    with engine.connect() as connection:
        if inspect(connection).has_table("alembic_version"):
            version = connection.exec_driver_sql("select version_num from alembic_version").scalar()
            if version == HEAD:
                return
            if version is not None and str(version) > HEAD:
                raise ValueError(
                    f"the store is at version {version}, this program knows {HEAD}: install a "
                    "newer rlhf-pipeline"
                )
    upgrade(engine)


def upgrade(engine: Engine) -> None:
    """Brings the tables to the newest version, in one transaction: whole, or as it was."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
