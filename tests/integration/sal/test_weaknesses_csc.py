"""Sal-on-kafka section 20, points 11 to 13: the log, git and the hooks of a CSC."""

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from lsst.ts.ocps.sal.domain import Domain
from lsst.ts.ocps.sal.enums import SalRetCode, State
from lsst.ts.ocps.sal.errors import BrokerError, ExpectedError
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.sal.testing import assertRaisesAckError
from support.sal_csc import SalTestCsc
from support.sal_fixtures import WAIT, CscCase, drain_states, forget_start, own_messages, until

pytestmark = pytest.mark.asyncio


async def test_weakness_11_every_log_record_is_published_even_if_it_is_like_the_last_one(
    case: CscCase,
) -> None:
    async with case.make_csc(initial_state=State.STANDBY):
        remote, log = case.remote, case.csc.log
        remote.evt_logMessage.flush()
        for _ in range(3):
            log.warning("the same %s", "words")
        log.getChild("child").error("from a child")
        log.debug("too low")
        error = ValueError("with a traceback")
        await asyncio.to_thread(log.error, "from a thread", exc_info=error)
        seen = await own_messages(remote, 5)
        assert [(data.name, data.level, data.message) for data in seen] == [
            *[("Test", 30, "the same words")] * 3,
            ("Test.child", 40, "from a child"),
            ("Test", 40, "from a thread"),
        ]
        assert "ValueError: with a traceback" in seen[4].traceback
        assert seen[0].traceback == ""
        assert (
            seen[0].functionName
            == "test_weakness_11_every_log_record_is_published_even_if_it_is_like_the_last_one"
        )
        assert seen[0].filePath.endswith("test_weaknesses_csc.py")
        assert seen[0].lineNumber > 0
        assert seen[0].timestamp == 0


async def test_weakness_11_the_level_can_be_set_and_is_respected(case: CscCase) -> None:
    async with case.make_csc(initial_state=State.STANDBY):
        remote = case.remote
        await case.assert_next_sample(remote.evt_logLevel, level=logging.INFO)
        await remote.cmd_setLogLevel.set_start(level=logging.ERROR, timeout=WAIT)
        await case.assert_next_sample(remote.evt_logLevel, level=logging.ERROR)
        async with Remote(case.csc.domain, "Test", 999):
            # In ts_salobj a new Remote makes the logger verbose again.
            assert case.csc.log.level == logging.ERROR
        remote.evt_logMessage.flush()
        case.csc.log.warning("not published")
        case.csc.log.error("published")
        await case.assert_next_sample(remote.evt_logMessage, message="published")


