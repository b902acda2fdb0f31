"""Many runs at a time on a slow back end: what becomes of them, and what they do to each other.

Broker, registry and CSC are processes of their own, and so is the back end: `uws_double`, a UWS 1.1 server
with WAIT whose answers take as long as asked. It tells no job with its redirects, so that the CSC has to read
each job for itself.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from lsst.ts.ocps.salobj import AckError, Domain, Remote, SalRetCode, State, set_summary_state
from lsst.ts.ocps.sandbox.parts import CSC_INDEX
from support.stack import ProcessStack

from .tables import Grid
from .uws_double import PAYLOAD, Counts, UwsDouble
from .watched_csc import WatchedCsc

__all__ = ["BENCH_PAYLOADS", "Crowd", "measure_matrix", "running_csc"]

BENCH_PAYLOADS = Path(__file__).parent / "payloads"
"""Folder with the payloads of the benchmarks."""

NUM_RUNS = (1, 10, 50, 200, 1000)
DELAYS = (0.002, 0.05, 0.25, 2.0)
"""How long the back end takes for an answer (s)."""

QUICK_CELLS = ((10, 0.002), (50, 0.25))
DURATION = 1.0
"""How long a job lasts (s)."""

LONG = (200, 0.05, 60.0)
"""One more measurement, with jobs that last for longer than servers block: runs, delay (s), duration (s)."""

WAIT = 30.0
"""How long the CSC asks a server to wait (s), its default."""

PATIENCE = 600.0
"""How long a run may take, with a thousand others on the slowest back end (s)."""

_SETTLING = 1.5
"""Between two crowds: the CSC has written its last list of active jobs (s)."""


@dataclass
class Crowd:
    """Runs that are sent at once, and one more that is sent while they are under way."""

    remote: Remote
    num: int
    duration: float
    first_acks: list[float] = field(default_factory=list)
    """Time from the command to its first acknowledgement (s)."""

    probe: float = 0.0
    """The same of the run that was sent when half of the others had theirs (s)."""

    whole: float = 0.0
    """Time from the first command to the last final acknowledgement (s)."""

    finals: Counter[str] = field(default_factory=Counter)
    """How the commands ended."""

    results: Counter[str] = field(default_factory=Counter)
    """How many ``job_result`` were written, by run_id."""

    beats: list[float] = field(default_factory=list)
    """When the CSC wrote its heartbeats (TAI, Unix s)."""

    async def run(self) -> None:
        """Send them all, and return when each has its end."""
        half = asyncio.Event()
        self.remote.evt_heartbeat.callback = self._note_heartbeat
        self.remote.evt_job_result.callback = self._note_result
        begin = time.perf_counter()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self.num):
                    _ = group.create_task(self._command(partial(self._note_first, half)))
                await half.wait()
                await self._command(self._note_probe)
            self.whole = time.perf_counter() - begin
            await asyncio.sleep(_SETTLING)
        finally:
            self.remote.evt_heartbeat.callback = None
            self.remote.evt_job_result.callback = None

    @property
    def beat_gap(self) -> float:
        """The longest time between two heartbeats (s); 0 if there were not two."""
        return max((later - earlier for earlier, later in pairwise(self.beats)), default=0.0)

    def complaints(self, counts: Counts) -> list[str]:
        """What was lost or doubled, of the probe too."""
        expected = self.num + 1
        wrong = {
            **{text: number for text, number in self.finals.items() if text != SalRetCode.CMD_COMPLETE.name},
            "without job_result": expected - len(self.results),
            "with several job_results": sum(count > 1 for count in self.results.values()),
            "without job": expected - len(counts.creations),
            "with several jobs": sum(count > 1 for count in counts.creations.values()),
        }
        return [f"{number} {what}" for what, number in wrong.items() if number]

    def _note_first(self, half: asyncio.Event, seconds: float) -> None:
        self.first_acks.append(seconds)
        if len(self.first_acks) >= self.num / 2:
            half.set()

    def _note_probe(self, seconds: float) -> None:
        self.probe = seconds

    async def _command(self, note_first: Callable[[float], None]) -> None:
        """Send one, tell the time to its first acknowledgement (s), and wait for its end."""
        begin = time.perf_counter()
        try:
            try:
                ack = await self.remote.cmd_run.set_start(
                    payload=PAYLOAD,
                    parameters=json.dumps({"duration": self.duration}),
                    wait_done=False,
                    timeout=PATIENCE,
                )
            finally:
                note_first(time.perf_counter() - begin)
            final = await self.remote.cmd_run.next_ackcmd(ack, timeout=PATIENCE)
        except AckError as error:
            self.finals[f"{SalRetCode(error.ackcmd.ack).name}: {error.ackcmd.result}"] += 1
        else:
            self.finals[SalRetCode(final.ack).name] += 1

    async def _note_heartbeat(self, data: Any) -> None:
        self.beats.append(data.private_sndStamp)

    async def _note_result(self, data: Any) -> None:
        self.results[json.loads(data.result)["runId"]] += 1


@asynccontextmanager
async def running_csc(stack: ProcessStack, csc: WatchedCsc) -> AsyncIterator[Remote]:
    """A CSC that is ENABLED, and a Remote of it; it is stopped with the block."""
    include = ["summaryState", "heartbeat", "job_result"]
    async with Domain() as domain, Remote(domain, "OCPS", CSC_INDEX, include=include) as remote:
        remote.evt_summaryState.flush()
        csc.follow(stack.start_csc(csc.command))
        try:
            await remote.evt_summaryState.next(flush=False, timeout=30)
            await set_summary_state(remote, State.ENABLED, timeout=30)
            yield remote
        finally:
            stack.stop_csc()


async def measure_matrix(stack: ProcessStack, folder: Path, *, quick: bool) -> Grid:
    """All numbers of runs on all back ends: a row for each pair."""
    grid = Grid(
        f"{stack.broker}: concurrent runs",
        [
            "runs",
            "jobs last (s)",
            "answers take (ms)",
            "lost, doubled",
            "whole (s)",
            "first ack (ms)",
            "first ack of one more run (ms)",
            "heartbeat gap (ms)",
            "stall (ms)",
            "stall, computing (ms)",
            "requests a job",
            "computing a run (ms)",
        ],
    )
    csc = WatchedCsc(folder / "watched.jsonl", CSC_INDEX)
    async with UwsDouble.run() as double:
        stack.use_backend(double.url, [BENCH_PAYLOADS])
        async with running_csc(stack, csc) as remote:
            await double.set_delay(0)
            await Crowd(remote, 5, 0).run()
            cells = [(num, delay, DURATION) for num in NUM_RUNS for delay in DELAYS]
            if quick:
                cells = [cell for cell in cells if cell[:2] in QUICK_CELLS]
            else:
                cells.append(LONG)
            for num, delay, duration in cells:
                grid.rows.append(await _measure_cell(Crowd(remote, num, duration), delay, csc, double))
    return grid


async def _measure_cell(crowd: Crowd, delay: float, csc: WatchedCsc, double: UwsDouble) -> list[str]:
    await double.set_delay(delay)
    await csc.take_stalls()
    began = csc.computing
    await crowd.run()
    stall, computing = await csc.take_stalls()
    counts = await double.read_counts()
    requests = list(counts.jobs.values())
    mean = (sum(requests) + counts.lists) / len(requests)
    return [
        f"{crowd.num} + 1",
        f"{crowd.duration:g}",
        f"{1e3 * delay:g}",
        "; ".join(crowd.complaints(counts)) or "0",
        f"{crowd.whole:.1f}",
        f"{1e3 * median(crowd.first_acks):.0f} (max {1e3 * max(crowd.first_acks):.0f})",
        f"{1e3 * crowd.probe:.0f}",
        f"{1e3 * crowd.beat_gap:.0f}",
        f"{1e3 * stall:.0f}",
        f"{1e3 * computing:.0f}",
        f"{mean:.2f} of {6 + crowd.duration / WAIT:.2f}; {counts.lists} lists",
        f"{1e3 * (csc.computing - began) / (crowd.num + 1):.1f}",
    ]
