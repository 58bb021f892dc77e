"""Opening the database: engine, pragmas, migrations.

SQLite needs `BEGIN IMMEDIATE` for every transaction, or two labelers claim the same item without
an error.
"""

from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event, inspect
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError

HEAD = "0001"
BUSY_TIMEOUT_SECONDS = 30


def open_database(address: str | Path) -> Engine:
    """An engine on a path (SQLite) or a database URL, with its tables at the newest version.

    Raises ValueError where the file is not a database, cannot be opened, or was written by a newer
    version.
    """
    url = make_url(address) if isinstance(address, str) and "://" in address else None
    if url is None:
        Path(address).parent.mkdir(parents=True, exist_ok=True)
        url = make_url(f"sqlite:///{Path(address).absolute()}")
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_SECONDS})
        event.listen(engine, "connect", _set_pragmas)
        event.listen(engine, "begin", _begin_immediate)
    else:
        engine = create_engine(url, pool_pre_ping=True)
    try:
        _migrate(engine)
    except DatabaseError as error:
        engine.dispose()
        raise ValueError(f"cannot open the store at {address}: {error.orig}") from error
    except Exception:
        engine.dispose()
        raise
    return engine


def _set_pragmas(connection: object, _record: object) -> None:
    connection.isolation_level = None  # type: ignore[attr-defined]
    cursor = connection.cursor()  # type: ignore[attr-defined]
    for pragma in ("journal_mode=wal", "foreign_keys=on", "synchronous=full"):
        cursor.execute(f"pragma {pragma}")
    cursor.close()


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


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
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
