"""The service as a process of its own for the benchmarks, on SQLite or on PostgreSQL."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import sqlalchemy as sa
import yaml
from pydantic import SecretStr

from lsst.ts.ocps.sandbox.environment import child_environment
from lsst.ts.ocps.service.config import read_database_url
from lsst.ts.ocps.service.job_ids import JobIds
from lsst.ts.ocps.service.schema import StoredJob
from lsst.ts.ocps.service.store import Store
from lsst.ts.ocps.service.watch import PhaseWatch
from lsst.ts.ocps.uws.jobs import Job, Parameter
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.ports import free_port
from support.postgresql import find_postgresql, running_cluster
from support.stack import wait_for_http

from .run_measures import BENCH_PAYLOADS

__all__ = ["NUM_OWNERS", "OWNER_HEADER", "ServicePlace", "open_places"]

NUM_OWNERS = 20
"""Jobs belong to so many owners, ``owner-0`` and so on, one after another."""

OWNER_HEADER = "X-Auth-Request-User"

_ADDED_AT_ONCE = 2000
_STOP_TIMEOUT = 20.0


@dataclass(frozen=True)
class ServicePlace:
    """A database, and a data folder that services share."""

    kind: str
    """What kind of database."""

    folder: Path
    database_url: str | None = None
    """None: SQLite in that folder."""

    @contextmanager
    def run(self, *, has_owners: bool = False) -> Iterator[tuple[str, psutil.Process]]:
        """Run a service until the end of the block: its URL, and its process.

        Parameters
        ----------
        has_owners
            Whether whoever asks says in the header `OWNER_HEADER` who they are; else everybody sees all.
        """
        port = free_port()
        config = self.folder / f"service-{port}.yaml"
        access = {"mode": "proxy", "header": OWNER_HEADER, "networks": ["127.0.0.1"]}
        config.write_text(yaml.safe_dump({"access": access} if has_owners else {}))
        command = [sys.executable, "-m", "lsst.ts.ocps.cli.main", "service", "--port", str(port)]
        command += ["--config", str(config), "--payloads", str(BENCH_PAYLOADS), "--data", str(self.folder)]
        secrets = {} if self.database_url is None else {"OCPS_DATABASE_URL": self.database_url}
        with (
            (self.folder / "service.log").open("ab") as log,
            subprocess.Popen(command, env=child_environment(secrets), stdout=log, stderr=log) as process,
        ):
            try:
                url = f"http://127.0.0.1:{port}"
                wait_for_http(f"{url}/availability")
                yield url, psutil.Process(process.pid)
            finally:
                process.terminate()
                process.wait(_STOP_TIMEOUT)

    def measure_size(self) -> int:
        """How large the database is (byte)."""
        if self.database_url is None:
            return (self.folder / "jobs.sqlite").stat().st_size
        engine = sa.create_engine(read_database_url(SecretStr(self.database_url)))
        try:
            with engine.connect() as connection:
                return connection.scalar(sa.text("SELECT pg_database_size(current_database())")) or 0
        finally:
            engine.dispose()

    async def store_jobs(self, num: int) -> Sequence[str]:
        """Have the database remember completed jobs of the last days; no service runs. Ids of some."""
        url = self.database_url
        where = self.folder / "jobs.sqlite" if url is None else read_database_url(SecretStr(url))
        store = await Store.open(where, PhaseWatch())
        ids, now = JobIds(), datetime.now(UTC)
        jobs = [
            StoredJob(
                Job(
                    job_id=ids.next(),
                    phase=ExecutionPhase.COMPLETED,
                    run_id=f"bench-{number}",
                    owner_id=f"owner-{number % NUM_OWNERS}",
                    creation_time=now - timedelta(seconds=num - number),
                    execution_duration=600,
                    destruction=now + timedelta(days=7),
                    parameters=(Parameter("duration", "1"),),
                    version="1.1",
                ),
                payload="noop" if number % 10 == 0 else "timed",
                executor="local",
                outputs=".",
            )
            for number in range(num)
        ]
        try:
            for first in range(0, num, _ADDED_AT_ONCE):
                _ = await asyncio.gather(*(store.add(job) for job in jobs[first : first + _ADDED_AT_ONCE]))
        finally:
            await store.aclose()
        return [job.job_id for job in jobs if job.payload == "timed"]


@contextmanager
def open_places(folder: Path) -> Iterator[Sequence[ServicePlace]]:
    """A place for each kind of database that this machine has."""
    sqlite = ServicePlace("SQLite", folder / "sqlite")
    sqlite.folder.mkdir()
    if find_postgresql() is None:
        yield [sqlite]
        return
    with running_cluster() as cluster:
        cluster.execute("CREATE DATABASE bench")
        postgresql = ServicePlace("PostgreSQL", folder / "postgresql", cluster.url("bench"))
        postgresql.folder.mkdir()
        yield [sqlite, postgresql]
