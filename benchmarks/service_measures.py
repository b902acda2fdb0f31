"""The UWS service alone: a process of its own, asked over HTTP from this one."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from urllib.parse import urlsplit

import psutil

from lsst.ts.ocps.uws.codec import parse_job
from lsst.ts.ocps.uws.phases import ExecutionPhase

from .bare_http import BareClient, Waiter
from .service_process import OWNER_HEADER, ServicePlace, open_places
from .tables import Grid

__all__ = ["measure_service"]

NUM_STORED = (1000, 10_000, 100_000)
QUICK_NUM_STORED = (100, 1000)
NUM_WAITERS = 1000
NUM_WORKERS = 16
"""So many clients create jobs, one after another, while the rate is measured."""

LIST = "/timed/async?LAST=100"
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
    "list of 100 of one of 20 owners (ms)",
    "list of all (ms)",
    "longest GET job meanwhile (ms)",
    f"memory with {NUM_WAITERS} waiting (MB)",
    "end of job to last answer (ms)",
    "computing meanwhile (ms)",
    "the same, aborted at another process (ms)",
    "database (MB)",
)
_LISTS = (LIST, "/jobs?LAST=100", "/timed/async?PHASE=EXECUTING")


async def measure_service(folder: Path, *, quick: bool) -> list[Grid]:
    """Everything, with more and more jobs of earlier days in the database: a row for each number.

    There is a grid for each kind of database.
    """
    grids = []
    with open_places(folder) as places:
        for place in places:
            grid = Grid(f"the UWS service with {place.kind}", list(_COLUMNS))
            grids.append(grid)
            job_ids: list[str] = []
            stored = 0
            for num in QUICK_NUM_STORED if quick else NUM_STORED:
                job_ids += await place.store_jobs(num - stored)
                stored = num
                grid.rows.append([str(num), *await _measure_row(place, job_ids, quick=quick)])
    return grids


async def _measure_row(place: ServicePlace, job_ids: Sequence[str], *, quick: bool) -> list[str]:
    num, few = (200, 10) if quick else (2000, 50)
    begin = time.perf_counter()
    with place.run() as (url, process):
        start = time.perf_counter() - begin
        async with BareClient.connect(url) as client:
            await _run_noop(client)
            runs = [await _run_noop(client) for _ in range(few)]
            chosen = random.choices(job_ids, k=num)  # noqa: S311 (no secret)
            gets = [await _time_get(client, f"/timed/async/{job_id}") for job_id in chosen]
            lists = [[await _time_get(client, target) for _ in range(few)] for target in _LISTS]
        whole, longest = await _measure_whole_list(url, job_ids[0])
        rate = await _measure_rate(url, 3 if quick else 15)
        waiting = await _measure_waiters(url, url, process)
        if place.database_url is not None:
            with place.run() as (other_url, other):
                elsewhere = await _measure_waiters(url, other_url, other)
    with place.run(has_owners=True) as (url, _):
        async with BareClient.connect(url, **{OWNER_HEADER: "owner-7"}) as client:
            lists.append([await _time_get(client, LIST) for _ in range(few)])
    return [
        f"{1e3 * start:.0f}",
        _spread(runs, 1),
        f"{rate:.0f}",
        f"{1e3 * median(gets):.2f}",
        f"{1e3 * quantiles(gets, n=100)[-1]:.2f}",
        *(_spread(times, 1) for times in lists),
        f"{1e3 * whole:.0f}",
        f"{1e3 * longest:.0f}",
        *waiting.to_cells(),
        "" if place.database_url is None else elsewhere.to_cells()[1],
        f"{place.measure_size() / 1e6:.0f}",
    ]


def _spread(times: Sequence[float], digits: int) -> str:
    return f"{1e3 * median(times):.{digits}f} (max {1e3 * max(times):.0f})"


async def _measure_whole_list(url: str, job_id: str) -> tuple[float, float]:
    """A list of all jobs (s), and the longest that a GET of one job takes meanwhile (s)."""
    async with BareClient.connect(url) as client, BareClient.connect(url) as other:
        await _time_get(client, f"/timed/async/{job_id}")
        listing = asyncio.create_task(_time_get(other, "/jobs"), name="whole list")
        longest = 0.0
        while not listing.done():
            longest = max(longest, await _time_get(client, f"/timed/async/{job_id}"))
    return await listing, longest


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


@dataclass(frozen=True)
class _Waited:
    """A thousand who have waited for one job."""

    resident: float
    """Memory of the service while they waited (MB)."""

    late: float
    """From the end of the job to the last answer (s)."""

    computing: float
    """What the service computed from before the end of the job to the last answer (s)."""

    def to_cells(self) -> list[str]:
        """The cells of a row."""
        return [f"{self.resident:.0f}", f"{1e3 * self.late:.0f}", f"{1e3 * self.computing:.0f}"]


async def _measure_waiters(url: str, url_of_waiters: str, process: psutil.Process) -> _Waited:
    """Many who wait for one job, perhaps at another process than the one at which it is aborted."""
    async with BareClient.connect(url) as client:
        job_url = (await client.post("/timed/async", PHASE="RUN", duration="300")).headers["location"]
        path = urlsplit(job_url).path
        await client.get(f"{path}?WAIT=30&PHASE=QUEUED")
        waited_for = f"{url_of_waiters}{path}?WAIT=50&PHASE=EXECUTING"
        waiters = [Waiter(waited_for) for _ in range(NUM_WAITERS)]
        try:
            for waiter in waiters:
                await waiter.connect()
            await _until_idle(process)
            resident, before = process.memory_info().rss / 1e6, sum(process.cpu_times()[:2])
            await client.post(f"{path}/phase", PHASE="ABORT")
            answered = await asyncio.gather(*(waiter.answered for waiter in waiters))
            computing = sum(process.cpu_times()[:2]) - before
        finally:
            for waiter in waiters:
                waiter.close()
        job = parse_job((await client.get(path)).body, path)
    assert job.end_time is not None
    return _Waited(resident, max(answered) - job.end_time.timestamp(), computing)


async def _until_idle(process: psutil.Process) -> None:
    """Wait until a process computes nothing."""
    before = -1.0
    while (now := sum(process.cpu_times()[:2])) - before > 0.01:
        before = now
        await asyncio.sleep(0.3)
