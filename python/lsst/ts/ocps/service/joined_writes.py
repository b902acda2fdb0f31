"""Answers leave in one piece, and those to many clients one after another.

The HTTP server writes the head of an answer, and then its body. Sent at once each would be a call of the
system and a packet of its own, and each call wakes a client in the middle of the work for the next. What is
written in one turn of the event loop is sent at the beginning of the next one instead.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from typing_extensions import override

__all__ = ["JoinedTransport", "WriteTurn"]

_MAX_HELD = 64 * 1024
"""More is not held back, so that a fast writer is told in time that the client reads slowly (byte)."""


class WriteTurn:
    """What the connections of a server write in one turn of the event loop."""

    def __init__(self) -> None:
        self._written: list[JoinedTransport] = []

    def add(self, transport: "JoinedTransport") -> None:
        """Have a transport send what it holds at the beginning of the next turn."""
        if not self._written:
            asyncio.get_running_loop().call_soon(self._send)
        self._written.append(transport)

    def _send(self) -> None:
        written, self._written = self._written, []
        for transport in written:
            transport.send_held()


class JoinedTransport(asyncio.Transport):
    """A transport that holds back what is written until the turn of the event loop is over.

    Parameters
    ----------
    transport
        Sends; whatever is not said here is asked of it.
    turn
        Ends the turn.
    note_unsent
        Called when something has been written that the system does not take at once.
    """

    def __init__(
        self, transport: asyncio.Transport, turn: WriteTurn, note_unsent: Callable[[], None] | None = None
    ) -> None:
        super().__init__()
        self._note_unsent = note_unsent
        self._written = 0
        self._transport = transport
        self._turn = turn
        self._held: list[bytes | bytearray | memoryview] = []
        self._size = 0

    @override
    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._held:
            self._turn.add(self)
        self._held.append(data)
        self._size += len(data)
        if self._size > _MAX_HELD:
            self.send_held()

    def send_held(self) -> None:
        """Send what has been written."""
        if self._held:
            data = b"".join(self._held)
            self._held.clear()
            self._size = 0
            self._written += len(data)
            self._transport.write(data)
            if self._note_unsent is not None and self.unsent:
                self._note_unsent()

    @property
    def unsent(self) -> int:
        """How much is left of what was sent that the system has not taken yet (byte)."""
        return self._transport.get_write_buffer_size()

    @property
    def taken(self) -> int:
        """How much the system has taken, which is what the other end has, but for some buffers (byte)."""
        return self._written - self.unsent

    @override
    def close(self) -> None:
        self.send_held()
        self._transport.close()

    @override
    def abort(self) -> None:
        self._held.clear()
        self._transport.abort()

    @override
    def is_closing(self) -> bool:
        return self._transport.is_closing()

    @override
    def pause_reading(self) -> None:
        self._transport.pause_reading()

    @override
    def resume_reading(self) -> None:
        self._transport.resume_reading()

    @override
    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)
