"""Which commands a Controller executes, in what order and how often, on a broker of each kind."""

import asyncio
from typing import Any

import pytest

from lsst.ts.ocps.sal.broker.memory import MemoryBroker
from lsst.ts.ocps.sal.controller import Controller
from lsst.ts.ocps.sal.data_type import BaseMsgType
from lsst.ts.ocps.sal.domain import Domain
from lsst.ts.ocps.sal.enums import SalRetCode
from lsst.ts.ocps.sal.errors import AckTimeoutError, BrokerError
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.sal.settings import SalSettings
from lsst.ts.ocps.sal.testing import assertRaisesAckError
from lsst.ts.ocps.sal.topics import controller_command
from support.sal_fixtures import WAIT, open_pair, until

pytestmark = pytest.mark.asyncio


async def test_commands_of_a_topic_run_one_by_one_unless_all_at_once_is_asked_for(
    sal_environment: SalSettings,
) -> None:
    async with open_pair() as (controller, remote):
        running = 0
        most = 0
        all_run = asyncio.Event()

        async def callback(data: BaseMsgType) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            if running == 5:
                all_run.set()
            if controller.cmd_wait.allow_multiple_callbacks:
                await all_run.wait()
            else:
                await asyncio.sleep(0.05)
            running -= 1

        controller.cmd_wait.callback = callback
        for is_parallel, expected in ((False, 1), (True, 5)):
            controller.cmd_wait.allow_multiple_callbacks = is_parallel
            most = 0
            await asyncio.gather(*(remote.cmd_wait.set_start(duration=1, timeout=WAIT) for _ in range(5)))
            assert most == expected


async def test_only_the_instance_with_the_index_of_the_command_obeys(sal_environment: SalSettings) -> None:
    async with Controller("Test", 1) as first, Controller("Test", 2) as second, Domain() as domain:
        seen: list[str] = []

        def make(name: str) -> Any:
            async def callback(data: BaseMsgType) -> None:
                seen.append(name)

            return callback

        first.cmd_wait.callback = make("first")
        second.cmd_wait.callback = make("second")
        async with Remote(domain, "Test", 0) as all_of_them, Remote(domain, "Test", 2) as of_second:
            await all_of_them.cmd_wait.set_start(salIndex=1, timeout=WAIT)
            await of_second.cmd_wait.set_start(timeout=WAIT)
            with pytest.raises(AckTimeoutError):
                await all_of_them.cmd_wait.set_start(timeout=0.3)
        assert seen == ["first", "second"]


async def test_replacing_the_callback_aborts_what_runs_and_executes_nothing_twice(
    sal_environment: SalSettings,
) -> None:
    async with open_pair() as (controller, remote):
        is_running = asyncio.Event()
        seen: list[float] = []

        async def slow(data: BaseMsgType) -> None:
            is_running.set()
            await asyncio.sleep(WAIT)

        async def quick(data: BaseMsgType) -> None:
            seen.append(data.duration)

        controller.cmd_wait.callback = slow
        first = asyncio.create_task(remote.cmd_wait.set_start(duration=1, timeout=WAIT))
        await asyncio.wait_for(is_running.wait(), WAIT)
        waiting = asyncio.create_task(remote.cmd_wait.set_start(duration=2, timeout=WAIT))
        await until(lambda: controller.cmd_wait._queue)
        controller.cmd_wait.callback = quick
        with assertRaisesAckError(ack=SalRetCode.CMD_ABORTED, result_contains="Aborted"):
            await first
        await waiting
        await remote.cmd_wait.set_start(duration=3, timeout=WAIT)
        assert seen == [2, 3]


async def test_closing_acknowledges_what_runs_and_what_waits_as_aborted(sal_environment: SalSettings) -> None:
    async with Domain() as domain, Remote(domain, "Test", 1) as remote:
        async with Controller("Test", 1) as controller:
            is_running = asyncio.Event()

            async def slow(data: BaseMsgType) -> None:
                is_running.set()
                await asyncio.sleep(WAIT)

            controller.cmd_wait.callback = slow
            tasks = [
                asyncio.create_task(remote.cmd_wait.set_start(duration=1, timeout=WAIT)) for _ in range(2)
            ]
            await asyncio.wait_for(is_running.wait(), WAIT)
            await until(lambda: controller.cmd_wait._queue)
        for task in tasks:
            with assertRaisesAckError(ack=SalRetCode.CMD_ABORTED):
                await task


@pytest.mark.parametrize("is_refused", [True, False])
async def test_closing_ends_though_no_broker_takes_the_acknowledgements(
    memory_environment: SalSettings, monkeypatch: pytest.MonkeyPatch, is_refused: bool
) -> None:
    monkeypatch.setattr(controller_command, "CLOSE_PATIENCE", 0.3)
    async with Domain() as domain, Remote(domain, "Test", 1) as remote:
        controller = Controller("Test", 1)
        await controller.start_task
        is_running = asyncio.Event()

        async def slow(data: BaseMsgType) -> None:
            is_running.set()
            await asyncio.Event().wait()

        controller.cmd_wait.callback = slow
        sending = [asyncio.create_task(remote.cmd_wait.set_start(duration=1)) for _ in range(2)]
        await asyncio.wait_for(is_running.wait(), WAIT)
        await until(lambda: controller.cmd_wait._queue)

        async def send(*_args: object, **_kwargs: object) -> None:
            if is_refused:
                raise BrokerError("the broker is away")
            await asyncio.Event().wait()

        monkeypatch.setattr(MemoryBroker, "send", send)
        before = asyncio.all_tasks()
        async with asyncio.timeout(WAIT):
            await controller.close()
        assert not [task for task in before & asyncio.all_tasks() if "cmd_wait:" in task.get_name()]
        for task in sending:
            task.cancel()


async def test_a_bare_controller_can_take_its_commands_one_by_one(sal_environment: SalSettings) -> None:
    async with open_pair() as (controller, remote):
        sending = asyncio.create_task(remote.cmd_wait.set_start(duration=4, timeout=WAIT))
        data = await controller.cmd_wait.next(timeout=WAIT)
        assert data.duration == 4
        await controller.cmd_wait.ack(
            data, controller.salinfo.make_ackcmd(data.private_seqNum, 303, result="mine")
        )
        assert (await sending).result == "mine"
        with pytest.raises(TypeError):
            await controller.cmd_wait.next(flush=True)
