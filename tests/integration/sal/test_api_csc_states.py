"""States of a CSC and the ways between them, on a broker of each kind."""

import asyncio
from functools import partial

import pytest

from lsst.ts.ocps.sal.domain import Domain
from lsst.ts.ocps.sal.enums import SalRetCode, State
from lsst.ts.ocps.sal.errors import AckError
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.sal.states import make_state_transition_dict, set_summary_state
from lsst.ts.ocps.sal.testing import assertRaisesAckError
from support.sal_fixtures import WAIT, CscCase, drain_states, forget_start, until
from support.sal_log import read_samples

pytestmark = pytest.mark.asyncio

STATE_COMMANDS = ("start", "enable", "disable", "standby", "exitControl")


async def go_to(case: CscCase, state: State) -> None:
    await set_summary_state(case.remote, state, timeout=WAIT)


def has_state(remote: Remote, state: State) -> bool:
    data = remote.evt_summaryState.get()
    return data is not None and data.summaryState == state


async def test_the_standard_states_and_nothing_else(case: CscCase) -> None:
    async with case.make_csc(initial_state=State.STANDBY):
        await case.check_standard_state_transitions(
            enabled_commands=("setScalars", "setArrays", "wait"), skip_commands=("fault",)
        )
        await asyncio.wait_for(asyncio.shield(case.csc.done_task), WAIT)
        assert not case.csc.isopen


async def test_every_way_between_two_states_is_gone(memory_case: CscCase) -> None:
    goals = [State.STANDBY, State.DISABLED, State.ENABLED]
    steps = make_state_transition_dict()
    async with memory_case.make_csc(initial_state=State.STANDBY):
        remote = memory_case.remote
        for begin in (*goals, State.FAULT):
            for goal in goals:
                if begin is State.FAULT:
                    await memory_case.csc.fault(1, "test")
                else:
                    await go_to(memory_case, begin)
                await until(partial(has_state, remote, begin))
                remote.evt_summaryState.flush()
                passed = await set_summary_state(remote, goal, timeout=WAIT)
                expected = [begin, *(state for _, state in steps[begin, goal])]
                assert passed == expected
                await until(partial(has_state, remote, goal))
                assert [begin, *drain_states(remote)] == expected
        await set_summary_state(remote, State.OFFLINE, timeout=WAIT)
        await asyncio.wait_for(asyncio.shield(memory_case.csc.done_task), WAIT)


async def test_the_state_is_published_before_the_acknowledgement(case: CscCase) -> None:
    async with case.make_csc(initial_state=State.STANDBY):
        await forget_start(case)
        for name in STATE_COMMANDS[:4]:
            ackcmd = await getattr(case.remote, f"cmd_{name}").start(timeout=WAIT)
            state = await case.remote.evt_summaryState.next(flush=False, timeout=WAIT)
            assert state.private_sndStamp < ackcmd.private_sndStamp
            assert ackcmd.result == "Done"


async def test_a_command_in_the_wrong_state_is_refused_by_name(case: CscCase) -> None:
    async with case.make_csc(initial_state=State.STANDBY):
        with assertRaisesAckError(
            ack=SalRetCode.CMD_FAILED,
            result_contains="Failed: enable not allowed in state <State.STANDBY: 5>",
        ):
            await case.remote.cmd_enable.start(timeout=WAIT)
        with assertRaisesAckError(result_contains="Failed: Not allowed in state=<State.STANDBY: 5>"):
            await case.remote.cmd_setScalars.start(timeout=WAIT)


async def test_hooks_see_the_states_that_the_protocol_tells(memory_case: CscCase) -> None:
    async with memory_case.make_csc(initial_state=State.DISABLED):
        memory_case.csc.calls.clear()
        await memory_case.remote.cmd_enable.start(timeout=WAIT)
        assert memory_case.csc.calls == [
            ("begin_enable", State.DISABLED),
            ("end_enable", State.ENABLED),
            ("handle_summary_state", State.ENABLED),
        ]


async def test_a_transition_overtaken_by_another_one_is_given_up(memory_case: CscCase) -> None:
    async with memory_case.make_csc(initial_state=State.DISABLED):
        csc, remote = memory_case.csc, memory_case.remote
        is_enabling, go_on = asyncio.Event(), asyncio.Event()

        async def wait() -> None:
            is_enabling.set()
            await go_on.wait()

        csc.hooks["begin_enable"] = wait
        enabling = asyncio.create_task(remote.cmd_enable.start(timeout=WAIT))
        await asyncio.wait_for(is_enabling.wait(), WAIT)
        await remote.cmd_standby.start(timeout=WAIT)
        go_on.set()
        with assertRaisesAckError(result_contains="given up: the state has become <State.STANDBY: 5>"):
            await enabling
        assert csc.summary_state is State.STANDBY


async def test_set_summary_state_says_what_failed(case: CscCase) -> None:
    async with case.make_csc(initial_state=State.STANDBY):
        remote = case.remote
        with pytest.raises(
            RuntimeError, match=r"^Error on cmd=cmd_start, initial_state=5: msg='Command failed'"
        ) as caught:
            await set_summary_state(remote, State.ENABLED, override="nosuch.yaml", timeout=WAIT)
        assert isinstance(caught.value.__cause__, AckError)
        assert remote.cmd_start.data.configurationOverride == ""
        assert await set_summary_state(remote, State.DISABLED, override=None, timeout=WAIT) == [
            State.STANDBY,
            State.DISABLED,
        ]
        with pytest.raises(ValueError, match="FAULT"):
            await set_summary_state(remote, State.FAULT)
        with pytest.raises(ValueError, match="99"):
            await set_summary_state(remote, 99)  # type: ignore[arg-type]
        async with Remote(case.csc.domain, "Test", case.csc.salinfo.index, readonly=True) as readonly:
            with pytest.raises(AttributeError, match="cmd_enable"):
                await set_summary_state(readonly, State.ENABLED, timeout=WAIT)
        async with Remote(case.csc.domain, "Test", 999) as nobody:
            with pytest.raises(RuntimeError, match=r"^Cannot get summaryState from Test$"):
                await set_summary_state(nobody, State.ENABLED, timeout=0.1)


async def test_leaving_control_ends_the_csc_after_the_acknowledgement(case: CscCase) -> None:
    csc = case.basic_make_csc(State.STANDBY, None, 0)
    async with csc, Domain() as domain, Remote(domain, "Test", csc.salinfo.index) as remote:
        ackcmd = await remote.cmd_exitControl.start(timeout=WAIT)
        assert ackcmd.ack == SalRetCode.CMD_COMPLETE
        await asyncio.wait_for(asyncio.shield(csc.done_task), WAIT)
        await until(lambda: remote.evt_summaryState.get().summaryState == State.OFFLINE)


async def test_closing_without_a_command_publishes_no_state(case: CscCase) -> None:
    async with case.make_csc(initial_state=State.STANDBY):
        case.csc.signal_handler()
        await asyncio.wait_for(asyncio.shield(case.csc.done_task), WAIT)
        case.csc.signal_handler()
    samples = await read_samples(case.csc.salinfo.settings, "Test", "evt_summaryState", count=1)
    assert [sample["summaryState"] for sample in samples] == [State.STANDBY]
