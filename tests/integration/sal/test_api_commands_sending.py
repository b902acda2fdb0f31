"""Commands as a Remote sends them, on a broker of each kind."""

import asyncio

import pytest

from lsst.ts.ocps.sal.data_type import BaseMsgType
from lsst.ts.ocps.sal.domain import Domain
from lsst.ts.ocps.sal.errors import AckTimeoutError
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.sal.settings import SalSettings
from support.sal_fixtures import WAIT, open_pair
from support.sal_log import read_log

pytestmark = pytest.mark.asyncio


async def test_set_starts_afresh_and_start_repeats(sal_environment: SalSettings) -> None:
    async with open_pair() as (controller, remote):
        seen: list[tuple[int, str]] = []

        async def callback(data: BaseMsgType) -> None:
            seen.append((data.int0, data.string0))

        controller.cmd_setScalars.callback = callback
        command = remote.cmd_setScalars
        assert command.set(int0=1)
        assert not command.set(int0=0)
        await command.set_start(int0=1, string0="a", timeout=WAIT)
        await command.set_start(int0=2, timeout=WAIT)
        await command.start(timeout=WAIT)
        command.data.string0 = "b"
        await command.start(timeout=WAIT)
        data = command.DataType(int0=9)
        await command.start(data, timeout=None)
        assert command.data is data
        assert data.private_seqNum > 0
        assert seen == [(1, "a"), (2, ""), (2, ""), (2, "b"), (9, "")]
        with pytest.raises(TypeError, match=r"is not an instance of cmd_setScalars"):
            await command.start(remote.cmd_wait.DataType(), timeout=WAIT)
        with pytest.raises(AttributeError, match=r"cmd_setScalars has no fields \['nosuch'\]"):
            await command.set_start(nosuch=1, timeout=WAIT)
        for method in (command.write, command.set_write):
            with pytest.raises(NotImplementedError):
                await method()


async def test_set_start_does_nothing_until_awaited_and_parallel_ones_do_not_mix(
    sal_environment: SalSettings,
) -> None:
    async with open_pair() as (controller, remote):
        seen: list[tuple[int, str]] = []

        async def callback(data: BaseMsgType) -> None:
            seen.append((data.int0, data.string0))

        controller.cmd_setScalars.callback = callback
        coroutines = [
            remote.cmd_setScalars.set_start(int0=n, string0=f"number {n}", timeout=WAIT) for n in range(20)
        ]
        assert remote.cmd_setScalars.data.int0 == 0
        acks = await asyncio.gather(*coroutines)
        assert len({ackcmd.private_seqNum for ackcmd in acks}) == 20
        assert seen == [(n, f"number {n}") for n in range(20)]


async def test_a_closed_remote_sends_nothing_and_its_waits_are_cancelled(
    sal_environment: SalSettings,
) -> None:
    async with open_pair() as (controller, remote):
        has_come = asyncio.Event()

        async def callback(data: BaseMsgType) -> None:
            has_come.set()
            await asyncio.sleep(WAIT)

        controller.cmd_wait.callback = callback
        waiting = asyncio.create_task(remote.cmd_wait.set_start(duration=1, timeout=WAIT))
        await asyncio.wait_for(has_come.wait(), WAIT)
        await remote.close()
        await asyncio.wait([waiting], timeout=WAIT)
        assert waiting.cancelled()
        with pytest.raises(RuntimeError, match="No longer open"):
            await remote.cmd_wait.start(timeout=1)


async def test_a_remote_that_is_not_started_sends_nothing(sal_environment: SalSettings) -> None:
    async with Domain() as domain:
        remote = Remote(domain, "Test", 1, start=False)
        with pytest.raises(RuntimeError, match="Not started"):
            await remote.cmd_wait.start(timeout=1)


async def test_sequence_numbers_on_the_wire_are_in_the_range_of_their_command(
    sal_environment: SalSettings,
) -> None:
    async with Domain() as domain, Remote(domain, "Test", 1) as remote:
        for name, low, high in (("disable", 1, 214748364), ("enable", 214748365, 429496728)):
            with pytest.raises(AckTimeoutError):
                await getattr(remote, f"cmd_{name}").start(timeout=0)
            topic = f"lsst.{sal_environment.topic_subname}.Test.command_{name}"
            (record,) = await read_log(sal_environment, topic)
            command = getattr(remote, f"cmd_{name}")
            assert record.key == f'{{ "name": "Test", "index": 1, "topic": "command_{name}" }}'.encode()
            assert low <= command.data.private_seqNum <= high
