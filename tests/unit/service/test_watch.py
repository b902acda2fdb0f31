import asyncio

import pytest

from lsst.ts.ocps.service.schema import StoredJob, now
from lsst.ts.ocps.service.watch import PhaseWatch
from lsst.ts.ocps.uws.jobs import Job
from lsst.ts.ocps.uws.phases import ExecutionPhase

pytestmark = pytest.mark.asyncio
CHANGED = StoredJob(Job("1a", ExecutionPhase.QUEUED, creation_time=now()), "p", "local", "out")


async def test_all_who_watch_a_job_learn_of_one_change_and_nobody_else() -> None:
    watch = PhaseWatch()
    with watch.watching("1a") as first, watch.watching("1a") as second, watch.watching("2b") as other:
        watch.publish("1a", CHANGED)
        assert await first is CHANGED
        assert await second is CHANGED
        assert not other.done()


async def test_who_watches_again_waits_for_the_next_change() -> None:
    watch = PhaseWatch()
    with watch.watching("1a"):
        watch.publish("1a", CHANGED)
    with watch.watching("1a") as change:
        assert not change.done()


async def test_one_who_leaves_takes_nothing_from_the_others() -> None:
    watch = PhaseWatch()
    with watch.watching("1a") as staying:
        with watch.watching("1a"):
            pass
        watch.publish("1a", CHANGED)
        assert await staying is CHANGED


async def test_nothing_is_kept_of_those_who_have_left() -> None:
    watch = PhaseWatch()
    for number in range(100):
        with watch.watching(f"{number}"):
            assert watch.count(f"{number}") == 1
    assert not any(watch.count(f"{number}") for number in range(100))
    assert watch.total == 0
    assert not watch._watchers


async def test_closing_releases_those_who_wait_and_those_who_come_later() -> None:
    watch = PhaseWatch()
    with watch.watching("1a") as change:
        watch.close()
        assert await asyncio.wait_for(change, 5) is None
    with watch.watching("2b") as late:
        assert await asyncio.wait_for(late, 5) is None
