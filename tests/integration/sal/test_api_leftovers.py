"""A closed component leaves nothing behind in its process: no task, no thread, no descriptor."""

import asyncio
import threading
from typing import NamedTuple

import psutil
import pytest

from lsst.ts.ocps.sal.domain import Domain
from lsst.ts.ocps.sal.enums import State
from lsst.ts.ocps.sal.remote import Remote
from support.brokers import BrokerBench
from support.sal_fixtures import WAIT, CscCase, open_pair, until

pytestmark = pytest.mark.asyncio

NUM_CYCLES = 3


class Holdings(NamedTuple):
    """What the process holds."""

    tasks: frozenset[str]
    threads: frozenset[str]
    num_descriptors: int

    @classmethod
    def now(cls) -> "Holdings":
        current = asyncio.current_task()
        # The threads of the loop's own pool are its, not ours; they are bounded, and idle between calls.
        threads = (each.name for each in threading.enumerate() if not each.name.startswith("asyncio_"))
        return cls(
            tasks=frozenset(task.get_name() for task in asyncio.all_tasks() if task is not current),
            threads=frozenset(threads),
            num_descriptors=psutil.Process().num_fds(),
        )


async def use_csc(case: CscCase) -> None:
    """A CSC with everything on, a Remote that sends commands, and a second Remote on another domain."""
    async with (
        case.make_csc(initial_state=State.STANDBY, config_dir=case.config_dir, check_if_duplicate=True),
        Domain() as domain,
        Remote(domain, "Test", case.csc.salinfo.index) as other,
    ):
        await case.remote.cmd_start.set_start(timeout=WAIT)
        await case.remote.cmd_enable.set_start(timeout=WAIT)
        await case.remote.cmd_setScalars.set_start(timeout=WAIT, int0=3)
        await other.tel_scalars.aget(timeout=WAIT)
        # One run is under way when everything is closed.
        await case.remote.cmd_wait.set_start(duration=WAIT, wait_done=False, timeout=WAIT)


async def test_a_csc_and_its_remotes_leave_no_task_thread_or_descriptor(
    case: CscCase, bench: BrokerBench
) -> None:
    # The first cycle fills what a process keeps on purpose: caches, the selector, the thread pool.
    await use_csc(case)
    before = Holdings.now()
    for _ in range(NUM_CYCLES):
        await use_csc(case)
    # A socket is closed by the loop, shortly after its connection.
    await until(lambda: Holdings.now() == before)


async def test_a_controller_and_its_remote_leave_no_task_thread_or_descriptor(bench: BrokerBench) -> None:
    async with open_pair(7):
        pass
    before = Holdings.now()
    for _ in range(NUM_CYCLES):
        async with open_pair(7) as (controller, remote):
            assert Holdings.now().tasks - before.tasks, "the count sees what is open"
            await controller.evt_scalars.set_write(int0=1, force_output=True)
            await remote.evt_scalars.next(flush=False, timeout=WAIT)
    await until(lambda: Holdings.now() == before)


async def test_a_start_that_is_given_up_leaves_nothing_either(bench: BrokerBench) -> None:
    async with open_pair(7):
        pass
    before = Holdings.now()
    for _ in range(NUM_CYCLES):
        async with Domain() as domain:
            remote = Remote(domain, "Test", 7)
            # Somewhere on its way to the broker.
            await asyncio.sleep(0)
            await remote.close()
    await until(lambda: Holdings.now() == before)
