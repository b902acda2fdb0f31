"""HTTP as back ends need it: every call ends in time, and every failure is one of ours."""

import asyncio
import os
import socket
import ssl
from collections.abc import Mapping, Sequence
from functools import partial
from http import HTTPStatus
from urllib.parse import urlencode, urlsplit, urlunsplit

import httpx

from lsst.ts.ocps import __version__
from lsst.ts.ocps.aio.deadline import Deadline
from lsst.ts.ocps.aio.turns import take_turn
from lsst.ts.ocps.uws.errors import quoted

from .answers import Answer, is_login_page, is_login_path, quote, show_url
from .credentials import Credentials
from .errors import (
    BackendAuthenticationError,
    BackendError,
    BackendFailedError,
    BackendUnavailableError,
    RequestRefusedError,
)
from .pools import ConnectionPools, Turn
from .streaming import Sink, read_body
from .tls import Tls

__all__ = ["HttpTransport"]

_MAX_REDIRECTS = 5
_MAX_IGNORED = 64 * 1024
"""How much of a body is read that nobody looks at except for an explanation (byte)."""

_HEADERS = {
    "Accept": "application/xml, text/xml, text/plain;q=0.9, */*;q=0.5",
    # The documents are small. Some servers compress them all the same.
    "Accept-Encoding": "identity",
    "User-Agent": f"ts_ocps/{__version__}",
}


