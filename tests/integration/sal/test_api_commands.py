"""Commands between a Controller and a Remote, on a broker of each kind."""

import asyncio
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest

from lsst.ts.ocps.sal.controller import Controller
from lsst.ts.ocps.sal.data_type import BaseMsgType
from lsst.ts.ocps.sal.domain import Domain
from lsst.ts.ocps.sal.enums import SalRetCode
from lsst.ts.ocps.sal.errors import AckError, AckTimeoutError, ExpectedError
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.sal.settings import SalSettings
from lsst.ts.ocps.sal.tai import current_tai
from lsst.ts.ocps.sal.testing import assertRaisesAckError, assertRaisesAckTimeoutError
from support.brokers import BrokerBench
from support.sal_fixtures import WAIT, open_pair, until
from support.sal_log import read_log, read_samples

pytestmark = pytest.mark.asyncio


NESTED = (
    "msg='inner', ackcmd=(ackcmd private_seqNum=3, ack=<SalRetCode.CMD_FAILED: -302>, error=2, result='r')"
)

# What command code raises; ack, error and result that the sender gets (salobj-api section 7).
FAILURES: list[tuple[BaseException, tuple[int, int, str]]] = [
    (ExpectedError("bad luck"), (-302, 1, "Failed: bad luck")),
    (TimeoutError(), (-304, 1, "Timeout")),
    (OSError(110, "connection timed out"), (-304, 1, "Timeout")),
    (asyncio.CancelledError(), (-303, 1, "Aborted")),
    (ValueError("wrong"), (-302, 1, "Failed: wrong")),
    (KeyError("k"), (-302, 1, "Failed: 'k'")),
    (
        AckError("inner", SimpleNamespace(private_seqNum=3, ack=-302, error=2, result="r")),
        (-302, 1, f"Failed: {NESTED}"),
    ),
]


async def test_each_failure_of_command_code_becomes_its_acknowledgement(sal_environment: SalSettings) -> None:
    async with open_pair() as (controller, remote):
        for failure, expected in FAILURES:
            controller.cmd_wait.callback = AsyncMock(side_effect=failure)
            with pytest.raises(AckError) as caught:
                await remote.cmd_wait.set_start(duration=1, timeout=WAIT)
            ackcmd = caught.value.ackcmd
            assert (ackcmd.ack, ackcmd.error, ackcmd.result) == expected, repr(failure)
            assert ackcmd.private_identity == "Test:1"


async def test_code_that_returns_nothing_or_an_acknowledgement_is_answered_so(
    sal_environment: SalSettings,
) -> None:
    async with open_pair() as (controller, remote):
        controller.cmd_wait.callback = AsyncMock(return_value=None)
        ackcmd = await remote.cmd_wait.set_start(timeout=WAIT)
        assert (ackcmd.ack, ackcmd.error, ackcmd.result, ackcmd.timeout) == (303, 0, "Done", 0)
        own = controller.salinfo.make_ackcmd(0, SalRetCode.CMD_NOPERM, error=47, result="no")
        controller.cmd_wait.callback = AsyncMock(return_value=own)
        with assertRaisesAckError(ack=SalRetCode.CMD_NOPERM, error=47, result_contains="no"):
            await remote.cmd_wait.set_start(timeout=WAIT)


async def test_a_result_that_is_no_acknowledgement_fails_the_command(sal_environment: SalSettings) -> None:
    async def return_five(data: BaseMsgType) -> int:
        return 5

    async with open_pair() as (controller, remote):
        controller.cmd_wait.callback = return_five
        with assertRaisesAckError(ack=SalRetCode.CMD_FAILED, error=1, result_contains="returned 5"):
            await remote.cmd_wait.start(timeout=WAIT)


