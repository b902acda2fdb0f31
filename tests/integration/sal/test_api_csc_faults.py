"""Faults of a CSC and what they forbid, on a broker of each kind."""

import pytest

from lsst.ts.ocps.sal.enums import SalRetCode, State
from lsst.ts.ocps.sal.testing import assertRaisesAckError
from support.sal_fixtures import WAIT, CscCase, drain_states, forget_start, until

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize("hook", ["begin_enable", "end_enable", "handle_summary_state"])
async def test_a_fault_in_a_hook_beats_the_transition(memory_case: CscCase, hook: str, raises: bool) -> None:
    async with memory_case.make_csc(initial_state=State.DISABLED):
        csc, remote = memory_case.csc, memory_case.remote

        async def fault() -> None:
            csc.hooks.clear()
            await csc.fault(7, "in a hook")
            if raises:
                raise ValueError("after the fault")

        await forget_start(memory_case)
        csc.hooks[hook] = fault
        expected = "after the fault" if raises else "errorCode=7, errorReport='in a hook'"
        with assertRaisesAckError(ack=SalRetCode.CMD_FAILED, result_contains=expected):
            await remote.cmd_enable.start(timeout=WAIT)
        assert csc.summary_state is State.FAULT
        await until(lambda: remote.evt_summaryState.nqueued)
        assert drain_states(remote) == [State.FAULT]
        assert remote.evt_errorCode.get().errorCode == 7


async def test_a_fault_tells_the_error_then_the_state(
    case: CscCase, caplog: pytest.LogCaptureFixture
) -> None:
    async with case.make_csc(initial_state=State.ENABLED):
        csc, remote = case.csc, case.remote
        await forget_start(case)
        await remote.cmd_fault.start(timeout=WAIT)
        error = await case.assert_next_sample(
            remote.evt_errorCode, errorCode=1, errorReport="executing the fault command", traceback=""
        )
        state = await case.assert_next_sample(remote.evt_summaryState, summaryState=State.FAULT)
        assert error.private_sndStamp < state.private_sndStamp
        assert "Fault! errorCode=1, errorReport='executing the fault command'" in caplog.text
        with assertRaisesAckError(
            result_contains="Failed: Not allowed in Fault state: errorCode=1, "
            "errorReport='executing the fault command'"
        ):
            await remote.cmd_setScalars.start(timeout=WAIT)
        await csc.fault(2, "again")
        await case.assert_next_sample(remote.evt_errorCode, errorCode=2)
        await remote.cmd_standby.start(timeout=WAIT)
        await case.assert_next_summary_state(State.STANDBY)
        await case.assert_next_sample(remote.evt_errorCode, errorCode=0, errorReport="", traceback="")


async def test_a_fault_inside_a_fault_does_nothing(memory_case: CscCase) -> None:
    async with memory_case.make_csc(initial_state=State.ENABLED):
        csc, remote = memory_case.csc, memory_case.remote
        await forget_start(memory_case)

        async def fault() -> None:
            await csc.fault(9, "nested")

        csc.hooks["handle_summary_state"] = fault
        await csc.fault(8, "outer")
        await until(lambda: remote.evt_errorCode.nqueued)
        assert remote.evt_errorCode.get().errorCode == 8


async def test_assert_enabled_names_the_action(memory_case: CscCase) -> None:
    async with memory_case.make_csc(initial_state=State.DISABLED):
        csc = memory_case.csc
        with pytest.raises(Exception, match=r"^run not allowed in state=<State.DISABLED: 1>$"):
            csc.assert_enabled("run")
        await csc.fault(7, "rep")
        with pytest.raises(
            Exception, match=r"^run not allowed in Fault state: errorCode=7, errorReport='rep'$"
        ):
            csc.assert_enabled("run")
        assert not csc.disabled_or_enabled
