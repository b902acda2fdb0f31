"""What is measured of the SAL runtime alone: a CSC, a Remote and a broker, without jobs."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from statistics import fmean, median
from typing import Any

import psutil

from lsst.ts.ocps.salobj import Controller, Domain, Remote

from .measures import BareBroker
from .stalls import StallWatch
from .tables import Figures

__all__ = ["measure_memory", "measure_sal"]

WAIT = 60.0
"""Longest wait for anything that has to come (s)."""

OLD_HEARTBEAT = 3.5
"""After this time nobody takes the last heartbeat for that of a living CSC (s)."""

NUM_WRITTEN = 5000
BATCH_SIZE = 50
"""Events written at once, and awaited together; while they are encoded nothing else runs."""

NUM_READ = 20_000

_INDEX = 41


@contextmanager
def run_program(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run one of `sal_programs`; it is ended with the block."""
    with subprocess.Popen([sys.executable, "-m", "benchmarks.sal_programs", *arguments]) as process:
        try:
            yield process
        finally:
            process.terminate()


@asynccontextmanager
async def watch_stalls(figures: Figures) -> AsyncIterator[None]:
    """Note the longest time for which the event loop did nothing else."""
    async with StallWatch() as watch:
        try:
            yield
        finally:
            longest, longest_computing = watch.take()
            figures.add("longest stall of the event loop", 1e3 * longest)
            figures.add("longest stall of the event loop, computing", 1e3 * longest_computing)


async def measure_start(figures: Figures, program: str, name: str, config: Path, n: int) -> None:
    """Process start to the first summaryState, the duplicate check included; old heartbeats are there."""
    async with Domain() as domain, Remote(domain, "Test", _INDEX) as remote:
        for _ in range(n):
            remote.evt_summaryState.flush()
            begin = time.perf_counter()
            with run_program(program, str(_INDEX), "--configdir", str(config)) as process:
                await remote.evt_summaryState.next(flush=False, timeout=WAIT)
                figures.add(name, 1e3 * (time.perf_counter() - begin))
                computing = psutil.Process(process.pid).cpu_times()
                figures.add(f"{name}: computing time", 1e3 * (computing.user + computing.system))
                process.terminate()
                await asyncio.to_thread(process.wait, WAIT)
            await asyncio.sleep(OLD_HEARTBEAT)


REMOTES: Mapping[str, Sequence[str] | None] = {
    "Remote of all topics": None,
    "Remote of commands and one event": ["summaryState"],
}
"""What a Remote includes: the more topics, the more every fetch costs."""


async def measure_commands(figures: Figures, address: str, config: Path, n: int) -> None:
    """Round trips of a command that does nothing, each beside one of a bare record on the same broker."""
    for kind, include in REMOTES.items():
        await measure_commands_of(figures, kind, include, address, config, n)
        await asyncio.sleep(OLD_HEARTBEAT)


async def measure_commands_of(  # noqa: PLR0917 (all of one call)
    figures: Figures, kind: str, include: Sequence[str] | None, address: str, config: Path, n: int
) -> None:
    """Those of one kind of Remote."""
    async with (
        Domain() as domain,
        Remote(domain, "Test", _INDEX, include=include) as remote,
        BareBroker.connect(address, f"bench.sal.bare.{len(kind)}") as bare,
    ):
        remote.evt_summaryState.flush()
        with run_program("csc", str(_INDEX), "--configdir", str(config)):
            await remote.evt_summaryState.next(flush=False, timeout=WAIT)
            await asyncio.sleep(OLD_HEARTBEAT)
            await remote.cmd_setLogLevel.set_start(level=20, timeout=WAIT)
            for _ in range(n):
                begin = time.perf_counter()
                await bare.send_and_receive()
                middle = time.perf_counter()
                await remote.cmd_setLogLevel.set_start(level=20, timeout=WAIT)
                end = time.perf_counter()
                figures.add(f"{kind}: bare round trip beside the commands", 1e3 * (middle - begin))
                figures.add(f"{kind}: command to COMPLETE", 1e3 * (end - middle))
    commands = median(figures.samples[f"{kind}: command to COMPLETE"])
    floor = median(figures.samples[f"{kind}: bare round trip beside the commands"])
    figures.add(f"{kind}: command to COMPLETE, in bare round trips (medians)", commands / floor)