async def test_only_unexpected_errors_are_logged_with_a_traceback(
    sal_environment: SalSettings, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_pair() as (controller, remote):
        for error, has_traceback in (
            (ExpectedError("x"), False),
            (TimeoutError(), False),
            (KeyError("k"), True),
        ):

            async def callback(data: BaseMsgType, error: Exception = error) -> None:
                raise error

            controller.cmd_wait.callback = callback
            caplog.clear()
            with assertRaisesAckError():
                await remote.cmd_wait.start(timeout=WAIT)
            assert any(record.exc_info for record in caplog.records) is has_traceback


async def test_acknowledgements_echo_the_command_and_name_its_type(sal_environment: SalSettings) -> None:
    async with Controller("Test", 3) as controller, Domain() as domain:
        seen: list[BaseMsgType] = []

        async def callback(data: BaseMsgType) -> None:
            seen.append(data)

        controller.cmd_setScalars.callback = callback
        async with Remote(domain, "Test", 3) as other:
            ackcmd = await other.cmd_setScalars.set_start(int0=3, timeout=WAIT)
        (data,) = seen
        assert data.int0 == 3
        assert (ackcmd.identity, ackcmd.origin) == (data.private_identity, data.private_origin)
        assert ackcmd.identity == domain.user_host
        assert ackcmd.private_seqNum == data.private_seqNum
        assert ackcmd.cmdtype == 8
        assert ackcmd.private_identity == "Test:3"


async def test_in_progress_gives_more_time_each_time(sal_environment: SalSettings) -> None:
    async with open_pair() as (controller, remote):

        async def callback(data: BaseMsgType) -> None:
            for _ in range(2):
                await controller.cmd_wait.ack_in_progress(data, timeout=WAIT)
                await asyncio.sleep(0.3)

        controller.cmd_wait.callback = callback
        ackcmd = await remote.cmd_wait.start(timeout=0.5)
        assert ackcmd.ack == SalRetCode.CMD_COMPLETE


async def test_without_an_acknowledgement_the_error_carries_one_made_up(sal_environment: SalSettings) -> None:
    async with open_pair() as (_, remote):
        with pytest.raises(AckTimeoutError) as caught:
            await remote.cmd_wait.start(timeout=0.1)
        ackcmd = caught.value.ackcmd
        assert (ackcmd.ack, ackcmd.error, ackcmd.result) == (-301, 0, "No command acknowledgement seen")
        with pytest.raises(RuntimeError, match="is unknown or finished"):
            await remote.cmd_wait.next_ackcmd(ackcmd, timeout=0.1)


async def test_time_over_tells_the_last_acknowledgement_and_ack_gives_no_time(
    sal_environment: SalSettings,
) -> None:
    async with open_pair() as (controller, remote):

        async def callback(data: BaseMsgType) -> None:
            ackcmd = controller.salinfo.make_ackcmd(data.private_seqNum, SalRetCode.CMD_ACK, timeout=WAIT)
            await controller.cmd_wait.ack(data, ackcmd)
            await asyncio.sleep(WAIT)

        controller.cmd_wait.callback = callback
        with assertRaisesAckTimeoutError(ack=SalRetCode.CMD_ACK):
            await remote.cmd_wait.start(timeout=1)


async def test_the_first_acknowledgement_and_the_next_ones_can_be_had_one_by_one(
    sal_environment: SalSettings,
) -> None:
    go_on = asyncio.Event()
    async with open_pair() as (controller, remote):

        async def callback(data: BaseMsgType) -> None:
            await controller.cmd_wait.ack_in_progress(data, timeout=WAIT, result='{"job_id": "7"}')
            await go_on.wait()

        controller.cmd_wait.callback = callback
        first = await remote.cmd_wait.start(timeout=WAIT, wait_done=False)
        assert (first.ack, first.result, first.timeout) == (301, '{"job_id": "7"}', WAIT)
        go_on.set()
        final = await remote.cmd_wait.next_ackcmd(first, timeout=WAIT)
        assert final.ack == SalRetCode.CMD_COMPLETE
        with pytest.raises(
            RuntimeError, match=f"private_seqNum={first.private_seqNum} is unknown or finished"
        ):
            await remote.cmd_wait.next_ackcmd(first, timeout=WAIT)


@pytest.mark.parametrize("fails", [False, True])
async def test_a_final_acknowledgement_that_came_between_two_calls_is_not_lost(
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


async def test_acknowledgements_that_nobody_waited_for_are_kept_in_order(
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


async def test_a_failure_is_raised_without_waiting_for_the_end_too(sal_environment: SalSettings) -> None:
    async with open_pair() as (controller, remote):

        async def callback(data: BaseMsgType) -> None:
            raise ExpectedError("no")

        controller.cmd_wait.callback = callback
        with assertRaisesAckError(ack=SalRetCode.CMD_FAILED):
            await remote.cmd_wait.start(timeout=WAIT, wait_done=False)


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


async def test_commands_of_a_topic_run_one_by_one_unless_all_at_once_is_asked_for(
    sal_environment: SalSettings,
) -> None:
    async with open_pair() as (controller, remote):
        running = 0
        most = 0

        async def callback(data: BaseMsgType) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.05)
            running -= 1

        controller.cmd_wait.callback = callback
        for is_parallel, expected in ((False, 1), (True, 5)):
            controller.cmd_wait.allow_multiple_callbacks = is_parallel
            most = 0
            await asyncio.gather(*(remote.cmd_wait.set_start(duration=1, timeout=WAIT) for _ in range(5)))
            assert most == expected


async def test_a_burst_of_commands_loses_none(sal_environment: SalSettings) -> None:
    async with open_pair() as (controller, remote):
        seen: list[int] = []

        async def callback(data: BaseMsgType) -> None:
            seen.append(data.int0)

        controller.cmd_setScalars.callback = callback
        acks = await asyncio.gather(
            *(remote.cmd_setScalars.set_start(int0=n, timeout=60) for n in range(1000))
        )
        assert seen == list(range(1000))
        assert {ackcmd.ack for ackcmd in acks} == {SalRetCode.CMD_COMPLETE}


async def test_too_many_waiting_commands_are_refused_with_an_acknowledgement(
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


async def test_commands_from_before_the_start_are_never_executed(sal_environment: SalSettings) -> None:
    async with Domain() as domain, Remote(domain, "Test", 1) as remote:
        with pytest.raises(AckTimeoutError):
            await remote.cmd_setScalars.set_start(int0=1, timeout=0.1)
        async with Controller("Test", 1) as controller:
            seen: list[int] = []

            async def callback(data: BaseMsgType) -> None:
                seen.append(data.int0)

            controller.cmd_setScalars.callback = callback
            await remote.cmd_setScalars.set_start(int0=2, timeout=WAIT)
            assert seen == [2]


async def test_a_record_delivered_twice_is_executed_once_and_acknowledged_again(bench: BrokerBench) -> None:
    settings = bench.settings
    async with open_pair() as (controller, remote):
        seen: list[int] = []

        async def callback(data: BaseMsgType) -> None:
            seen.append(data.int0)

        controller.cmd_setScalars.callback = callback
        await remote.cmd_setScalars.set_start(int0=1, timeout=WAIT)
        topic = f"lsst.{settings.topic_subname}.Test.command_setScalars"
        (record,) = await read_log(settings, topic)
        await bench.write_raw(topic, key=record.key, value=record.value)
        await remote.cmd_setScalars.set_start(int0=2, timeout=WAIT)
        assert seen == [1, 2]
        acks = await read_log(settings, f"lsst.{settings.topic_subname}.Test.ackcmd", count=3)
        assert len(acks) == 3


async def test_a_command_with_an_impossible_number_is_ignored_and_the_next_one_obeyed(
    bench: BrokerBench, caplog: pytest.LogCaptureFixture
) -> None:
    settings = bench.settings
    async with open_pair() as (controller, remote):
        seen: list[int] = []

        async def callback(data: BaseMsgType) -> None:
            seen.append(data.int0)

        controller.cmd_setScalars.callback = callback
        command = remote.cmd_setScalars
        value = command.codec.encode(
            {"salIndex": 1, "private_seqNum": 0, "int0": 1}, schema_id=command.schema_id
        )
        await bench.write_raw(f"lsst.{settings.topic_subname}.Test.command_setScalars", key=None, value=value)
        await command.set_start(int0=2, timeout=WAIT)
        assert seen == [2]
        assert "ignored a command with private_seqNum=0" in caplog.text


async def test_a_command_that_is_too_old_is_refused_with_an_acknowledgement(bench: BrokerBench) -> None:
    settings = bench.settings
    async with open_pair() as (controller, remote):
        seen: list[int] = []

        async def callback(data: BaseMsgType) -> None:
            seen.append(data.int0)

        controller.cmd_setScalars.callback = callback
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
        assert refused["result"] == "Failed: the command is 1000 s old, and 600 s are allowed"


async def test_acknowledgements_of_other_senders_are_ignored(bench: BrokerBench) -> None:
    settings = bench.settings
    async with open_pair() as (controller, remote):

        async def callback(data: BaseMsgType) -> None:
            ackcmds = controller.cmd_wait._ack_writer
            own = {"identity": data.private_identity, "origin": data.private_origin}
            for other in ({"identity": "somebody@else"}, {"origin": data.private_origin + 1}):
                fields = {
                    "salIndex": 1,
                    "private_seqNum": data.private_seqNum,
                    "ack": 303,
                    "result": "not yours",
                }
                value = ackcmds.codec.encode(fields | own | other, schema_id=ackcmds.schema_id)
                await bench.write_raw(f"lsst.{settings.topic_subname}.Test.ackcmd", key=b"x", value=value)

        controller.cmd_wait.callback = callback
        assert (await remote.cmd_wait.start(timeout=WAIT)).result == "Done"


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


async def test_a_closed_remote_sends_nothing_and_its_waits_are_cancelled(
    sal_environment: SalSettings,
) -> None:
    async with open_pair() as (_, remote):
        waiting = asyncio.create_task(remote.cmd_wait.set_start(duration=1, timeout=WAIT))
        await asyncio.sleep(0.1)
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
