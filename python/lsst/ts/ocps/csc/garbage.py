"""Garbage of the interpreter: looked for while nothing is under way."""

import asyncio
import gc
import time
from collections.abc import Callable

__all__ = ["are_collections_postponed", "collect_garbage", "postpone_collections"]

_NEVER = 1_000_000
_INTERVAL = 10.0
"""Least time between two looks for garbage (s)."""

_LONGEST = 600.0
"""So long one is put off while there are runs (s): what they leave must not gather for ever."""

_PACE = 1.0


def postpone_collections() -> None:
    """Have the interpreter not look through everything by itself.

    With a crowd of runs it takes 0.1 s, in which everything else stands still. What is here now stays, and
    need not be looked at; what is young goes on being looked through.
    """
    gc.freeze()
    gc.set_threshold(*gc.get_threshold()[:2], _NEVER)


def are_collections_postponed() -> bool:
    """Whether somebody else has to look through everything: not where the interpreter goes on doing so."""
    return gc.get_threshold()[2] == _NEVER


async def collect_garbage(is_busy: Callable[[], bool]) -> None:
    """Look through everything every few seconds when nothing else is to be done; goes on until cancelled.

    Parameters
    ----------
    is_busy
        Whether there is anything to be held up.
    """
    last = time.monotonic()
    while True:
        await asyncio.sleep(_PACE)
        since = time.monotonic() - last
        if since >= _INTERVAL and (since >= _LONGEST or not is_busy()):
            _ = gc.collect()
            last = time.monotonic()
