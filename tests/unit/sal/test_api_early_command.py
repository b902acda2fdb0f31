"""A command may come before the start is complete: whoever reads the first state may answer at once."""

import asyncio
from pathlib import Path

import pytest

from lsst.ts.ocps.sal.enums import State
from lsst.ts.ocps.sal.settings import SalSettings
from support.sal_csc import SalTestCsc

pytestmark = pytest.mark.asyncio


async def test_a_transition_during_the_start_is_not_undone(
    memory_environment: SalSettings, csc_config_dir: Path
) -> None:
    csc = SalTestCsc(index=1, config_dir=csc_config_dir, initial_state=State.STANDBY)
    reached, released = asyncio.Event(), asyncio.Event()

    async def hold_the_start() -> None:
        if not reached.is_set():
            reached.set()
            await released.wait()

    csc.hooks["handle_summary_state"] = hold_the_start
    try:
        async with asyncio.timeout(30):
            await reached.wait()
            await csc.do_start(csc.cmd_start.DataType())
            released.set()
            await csc.start_task
        assert csc.summary_state is State.DISABLED
    finally:
        await csc.close()
