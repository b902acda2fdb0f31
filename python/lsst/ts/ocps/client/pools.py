"""The connections of one back end."""

import ssl

import httpx

from .errors import BackendUnavailableError
from .tls import Tls

__all__ = ["ConnectionPools"]

_MAX_IDLE = 24
"""Idle connections of a pool. httpcore looks at each of them, twice over, at every request: with a hundred it
spends more time on that than on the request."""

_KEEP_ALIVE = 4.0
"""How long an idle connection is kept (s): less than servers do (uvicorn 5 s), so that a POST, which is
never repeated, does not meet a connection that is just being closed."""

_PLAIN, _OWN, _FOREIGN = "plain", "own", "foreign"


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
        self._pools: dict[tuple[bool, str], httpx.AsyncBaseTransport] = {}
        self._closed = False

    async def get(self, url: str, *, blocks: bool, is_own: bool) -> httpx.AsyncBaseTransport:
        """The pool for a request.

        Parameters
        ----------
        url
            Where it goes.
        blocks
            Whether the server is asked to answer late.
        is_own
            Whether it goes to the back end's own origin.
        """
        if self._http is not None:
            return self._pools.setdefault((False, _PLAIN), self._http)
        is_tls = url.startswith("https:")
        if is_tls and self._tls is None:
            # Reads the certificates of all authorities, which takes a while.
            self._tls = await Tls.resolve(self._name, None)
            if self._closed:
                raise BackendUnavailableError(self._name, "the connections were closed", was_sent=False)
        kind = _PLAIN if not is_tls else _OWN if is_own else _FOREIGN
        pool = self._pools.get((blocks, kind))
        if pool is None:
            pool = self._pools[blocks, kind] = self._make(kind)
        return pool

    def _make(self, kind: str) -> httpx.AsyncBaseTransport:
        verify: ssl.SSLContext
        if self._tls is None or kind == _PLAIN:
            verify = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        else:
            verify = self._tls.own if kind == _OWN else self._tls.foreign
        return httpx.AsyncHTTPTransport(
            verify=verify,
            limits=httpx.Limits(
                max_connections=self._max_connections,
                max_keepalive_connections=_MAX_IDLE,
                keepalive_expiry=_KEEP_ALIVE,
            ),
            trust_env=False,
        )

    async def aclose(self) -> None:
        """Close the connections, those in use too."""
        self._closed = True
        pools = tuple(self._pools.values())
        self._pools.clear()
        for pool in pools:
            await pool.aclose()