class HttpTransport:
    """The HTTP side of one back end.

    Credentials go only to the back end's own origin. Redirects of POST and DELETE are never followed; those
    of GET only within the own origin and to hosts that the caller names; those to login pages are recognised.
    GET is repeated once when the connection breaks; nothing else ever is.

    Parameters
    ----------
    name
        Name of the back end, for messages.
    root
        Root URL of the service; its scheme, host and port are the own origin.
    credentials
        Who we are.
    connect_timeout
        Longest time until a connection stands (s).
    max_connections
        Connections for control calls, and as many again for calls that block on purpose.
    max_document
        Largest document (byte).
    tls
        Whom to believe and who we are on encrypted connections (see `.tls`); None: the usual.
    http
        What carries the requests instead of the network (an ASGI application, recorded answers).
    """

    def __init__(
        self,
        name: str,
        *,
        root: str,
        credentials: Credentials,
        connect_timeout: float = 5.0,
        max_connections: int = 1000,
        max_document: int = 16 * 1024 * 1024,
        tls: Tls | None = None,
        http: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.name = name
        self._origin = _origin(root)
        self._credentials = credentials
        self._connect_timeout = connect_timeout
        # The deadline of a call bounds everything else.
        self._extensions = {"timeout": httpx.Timeout(None, connect=connect_timeout).as_dict()}
        self._max_document = max_document
        self._pools = ConnectionPools(name, max_connections=max_connections, tls=tls, http=http)
        self._scopes: set[asyncio.Timeout] = set()
        self._closed = False

    async def get(
        self,
        url: str,
        *,
        deadline: Deadline,
        query: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
        blocks: bool = False,
        max_bytes: int | None = None,
        hosts: Sequence[str] | None = None,
        sink: Sink | None = None,
    ) -> Answer:
        """Read something.

        Parameters
        ----------
        url, query
            What to read.
        deadline
            Time for all of it, redirects included.
        blocks
            Whether the server is asked to answer late; such calls have connections of their own.
        max_bytes
            Where to stop reading (byte); None: the limit of documents.
        hosts
            Foreign hosts to which redirects are followed, without credentials; None for documents of the
            service itself, which are nowhere else.
        sink
            Where the body goes if the answer is a success; its content is only the beginning then.

        Returns
        -------
        Answer
            The answer, of any status but a redirect.

        Raises
        ------
        BackendError
            If there is no answer, or it leads where it must not be followed.
        """
        target = self.own_url(f"{url}?{urlencode(query)}" if query else url)
        for _ in range(_MAX_REDIRECTS + 1):
            answer = await self._exchange(
                "GET", target, deadline, blocks=blocks, max_bytes=max_bytes, sink=sink
            )
            if not answer.is_redirect:
                return answer
            target = self.own_url(answer.location)
            self.check_redirect(answer, target, hosts=hosts)
        raise self.error(BackendFailedError, answer, f"more than {_MAX_REDIRECTS} redirects")

    async def change(
        self,
        method: str,
        url: str,
        *,
        deadline: Deadline,
        form: Sequence[tuple[str, str]] | None = None,
        json: bytes | None = None,
    ) -> Answer:
        """Send a POST, PUT or DELETE, once; redirects are returned as they are.

        Parameters
        ----------
        method, url
            The request.
        deadline
            Time for it.
        form
            Fields of the body, names may repeat.
        json
            The body instead of ``form``; its media type goes without parameters.

        Raises
        ------
        RequestRefusedError
            If the form holds what UTF-8 cannot: nothing was sent.
        BackendError
            If there is no answer. The request may have been carried out.
        """
        content = None if json is None else ("application/json", json)
        if form is not None:
            try:
                content = "application/x-www-form-urlencoded", urlencode(form).encode("ascii")
            except UnicodeEncodeError as error:
                text = f"{method} {show_url(url)}: a parameter holds lone surrogates: {error.reason}"
                raise RequestRefusedError(self.name, text) from None
        limit = _MAX_IGNORED if json is None else self._max_document
        return await self._exchange(method, self.own_url(url), deadline, content=content, max_bytes=limit)

    def is_own(self, url: str) -> bool:
        """Whether a URL belongs to the back end's own origin."""
        return _origin(url) == self._origin

    def own_url(self, url: str) -> str:
        """A URL as it is really asked for.

        Users and passwords in it are dropped. Behind a TLS proxy some servers give ``http`` URLs of
        themselves; the scheme and port of the own origin are kept then.

        Raises
        ------
        BackendFailedError
            If it is no URL of http or https.
        """
        try:
            parts = urlsplit(url)
            scheme, host, port = _origin(url)
        except ValueError:
            scheme = host = ""
        if scheme not in _DEFAULT_PORTS or not host:
            raise BackendFailedError(self.name, f"{quoted(url)} is no http URL")
        if (scheme, host) == ("http", self._origin[1]) and self._origin[0] == "https":
            scheme, _, port = self._origin
        default = port in {None, _DEFAULT_PORTS.get(scheme)}
        shown = f"[{host}]" if ":" in host else host
        return urlunsplit((scheme, shown if default else f"{shown}:{port}", parts.path, parts.query, ""))

    def check_redirect(self, answer: Answer, target: str, *, hosts: Sequence[str] | None = None) -> None:
        """Refuse a redirect to a login page or to a host that nobody named.

        Raises
        ------
        BackendAuthenticationError
            If it leads to a login page or a foreign host.
        RequestRefusedError
            If the service has moved to another scheme or port of its host, or a result is on a host that
            is not allowed.
        """
        shown, parts = show_url(target), urlsplit(target)
        if is_login_path(parts.path) and not is_login_path(urlsplit(answer.url).path):
            raise self.error(BackendAuthenticationError, answer, f"redirected to a login page, {shown}")
        if self.is_own(target) or (hosts is not None and parts.netloc.lower() in hosts):
            return
        if hosts is not None:
            text = f"redirected to {shown}: {parts.netloc} is not among the result_hosts of this back end"
            raise self.error(RequestRefusedError, answer, text)
        if parts.hostname == self._origin[1]:
            text = f"redirected to {shown}: the configuration should name that address"
            raise self.error(RequestRefusedError, answer, text)
        text = f"redirected to another host, {shown}: a login page, or the service under another name"
        raise self.error(BackendAuthenticationError, answer, text)

    def error(self, kind: type[BackendError], answer: Answer, text: str = "") -> BackendError:
        """Make the error for an answer: what was asked, what was answered, and ``text`` or a quote."""
        if not text:
            text = quote(self._credentials.redact_bytes(answer.content))
        try:
            phrase = f"{answer.status} {HTTPStatus(answer.status).phrase}"
        except ValueError:
            phrase = str(answer.status)
        text = self._credentials.redact(f"{answer.method} {show_url(answer.url)}: {phrase}: {text}")
        return kind(self.name, text, status=answer.status)

    def redact(self, text: str) -> str:
        """Hide our credentials in a text of the server that people will read."""
        return self._credentials.redact(text)

    def redact_bytes(self, content: bytes) -> bytes:
        """The same for a small result."""
        return self._credentials.redact_bytes(content)

    def check_page(self, answer: Answer) -> None:
        """Refuse a login page that is given instead of what was asked for.

        Raises
        ------
        BackendAuthenticationError
            If the answer is one.
        """
        if is_login_page(answer.content):
            raise self.error(BackendAuthenticationError, answer)

    async def aclose(self) -> None:
        """Close the connections; calls under way end with `BackendUnavailableError`."""
        self._closed = True
        now = asyncio.get_running_loop().time()
        for scope in tuple(self._scopes):
            scope.reschedule(now)
        await self._pools.aclose()

    async def _exchange(
        self,
        method: str,
        url: str,
        deadline: Deadline,
        *,
        content: tuple[str, bytes] | None = None,
        blocks: bool = False,
        max_bytes: int | None = None,
        sink: Sink | None = None,
    ) -> Answer:
        """Send one request and read its answer, within the deadline; map every failure."""
        asked = f"{method} {show_url(url)}"
        await take_turn(deadline)
        if self._closed:
            raise BackendUnavailableError(self.name, f"{asked}: the connections are closed")
        turn = Turn(blocks=blocks, is_own=self.is_own(url))
        try:
            async with asyncio.timeout(deadline.left()) as scope:
                self._scopes.add(scope)
                talk = partial(self._talk, turn, method, url, content, max_bytes=max_bytes, sink=sink)
                try:
                    answer = await talk()
                except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
                    if method != "GET" or (sink is not None and sink.has_begun):
                        raise
                    answer = await talk()
                finally:
                    self._scopes.discard(scope)
        except TimeoutError:
            waited = f"no answer in {deadline.seconds:g} s"
            if not turn.has_come:
                waited += ": all connections were in use"
            reason = waited if deadline.expired else "the connections were closed"
            raise BackendUnavailableError(self.name, f"{asked}: {reason}", was_sent=turn.has_come) from None
        except httpx.HTTPError as error:
            raise self._map(error, asked) from error
        except httpx.InvalidURL as error:
            raise BackendFailedError(self.name, f"{asked}: no valid URL: {error}") from error
        # Many answers may have come at once, and are read now.
        await take_turn(deadline)
        return answer

    def _map(self, error: httpx.HTTPError, asked: str) -> BackendError:
        said = self._credentials.redact(_reason(error))
        if self._closed:
            return BackendUnavailableError(self.name, f"{asked}: the connections were closed")
        match error:
            case httpx.ConnectTimeout():
                text = f"no connection in {self._connect_timeout:g} s"
            case httpx.ConnectError():
                text = f"no connection: {said}"
            case httpx.NetworkError() | httpx.RemoteProtocolError():
                text = f"the connection broke: {said}"
            case httpx.TimeoutException() | httpx.ProxyError():
                text = said
            case _:
                return BackendFailedError(self.name, f"{asked}: the exchange went wrong: {said}")
        was_sent = not isinstance(error, httpx.ConnectTimeout | httpx.ConnectError)
        return BackendUnavailableError(self.name, f"{asked}: {text}", was_sent=was_sent)

    async def _talk(
        self,
        turn: Turn,
        method: str,
        url: str,
        content: tuple[str, bytes] | None,
        *,
        max_bytes: int | None,
        sink: Sink | None,
    ) -> Answer:
        headers = dict(_HEADERS)
        if turn.is_own:
            headers |= self._credentials.headers()
        media_type, sent = content or ("", None)
        if media_type:
            headers["Content-Type"] = media_type
        # Below the client of httpx: proxies and logins of the surroundings, cookies, and credentials in URLs,
        # all of which it would take up, have no place here.
        extensions = self._extensions if sink is None else sink.extensions(self._connect_timeout)
        request = httpx.Request(method, url, headers=headers, content=sent, extensions=extensions)
        async with self._pools.use(url, turn) as connection:
            response = await connection.handle_async_request(request)
            try:
                if sink is not None and response.is_success:
                    body, is_complete = await sink.read(response)
                else:
                    limit = self._max_document if max_bytes is None else max_bytes
                    body, is_complete = await read_body(response, limit)
            finally:
                await response.aclose()
        return Answer(method, url, response.status_code, response.headers, body, is_complete)


_DEFAULT_PORTS = {"http": 80, "https": 443}


def _origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port (RFC 6454 section 4)."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme)


def _reason(error: BaseException) -> str:
    """What the system said, where that is in the chain of causes; else what httpx says."""
    said = str(error) or type(error).__name__
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError | socket.gaierror):
            return str(cause.strerror or cause)
        if isinstance(cause, OSError) and cause.errno:
            said = os.strerror(cause.errno)
        cause = cause.__cause__ or cause.__context__
    return said
