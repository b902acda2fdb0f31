"""Wait for something, unless something else happens first."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["unless"]

T = TypeVar("T")


async def unless(event: asyncio.Event, coro: Coroutine[Any, Any, T]) -> T | None:
    """Wait for an outcome, but not longer than until an event.

    Parameters
    ----------
    event
        Ends the waiting; what was waited for is cancelled then, and has ended when this returns.
    coro
        What is waited for.

    Returns
    -------
    object or None
        Its value; None if the event came first.
    """
    task = asyncio.ensure_future(coro)
    happening = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({task, happening}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        happening.cancel()
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
