"""More runs at a time than requests may block."""

import asyncio
import time
from collections.abc import Callable

from lsst.ts.ocps.client.errors import BackendFailedError
from lsst.ts.ocps.client.testing import Script
from lsst.ts.ocps.csc.crowd import MAX_WAITERS
from lsst.ts.ocps.csc.patience import Patience
from lsst.ts.ocps.csc.records import OutcomeKind
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.mortal_csc import STORED, CoreLife, World
from support.runs import make_run
from support.virtual_time import run_in_virtual_time

OTHERS = 50
NUM_RUNS = MAX_WAITERS + OTHERS
DURATION = 600.0
WAIT = Patience().wait


async def play(world: World, *, while_running: Callable[[World], None] = lambda _: None) -> float:
    """Have many runs of ten minutes at a time; returns how long it takes until all are reported (s)."""
    world.service.script = Script(duration=DURATION)
    life = CoreLife(world, None, Patience())
    await life.start()
    loop = asyncio.get_running_loop()
    began = loop.time()
    runs = [make_run(backend=STORED, accepted_at=time.time()) for _ in range(NUM_RUNS)]
    await asyncio.gather(*(life.obey(run) for run in runs))
    await asyncio.sleep(100.0)
    while_running(world)
    while world.has_unfinished:
        assert loop.time() - began < 10 * DURATION
        await asyncio.sleep(0.5)
    took = loop.time() - began
    assert world.deaths == []
    assert all(len(world.results_of(run.run_id)) == 1 for run in runs)
    await life.aclose()
    return took


async def count_requests() -> None:
    world = World(creates_pending=True)
    took = await play(world)
    assert took < DURATION + 2 * Patience().between_polls
    calls = world.service.calls
    # Of the project's figure, six and one for each WAIT, with the lists among them.
    assert sum(calls.values()) / NUM_RUNS < 6 + DURATION / WAIT
    assert calls["wait"] <= MAX_WAITERS * (DURATION / WAIT + 2)
    assert 0 < calls["list_under_way"] < DURATION / Patience().between_reads
    # One when it was started, one when it had ended, and one a long time after the last.
    assert calls["read"] - NUM_RUNS <= OTHERS * 5
    await world.aclose()


def test_those_that_may_not_block_are_watched_by_one_list() -> None:
    run_in_virtual_time(count_requests())


async def lose_the_list() -> None:
    world = World(creates_pending=True)
    errors = [BackendFailedError("fake", "no lists today")] * 1000
    world.service.fail("list_under_way", *errors)
    took = await play(world)
    assert took < DURATION + 2 * Patience().between_polls
    assert world.service.calls["list_under_way"] < 10
    assert world.service.calls["read"] > OTHERS * DURATION / Patience().between_polls / 2
    await world.aclose()


def test_where_no_list_is_to_be_had_each_job_is_read() -> None:
    run_in_virtual_time(lose_the_list())


async def see_changes() -> None:
    def abort_some(world: World) -> None:
        urls = [url for url, job in world.service.jobs().items() if job.phase is ExecutionPhase.EXECUTING]
        assert len(urls) == NUM_RUNS
        for url in urls[-10:]:
            world.service.force(url, ExecutionPhase.ABORTED)

    world = World(creates_pending=True)
    await play(world, while_running=abort_some)
    outcomes = [record.outcome.kind for record in await world.records() if record.outcome is not None]
    assert outcomes.count(OutcomeKind.ABORTED) == 10
    assert outcomes.count(OutcomeKind.COMPLETED) == NUM_RUNS - 10
    await world.aclose()


def test_a_change_is_seen_in_the_list() -> None:
    run_in_virtual_time(see_changes())
