"""Does the event loop stand still?"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["watch_loop"]

_PACE = 0.01
"""How often the watching task wants a turn (s)."""


@asynccontextmanager
async def watch_loop() -> AsyncIterator[list[float]]:
    """Gaps between the turns of a task that wants a turn every 10 ms (s)."""
    gaps: list[float] = []

    async def turn() -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(_PACE)
            now = time.monotonic()
            gaps.append(now - last)
            last = now

    task = asyncio.create_task(turn(), name="watch loop")
    try:
        yield gaps
    finally:
        task.cancel()
