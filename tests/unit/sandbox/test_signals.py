import asyncio
import os
import signal

import pytest

from lsst.ts.ocps.sandbox.errors import StoppedBySignalError
from lsst.ts.ocps.sandbox.signals import catch_stop_signals

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_stop_signal_becomes_an_exception_that_names_it(number: signal.Signals) -> None:
    async with catch_stop_signals() as stop, asyncio.timeout(30):
        os.kill(os.getpid(), number)
        with pytest.raises(StoppedBySignalError, match=f"stopped by {number.name}"):
            await stop.wait()


async def test_further_signals_change_nothing_while_the_end_is_under_way() -> None:
    async with catch_stop_signals() as stop, asyncio.timeout(30):
        stop.note(signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(0)
        with pytest.raises(StoppedBySignalError) as info:
            await stop.wait()
    assert info.value.signal_number == signal.SIGTERM


async def test_the_handlers_are_gone_afterwards() -> None:
    before = signal.getsignal(signal.SIGINT)
    async with catch_stop_signals():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
