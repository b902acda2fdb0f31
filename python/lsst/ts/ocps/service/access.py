"""Who makes a request: nobody in particular, the owner of a token, or whom an authenticating proxy names."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import structlog
from pydantic import IPvAnyNetwork
from starlette.datastructures import Headers
from typing_extensions import override

from lsst.ts.ocps.aio.periodic import run_periodically

from .addresses import is_address, is_in
from .errors import AuthenticationError, AuthorizationError, ServiceStartError
from .owners import ANYBODY, Caller, check_owner
from .sections import AccessSection, AnonymousAccess, ProxyAccess, TokenAccess
from .tokens import Token, find_caller, read_tokens

__all__ = ["Access", "open_access"]

_LOOK = 1.0
"""How often it is looked whether the token file has changed (s)."""

_log = structlog.stdlib.get_logger(__name__)


class Access(Protocol):
    """A way to know who asks."""

    def source(self, headers: Headers, peer: str) -> str:
        """The address whose failures are counted together.

        Parameters
        ----------
        headers
            Those of the request.
        peer
            Address of the other end of the connection; "" if there is none.
        """

    def has_credentials(self, headers: Headers) -> bool:
        """Whether the request says who makes it, in a way that could be guessed."""

    def may_read_figures(self, peer: str) -> bool:
        """Whether whoever asks from that address may have the figures, without saying who they are."""

    def identify(self, headers: Headers, peer: str) -> Caller:
        """Find out who asks; parameters as for `source`.

        Raises
        ------
        AuthenticationError
            If that cannot be known.
        AuthorizationError
            If nobody may ask from there.
        """

    async def run(self) -> None:
        """Keep up with changes, until cancelled."""


async def open_access(section: AccessSection) -> Access:
    """Make what the configuration asks for.

    Raises
    ------
    ServiceStartError
        If the token file cannot be used.
    """
    match section:
        case AnonymousAccess():
            return _Open()
        case ProxyAccess():
            return _Proxy(section)
        case TokenAccess():
            access = _Tokens(section)
            await access.load()
            return access


class _Open:
    """Everybody is let in."""

    def source(self, _headers: Headers, peer: str) -> str:
        return peer

    def has_credentials(self, _headers: Headers) -> bool:
        return False

    def may_read_figures(self, _peer: str) -> bool:
        return False

    def identify(self, _headers: Headers, _peer: str) -> Caller:
        return ANYBODY

    async def run(self) -> None:
        return


class _Proxy(_Open):
    """Users are who the proxy says that they are."""

    def __init__(self, section: ProxyAccess) -> None:
        self._section = section
        self._proxies = (*section.networks, *section.forwarders)

    @override
    def source(self, headers: Headers, peer: str) -> str:
        return _client_address(headers, peer, self._proxies)

    @override
    def may_read_figures(self, peer: str) -> bool:
        # Anybody may ask through the proxy.
        return is_in(peer, self._section.metrics_networks) and not is_in(peer, self._proxies)

    @override
    def identify(self, headers: Headers, peer: str) -> Caller:
        if not is_in(peer, self._section.networks):
            raise AuthorizationError("requests are taken from the authenticating proxy only")
        names = headers.getlist(self._section.header)
        if not names or not names[0].strip():
            raise AuthenticationError(f"the proxy names no user in {self._section.header}")
        if len(names) > 1:
            raise AuthenticationError(f"the proxy names {len(names)} users in {self._section.header}")
        try:
            owner = check_owner(names[0].strip())
        except ValueError as error:
            raise AuthenticationError(f"{self._section.header}: {error}") from None
        return Caller(owner, sees_all=owner in self._section.operators)


class _Tokens:
    """Users are who their token belongs to."""

    def __init__(self, section: TokenAccess) -> None:
        self._path: Path = section.file
        self._forwarders = section.forwarders
        self._tokens: tuple[Token, ...] = ()
        self._seen: tuple[int, ...] = ()

    def source(self, headers: Headers, peer: str) -> str:
        return _client_address(headers, peer, self._forwarders)

    def has_credentials(self, headers: Headers) -> bool:
        return _bearer(headers) is not None

    def may_read_figures(self, _peer: str) -> bool:
        return False

    def identify(self, headers: Headers, _peer: str) -> Caller:
        secret = _bearer(headers)
        if secret is None:
            raise AuthenticationError("a bearer token is wanted")
        caller = find_caller(self._tokens, secret)
        if caller is None:
            raise AuthenticationError("the bearer token is not known (any more)", was_wrong=True)
        return caller

    async def run(self) -> None:
        await run_periodically(self._look, interval=_LOOK, first_delay=_LOOK)

    async def load(self) -> None:
        """Read the tokens."""
        self._seen, self._tokens = await asyncio.to_thread(self._read)
        _log.info("tokens read", file=str(self._path), tokens=len(self._tokens))

    def _read(self) -> tuple[tuple[int, ...], tuple[Token, ...]]:
        # What is written between the two is read again at the next look.
        return self._state(), read_tokens(self._path)

    def _state(self) -> tuple[int, ...]:
        try:
            found = self._path.stat()
        except OSError:
            return ()
        return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino

    async def _look(self) -> None:
        """Read the file if it has changed; what cannot be read changes nothing."""
        state = await asyncio.to_thread(self._state)
        if state == self._seen:
            return
        try:
            await self.load()
        except ServiceStartError as error:
            self._seen = state
            _log.error("the tokens stay as they were", reason=str(error))


def _bearer(headers: Headers) -> str | None:
    """The token of a request; other schemes are none, as the empty ones that validators send."""
    values = headers.getlist("authorization")
    if len(values) != 1:
        return None
    scheme, _, secret = values[0].partition(" ")
    return secret.strip() or None if scheme.lower() == "bearer" else None


def _client_address(headers: Headers, peer: str, proxies: Sequence[IPvAnyNetwork]) -> str:
    """The address of the client, as the proxies tell that its request came through; else that of the peer."""
    if is_in(peer, proxies):
        hops = [hop.strip() for line in headers.getlist("x-forwarded-for") for hop in line.split(",")]
        # The last ones were written by proxies; what stands before them may be anything.
        for hop in reversed(hops):
            if not is_in(hop, proxies):
                return hop if is_address(hop) else peer
    return peer
