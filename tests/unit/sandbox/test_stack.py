import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from lsst.ts.ocps.sandbox.errors import PartFailedError
from lsst.ts.ocps.sandbox.parts import PartPlan
from lsst.ts.ocps.sandbox.process_table import is_running
from lsst.ts.ocps.sandbox.processes import ProcessSpec
from lsst.ts.ocps.sandbox.stack import Stack
from lsst.ts.ocps.sandbox.state import PartState

pytestmark = pytest.mark.asyncio

GOOD = "import time\nprint('ready', flush=True)\ntime.sleep(60)"
BAD = "print('no disk')\nraise SystemExit(1)"


class Recorder:
    """Makes stacks and remembers what they told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.changes: list[list[str]] = []
        self.ready: list[str] = []

    def make(self, **programs: str) -> Stack:
        plans = [self._plan(name, program) for name, program in programs.items()]
        return Stack(plans, on_change=self._note, on_ready=lambda part: self.ready.append(part.name))

    def _plan(self, name: str, program: str) -> PartPlan:
        log = self.folder / f"{name}.log"

        async def wait() -> None:
            while not log.exists() or "ready" not in log.read_text():  # noqa: ASYNC110 (a file of another process)
                await asyncio.sleep(0.01)

        command = (sys.executable, "-c", program)
        spec = ProcessSpec(name=name, command=command, environment={}, log=log, wait_until_ready=wait)
        return PartPlan(name=name, spec=spec)

    async def _note(self, parts: tuple[PartState, ...]) -> None:
        self.changes.append([part.name for part in parts])


async def test_parts_start_in_order_and_end_in_reverse_order(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    stack = recorder.make(a=GOOD, b=GOOD)
    await stack.start()
    parts = stack.parts
    assert all(is_running(part.process) for part in parts)
    await stack.aclose()
    assert recorder.ready == ["a", "b"]
    assert recorder.changes == [["a"], ["a", "b"], ["a"], []]
    assert not any(is_running(part.process) for part in parts)


async def test_a_part_that_does_not_start_is_named_and_those_before_it_can_be_ended(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    stack = recorder.make(a=GOOD, b=BAD, c=GOOD)
    with pytest.raises(PartFailedError, match="b ended with status 1") as info:
        await stack.start()
    assert info.value.tail == "no disk"
    first = stack.parts[0].process
    assert is_running(first)
    await stack.aclose()
    assert not is_running(first)
    assert recorder.ready == ["a"]


async def test_a_crash_is_reported_with_the_name_of_the_part(tmp_path: Path) -> None:
    stack = Recorder(tmp_path).make(a=GOOD, b=GOOD)
    await stack.start()
    try:
        watching = asyncio.create_task(stack.wait_for_crash())
        os.kill(stack.parts[1].process.pid, signal.SIGKILL)
        with pytest.raises(PartFailedError, match=r"b was ended by SIGKILL; the end of .*b\.log:\nready"):
            await watching
    finally:
        await stack.aclose()


async def test_of_parts_that_crash_together_the_first_is_reported(tmp_path: Path) -> None:
    stack = Recorder(tmp_path).make(a=GOOD, b=GOOD)
    await stack.start()
    try:
        for part in reversed(stack.parts):
            os.kill(part.process.pid, signal.SIGKILL)
        for _, process in stack._running:
            with pytest.raises(PartFailedError):
                await process.wait_for_exit()
        with pytest.raises(PartFailedError, match="a was ended by SIGKILL"):
            await stack.wait_for_crash()
    finally:
        await stack.aclose()
