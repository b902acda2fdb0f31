"""A server of a test that leaves no connection behind."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

__all__ = ["Handler", "serving"]

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]
"""Talks to one client; the connection ends with it."""

_TURNS = 5
"""Turns of the event loop from a connection that was accepted to the end of the task that serves it."""


@asynccontextmanager
async def serving(
    handle: Handler, *, tls: ssl.SSLContext | None = None, backlog: int = 100
) -> AsyncIterator[int]:
    """Serve clients on a free port of the loopback interface.

    ``asyncio.start_server`` given a coroutine forgets to close a connection whose task is cancelled before
    its first step, and one that has just been accepted is not known yet; whichever test runs when such a
    connection is collected fails for it.

    Parameters
    ----------
    handle
        Talks to one client.
    tls
        Certificate and demands of an encrypted server; None: it is not encrypted.
    backlog
        How many clients may wait to be accepted.

    Yields
    ------
    int
        The port.
    """
    writers: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(handle(reader, writer), name="server of a test")
        writers[task] = writer
        task.add_done_callback(lambda _: writer.close())

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls, backlog=backlog)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for _ in range(_TURNS):
            await asyncio.sleep(0)
            for task, writer in writers.items():
                task.cancel()
                writer.transport.abort()
        await asyncio.gather(*writers, return_exceptions=True)
        await asyncio.sleep(0)
