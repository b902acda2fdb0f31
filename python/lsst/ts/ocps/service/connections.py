"""Connections of clients, kept within bounds before anybody knows who asks.

The server itself reads the head of a request to its end, however long that is, and waits for it for ever: so
one connection could fill the memory, and some thousand that say nothing take all descriptors of the process.
Nor does it mind for how long an answer is not read, and how many connections come from one place.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, ClassVar

from pydantic import IPvAnyNetwork
from typing_extensions import override
from uvicorn.config import Config

# The one of uvicorn's protocols that this service runs with; its minor version is pinned in setup.cfg.
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from .addresses import is_in, network_of
from .joined_writes import JoinedTransport, WriteTurn

__all__ = ["MAX_HEAD", "BoundedProtocol", "ConnectionLimits", "bounded_protocol"]

MAX_HEAD = 64 * 1024
"""Longest request line and headers together (byte); the same goes for what follows a body in chunks."""

_MIN_RATE = 1024
"""Bodies that come more slowly than that use up the time that a request may take (byte/s)."""


_LOOKS = 8
"""How often it is looked at a client that takes nothing before its connection is ended."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What connections may take of the process."""

    connections: int
    """How many there are at a time; those that are not in use make room for new ones."""

    seconds: float
    """How long a request may take to come (s); a body besides one second for each KiB."""

    send_seconds: float
    """How long a client may take nothing of its answer (s)."""

    note_refusal: Callable[[str], None]
    """Told of each connection that is ended for these limits: the reason."""

    per_address: int | None = None
    """How many of them one address may have, or one network of IPv6 (/64); None: all."""

    proxies: Sequence[IPvAnyNetwork] = ()
    """Networks whose addresses may have all: many clients are behind each."""


def bounded_protocol(bounds: ConnectionLimits) -> type[asyncio.Protocol]:
    """The protocol of a server with such limits."""

    class Protocol(BoundedProtocol):
        limits = bounds
        turn = WriteTurn()
        numbers: ClassVar[Counter[str]] = Counter()

    return Protocol


