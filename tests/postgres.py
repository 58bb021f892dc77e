"""A real PostgreSQL for tests: one server a session, a fresh database for each that asks."""

import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rlhf.feedback.store import Store

FOUND_NOWHERE = (
    "no PostgreSQL to test with: `pip install pgserver` (Python up to 3.12), or install "
    "PostgreSQL's server (initdb and pg_ctl) on this machine"
)


@contextmanager
def running_server() -> Iterator[str | None]:
    """The URL of a server that is ended afterwards; None where there is no PostgreSQL."""
    folder = Path(tempfile.mkdtemp(prefix="rlhf-postgres-"))
    folder.chmod(0o755)  # a server that is not root's has to reach its data
    try:
        for serve in (_from_wheel, _from_system):
            started = serve(folder)
            if started is not None:
                url, stop = started
                try:
                    _hurry(url)
                    yield url
                finally:
                    stop()
                return
        yield None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _hurry(url: str) -> None:
    """What a test has saved need not survive a power cut."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            connection.execute(f"alter system set {setting} = off".encode())
        connection.execute("select pg_reload_conf()")


def _from_wheel(folder: Path) -> tuple[str, Callable[[], object]] | None:
    try:
        from pgserver.postgres_server import get_server
    except ImportError:
        return None
    server = get_server(folder / "data", cleanup_mode="stop")
    return str(server.get_uri()), server.cleanup


class SystemServer:
    """A server of this machine's PostgreSQL, which can be stopped and started again."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs, self.data, self.log = programs, folder / "data", folder / "log"
        self.user = _unprivileged()
        self.data.mkdir()
        shutil.chown(self.data, self.user)
        shutil.chown(folder, self.user)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._run("initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8")
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = f"-h 127.0.0.1 -p {self.port} -c unix_socket_directories=''"
        self._run("pg_ctl", "-w", "-l", str(self.log), "-o", options, "start")

    def stop(self) -> None:
        if not (self.data / "postmaster.pid").exists():
            return
        self._run("pg_ctl", "-w", "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), "-D", str(self.data), *arguments]
        subprocess.run(
            command, check=True, user=self.user, stdout=subprocess.DEVNULL, cwd="/", timeout=60
        )


def _unprivileged() -> str:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)


def programs() -> Path | None:
    """Where initdb and pg_ctl are: the system's, newest version first, else the wheel's."""
    found = [Path(one).parent for one in (shutil.which("initdb"),) if one]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    wheel = importlib.util.find_spec("pgserver")
    if wheel is not None and wheel.origin is not None:
        found.append(Path(wheel.origin).parent / "pginstall" / "bin")
    return next((folder for folder in found if (folder / "initdb").exists()), None)


def _from_system(folder: Path) -> tuple[str, Callable[[], object]] | None:
    folder_of_programs = programs()
    if folder_of_programs is None:
        return None
    server = SystemServer(folder_of_programs, folder)
    return server.url, server.stop


def fresh_database(server_url: str) -> str:
    """The URL of a new, empty database on the server."""
    import psycopg
    from sqlalchemy.engine import make_url

    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f'create database "{name}"'.encode())
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server; skips where there is none."""
    with running_server() as url:
        if url is None:
            pytest.skip(FOUND_NOWHERE)
        yield url


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """The URL of a fresh PostgreSQL database."""
    return fresh_database(postgres_server)


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a store that is not there yet, on each kind of database."""
    if request.param == "sqlite":
        return str(tmp_path / "store.db")
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def store(address: str) -> Iterator[Store]:
    """A new store on each kind of database."""
    with Store(address) as opened:
        yield opened
