"""The connections of one back end."""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

from .errors import BackendUnavailableError
from .tls import Tls

__all__ = ["ConnectionPools", "Turn"]

_MAX_IDLE = 24
"""Idle connections of a pool; after a crowd the others are closed."""

_KEEP_ALIVE = 4.0
"""How long an idle connection is kept (s): less than servers do (uvicorn 5 s), so that a POST, which is
never repeated, does not meet a connection that is just being closed."""

_PLAIN, _OWN, _FOREIGN = "plain", "own", "foreign"


@dataclass(slots=True)
class Turn:
    """The turn of one request at the connections."""

    blocks: bool
    """Whether the server is asked to answer late."""

    is_own: bool
    """Whether it goes to the back end's own origin."""

    has_come: bool = False
    """Whether there was a connection for it; before that, nothing was sent."""


class _Pool:
    """Connections of one purpose, the last used first.

    The pool of httpcore looks at every connection for every request that waits, at the begin and at the end
    of each request: with two hundred of both it did little else. So each of its pools has one connection
    here, and who may use it is decided outside.

    Parameters
    ----------
    make
        Makes a transport with one connection.
    max_connections
        How many at most.
    """

    def __init__(self, make: Callable[[], httpx.AsyncBaseTransport], max_connections: int) -> None:
        self._make = make
        self._slots = asyncio.Semaphore(max_connections)
        self._idle: deque[tuple[float, httpx.AsyncBaseTransport]] = deque()
        self._all: set[httpx.AsyncBaseTransport] = set()

    @asynccontextmanager
    async def use(self) -> AsyncIterator[httpx.AsyncBaseTransport]:
        """Have a connection for oneself; who asked first gets it first."""
        async with self._slots:
            if self._idle:
                _, transport = self._idle.pop()
            else:
                transport = self._make()
                self._all.add(transport)
            try:
                yield transport
            finally:
                now = asyncio.get_running_loop().time()
                self._idle.append((now, transport))
                await self._trim(now)

    async def _trim(self, now: float) -> None:
        # While one is being closed others are taken and given back.
        while self._idle and (len(self._idle) > _MAX_IDLE or now - self._idle[0][0] > _KEEP_ALIVE):
            _, transport = self._idle.popleft()
            self._all.discard(transport)
            await transport.aclose()

    async def aclose(self) -> None:
        for transport in tuple(self._all):
            await transport.aclose()


class ConnectionPools:
    """Pools by purpose, each made at the first call.

    Calls that block on purpose have connections of their own, so that they never hold up the others; so have
    foreign hosts, to which our certificate is not shown.

    Parameters
    ----------
    name
        Name of the back end, for messages.
    max_connections
        Connections of each pool.
    tls
        Whom to believe and who we are; None: the usual, read at the first encrypted call.
    http
        What carries the requests instead of the network (an ASGI application, recorded answers).
    """

    def __init__(
        self,
        name: str,
        *,
        max_connections: int,
        tls: Tls | None = None,
        http: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._name = name
        self._max_connections = max_connections
        self._tls = tls
        self._http = http
        self._pools: dict[tuple[bool, str], _Pool] = {}
        self._closed = False

    @asynccontextmanager
    async def use(self, url: str, turn: Turn) -> AsyncIterator[httpx.AsyncBaseTransport]:
        """Have a connection for one request, as soon as there is one.

        Parameters
        ----------
        url
            Where it goes.
        turn
            What connection it needs; is told when it is there.
        """
        if self._http is not None:
            turn.has_come = True
            yield self._http
            return
        is_tls = url.startswith("https:")
        if is_tls and self._tls is None:
            # Reads the certificates of all authorities, which takes a while.
            self._tls = await Tls.resolve(self._name, None)
            if self._closed:
                raise BackendUnavailableError(self._name, "the connections were closed", was_sent=False)
        kind = _PLAIN if not is_tls else _OWN if turn.is_own else _FOREIGN
        pool = self._pools.get((turn.blocks, kind))
        if pool is None:
            context = self._choose_context(kind)
            pool = _Pool(lambda: _make_transport(context), self._max_connections)
            self._pools[turn.blocks, kind] = pool
        async with pool.use() as connection:
            turn.has_come = True
            yield connection

    def _choose_context(self, kind: str) -> ssl.SSLContext:
        if self._tls is None or kind == _PLAIN:
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return self._tls.own if kind == _OWN else self._tls.foreign

    async def aclose(self) -> None:
        """Close the connections, those in use too."""
        self._closed = True
        pools = tuple(self._pools.values())
        self._pools.clear()
        for pool in pools:
            await pool.aclose()
        if self._http is not None:
            await self._http.aclose()


def _make_transport(context: ssl.SSLContext) -> httpx.AsyncBaseTransport:
    return httpx.AsyncHTTPTransport(
        verify=context,
        limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=_KEEP_ALIVE),
        trust_env=False,
    )
