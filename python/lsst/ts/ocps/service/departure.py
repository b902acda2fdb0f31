"""Clients that leave before they are answered."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import Receive, Scope

__all__ = ["departure"]


@contextmanager
def departure(scope: Scope, receive: Receive) -> Iterator[asyncio.Future[None]]:
    """A future that is done when the client has gone."""

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    task = asyncio.create_task(watch(), name=f"client of {scope['path']}")
    try:
        yield task
    finally:
        # It ends at its next turn; a thousand who wait for one job do not wait for that too.
        task.cancel()
