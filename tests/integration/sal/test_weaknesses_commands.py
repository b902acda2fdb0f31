"""Sal-on-kafka section 20, points 5, 9 and 10: no command and no acknowledgement gets lost or doubled."""

import asyncio
import re
from contextlib import nullcontext
from functools import partial
from typing import Any

import pytest

from lsst.ts.ocps.sal.controller import Controller
from lsst.ts.ocps.sal.data_type import BaseMsgType
from lsst.ts.ocps.sal.domain import Domain
from lsst.ts.ocps.sal.enums import SalRetCode
from lsst.ts.ocps.sal.errors import AckError, AckTimeoutError, ExpectedError
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.sal.settings import SalSettings
from lsst.ts.ocps.sal.skips import SkipReason
from lsst.ts.ocps.sal.tai import current_tai
from lsst.ts.ocps.sal.testing import assertRaisesAckError
from lsst.ts.ocps.sal.topics import controller_command
from lsst.ts.ocps.sal.topics.controller_command import ControllerCommand
from support.brokers import BrokerBench
from support.sal_fixtures import WAIT, open_pair, until
from support.sal_log import read_log, read_samples

pytestmark = pytest.mark.asyncio


def note_commands(controller: Controller) -> list[int]:
    """Obey setScalars; gives the values of int0, in the order in which the commands are executed."""
    seen: list[int] = []

    async def callback(data: BaseMsgType) -> None:
        seen.append(data.int0)

    controller.cmd_setScalars.callback = callback
    return seen


async def test_weakness_05_a_burst_of_1000_commands_is_acknowledged_completely(
    sal_environment: SalSettings,
) -> None:
    async with open_pair() as (controller, remote):
        seen = note_commands(controller)
        acks = await asyncio.gather(
            *(remote.cmd_setScalars.set_start(int0=n, timeout=60) for n in range(1000))
        )
        assert seen == list(range(1000))
        assert {ackcmd.ack for ackcmd in acks} == {SalRetCode.CMD_COMPLETE}


async def test_weakness_05_too_many_waiting_commands_are_refused_with_an_acknowledgement(
    sal_environment: SalSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_pair() as (controller, remote):
        gate = asyncio.Event()

        async def callback(data: BaseMsgType) -> None:
            await gate.wait()

        controller.cmd_wait.callback = callback
        monkeypatch.setattr(controller.cmd_wait, "queue_len", 3)
        tasks = [asyncio.create_task(remote.cmd_wait.set_start(duration=1, timeout=WAIT)) for _ in range(10)]
        refused, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION, timeout=WAIT)
        assert refused
        gate.set()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        failures = [each for each in outcomes if isinstance(each, AckError)]
        assert failures
        assert len(failures) < 10
        assert all("commands are waiting already" in each.ackcmd.result for each in failures)


async def test_weakness_05_a_record_delivered_twice_is_executed_once_and_acknowledged_again(
    bench: BrokerBench,
) -> None:
    settings = bench.settings
    async with open_pair() as (controller, remote):
        seen = note_commands(controller)
        await remote.cmd_setScalars.set_start(int0=1, timeout=WAIT)
        topic = f"lsst.{settings.topic_subname}.Test.command_setScalars"
        (record,) = await read_log(settings, topic)
        await bench.write_raw(topic, key=record.key, value=record.value)
        await remote.cmd_setScalars.set_start(int0=2, timeout=WAIT)
        assert seen == [1, 2]
        acks = await read_log(settings, f"lsst.{settings.topic_subname}.Test.ackcmd", count=3)
        assert len(acks) == 3
        assert controller.salinfo.reader is not None
        assert controller.salinfo.reader.skipped == {SkipReason.DUPLICATE: 1}


async def test_weakness_05_a_late_duplicate_is_executed_once_though_its_acknowledgement_is_kept_no_more(
    bench: BrokerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controller_command, "MAX_ANSWERED", 2)
    settings = bench.settings
    async with open_pair() as (controller, remote):
        seen = note_commands(controller)
        for number in range(3):
            await remote.cmd_setScalars.set_start(int0=number, timeout=WAIT)
        topic = f"lsst.{settings.topic_subname}.Test.command_setScalars"
        for record in await read_log(settings, topic, count=3):
            await bench.write_raw(topic, key=record.key, value=record.value)
        await remote.cmd_setScalars.set_start(int0=3, timeout=WAIT)
        assert seen == [0, 1, 2, 3]
        # Those of the last two were written again.
        acks = await read_samples(settings, "Test", "ack_ackcmd", count=6)
        assert len(acks) == 6
        assert controller.salinfo.reader is not None
        assert controller.salinfo.reader.skipped == {SkipReason.DUPLICATE: 3}


