"""Outcomes of commands and transitions, by the tables of salobj-api sections 6, 7 and 16 (3 to 5)."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from lsst.ts.ocps import salobj
from lsst.ts.ocps.sal.settings import SalSettings
from support.conformance import load_table
from support.sal_fixtures import WAIT, CscCase, forget_start, until

pytestmark = pytest.mark.asyncio

TABLES = load_table("outcomes")
EXCEPTIONS: dict[str, BaseException] = {
    "ExpectedError": salobj.ExpectedError("sorry"),
    "TimeoutError": TimeoutError("sorry"),
    "CancelledError": asyncio.CancelledError("sorry"),
    "RuntimeError": RuntimeError("sorry"),
    "KeyError": KeyError("sorry"),
}

Outcome = Callable[[Any], Awaitable[Any]]


def make_callback(csc: Any, outcome: str) -> Outcome:
    """Command code that ends in this way."""
    made = csc.salinfo.make_ackcmd
    values: dict[str, Callable[[Any], Any]] = {
        "nothing": lambda _: None,
        "ackcmd": lambda data: made(data.private_seqNum, 303, error=3, result="my own"),
        "failing_ackcmd": lambda data: made(data.private_seqNum, -302, error=4, result="my failure"),
        "not_an_ackcmd": lambda _: 5,
    }

    async def run(data: Any) -> Any:
        if outcome in values:
            return values[outcome](data)
        if outcome in EXCEPTIONS:
            raise EXCEPTIONS[outcome]
        raise getattr(salobj, outcome)("nested", made(data.private_seqNum, -302))

    return run


async def ack_of(command: Awaitable[Any]) -> Any:
    """The final acknowledgement of a command, successful or not."""
    try:
        return await command
    except salobj.AckTimeoutError:
        raise
    except salobj.AckError as error:
        return error.ackcmd


def has_traceback(caplog: pytest.LogCaptureFixture) -> bool:
    return any(record.exc_info for record in caplog.records if record.levelno >= logging.ERROR)


async def test_each_outcome_of_command_code_has_its_acknowledgement(
    api_settings: SalSettings, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        salobj.Controller("Test", 1) as controller,
        salobj.Remote(controller.domain, "Test", 1, include=[]) as remote,
    ):
        for row in TABLES["acks"]:
            caplog.clear()
            controller.cmd_wait.callback = make_callback(controller, row["outcome"])
            ackcmd = await ack_of(remote.cmd_wait.set_start(duration=1, timeout=WAIT))
            assert (row["outcome"], int(ackcmd.ack), ackcmd.error) == (
                row["outcome"],
                row["ack"],
                row["error"],
            )
            assert ackcmd.result == row["result"] or row["result"] is None
            if row["has_traceback"] is not None:
                assert (row["outcome"], has_traceback(caplog)) == (row["outcome"], row["has_traceback"])
            if ackcmd.ack == salobj.SalRetCode.CMD_FAILED and row["outcome"] != "failing_ackcmd":
                assert ackcmd.result.startswith("Failed: ")
        # A cancelled or failed command never stops the next one.
        controller.cmd_wait.callback = make_callback(controller, "nothing")
        assert (await remote.cmd_wait.start(timeout=WAIT)).result == "Done"


async def test_an_unfinished_acknowledgement_of_the_code_ends_nothing(api_settings: SalSettings) -> None:
    async with (
        salobj.Controller("Test", 1) as controller,
        salobj.Remote(controller.domain, "Test", 1, include=[]) as remote,
    ):
        commands: list[Any] = []

        async def accept(data: Any) -> Any:
            commands.append(data)
            return controller.salinfo.make_ackcmd(
                data.private_seqNum,
                ack=301,
                result='{"job_id": "7"}',
                timeout=WAIT,
            )

        controller.cmd_wait.callback = accept
        first = await remote.cmd_wait.set_start(duration=1, wait_done=False, timeout=WAIT)
        # No automatic ACK comes before, and the result is unaltered.
        assert (int(first.ack), first.result, first.timeout) == (301, '{"job_id": "7"}', WAIT)
        waiting = asyncio.create_task(remote.cmd_wait.next_ackcmd(first, timeout=WAIT))
        await controller.cmd_wait.ack(
            commands[0], controller.salinfo.make_ackcmd(commands[0].private_seqNum, ack=303, result="end")
        )
        assert (await waiting).result == "end"
        with pytest.raises(RuntimeError, match="is unknown or finished"):
            await remote.cmd_wait.next_ackcmd(first, timeout=WAIT)


async def test_a_command_that_nobody_answers_times_out(api_settings: SalSettings) -> None:
    async with salobj.Domain() as domain, salobj.Remote(domain, "Test", 77, include=[]) as remote:
        with pytest.raises(salobj.AckTimeoutError) as caught:
            await remote.cmd_wait.set_start(duration=1, timeout=0.1)
        assert isinstance(caught.value, salobj.AckError)
        assert not isinstance(caught.value, TimeoutError)
        assert int(caught.value.ackcmd.ack) == salobj.SalRetCode.CMD_NOACK
        assert caught.value.ackcmd.result == "No command acknowledgement seen"


def has_state(remote: salobj.Remote, state: salobj.State) -> bool:
    data = remote.evt_summaryState.get()
    return data is not None and bool(data.summaryState == state)


async def test_commands_in_the_wrong_state_are_refused_by_name(api_case: CscCase) -> None:
    async with api_case.make_csc(initial_state=salobj.State.STANDBY):
        remote = api_case.remote
        for state in (salobj.State.STANDBY, salobj.State.DISABLED, salobj.State.ENABLED):
            await salobj.set_summary_state(remote, state, timeout=WAIT)
            await until(partial(has_state, remote, state))
            for row in (row for row in TABLES["wrong_states"] if row["state"] == state):
                with salobj.assertRaisesAckError(ack=-302, error=1, result_contains=row["result"]):
                    await getattr(remote, f"cmd_{row['command']}").start(timeout=WAIT)
                ackcmd = await ack_of(getattr(remote, f"cmd_{row['command']}").start(timeout=WAIT))
                assert ackcmd.result == row["result"]
            assert api_case.csc.summary_state is state


async def test_failing_hooks_have_the_usual_outcome(
    api_case: CscCase, caplog: pytest.LogCaptureFixture
) -> None:
    async with api_case.make_csc(initial_state=salobj.State.DISABLED):
        csc, remote = api_case.csc, api_case.remote
        remote.evt_summaryState.flush()
        for row in TABLES["hooks"]:

            async def fail(row: Any = row) -> None:
                raise EXCEPTIONS[row["raises"]]

            csc.hooks = {row["hook"]: fail}
            csc.calls.clear()
            caplog.clear()
            ackcmd = await ack_of(remote.cmd_enable.start(timeout=WAIT))
            assert (int(ackcmd.ack), ackcmd.error, ackcmd.result) == (-302, 1, "Failed: sorry")
            assert (row["hook"], row["seen"]) in csc.calls
            assert int(csc.summary_state) == row["after"]
            assert has_traceback(caplog) is row["has_traceback"], row
        csc.hooks = {}
        csc.calls.clear()
        done = await remote.cmd_enable.start(timeout=WAIT)
        assert csc.calls == [("begin_enable", 1), ("end_enable", 2), ("handle_summary_state", 2)]
        # Nothing was published for the transitions that failed, and the event comes before the end.
        state = await remote.evt_summaryState.next(flush=False, timeout=WAIT)
        assert state.summaryState == salobj.State.ENABLED
        assert state.private_sndStamp < done.private_sndStamp


async def test_the_configuration_is_applied_before_the_state_changes(api_case: CscCase) -> None:
    async with api_case.make_csc(initial_state=salobj.State.STANDBY):
        csc, remote = api_case.csc, api_case.remote
        remote.evt_summaryState.flush()
        csc.calls.clear()
        done = await remote.cmd_start.set_start(configurationOverride="over.yaml", timeout=WAIT)
        applied = await remote.evt_configurationApplied.next(flush=False, timeout=WAIT)
        state = await remote.evt_summaryState.next(flush=False, timeout=WAIT)
        assert applied.private_sndStamp < state.private_sndStamp < done.private_sndStamp
        assert csc.calls[0] == ("configure", salobj.State.STANDBY)
        assert csc.config is not None
        assert csc.config.nested == {"a": 1, "b": {"c": 7, "d": 3}}
        assert applied.configurations == "_init.yaml,_test.yaml,over.yaml"
        assert applied.url == csc.config_dir.as_uri()


async def test_the_events_of_a_start_come_in_the_usual_order(api_case: CscCase) -> None:
    async with api_case.make_csc(initial_state=salobj.State.STANDBY):
        names = TABLES["start_order"]
        events = [getattr(api_case.remote, f"evt_{name}") for name in names]
        stamps = [(await event.aget(timeout=WAIT)).private_sndStamp for event in events]
        first_heartbeat = await api_case.remote.evt_heartbeat.next(flush=False, timeout=WAIT)
    assert stamps == sorted(stamps)
    assert stamps[0] < first_heartbeat.private_sndStamp < stamps[2]


async def test_a_fault_is_published_before_its_hook_and_raises_nothing(api_case: CscCase) -> None:
    async with api_case.make_csc(initial_state=salobj.State.ENABLED):
        csc, remote = api_case.csc, api_case.remote
        await forget_start(api_case)
        await csc.fault(code=7, report="rep", traceback="tb")
        await csc.fault(code=8, report="again")
        error = await remote.evt_errorCode.next(flush=False, timeout=WAIT)
        state = await remote.evt_summaryState.next(flush=False, timeout=WAIT)
        assert (error.errorCode, error.errorReport, error.traceback) == (7, "rep", "tb")
        assert state.summaryState == salobj.State.FAULT
        assert error.private_sndStamp < state.private_sndStamp
        assert (await remote.evt_errorCode.next(flush=False, timeout=WAIT)).errorCode == 8
        ackcmd = await ack_of(remote.cmd_setScalars.start(timeout=WAIT))
        assert ackcmd.result == "Failed: Not allowed in Fault state: errorCode=8, errorReport='again'"
        passed = await salobj.set_summary_state(remote, salobj.State.DISABLED, timeout=WAIT)
        assert passed == [salobj.State.FAULT, salobj.State.STANDBY, salobj.State.DISABLED]
        cleared = await remote.evt_errorCode.next(flush=False, timeout=WAIT)
        assert (cleared.errorCode, cleared.errorReport, cleared.traceback) == (0, "", "")
