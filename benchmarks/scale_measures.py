"""What many runs leave behind: memory of a CSC after ten thousand of them, and the start on a long ledger."""

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import median

from lsst.ts.ocps.csc.ledger import Ledger
from lsst.ts.ocps.csc.records import RECORD, RunRecord
from lsst.ts.ocps.salobj import Domain, Remote
from lsst.ts.ocps.sandbox.parts import CSC_INDEX
from support.stack import ProcessStack

from .run_measures import BENCH_PAYLOADS, Crowd, running_csc
from .tables import Figures
from .uws_double import UwsDouble
from .watched_csc import WatchedCsc

__all__ = ["measure_scale"]

BATCH = 200
"""Runs at a time."""

OLD_HEARTBEAT = 3.5
"""After this time nobody takes the last heartbeat for that of a living CSC (s)."""

_IDLE = 3.0
"""So long does a CSC do nothing before its memory is looked at (s)."""

_ADDED_AT_ONCE = 2000
_DAY = 86400.0


async def measure_scale(stack: ProcessStack, folder: Path, *, quick: bool) -> Figures:
    """Memory after many runs on a back end that answers at once, then starts on a ledger full of them."""
    figures = Figures(f"{stack.broker}: many runs")
    async with UwsDouble.run() as double:
        stack.use_backend(double.url, [BENCH_PAYLOADS])
        await _measure_memory(figures, stack, folder, double, 600 if quick else 10_000)
    await _measure_start(figures, stack, 2000 if quick else 100_000, 1 if quick else 5)
    return figures


async def _measure_memory(
    figures: Figures, stack: ProcessStack, folder: Path, double: UwsDouble, num: int
) -> None:
    csc = WatchedCsc(folder / "watched.jsonl", CSC_INDEX)
    async with running_csc(stack, csc) as remote:
        await double.set_delay(0)
        # Code is loaded and connections are made, as on any day.
        await Crowd(remote, 5, 0).run()
        await asyncio.sleep(_IDLE)
        idle = csc.resident
        figures.add("resident memory of an idle CSC (MB)", idle)
        for done in range(0, num, BATCH):
            await double.set_delay(0)
            crowd = Crowd(remote, BATCH - 1, 0)
            await crowd.run()
            complaints = crowd.complaints(await double.read_counts())
            assert not complaints, f"after {done} runs: {complaints}"
            figures.add(f"runs, {BATCH} at a time (1/s)", BATCH / crowd.whole)
        await asyncio.sleep(_IDLE)
        figures.add(f"growth of the memory by {num} finished runs (MB)", csc.resident - idle)


async def _measure_start(figures: Figures, stack: ProcessStack, num: int, n: int) -> None:
    await asyncio.sleep(OLD_HEARTBEAT)
    await _fill_ledger(stack.ledger, num)
    name = f"start to first summaryState, {num} old runs in the ledger"
    include = ["summaryState"]
    async with Domain() as domain, Remote(domain, "OCPS", CSC_INDEX, include=include) as remote:
        for _ in range(n):
            remote.evt_summaryState.flush()
            begin = time.perf_counter()
            csc = stack.start_csc()
            await remote.evt_summaryState.next(flush=False, timeout=60)
            figures.add(name, 1e3 * (time.perf_counter() - begin))
            times = csc.cpu_times()
            figures.add(f"{name}: computing time", 1e3 * (times.user + times.system))
            figures.add("resident memory then (MB)", csc.memory_info().rss / 1e6)
            stack.stop_csc()
            await asyncio.sleep(OLD_HEARTBEAT)
    figures.add("size of that ledger (MB)", stack.ledger.stat().st_size / 1e6)
    assert median(figures.samples[name]) > 0


async def _fill_ledger(path: Path, num: int) -> None:
    """Have the ledger remember so many runs of the last weeks, all like the last one that it has."""
    pattern = await asyncio.to_thread(_read_last, path)
    ledger = await Ledger.open(path.parent, CSC_INDEX)
    try:
        records = _copies(pattern, num)
        while batch := list(islice(records, _ADDED_AT_ONCE)):
            _ = await asyncio.gather(*(ledger.add(record) for record in batch))
    finally:
        await ledger.aclose()


def _read_last(path: Path) -> RunRecord:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        query = "SELECT record FROM runs WHERE step = 'reported' ORDER BY accepted_at DESC LIMIT 1"
        (text,) = connection.execute(query).fetchone()
    return RECORD.validate_json(text)


def _copies(pattern: RunRecord, num: int) -> Iterator[RunRecord]:
    run = pattern.run
    for number in range(num):
        accepted_at = run.accepted_at - 30 * _DAY * (num - number) / num
        key = replace(run.key, seq_num=number, snd_stamp=accepted_at)
        old = replace(run, run_id=f"{run.run_id[:40]}-{number}", key=key, accepted_at=accepted_at)
        yield replace(pattern, run=old)