class BoundedProtocol(HttpToolsProtocol):
    """A connection that is ended when it takes too much.

    Parameters
    ----------
    config, server_state, app_state, _loop
        As the server gives them.
    """

    limits: ClassVar[ConnectionLimits]
    turn: ClassVar[WriteTurn]
    """What its connections write in one turn of the event loop."""

    numbers: ClassVar[Counter[str]]
    """How many connections there are of each address that is counted."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._spent = 0
        """Bytes since the last that belonged to a body, or to an earlier request."""

        self._body_size = 0
        """Bytes of the body of this request, as long as it is not answered."""

        self._is_whole = True
        """Whether nothing has come of a request that is not there to its end."""

        self._has_head = False
        """Whether the one that is under way has come as far as its body, and is being answered."""

        self._idle_since = 0.0
        self._since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._address = ""
        """The address that it is counted for; "" if it is for none."""

        self._taken = 0
        self._taken_at = 0.0
        self._send_timer: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._joined = JoinedTransport(transport, self.turn, self._note_unsent)
        super().connection_made(self._joined)
        if self._is_one_too_many() and not self._make_room(self._address):
            text = f"ServiceUnavailable: your address has {self.limits.per_address} connections"
            self._end("too many of one address", 429, f"{text}, and no more are allowed")
            return
        if len(self.connections) > self.limits.connections and not self._make_room():
            self._end("too many", 503, "ServiceUnavailable: there are too many connections; try again later")
            return
        # Whoever connects is to ask for something.
        self._idle_since = self.loop.time()
        self._start_clock()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_clock()
        if self._send_timer is not None:
            self._send_timer.cancel()
        if self._address:
            self.numbers[self._address] -= 1
            if not self.numbers[self._address]:
                del self.numbers[self._address]
        super().connection_lost(exc)

    @override
    def data_received(self, data: bytes) -> None:
        # No more is looked at than what may be a head: where it ends only the parser knows.
        while data and not self.transport.is_closing():
            room = MAX_HEAD - self._spent
            if room <= 0:
                self._end(
                    "head too large", 431, f"UsageError: URL and headers have more than {MAX_HEAD} bytes"
                )
                return
            piece, data = data[:room], data[room:]
            self._spent += len(piece)
            self._is_whole = False
            super().data_received(piece)
        if not self._is_whole and self._timer is None and not self.transport.is_closing():
            self._start_clock()

    @override
    def on_message_begin(self) -> None:
        self._is_whole = False
        self._has_head = False
        self._body_size = 0
        super().on_message_begin()

    @override
    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._has_head = True

    @override
    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._spent = 0
        if not self.cycle.response_complete:
            self._body_size += len(body)

    @override
    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._spent = 0
        self._is_whole = True
        self._has_head = False
        self._stop_clock()
        if self.cycle.response_complete and not self.pipeline and not self.transport.is_closing():
            # The answer came before the end of the body, which has stopped the clock of idle connections.
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    @override
    def on_response_complete(self) -> None:
        self._idle_since = self.loop.time()
        super().on_response_complete()

    def _is_one_too_many(self) -> bool:
        """Count this one; whether its address has more than it may."""
        client, limits = self.client, self.limits
        if limits.per_address is None or client is None or is_in(client[0], limits.proxies):
            return False
        self._address = network_of(client[0])
        self.numbers[self._address] += 1
        return self.numbers[self._address] > limits.per_address

    def _make_room(self, address: str | None = None) -> bool:
        """End the connection that has been idle for the longest time; False if all are in use.

        So nobody keeps others out by connections that are only open.

        Parameters
        ----------
        address
            Whose one; None: anybody's.
        """
        unused = [
            other
            for other in self.connections
            if isinstance(other, BoundedProtocol)
            and other is not self
            and other.is_unused
            and address in {None, other._address}  # noqa: SLF001 (it is one of ours)
        ]
        if not unused:
            return False
        longest = min(unused, key=attrgetter("_idle_since"))
        longest._end("too many")  # noqa: SLF001 (it is one of ours)
        return True

    @property
    def is_unused(self) -> bool:
        """Whether nothing is being answered, nor being sent to us beside the head of a request."""
        return self._is_answered and not self._has_head and not self.transport.is_closing()

    @property
    def _is_answered(self) -> bool:
        """Whether all requests are answered whose heads have come."""
        # There is none before the first head, whatever uvicorn has written down of it.
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def _start_clock(self) -> None:
        self._since = self.loop.time()
        self._timer = self.loop.call_later(self.limits.seconds, self._look_at_clock)

    def _stop_clock(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_at_clock(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if self.flow.read_paused:
            # It is us who do not read.
            self._start_clock()
            return
        end = self._since + self.limits.seconds + self._body_size / _MIN_RATE
        if self.loop.time() < end:
            self._timer = self.loop.call_at(end, self._look_at_clock)
        elif not self._is_whole:
            self._end("too slow", 408, "UsageError: the request took too long to come")
        else:
            # It has asked for nothing, and might take an answer for that to its first request.
            self._end("too slow")

    def _note_unsent(self) -> None:
        """Look from time to time whether the client takes what waits for it, after the last answer too."""
        if self._send_timer is None:
            self._note_taken()
            self._send_timer = self.loop.call_later(self._look_pause, self._look_at_reader)

    @property
    def _look_pause(self) -> float:
        return self.limits.send_seconds / _LOOKS

    def _note_taken(self) -> None:
        self._taken, self._taken_at = self._joined.taken, self.loop.time()

    def _look_at_reader(self) -> None:
        self._send_timer = None
        if not self._joined.unsent:
            return
        if self._joined.taken != self._taken:
            self._note_taken()
        elif self.loop.time() - self._taken_at >= self.limits.send_seconds:
            self.limits.note_refusal("not read")
            # What is closed in good order waits for the client to take the rest.
            self.transport.abort()
            return
        self._send_timer = self.loop.call_later(self._look_pause, self._look_at_reader)

    def _can_answer(self) -> bool:
        """Whether an answer would be that to the request which is under way."""
        if self._has_head:
            return not self.cycle.response_started
        return self._is_answered

    def _end(self, reason: str, status: int | None = None, text: str = "") -> None:
        """End the connection, with an answer unless one is under way."""
        self.limits.note_refusal(reason)
        if status is not None and self._can_answer():
            body = f"{text}\n".encode()
            lines = (
                STATUS_LINE[status],
                b"content-type: text/plain; charset=utf-8\r\n",
                b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body),
            )
            self.transport.write(b"".join(lines) + body)
        self.transport.close()
