"""Lines of text from a stream, without blocking the event loop (salobj-api section 1)."""

import asyncio
import os
import stat
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TextIO

__all__ = ["stream_as_generator"]


async def stream_as_generator(stream: TextIO, exit_str: str = "") -> AsyncGenerator[str, None]:
    """The lines of a stream, each with its end of line.

    Close it (`contextlib.aclosing`) where the loop goes on after an early end.

    Parameters
    ----------
    stream
        Such as standard input.
    exit_str
        End at the line that consists of this text; "": at the end of the stream only.
    """
    # A file never keeps a thread waiting, and an event loop cannot watch it.
    is_file = stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    lines = _read_file(stream) if is_file else _read_pipe(stream)
    async with aclosing(lines):
        async for line in lines:
            if exit_str and line.strip() == exit_str:
                return
            yield line


async def _read_file(stream: TextIO) -> AsyncGenerator[str, None]:
    while line := await asyncio.to_thread(stream.readline):
        yield line


async def _read_pipe(stream: TextIO) -> AsyncGenerator[str, None]:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), stream)
    try:
        while line := (await reader.readline()).decode():
            yield line
    finally:
        transport.close()
