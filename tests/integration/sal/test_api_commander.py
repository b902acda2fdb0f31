"""The commander, and the helpers for tests of CSCs."""

import asyncio
import os
import sys
import unittest
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from tempfile import TemporaryFile
from typing import Any

import pytest
from typing_extensions import override

from lsst.ts.ocps.sal.base_csc_test_case import BaseCscTestCase
from lsst.ts.ocps.sal.commander import CscCommander
from lsst.ts.ocps.sal.data_type import BaseMsgType
from lsst.ts.ocps.sal.enums import SalRetCode, State
from lsst.ts.ocps.sal.errors import AckError
from lsst.ts.ocps.sal.settings import SalSettings
from lsst.ts.ocps.sal.testing import (
    assertRaisesAckError,
    assertRaisesAckTimeoutError,
    set_test_topic_subname,
)
from support.sal_csc import SalTestCsc
from support.sal_fixtures import WAIT, CscCase, until

pytestmark = pytest.mark.asyncio


class Commander(CscCommander):
    """With a command and a callback of its own."""

    def __init__(self, index: int, **kwargs: Any) -> None:
        super().__init__("Test", index, **kwargs)
        self.testing = True
        self.help_dict["add"] = "a b  # add two numbers"

    async def do_add(self, args: list[str]) -> None:
        fields = self.check_arguments(args, "a", ("b", int))
        self.output(f"sum={fields['a'] + fields['b']}")

    async def evt_simulationMode_callback(self, data: BaseMsgType) -> None:  # noqa: N802 (SAL's spelling)
        self.output(f"my own mode={data.mode}")

    @override
    def output(self, msg: str) -> None:
        self.output_queue.append(msg)


@asynccontextmanager
async def open_commander(case: CscCase, state: State, **kwargs: Any) -> AsyncIterator[Commander]:
    async with case.make_csc(initial_state=state), Commander(case.csc.salinfo.index, **kwargs) as commander:
        yield commander


async def wait_for_output(commander: Commander, part: str) -> str:
    await until(lambda: any(part in line for line in commander.output_queue))
    return next(line for line in commander.output_queue if part in line)


async def test_events_and_changed_telemetry_are_shown(case: CscCase) -> None:
    async with open_commander(case, State.ENABLED) as commander:
        await wait_for_output(commander, "summaryState=<State.ENABLED: 2>")
        await wait_for_output(commander, "my own mode=0")
        for value in (1.001, 1.002, 2.0):
            await case.csc.tel_scalars.set_write(double0=value, int0=3)
        line = await wait_for_output(commander, "double0=2.0000")
        assert ": scalars: boolean0=False, " in line
        assert sum(": scalars: " in line for line in commander.output_queue) == 2
        case.csc.log.warning("look out")
        assert (await wait_for_output(commander, "look out")).endswith(
            "logMessage: name=Test, level=30, message=look out"
        )
        assert not any("heartbeat" in line for line in commander.output_queue)


async def test_commands_are_sent_with_their_fields(case: CscCase) -> None:
    async with open_commander(case, State.STANDBY) as commander:
        await commander.run_command("start")
        await commander.run_command("enable")
        assert case.csc.summary_state is State.ENABLED
        await commander.run_command("setScalars t 1 2 3 4 5 6 7 1.5 2.5 'two words'")
        data = await case.remote.evt_scalars.aget(timeout=WAIT)
        assert (data.boolean0, data.int0, data.double0, data.string0) == (True, 3, 2.5, "two words")
        assert "Finished command setScalars" in commander.output_queue
        await commander.run_command("add 1 2")
        assert "sum=3.0" in commander.output_queue
        await commander.run_command("nosuch 1")
        assert "Unrecognized command: nosuch" in commander.output_queue
        await commander.run_command("# a comment")
        await commander.run_command("help")
        assert "add a b  # add two numbers" in commander.output_queue[-1]
        assert "setLogLevel level subsystem" in commander.output_queue[-1]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("enable 1", "enable needs 0 arguments (none), got 1"),
        ("setLogLevel 1", "setLogLevel needs 2 arguments (level subsystem), got 1"),
        ("setLogLevel x y", "level='x' is not a whole number"),
        ("setScalars maybe 1 2 3 4 5 6 7 1.5 2.5 x", "boolean0='maybe' is not one of"),
        ("add 1", "Need 2 arguments (a b), got 1"),
        ("enable", "enable not allowed in state"),
        ("setLogLevel 'x", "No closing quotation"),
    ],
)
async def test_errors_are_shown_and_end_nothing(memory_case: CscCase, line: str, text: str) -> None:
    async with open_commander(memory_case, State.STANDBY) as commander:
        await commander.try_command(line)
        assert text in commander.output_queue[-1]
        assert commander.output_queue[-1].startswith("Command ")


async def test_topics_and_commands_can_be_left_out_and_the_csc_enabled_first(memory_case: CscCase) -> None:
    arguments: dict[str, Any] = {"enable": True, "exclude": ["scalars"], "exclude_commands": ["wait"]}
    async with open_commander(memory_case, State.STANDBY, **arguments) as commander:
        assert memory_case.csc.summary_state is State.ENABLED
        assert not hasattr(commander.remote, "evt_scalars")
        assert "wait" not in commander.command_dict
        await wait_for_output(commander, "summaryState=<State.ENABLED: 2>")


