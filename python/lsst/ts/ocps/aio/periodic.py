"""Call something again and again, at a steady pace."""

import asyncio
import time
from collections.abc import Awaitable, Callable

__all__ = ["run_periodically"]


async def run_periodically(
    call: Callable[[], Awaitable[object]], *, interval: float, first_delay: float = 0.0
) -> None:
    """Call ``call`` every ``interval`` seconds until cancelled; an exception of the call ends the loop.

    Parameters
    ----------
    call
        What to call; a call that takes longer than the interval is followed by the next one at once,
        without making up for what was missed.
    interval
        Time from start to start of two calls (s).
    first_delay
        Time before the first call (s).
    """
    next_start = time.monotonic() + first_delay
    while True:
        await asyncio.sleep(max(0.0, next_start - time.monotonic()))
        await call()
        next_start = max(next_start + interval, time.monotonic())