async def test_weakness_05_an_impossible_number_is_counted_and_the_next_command_obeyed(
    bench: BrokerBench,
) -> None:
    settings = bench.settings
    async with open_pair() as (controller, remote):
        seen = note_commands(controller)
        command = remote.cmd_setScalars
        for number in (0, -1):
            fields = {"salIndex": 1, "private_seqNum": number, "int0": 1}
            value = command.codec.encode(fields, schema_id=command.schema_id)
            await bench.write_raw(
                f"lsst.{settings.topic_subname}.Test.command_setScalars", key=None, value=value
            )
        await command.set_start(int0=2, timeout=WAIT)
        assert seen == [2]
        assert controller.salinfo.reader is not None
        assert controller.salinfo.reader.skipped == {SkipReason.BAD_NUMBER: 2}


async def test_weakness_05_commands_from_before_the_start_are_never_executed(
    sal_environment: SalSettings,
) -> None:
    async with Domain() as domain, Remote(domain, "Test", 1) as remote:
        with pytest.raises(AckTimeoutError):
            await remote.cmd_setScalars.set_start(int0=1, timeout=0.1)
        async with Controller("Test", 1) as controller:
            seen = note_commands(controller)
            await remote.cmd_setScalars.set_start(int0=2, timeout=WAIT)
            assert seen == [2]


async def test_weakness_05_a_command_that_is_too_old_is_refused_with_an_acknowledgement(
    bench: BrokerBench,
) -> None:
    settings = bench.settings
    async with open_pair() as (controller, remote):
        seen = note_commands(controller)
        command = remote.cmd_setScalars
        for max_age in (None, 600):
            controller.cmd_setScalars.max_age = max_age
            stamp = current_tai() - 1000
            fields = {"salIndex": 1, "private_seqNum": 5, "private_sndStamp": stamp, "int0": 1}
            value = command.codec.encode(fields, schema_id=command.schema_id)
            await bench.write_raw(
                f"lsst.{settings.topic_subname}.Test.command_setScalars", key=b"x", value=value
            )
            await command.set_start(int0=2, timeout=WAIT)
        assert seen == [1, 2, 2]
        acks = await read_samples(settings, "Test", "ack_ackcmd", count=4)
        (refused,) = [ack for ack in acks if ack["ack"] == SalRetCode.CMD_FAILED]
        assert re.fullmatch(r"Failed: the command is 10\d\d s old, and 600 s are allowed", refused["result"])


async def test_weakness_05_missed_commands_can_be_refused_in_the_next_life(
    sal_environment: SalSettings,
) -> None:
    seen: list[int] = []

    async def callback(data: BaseMsgType) -> None:
        seen.append(data.int0)

    async with Domain() as domain, Remote(domain, "Test", 1) as remote:
        async with Controller("Test", 1) as controller:
            controller.cmd_setScalars.callback = callback
            await remote.cmd_setScalars.set_start(int0=1, timeout=WAIT)
            await until(lambda: controller.cmd_setScalars.settled_offset == 1)
            settled = controller.cmd_setScalars.settled_offset
        missed = [asyncio.create_task(remote.cmd_setScalars.set_start(int0=n, timeout=WAIT)) for n in (2, 3)]
        await read_log(sal_environment, controller.cmd_setScalars.kafka_name, count=3)
        async with Controller("Test", 1) as controller:
            controller.cmd_setScalars.callback = callback
            await remote.cmd_setScalars.set_start(int0=4, timeout=WAIT)
            records = await controller.cmd_setScalars.read_missed(settled)
            assert [data.int0 for data in records] == [2, 3]
            for data in records:
                await controller.cmd_setScalars.refuse(data, "nobody was there")
            outcomes = await asyncio.gather(*missed, return_exceptions=True)
            assert [each.ackcmd.result for each in outcomes if isinstance(each, AckError)] == [
                "Failed: nobody was there"
            ] * 2
        assert seen == [1, 4]


