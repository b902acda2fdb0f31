"""HTTP with as little between as can be: what is measured is the server, and a thousand clients are cheap."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from typing_extensions import override

__all__ = ["BareAnswer", "BareClient", "Waiter"]


@dataclass(frozen=True)
class BareAnswer:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class BareClient:
    """One connection that is kept; every answer must tell its length.

    Parameters
    ----------
    host
        Value of ``Host``, and further headers after it.
    reader, writer
        The connection.
    """

    def __init__(self, host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._host = host
        self._reader = reader
        self._writer = writer

    @classmethod
    @asynccontextmanager
    async def connect(cls, url: str, **headers: str) -> AsyncIterator["BareClient"]:
        """Connect to the server of a URL; every request has these headers."""
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=2**24)
        try:
            further = "".join(f"\r\n{name}: {value}" for name, value in headers.items())
            yield cls(f"{parts.netloc}{further}", reader, writer)
        finally:
            writer.close()

    async def get(self, target: str) -> BareAnswer:
        """Read something."""
        return await self._exchange(_request("GET", target, self._host))

    async def post(self, target: str, **form: str) -> BareAnswer:
        """Send a form."""
        return await self._exchange(_request("POST", target, self._host, urlencode(form)))

    async def _exchange(self, request: bytes) -> BareAnswer:
        self._writer.write(request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {}
        for line in head[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        body = await self._reader.readexactly(int(headers["content-length"]))
        return BareAnswer(int(head[0].split()[1]), headers, body)


class Waiter(asyncio.Protocol):
    """A connection with one GET whose answer comes late; notes when the end of its document came.

    Parameters
    ----------
    url
        What is read.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._request = _request("GET", f"{parts.path}?{parts.query}", parts.netloc)
        self._address = parts.hostname or "", parts.port or 80
        self._received = b""
        self._transport: asyncio.Transport | None = None
        self.answered: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        """When (Unix s)."""

    async def connect(self) -> None:
        """Connect, and ask."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_connection(lambda: self, *self._address)
        self._transport.write(self._request)

    def close(self) -> None:
        """Break the connection."""
        if self._transport is not None:
            self._transport.abort()

    @override
    def data_received(self, data: bytes) -> None:
        self._received += data
        if b"</uws:job>" in self._received[-200:] and not self.answered.done():
            self.answered.set_result(time.time())

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if not self.answered.done():
            self.answered.set_exception(ConnectionError(f"no answer but {self._received[:200]!r}"))


def _request(method: str, target: str, host: str, body: str = "") -> bytes:
    head = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n"
    if body:
        head += f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n"
    return f"{head}\r\n{body}".encode("ascii")
