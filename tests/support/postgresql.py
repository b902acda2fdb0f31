"""A private PostgreSQL cluster for the system tests, and the databases that the service is tested on.

A test that asks for `each_database` runs once for each kind in `DATABASE_KINDS`; one that asks for
`postgresql_database` runs on PostgreSQL only, and gets the marks `ON_POSTGRESQL`.
"""

import gc
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from support.ports import free_port
from support.processes import suspended

__all__ = [
    "DATABASE_KINDS",
    "ON_POSTGRESQL",
    "PASSWORD",
    "PostgresqlCluster",
    "find_postgresql",
    "running_cluster",
]

PASSWORD = "open%20sesame"
"""As it stands in a URL."""

_START_TIMEOUT = 60.0
_STOP_TIMEOUT = 30.0

ON_POSTGRESQL = [pytest.mark.system, pytest.mark.xdist_group("postgresql")]
"""Marks of a test that needs PostgreSQL; one worker has them all, so that the cluster starts once."""

DATABASE_KINDS = ("sqlite", pytest.param("postgresql", marks=ON_POSTGRESQL))


def find_postgresql() -> Path | None:
    """The folder of its programs; None if it is not installed (Debian package ``postgresql``)."""
    if (program := shutil.which("postgres")) is not None:
        return Path(program).resolve().parent
    versions = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    return max((path.parent for path in versions), key=lambda path: float(path.parent.name), default=None)


class PostgresqlCluster:
    """A server on a free port; it keeps nothing for power failures."""

    def __init__(self) -> None:
        programs = find_postgresql()
        assert programs is not None, "PostgreSQL is not installed (see tests/support/system_needs.py)"
        self._programs = programs
        self._directory = Path(tempfile.mkdtemp(prefix="ocps-postgresql-"))
        # The server refuses to run as root.
        self._user: dict[str, Any] = {}
        if os.getuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self._user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(self._directory, nobody.pw_uid, nobody.pw_gid)
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def initialize(self) -> None:
        """Make the cluster, with one user."""
        password = self._directory / "password"
        password.write_text(PASSWORD.replace("%20", " "))
        options = ["--username=ocps", f"--pwfile={password}", "--auth=scram-sha-256", "--no-sync"]
        command = [str(self._programs / "initdb"), *options, "--encoding=UTF8", "--locale=C.UTF-8"]
        subprocess.run(
            [*command, str(self._data)],
            **self._user,
            cwd=self._directory,
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=_START_TIMEOUT,
        )

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        settings = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            # A database cannot be dropped while a client that has given up is still waited for.
            "authentication_timeout": "5s",
        }
        options = [text for name, value in settings.items() for text in ("-c", f"{name}={value}")]
        with (self._directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, *options],
                **self._user,
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        asking = [
            str(self._programs / "pg_isready"),
            "-q",
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-t",
            "1",
        ]
        for _ in range(int(_START_TIMEOUT / 0.05)):
            if subprocess.run(asking, check=False).returncode == 0:
                return
            try:
                self.process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
            break
        raise AssertionError((self._directory / "log").read_text())

    def stop(self) -> None:
        """End the server and its connections."""
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(signal.SIGINT)
            process.wait(_STOP_TIMEOUT)

    def close(self) -> None:
        """Leave nothing behind."""
        self.stop()
        shutil.rmtree(self._directory)

    def url(self, database: str) -> str:
        """The URL of a database."""
        return f"postgresql://ocps:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str, *, database: str = "postgres") -> list[Any]:
        """Execute a statement of the test."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def run(self, program: str, *arguments: str) -> None:
        """Run one of its programs to its end."""
        subprocess.run([str(self._programs / program), *arguments], check=True, timeout=_START_TIMEOUT)

    @asynccontextmanager
    async def frozen(self) -> AsyncIterator[None]:
        """All its processes do nothing for a while, and keep their connections."""
        assert self.process is not None
        # The first one first: it makes the others.
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(suspended(self.process.pid))
            for child in psutil.Process(self.process.pid).children():
                await stack.enter_async_context(suspended(child.pid))
            yield

    @property
    def _data(self) -> Path:
        return self._directory / "data"


@contextmanager
def running_cluster() -> Iterator[PostgresqlCluster]:
    """A cluster that is started, and gone at the end."""
    cluster = PostgresqlCluster()
    try:
        cluster.initialize()
        cluster.start()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture(scope="session")
def postgresql_cluster() -> Iterator[PostgresqlCluster]:
    """A cluster that all tests share; one that stops it makes its own."""
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture
def postgresql_database(postgresql_cluster: PostgresqlCluster) -> Iterator[str]:
    """The URL of an empty database."""
    name = f"test_{uuid.uuid4().hex}"
    postgresql_cluster.execute(f"CREATE DATABASE {name}")
    yield postgresql_cluster.url(name)
    # The driver closes a connection whose making was cancelled when it is collected.
    gc.collect()
    postgresql_cluster.execute(f"DROP DATABASE {name} WITH (FORCE)")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Choose the databases of each test that asks for one."""
    if "database_kind" in metafunc.fixturenames:
        metafunc.parametrize("database_kind", DATABASE_KINDS)


@pytest.fixture
def each_database(request: pytest.FixtureRequest, database_kind: str) -> dict[str, str]:
    """One after another what tells a service to use a database of each kind."""
    if database_kind == "sqlite":
        return {}
    return {"database_url": request.getfixturevalue("postgresql_database")}
