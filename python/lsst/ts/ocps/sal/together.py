"""Run several calls at once and fail with the first plain error."""

import asyncio
from collections.abc import Coroutine
from typing import Any

__all__ = ["run_together"]


async def run_together(*calls: Coroutine[Any, Any, Any]) -> list[Any]:
    """Run calls concurrently and return their results in order.

    Parameters
    ----------
    *calls
        What to run.

    Raises
    ------
    BaseException
        The first error of a call, itself and not a group; the other calls are cancelled.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]
