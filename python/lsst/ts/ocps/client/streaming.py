"""Bodies of answers: those that are too large for the memory are handed on piece by piece while they come."""

import zlib
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx

__all__ = ["Receiver", "Sink", "read_body"]

Receiver = Callable[[bytes], Awaitable[None]]
"""Takes one piece after another; what it raises ends the transfer and reaches the caller."""

_MAX_SILENCE = 60.0
"""How long a server may pause within a body (s): the deadline of a transfer may be far away."""

_HEAD = 128 * 1024
"""How much of the beginning is kept, to tell a login page from a result (byte)."""

_PIECE = 1024 * 1024
"""Least size of a piece, the last one aside (byte): each is written by a thread."""

_UNPACKED = 256 * 1024
"""Most that is unpacked at a time (byte): a kilobyte may hold a gigabyte."""


class Sink:
    """Where the body of a successful answer goes.

    Parameters
    ----------
    receive
        Takes the pieces.
    max_bytes
        Where to stop (byte).
    """

    def __init__(self, receive: Receiver, max_bytes: int) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self.has_begun = False
        """Whether anything was handed on: then the request cannot simply be repeated."""

    @staticmethod
    def extensions(connect_timeout: float) -> dict[str, object]:
        """What the request says to the connection pool."""
        timeout = httpx.Timeout(None, connect=connect_timeout, read=_MAX_SILENCE)
        return {"timeout": timeout.as_dict()}

    async def read(self, response: httpx.Response) -> tuple[bytes, bool]:
        """Hand on the body; returns its beginning, and whether that was all of it."""
        length = response.headers.get("content-length", "")
        if length.isdigit() and int(length) > self._max_bytes:
            return b"", False
        head, piece, size = b"", bytearray(), 0
        async for chunk in _unpacked(response):
            size += len(chunk)
            if size > self._max_bytes:
                return head, False
            head += chunk[: _HEAD - len(head)]
            piece += chunk
            if len(piece) >= _PIECE:
                await self._hand_on(piece)
        await self._hand_on(piece)
        return head, True

    async def _hand_on(self, piece: bytearray) -> None:
        if piece:
            self.has_begun = True
            await self._receive(bytes(piece))
            piece.clear()


async def read_body(response: httpx.Response, limit: int) -> tuple[bytes, bool]:
    """Read a body into the memory.

    Parameters
    ----------
    response
        Its body has not been read.
    limit
        Where to stop (byte).

    Returns
    -------
    tuple
        At most so many bytes, and whether that was all.
    """
    length = response.headers.get("content-length", "")
    if length.isdigit() and int(length) > limit and response.is_success:
        return b"", False
    chunks, size = [], 0
    async for chunk in _unpacked(response):
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            return b"".join(chunks)[:limit], False
    return b"".join(chunks), True


async def _unpacked(response: httpx.Response) -> AsyncIterator[bytes]:
    """The body, unpacked in small steps: httpx would unpack at once whatever has come, however large it gets.

    Raises
    ------
    httpx.DecodingError
        If it is packed in another way than one that servers use unasked, or damaged.
    """
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    if coding == "identity":
        async for chunk in response.aiter_raw():
            yield chunk
        return
    if coding not in {"gzip", "x-gzip", "deflate"}:
        raise httpx.DecodingError(f"the answer came as {coding!r}, which was not asked for")
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)  # with the head of either format
    try:
        async for chunk in response.aiter_raw():
            packed = chunk
            while packed and not unpacker.eof:
                yield unpacker.decompress(packed, _UNPACKED)
                packed = unpacker.unconsumed_tail
    except zlib.error as error:
        raise httpx.DecodingError(f"the answer is no {coding}: {error}") from error
    if not unpacker.eof and (rest := unpacker.flush()):
        yield rest
