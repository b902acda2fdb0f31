"""For how long an event loop does nothing else."""

import asyncio
import time
from types import TracebackType
from typing import Self

__all__ = ["StallWatch"]

_TICK = 0.005


class StallWatch:
    """Notes the longest times for which the event loop stood still, while it is entered.

    On a busy machine the loop also waits for a processor; the time that it computed meanwhile tells the two
    apart.
    """

    def __init__(self) -> None:
        self._longest = self._longest_computing = 0.0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._tick(), name="stall watch")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()

    def take(self) -> tuple[float, float]:
        """The longest stall since the last call, and the longest of which the loop computed all (s)."""
        longest = self._longest, self._longest_computing
        self._longest = self._longest_computing = 0.0
        return longest

    async def _tick(self) -> None:
        while True:
            begin, begin_computing = time.perf_counter(), time.thread_time()
            await asyncio.sleep(_TICK)
            self._longest = max(self._longest, time.perf_counter() - begin - _TICK)
            self._longest_computing = max(self._longest_computing, time.thread_time() - begin_computing)
