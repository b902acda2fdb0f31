"""Turn the signals that ask a process to end into an exception of the main task."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn

from .errors import StoppedBySignalError

__all__ = ["StopRequest", "catch_stop_signals"]


class StopRequest:
    """Whether somebody asked this process to end, and how."""

    def __init__(self) -> None:
        self._signal: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def note(self, signal_number: int) -> None:
        """Record a signal; those after the first change nothing, as the end is under way."""
        if not self._signal.done():
            self._signal.set_result(signal_number)

    async def wait(self) -> NoReturn:
        """Wait for the request.

        Raises
        ------
        StoppedBySignalError
            When it comes.
        """
        raise StoppedBySignalError(await asyncio.shield(self._signal))


@asynccontextmanager
async def catch_stop_signals() -> AsyncIterator[StopRequest]:
    """Catch Ctrl-C, SIGTERM and the closing of the terminal while the body runs (main thread only)."""
    loop = asyncio.get_running_loop()
    request = StopRequest()
    caught = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in caught:
        loop.add_signal_handler(number, request.note, number)
    try:
        yield request
    finally:
        for number in caught:
            loop.remove_signal_handler(number)
