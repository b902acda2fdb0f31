"""The UWS service alone: a process of its own, asked over HTTP from this one."""

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median, quantiles
from urllib.parse import urlsplit

import psutil

from lsst.ts.ocps.sandbox.environment import child_environment
from lsst.ts.ocps.service.job_ids import JobIds
from lsst.ts.ocps.service.schema import StoredJob
from lsst.ts.ocps.service.store import Store
from lsst.ts.ocps.service.watch import PhaseWatch
from lsst.ts.ocps.uws.codec import parse_job
from lsst.ts.ocps.uws.jobs import Job, Parameter
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.ports import free_port
from support.stack import wait_for_http

from .bare_http import BareClient, Waiter
from .run_measures import BENCH_PAYLOADS
from .tables import Grid

__all__ = ["measure_service"]

NUM_STORED = (1000, 10_000, 100_000)
QUICK_NUM_STORED = (100, 1000)
NUM_WAITERS = 1000
NUM_WORKERS = 16
"""So many clients create jobs, one after another, while the rate is measured."""

LIST = "/timed/async?LAST=100"
_ADDED_AT_ONCE = 2000
_STOP_TIMEOUT = 20.0
_NOOP = "/noop/async"
_COLUMNS = (
    "jobs stored",
    "start (ms)",
    "create to COMPLETED (ms)",
    "jobs a second",
    "GET job (ms)",
    "GET job, 99 % (ms)",
    "list of 100 (ms)",
    "list of 100 of all payloads (ms)",
    "list of the executing (ms)",
    f"memory with {NUM_WAITERS} waiting (MB)",
    "end of job to last answer (ms)",
    "database (MB)",
)


class _ServiceProcess:
    """The service on one data folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.url = f"http://127.0.0.1:{free_port()}"

    @property
    def database(self) -> Path:
        return self._folder / "jobs.sqlite"

    @contextmanager
    def run(self) -> Iterator[psutil.Process]:
        """Run it until the end of the block."""
        port = str(urlsplit(self.url).port)
        command = [sys.executable, "-m", "lsst.ts.ocps.cli.main", "service", "--port", port]
        command += ["--payloads", str(BENCH_PAYLOADS), "--data", str(self._folder)]
        with (
            (self._folder / "service.log").open("ab") as log,
            subprocess.Popen(command, env=child_environment({}), stdout=log, stderr=log) as process,
        ):
            try:
                wait_for_http(f"{self.url}/availability")
                yield psutil.Process(process.pid)
            finally:
                process.terminate()
                process.wait(_STOP_TIMEOUT)


async def measure_service(folder: Path, *, quick: bool) -> Grid:
    """Everything, with more and more jobs of earlier days in the database: a row for each number."""
    grid = Grid("the UWS service", list(_COLUMNS))
    data = folder / "service-bench"
    data.mkdir()
    service = _ServiceProcess(data)
    job_ids: list[str] = []
    for num in QUICK_NUM_STORED if quick else NUM_STORED:
        job_ids += await _store_jobs(service.database, num - len(job_ids))
        grid.rows.append([str(num), *await _measure_row(service, job_ids, quick=quick)])
    return grid


async def _store_jobs(database: Path, num: int) -> Sequence[str]:
    """Have the database remember completed jobs of the last days; the service does not run."""
    ids, store, now = JobIds(), await Store.open(database, PhaseWatch()), datetime.now(UTC)
    jobs = [
        StoredJob(
            Job(
                job_id=ids.next(),
                phase=ExecutionPhase.COMPLETED,
                run_id=f"bench-{number}",
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


async def _measure_row(service: _ServiceProcess, job_ids: Sequence[str], *, quick: bool) -> list[str]:
    begin = time.perf_counter()
    with service.run() as process:
        start = time.perf_counter() - begin
        async with BareClient.connect(service.url) as client:
            await _run_noop(client)
            runs = [await _run_noop(client) for _ in range(10 if quick else 50)]
            chosen = random.choices(job_ids, k=200 if quick else 2000)  # noqa: S311 (no secret)
            gets = [await _time_get(client, f"/timed/async/{job_id}") for job_id in chosen]
            lists = {
                target: [await _time_get(client, target) for _ in range(10 if quick else 50)]
                for target in (LIST, "/jobs?LAST=100", "/timed/async?PHASE=EXECUTING")
            }
        rate = await _measure_rate(service.url, 3 if quick else 15)
        resident, late = await _measure_waiters(service.url, process)
        size = service.database.stat().st_size / 1e6
    return [
        f"{1e3 * start:.0f}",
        f"{1e3 * median(runs):.1f} (max {1e3 * max(runs):.0f})",
        f"{rate:.0f}",
        f"{1e3 * median(gets):.2f}",
        f"{1e3 * quantiles(gets, n=100)[-1]:.2f}",
        *(f"{1e3 * median(times):.1f} (max {1e3 * max(times):.0f})" for times in lists.values()),
        f"{resident:.0f}",
        f"{1e3 * late:.0f}",
        f"{size:.0f}",
    ]


async def _run_noop(client: BareClient) -> float:
    begin = time.perf_counter()
    created = await client.post(_NOOP, PHASE="RUN")
    path, phase = urlsplit(created.headers["location"]).path, ExecutionPhase.QUEUED
    while phase is not ExecutionPhase.COMPLETED:
        job = parse_job((await client.get(f"{path}?WAIT=30&PHASE={phase}")).body, path)
        phase = job.phase
        assert phase in {ExecutionPhase.QUEUED, ExecutionPhase.EXECUTING, ExecutionPhase.COMPLETED}, job
    return time.perf_counter() - begin


async def _time_get(client: BareClient, target: str) -> float:
    begin = time.perf_counter()
    answer = await client.get(target)
    assert answer.status == 200, answer
    return time.perf_counter() - begin


async def _measure_rate(url: str, seconds: float) -> float:
    """Jobs that do nothing, from several clients at a time (1/s)."""
    begin = time.perf_counter()

    async def work() -> int:
        count = 0
        async with BareClient.connect(url) as client:
            while time.perf_counter() - begin < seconds:
                await _run_noop(client)
                count += 1
        return count

    counts = await asyncio.gather(*(work() for _ in range(NUM_WORKERS)))
    return sum(counts) / (time.perf_counter() - begin)


async def _measure_waiters(url: str, process: psutil.Process) -> tuple[float, float]:
    """Many who wait for one job: resident memory then (MB), and end of the job to the last answer (s)."""
    async with BareClient.connect(url) as client:
        job_url = (await client.post("/timed/async", PHASE="RUN", duration="300")).headers["location"]
        path = urlsplit(job_url).path
        await client.get(f"{path}?WAIT=30&PHASE=QUEUED")
        waiters = [Waiter(f"{job_url}?WAIT=50&PHASE=EXECUTING") for _ in range(NUM_WAITERS)]
        try:
            for waiter in waiters:
                await waiter.connect()
            await _until_idle(process)
            resident = process.memory_info().rss / 1e6
            await client.post(f"{path}/phase", PHASE="ABORT")
            answered = await asyncio.gather(*(waiter.answered for waiter in waiters))
        finally:
            for waiter in waiters:
                waiter.close()
        job = parse_job((await client.get(path)).body, path)
    assert job.end_time is not None
    return resident, max(answered) - job.end_time.timestamp()


async def _until_idle(process: psutil.Process) -> None:
    """Wait until a process computes nothing."""
    before = -1.0
    while (now := sum(process.cpu_times()[:2])) - before > 0.01:
        before = now
        await asyncio.sleep(0.3)