async def measure_writing(figures: Figures, n: int) -> None:
    """Events of 20 fields, written in batches and awaited."""
    async with Controller("Test", _INDEX + 1) as controller:
        await controller.evt_scalars.set_write(int0=-1)
        for _ in range(n):
            async with watch_stalls(figures):
                begin, begin_computing = time.perf_counter(), time.process_time()
                for first in range(0, NUM_WRITTEN, BATCH_SIZE):
                    await asyncio.gather(
                        *(
                            controller.evt_scalars.set_write(int0=number, string0="an event")
                            for number in range(first, first + BATCH_SIZE)
                        )
                    )
                figures.add("events written (1/s)", NUM_WRITTEN / (time.perf_counter() - begin))
                computing = (time.process_time() - begin_computing) / NUM_WRITTEN
                figures.add("computing time of an event written (µs)", 1e6 * computing)


async def measure_reading(figures: Figures, n: int) -> None:
    """Events of 20 fields that are there already, as after a while without a reader."""
    async with (
        Controller("Test", _INDEX + 2) as controller,
        Domain() as domain,
        Remote(domain, "Test", _INDEX + 2) as remote,
    ):
        await controller.evt_scalars.set_write(int0=0, string0="an event")
        topic = controller.evt_scalars.topic_info.kafka_name(controller.salinfo.settings.topic_subname)
        await remote.evt_scalars.next(flush=True, timeout=WAIT)
        for _ in range(n):
            # On purpose in this thread: while the loop stands still, all of it is written.
            subprocess.run(  # noqa: ASYNC221 (see above)
                [sys.executable, "-m", "benchmarks.sal_programs", "flood", topic, str(NUM_READ)], check=True
            )
            async with watch_stalls(figures):
                begin, begin_computing = time.perf_counter(), time.process_time()
                for _ in range(NUM_READ):
                    await remote.evt_scalars.next(flush=False, timeout=WAIT)
                figures.add("events read (1/s)", NUM_READ / (time.perf_counter() - begin))
                computing = (time.process_time() - begin_computing) / NUM_READ
                figures.add("computing time of an event read (µs)", 1e6 * computing)
        figures.add("events lost", remote.evt_scalars.num_dropped)


async def measure_sal(figures: Figures, folder: Path, *, quick: bool) -> None:
    """Measure the SAL runtime on the broker of the environment."""
    config = folder / "bench_config"
    config.mkdir()
    (config / "_init.yaml").write_text("string0: bench\nint0: 1\n", encoding="utf-8")
    address = os.environ["LSST_KAFKA_BROKER_ADDR"]  # noqa: TID251 (set by run_stack)
    n = 1 if quick else 5
    await measure_start(figures, "csc", "CSC of component Test: start to first summaryState", config, n)
    await measure_start(figures, "csc-with-remote", "the same with a Remote in the process", config, n)
    with_remote = median(figures.samples["the same with a Remote in the process"])
    without = median(figures.samples["CSC of component Test: start to first summaryState"])
    figures.add("start-up cost of a Remote (medians)", with_remote - without)
    await measure_commands(figures, address, config, 20 if quick else 300)
    await measure_writing(figures, n)
    await measure_reading(figures, n)


async def measure_memory(figures: Figures, seconds: float) -> None:
    """Resident memory of a process that writes and reads events: the last tenth against the second one."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.sal_programs", "soak", str(seconds)),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(seconds + WAIT):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    report: dict[str, Any] = json.loads(output)
    resident: Sequence[float] = report["resident"]
    tenth = max(1, len(resident) // 10)
    early, late = fmean(resident[tenth : 2 * tenth]), fmean(resident[-tenth:])
    name = f"{seconds:g} s of events"
    figures.add(f"{name}: rate (1/s)", report["written"] / seconds)
    figures.add(f"{name}: events lost", report["written"] - report["read"])
    figures.add(f"{name}: resident memory after a tenth (MB)", early)
    figures.add(f"{name}: growth of the memory from there (%)", 100 * (late / early - 1))
