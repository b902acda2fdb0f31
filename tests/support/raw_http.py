"""Connections to a service below HTTP: for requests that no client library would send."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

__all__ = ["RawConnection", "raw_connection"]

_TIMEOUT = 20.0


@dataclass(frozen=True)
class RawConnection:
    """A connection whose bytes are the test's own."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        """Send some bytes.

        Raises
        ------
        ConnectionError
            If the other end does not want them any more.
        """
        self.writer.write(data)
        async with asyncio.timeout(_TIMEOUT):
            await self.writer.drain()

    async def rest(self) -> bytes:
        """All that comes until the other end closes the connection."""
        received = b""
        async with asyncio.timeout(_TIMEOUT):
            # What was not read at the other end makes its end an abrupt one.
            with suppress(ConnectionError):
                while piece := await self.reader.read(2**16):
                    received += piece
        return received

    async def head(self) -> bytes:
        """The next status line and the headers after it."""
        async with asyncio.timeout(_TIMEOUT):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def answer(self) -> bytes:
        """The head of the next answer, whose body is left out."""
        head = await self.head()
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        async with asyncio.timeout(_TIMEOUT):
            await self.reader.readexactly(int(lengths[0].partition(b":")[2]))
        return head


@asynccontextmanager
async def raw_connection(url: str, *, address: str | None = None) -> AsyncIterator[RawConnection]:
    """Connect to the service at a URL, from an address of the loopback if one is given."""
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(
        place.hostname, place.port, local_addr=(address, 0) if address else None
    )
    try:
        yield RawConnection(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
