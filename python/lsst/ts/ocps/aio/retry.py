"""Try again what may succeed later, within a budget."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from .deadline import Deadline

__all__ = ["retry"]

T = TypeVar("T")


async def retry(
    call: Callable[[], Awaitable[T]],
    *,
    deadline: Deadline,
    is_transient: Callable[[Exception], bool],
    first_delay: float = 0.2,
    max_delay: float = 5.0,
    log: logging.Logger | None = None,
) -> T:
    """Call until it succeeds, fails for good, or the deadline leaves no time for another attempt.

    Parameters
    ----------
    call
        What to try.
    deadline
        The budget of all attempts and pauses together. It bounds the pauses, not the attempts: each
        attempt has a deadline of its own.
    is_transient
        Whether an error may go away by itself.
    first_delay, max_delay
        Pause after the first failure and longest pause (s); pauses double and are jittered by 20 %.
    log
        Where each failed attempt is reported.

    Raises
    ------
    Exception
        The last error of ``call``, unchanged.
    """
    delay = first_delay
    while True:
        try:
            return await call()
        except Exception as error:
            pause = delay * random.uniform(0.8, 1.2)  # nosec B311 # noqa: S311 (jitter, not a secret)
            if not is_transient(error) or deadline.left() < pause:
                raise
            if log is not None:
                log.warning("%s: %s; next attempt in %.1f s", deadline.operation, error, pause)
            await asyncio.sleep(pause)
            delay = min(delay * 2, max_delay)
