"""What executors tell, and how long it is tried to hear more of them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from lsst.ts.ocps.aio.deadline import Deadline
from lsst.ts.ocps.executors.base import ExecutionStatus

__all__ = ["ExecutorNews", "Search"]

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0
"""First and longest time between two attempts to follow a command (s)."""

_STEADY = 2 * _LONGEST_PAUSE
"""Whoever has followed a command for so long has not lost sight of it in the same trouble as before (s)."""

_log = structlog.stdlib.get_logger(__name__)


class ExecutorNews:
    """Carries what executors tell to whoever follows the job."""

    def __init__(self) -> None:
        self._queues: dict[str, asyncio.Queue[ExecutionStatus]] = {}

    def put(self, key: str, status: ExecutionStatus) -> None:
        """Take a piece of news; this is the listener of the executors."""
        if queue := self._queues.get(key):
            queue.put_nowait(status)
        else:
            _log.debug("news of an execution that nobody follows", job_id=key, state=status.state)

    @contextmanager
    def following(self, key: str) -> Iterator[asyncio.Queue[ExecutionStatus]]:
        """Get the news of one execution."""
        queue = self._queues[key] = asyncio.Queue()
        try:
            yield queue
        finally:
            del self._queues[key]


class Search:
    """The pauses between attempts to follow a command: they grow until the patience (s) is at its end."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._pause = _FIRST_PAUSE
        self._deadline: Deadline | None = None
        self._steady: Deadline | None = None

    def note_found(self) -> None:
        """The command is followed; how long that lasts will be seen."""
        self._steady = Deadline("steady", _STEADY)

    async def pause(self) -> bool:
        """Wait for the next attempt; False if there is to be none."""
        if self._deadline is None or (self._steady is not None and self._steady.expired):
            self._pause, self._deadline = _FIRST_PAUSE, Deadline("search", self._patience)
        self._steady = None
        if self._deadline.expired:
            return False
        await asyncio.sleep(min(self._pause, self._deadline.left()))
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        return True
