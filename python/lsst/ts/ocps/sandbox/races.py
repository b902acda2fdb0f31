"""Do something unless something else happens first."""

import asyncio
import logging
import sys
from collections.abc import Coroutine
from typing import Any, NoReturn, TypeVar

__all__ = ["run_unless"]

_LOG = logging.getLogger(__name__)

T = TypeVar("T")


async def run_unless(
    work: Coroutine[Any, Any, T], interruption: Coroutine[Any, Any, NoReturn], *, name: str
) -> T:
    """Await ``work``, but end it and raise when ``interruption`` raises first.

    Parameters
    ----------
    work
        What is to be done.
    interruption
        Waits for what must not happen, and raises when it does; it never returns.
    name
        Name of the work, for the tasks.

    Raises
    ------
    Exception
        What ``work`` or, if it came first, ``interruption`` raised. Both have ended then: the loser was
        cancelled and its cleaning up was waited for.
    """
    working = asyncio.create_task(work, name=name)
    watching = asyncio.create_task(interruption, name=f"{name}:interruption")
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        return watching.result()
    finally:
        for task in (working, watching):
            task.cancel()
        await asyncio.wait({working, watching})
        for task in (working, watching):
            _report_unseen(task)


def _report_unseen(task: asyncio.Task[Any]) -> None:
    """Log what went wrong while the loser cleaned up; the winner's exception is the one that is raised."""
    if task.cancelled() or task.exception() is None or sys.exception() is task.exception():
        return
    _LOG.error("%s failed while it was being ended", task.get_name(), exc_info=task.exception())