@pytest.mark.parametrize("kind", ["pipe", "file"])
async def test_commands_come_from_standard_input_until_exit(
    memory_case: CscCase, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    lines = b"start\nexit\nenable\n"
    async with memory_case.make_csc(initial_state=State.STANDBY):
        with TemporaryFile() as file:
            read_end, write_end = os.pipe()
            os.write(write_end, lines)
            os.close(write_end)
            file.write(lines)
            file.seek(0)
            stdin = os.fdopen(read_end if kind == "pipe" else os.dup(file.fileno()))
            monkeypatch.setattr(sys, "stdin", stdin)
            monkeypatch.setattr(sys, "argv", ["command_test", str(memory_case.csc.salinfo.index)])
            await asyncio.wait_for(Commander.amain(index=True), WAIT)
            stdin.close()
            if kind == "file":
                os.close(read_end)
        await memory_case.assert_next_summary_state(State.STANDBY)
        await memory_case.assert_next_summary_state(State.DISABLED)
        assert memory_case.csc.summary_state is State.DISABLED


# Helpers for tests


async def test_next_samples_are_compared_field_by_field(memory_case: CscCase) -> None:
    async with memory_case.make_csc(initial_state=State.ENABLED):
        csc, remote = memory_case.csc, memory_case.remote
        await csc.evt_scalars.set_write(int0=2, string0="x")
        await csc.evt_scalars.set_write(int0=3)
        data = await memory_case.assert_next_sample(remote.evt_scalars, int0=State.ENABLED, string0="x")
        assert data.int0 == 2
        with pytest.raises(AssertionError, match="int0 is 3, not 5"):
            await memory_case.assert_next_sample(remote.evt_scalars, int0=5)
        await csc.evt_scalars.set_write(int0=4)
        with pytest.raises(AssertionError, match="no field nosuch"):
            await memory_case.assert_next_sample(remote.evt_scalars, nosuch=5)
        with pytest.raises(TimeoutError):
            await memory_case.assert_next_sample(remote.evt_scalars, timeout=0.01)


async def test_only_the_last_state_is_left_for_the_test(memory_case: CscCase) -> None:
    async with memory_case.make_csc(initial_state=State.ENABLED):
        assert memory_case.remote.evt_summaryState.nqueued == 1
        await memory_case.assert_next_summary_state(State.ENABLED)
        assert memory_case.remote.evt_simulationMode.nqueued == 1
    async with memory_case.make_csc():
        await memory_case.assert_next_summary_state(State.STANDBY)


async def test_ack_assertions_fail_when_they_should(memory_case: CscCase) -> None:
    async with memory_case.make_csc(initial_state=State.STANDBY):
        command = memory_case.remote.cmd_enable
        with assertRaisesAckError(ack=-302, error=1, result_contains="not allowed"):
            await command.start(timeout=WAIT)
        for arguments, text in (
            ({"ack": SalRetCode.CMD_ABORTED}, "ack="),
            ({"error": 5}, "error=1, but 5"),
            ({"result_contains": "nosuch"}, "'nosuch' is not in"),
        ):
            with pytest.raises(AssertionError, match=text), assertRaisesAckError(**arguments):
                await command.start(timeout=WAIT)
        with pytest.raises(AssertionError, match="was not raised"), assertRaisesAckError():
            pass
        with pytest.raises(AssertionError, match="was not raised"), assertRaisesAckTimeoutError():
            pass
        with pytest.raises(AckError), assertRaisesAckTimeoutError():
            await command.start(timeout=WAIT)


async def test_topic_subnames_are_fit_for_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSST_TOPIC_SUBNAME", "before")
    names = []
    for is_random in (False, False, True, True):
        set_test_topic_subname(randomize=is_random)
        names.append(SalSettings.from_environment().topic_subname)
    assert names[0] == names[1]
    assert len(set(names)) == 3
    assert all(name.startswith("test_") and "=" not in name and "-" not in name for name in names)


async def test_the_helpers_mix_with_unittest(memory_case: CscCase, monkeypatch: pytest.MonkeyPatch) -> None:
    states: list[State] = []

    class Case(BaseCscTestCase, unittest.IsolatedAsyncioTestCase):
        _randomize_topic_subname = True

        @override
        def basic_make_csc(self, *args: Any, **kwargs: Any) -> SalTestCsc:
            return memory_case.basic_make_csc(*args, **kwargs)

        async def test_transitions(self) -> None:
            async with self.make_csc(initial_state=State.STANDBY, timeout=WAIT):
                await self.check_standard_state_transitions(
                    enabled_commands=("setScalars", "setArrays", "wait"), skip_commands=("fault",)
                )
                states.append(self.csc.summary_state)

    # The helper sets this one; afterwards it is as it was.
    monkeypatch.setenv("LSST_TOPIC_SUBNAME", "before")
    # unittest runs a loop of its own, and signal handlers need the main thread only where there is one.
    result = await asyncio.to_thread(Case("test_transitions").run, unittest.TestResult())
    assert result is not None
    assert not result.errors
    assert not result.failures
    assert states == [State.OFFLINE]
