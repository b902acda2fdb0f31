"""Acknowledgements of commands between a Controller and a Remote, on a broker of each kind."""

import asyncio
from types import SimpleNamespace
from unittest.mock import AsyncMock

import pytest

from lsst.ts.ocps.sal.controller import Controller
from lsst.ts.ocps.sal.data_type import BaseMsgType
from lsst.ts.ocps.sal.domain import Domain
from lsst.ts.ocps.sal.enums import SalRetCode
from lsst.ts.ocps.sal.errors import AckError, AckTimeoutError, ExpectedError
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.sal.settings import SalSettings
from lsst.ts.ocps.sal.testing import assertRaisesAckError, assertRaisesAckTimeoutError
from support.brokers import BrokerBench
from support.sal_fixtures import WAIT, open_pair, until

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


def unread(remote: Remote, ackcmd: BaseMsgType) -> list[BaseMsgType]:
    """The acknowledgements of the same command that have come since, and that nobody has collected."""
    return list(remote.cmd_wait._commands[ackcmd.private_seqNum]._unread)


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
        is_waited_for = asyncio.Event()

        async def callback(data: BaseMsgType) -> None:
            for _ in range(3):
                await controller.cmd_wait.ack_in_progress(data, timeout=WAIT)
            await is_waited_for.wait()
            await asyncio.sleep(0.3)

        controller.cmd_wait.callback = callback
        first = await remote.cmd_wait.start(timeout=WAIT, wait_done=False)
        await until(lambda: len(unread(remote, first)) == 2)
        is_waited_for.set()
        ackcmd = await remote.cmd_wait.next_ackcmd(first, timeout=0.1)
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
            await controller.cmd_wait.ack_in_progress(data, timeout=WAIT)
            await controller.cmd_wait.ack(data, ackcmd)
            await asyncio.sleep(WAIT)

        controller.cmd_wait.callback = callback
        first = await remote.cmd_wait.start(timeout=WAIT, wait_done=False)
        await until(lambda: unread(remote, first))
        with assertRaisesAckTimeoutError(ack=SalRetCode.CMD_ACK):
            await remote.cmd_wait.next_ackcmd(first, timeout=0.1)


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


async def test_a_failure_is_raised_without_waiting_for_the_end_too(sal_environment: SalSettings) -> None:
    async with open_pair() as (controller, remote):

        async def callback(data: BaseMsgType) -> None:
            raise ExpectedError("no")

        controller.cmd_wait.callback = callback
        with assertRaisesAckError(ack=SalRetCode.CMD_FAILED):
            await remote.cmd_wait.start(timeout=WAIT, wait_done=False)


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