async def test_weakness_11_a_level_chosen_on_the_command_line_is_respected(
    memory_case: CscCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["run_test_csc", "6", "--loglevel", "30", "--configdir", str(memory_case.config_dir)]
    monkeypatch.setattr(sys, "argv", arguments)
    async with (
        SalTestCsc.make_from_cmd_line(index=True) as csc,
        Remote(csc.domain, "Test", 6) as remote,
        Remote(csc.domain, "Test", 7),
    ):
        assert csc.log.level == logging.WARNING
        assert (await remote.evt_logLevel.aget(timeout=WAIT)).level == logging.WARNING
        csc.log.info("not published")
        csc.log.warning("published")
        assert (await remote.evt_logMessage.next(flush=False, timeout=WAIT)).message == "published"


async def test_weakness_11_a_start_says_little(case: CscCase) -> None:
    async with case.make_csc(initial_state=State.ENABLED):
        case.csc.log.warning("the end of the start")
        messages: list[str] = []
        while not messages or messages[-1] != "the end of the start":
            messages.append((await case.remote.evt_logMessage.next(flush=False, timeout=WAIT)).message)
    # The original publishes 462 records, most of them about waiting for old data.
    assert len(messages) < 10


# Git


@pytest.fixture
def hanging_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git that does not answer before its folder has a file ``go``."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "git"
    program.write_text(
        f"#!/bin/sh\ntouch {folder}/called\n"
        f"while [ ! -e {folder}/go ]; do sleep 0.1; done\necho heads/hanging-0-g1234567\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return folder


async def test_weakness_12_git_does_not_block_the_loop(memory_case: CscCase, hanging_git: Path) -> None:
    async with Domain() as domain, Remote(domain, "Test", 3) as remote:
        csc = memory_case.basic_make_csc(State.STANDBY, None, 0, index=3)
        try:
            await until((hanging_git / "called").exists)
            remote.evt_heartbeat.flush()
            for _ in range(2):
                await remote.evt_heartbeat.next(flush=False, timeout=WAIT)
            await remote.cmd_setLogLevel.set_start(level=logging.WARNING, timeout=WAIT)
            assert not remote.evt_configurationsAvailable.has_data
            (hanging_git / "go").touch()
            offer = await remote.evt_configurationsAvailable.aget(timeout=WAIT)
            assert offer.version == "heads/hanging-0-g1234567"
            await csc.start_task
        finally:
            (hanging_git / "go").touch()
            await csc.close()


# Hooks


@pytest.mark.parametrize("is_expected", [False, True])
@pytest.mark.parametrize("hook", ["begin_enable", "end_enable", "handle_summary_state"])
async def test_weakness_13_a_failing_hook_leaves_the_old_state_in_force(
    memory_case: CscCase, hook: str, is_expected: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        raise ExpectedError("sorry") if is_expected else ValueError("sorry")

    async with memory_case.make_csc(initial_state=State.DISABLED):
        csc, remote = memory_case.csc, memory_case.remote
        await forget_start(memory_case)
        csc.hooks[hook] = fail
        csc.calls.clear()
        caplog.clear()
        with assertRaisesAckError(ack=SalRetCode.CMD_FAILED, result_contains="Failed: sorry"):
            await remote.cmd_enable.start(timeout=WAIT)
        assert csc.summary_state is State.DISABLED
        seen = State.DISABLED if hook == "begin_enable" else State.ENABLED
        assert (hook, seen) in csc.calls
        failures = [record for record in caplog.records if record.exc_info and "cmd_enable" in record.message]
        assert bool(failures) is not is_expected
        csc.hooks.clear()
        # The state is truly the old one, and everybody was told only what is true.
        await remote.cmd_enable.start(timeout=WAIT)
        await until(lambda: remote.evt_summaryState.nqueued)
        assert drain_states(remote) == [State.ENABLED]


async def test_weakness_13_a_state_that_could_not_be_published_is_published_with_a_heartbeat(
    memory_case: CscCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with memory_case.make_csc(initial_state=State.DISABLED):
        csc, remote = memory_case.csc, memory_case.remote
        broker = csc.salinfo.broker
        real_send = broker.send
        failures = 1

        async def send(topic: str, *, key: bytes, value: bytes) -> Any:
            nonlocal failures
            if topic.endswith("summaryState") and failures:
                failures -= 1
                raise BrokerError("away")
            return await real_send(topic, key=key, value=value)

        monkeypatch.setattr(broker, "send", send)
        await forget_start(memory_case)
        with assertRaisesAckError(ack=SalRetCode.CMD_FAILED, result_contains="away"):
            await remote.cmd_enable.start(timeout=WAIT)
        await memory_case.assert_next_summary_state(State.ENABLED)


@pytest.mark.parametrize("is_expected", [False, True])
@pytest.mark.parametrize("hook", ["end_enable", "handle_summary_state"])
async def test_weakness_13_what_a_failed_hook_has_told_the_world_is_corrected(
    case: CscCase, hook: str, is_expected: bool
) -> None:
    async with case.make_csc(initial_state=State.DISABLED):
        csc, remote = case.csc, case.remote
        await forget_start(case)

        async def tell_and_fail() -> None:
            if csc.summary_state is State.ENABLED:
                await csc.evt_summaryState.set_write(summaryState=State.ENABLED)
                raise ExpectedError("sorry") if is_expected else ValueError("sorry")

        csc.hooks[hook] = tell_and_fail
        csc.calls.clear()
        with assertRaisesAckError(ack=SalRetCode.CMD_FAILED, result_contains="Failed: sorry"):
            await remote.cmd_enable.start(timeout=WAIT)
        await until(lambda: remote.evt_summaryState.nqueued == 2)
        assert drain_states(remote) == [State.ENABLED, State.DISABLED]
        assert csc.summary_state is State.DISABLED
        if hook == "handle_summary_state":
            # Who was called for the new state is called for the old one again.
            assert [state for name, state in csc.calls if name == hook] == [State.ENABLED, State.DISABLED]


@pytest.mark.parametrize("is_expected", [False, True])
async def test_weakness_13_a_report_that_fails_reverts_the_state_and_tells_it(
    memory_case: CscCase, is_expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with memory_case.make_csc(initial_state=State.DISABLED):
        csc, remote = memory_case.csc, memory_case.remote
        await forget_start(memory_case)
        real_report = csc._report_summary_state

        async def report() -> None:
            await real_report()
            raise ExpectedError("sorry") if is_expected else ValueError("sorry")

        monkeypatch.setattr(csc, "_report_summary_state", report)
        with assertRaisesAckError(ack=SalRetCode.CMD_FAILED, result_contains="Failed: sorry"):
            await remote.cmd_enable.start(timeout=WAIT)
        await until(lambda: remote.evt_summaryState.nqueued == 2)
        assert drain_states(remote) == [State.ENABLED, State.DISABLED]
        assert csc.summary_state is State.DISABLED
