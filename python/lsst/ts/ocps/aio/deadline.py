"""One time budget for a chain of calls."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["Deadline", "DeadlineExceededError"]


class DeadlineExceededError(TimeoutError):
    """An operation took longer than its budget; the message names both."""


class Deadline:
    """A budget of time that is passed down a chain of calls.

    Parameters
    ----------
    operation
        What the time is for; it appears in the error.
    seconds
        The whole budget (s).
    """

    def __init__(self, operation: str, seconds: float) -> None:
        self.operation = operation
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Time left (s), never negative."""
        return max(0.0, self._end - time.monotonic())

    def extend(self, seconds: float) -> None:
        """Add to the budget what was spent on something that it is not for (s)."""
        self._end += seconds

    @property
    def expired(self) -> bool:
        """Whether the budget is spent."""
        return self.left() <= 0

    @asynccontextmanager
    async def enforce(self) -> AsyncIterator[None]:
        """Cancel the body when the budget is spent.

        Raises
        ------
        DeadlineExceededError
            If the body did not end in time.
        """
        try:
            async with asyncio.timeout(self.left()) as scope:
                yield
        except TimeoutError as error:
            # A TimeoutError of the body itself is not ours to rename.
            if not scope.expired():
                raise
            raise DeadlineExceededError(f"{self.operation}: no end after {self.seconds:g} s") from error