def is_settled(command: ControllerCommand, offset: int) -> bool:
    return command.settled_offset == offset


async def test_weakness_05_an_unanswered_command_is_not_settled(sal_environment: SalSettings) -> None:
    async with open_pair() as (controller, remote):
        gates = [asyncio.Event() for _ in range(3)]

        async def callback(data: BaseMsgType) -> None:
            await gates[data.int0].wait()

        command: ControllerCommand = controller.cmd_setScalars
        reader = controller.salinfo.reader
        assert reader is not None
        command.allow_multiple_callbacks = True
        command.callback = callback
        assert command.settled_offset == 0
        tasks = []
        for number in range(3):
            tasks.append(asyncio.create_task(remote.cmd_setScalars.set_start(int0=number, timeout=WAIT)))
            await until(lambda: reader.position(command.kafka_name) == len(tasks))
        for number, settled in ((1, 0), (0, 2), (2, 3)):
            gates[number].set()
            await tasks[number]
            await until(partial(is_settled, command, settled))


async def test_weakness_09_two_remotes_of_one_process_get_their_own_acknowledgements(
    sal_environment: SalSettings,
) -> None:
    async with open_pair() as (controller, first), Remote(controller.domain, "Test", 1) as second:

        async def callback(data: BaseMsgType) -> Any:
            return controller.salinfo.make_ackcmd(data.private_seqNum, 303, result=str(data.int0))

        controller.cmd_setScalars.callback = callback
        remotes = (first, second)
        acks = await asyncio.gather(
            *(remotes[n % 2].cmd_setScalars.set_start(int0=n, timeout=60) for n in range(100))
        )
        assert [ackcmd.result for ackcmd in acks] == [str(n) for n in range(100)]
        assert len({ackcmd.private_seqNum for ackcmd in acks}) == 100
        # Nobody keeps what was the other's.
        assert not any(remote.cmd_setScalars._commands for remote in remotes)


@pytest.mark.parametrize("fails", [False, True])
async def test_weakness_10_a_final_acknowledgement_between_two_calls_is_not_lost(
    sal_environment: SalSettings, fails: bool
) -> None:
    async with open_pair() as (controller, remote):

        async def callback(data: BaseMsgType) -> None:
            await controller.cmd_wait.ack_in_progress(data, timeout=WAIT)
            if fails:
                raise ExpectedError("quick")

        controller.cmd_wait.callback = callback
        first = await remote.cmd_wait.start(timeout=WAIT, wait_done=False)
        # This command is sent after the end of the other one, so that the acknowledgement of that has come.
        controller.cmd_fault.callback = callback
        with assertRaisesAckError() if fails else nullcontext():
            await remote.cmd_fault.start(timeout=WAIT)
        if fails:
            with assertRaisesAckError(ack=SalRetCode.CMD_FAILED, result_contains="quick"):
                await remote.cmd_wait.next_ackcmd(first, timeout=0.01)
        else:
            assert (await remote.cmd_wait.next_ackcmd(first, timeout=0.01)).ack == SalRetCode.CMD_COMPLETE


async def test_weakness_10_acknowledgements_that_nobody_waited_for_are_kept_in_order(
    sal_environment: SalSettings,
) -> None:
    async with open_pair() as (controller, remote):

        async def callback(data: BaseMsgType) -> None:
            for number in range(4):
                await controller.cmd_wait.ack_in_progress(data, timeout=WAIT, result=str(number))

        controller.cmd_wait.callback = callback
        ackcmd = await remote.cmd_wait.start(timeout=WAIT, wait_done=False)
        results = [ackcmd.result]
        # The second one is sent when the first one has ended, so that all its acknowledgements have come.
        await remote.cmd_wait.start(timeout=WAIT)
        while ackcmd.ack == SalRetCode.CMD_INPROGRESS:
            ackcmd = await remote.cmd_wait.next_ackcmd(ackcmd, timeout=WAIT, wait_done=False)
            results.append(ackcmd.result)
        assert results == ["0", "1", "2", "3", "Done"]
