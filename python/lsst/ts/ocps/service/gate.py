"""Nothing is asked of the service without its passing here: who asks, how often, and from which web site."""

import re
from collections.abc import Callable
from functools import lru_cache, partial
from urllib.parse import unquote_to_bytes, urlsplit

import structlog
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, reset_contextvars

from .access import Access
from .addresses import is_address, network_of
from .errors import AuthenticationError, AuthorizationError, RequestError, TooManyError
from .owners import NOBODY, Caller
from .rates import Buckets, Places
from .responses import error_response
from .sections import LimitsSection

__all__ = ["Gate", "GateMiddleware", "caller_of", "tell_error"]

_PUBLIC = frozenset({"/", "/availability", "/capabilities", "/docs", "/openapi.json"})
"""What VOSI wants to be readable by everybody, and what tells no more than that."""

_PUBLIC_OF_PAYLOAD = re.compile("/[^/]+/(availability|capabilities)")
"""The same of each payload."""

_OPERATOR = frozenset({"/metrics"})
"""What tells of the jobs of everybody."""

_PATIENCE = 5
"""When those who have too many waiting requests are told to try again (s)."""

_WAIT = b"WAIT"

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_KEY = "ocps.caller"

_log = structlog.stdlib.get_logger(__name__)


class Gate:
    """Decides whether a request is let in, and tells who makes it.

    Parameters
    ----------
    access
        Knows who asks.
    limits
        How often they may.
    public_host
        Host, and port if it is not the usual one, under which clients know the service; None: as they say.
    known_hosts
        The names by which it may be asked, beside any address; None: by any.
    origins
        Web sites whose pages may change something here.
    """

    def __init__(
        self,
        access: Access,
        limits: LimitsSection,
        *,
        public_host: str | None = None,
        known_hosts: frozenset[str] | None = None,
        origins: frozenset[str] = frozenset(),
    ) -> None:
        self._access = access
        self._public_host = public_host
        self._known_hosts = known_hosts
        self._origins = origins
        per_minute = limits.failures_per_minute
        self._failures = Buckets(per_minute / 60, per_minute)
        rate = limits.requests_per_second
        self._requests = None if rate is None else Buckets(rate, limits.request_burst)
        self._limits = limits
        self._places = Places()

    def admit(self, method: str, path: str, headers: Headers, peer: str) -> Caller:
        """Let a request in.

        Parameters
        ----------
        method, path, headers
            Those of the request.
        peer
            Address of the other end of the connection; "" if there is none.

        Raises
        ------
        AuthenticationError
            If it is not known who asks.
        AuthorizationError
            If they may not.
        TooManyError
            If they ask too often, or have failed to say who they are too often.
        """
        self._refuse_other_names(headers)
        self._refuse_other_sites(method, path, headers)
        # Where everybody may read, credentials are not looked at: nobody finds out there which are right.
        may_be_public = path in _PUBLIC or _PUBLIC_OF_PAYLOAD.fullmatch(path)
        is_public = bool(may_be_public) and method in _READING
        is_figures = path in _OPERATOR and method in _READING and self._access.may_read_figures(peer)
        caller = NOBODY if is_public or is_figures else self._identify(headers, peer)
        if path in _OPERATOR and not caller.sees_all and not is_figures:
            raise AuthorizationError(f"{path} is for operators")
        if self._requests is not None and (delay := self._requests.take(self._key(caller, headers, peer))):
            raise TooManyError("too many requests", retry_after=delay)
        return caller

    def take_place(
        self, caller: Caller, path: str, query: bytes, headers: Headers, peer: str
    ) -> Callable[[], None]:
        """Count a request that may wait.

        Parameters
        ----------
        caller
            Who makes it.
        path, query, headers, peer
            As for `admit`.

        Returns
        -------
        Callable
            To be called when it is answered.

        Raises
        ------
        TooManyError
            If its owner has as many of them as they may.
        """
        if not _may_wait(path, query):
            return _nothing
        limit = self._limits.of(caller.owner_id).max_waiting
        key = self._key(caller, headers, peer)
        if not self._places.take(key, limit):
            text = f"{limit} of your requests wait for jobs, and no more are allowed"
            raise TooManyError(f"{text}: wait for one to be answered", retry_after=_PATIENCE)
        return partial(self._places.leave, key)

    def _key(self, caller: Caller, headers: Headers, peer: str) -> str:
        """Who is counted: an owner, or an address as long as nobody knows who asks."""
        return f"owner {caller.owner_id}" if caller.owner_id else self._source(headers, peer)

    def _identify(self, headers: Headers, peer: str) -> Caller:
        if not self._access.has_credentials(headers):
            return self._access.identify(headers, peer)
        source = self._source(headers, peer)
        if delay := self._failures.delay(source):
            raise TooManyError("too many wrong credentials came from this address", retry_after=delay)
        try:
            return self._access.identify(headers, peer)
        except AuthenticationError:
            self._failures.take(source)
            _log.warning("wrong credentials", address=source)
            raise

    def address(self, headers: Headers, peer: str) -> str:
        """The address that a request comes from, as far as it can be known; parameters as for `admit`."""
        return self._access.source(headers, peer)

    def _source(self, headers: Headers, peer: str) -> str:
        return network_of(self.address(headers, peer))

    def _refuse_other_names(self, headers: Headers) -> None:
        """Refuse a request by a name that is not ours: its owner may just have given it our address.

        For the browser that sends it we are the other site then, so that nothing else tells it from one of
        our own pages.
        """
        if self._known_hosts is None:
            return
        for host in headers.getlist("host"):
            name = _name_of(host)
            if name not in self._known_hosts and not is_address(name):
                raise AuthorizationError(
                    "the service is not known by the name that it was asked by (Host): use its address, or "
                    "have the name put into access.hosts of its configuration"
                )

    def _refuse_other_sites(self, method: str, path: str, headers: Headers) -> None:
        """Refuse what a page of another site makes a browser do here, with the user's rights."""
        if method in _READING and not path.endswith("/sync"):
            return
        origin = headers.get("origin")
        if origin in self._origins:
            return
        if origin is not None and urlsplit(origin).netloc not in {self._public_host, headers.get("host")}:
            raise AuthorizationError("a page of another site may change nothing here")
        # Other hosts of the same domain are other sites too: the browser sends them the same cookies.
        if headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}:
            raise AuthorizationError("a page of another site may start nothing here")


def _nothing() -> None:
    pass


def _may_wait(path: str, query: bytes) -> bool:
    """Whether a request may be answered late: a synchronous one, or one with ``WAIT`` in any spelling."""
    if path.endswith("/sync"):
        return True
    names = (pair.partition(b"=")[0] for pair in query.split(b"&"))
    return any(len(name) >= len(_WAIT) and unquote_to_bytes(name).upper() == _WAIT for name in names)


# Most requests come by one name, and to look at it takes some microseconds.
@lru_cache(maxsize=64)
def _name_of(host: str) -> str:
    """The name or the address in the header ``Host``, without port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower().rstrip(".")


class GateMiddleware:
    """Lets requests through, with the caller noted.

    Parameters
    ----------
    app
        What answers those that are let in.
    find_gate
        Gives the gate; there is none before the service has started.
    """

    def __init__(self, app: ASGIApp, find_gate: Callable[[], Gate]) -> None:
        self._app = app
        self._find_gate = find_gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let somebody answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client = scope.get("client")
        peer = client[0] if client else ""
        gate, headers, path = self._find_gate(), Headers(scope=scope), scope["path"]
        answer = _Answer(send)
        try:
            scope[_KEY] = caller = gate.admit(scope["method"], path, headers, peer)
            leave_place = gate.take_place(caller, path, scope["query_string"], headers, peer)
        except RequestError as error:
            await tell_error(Request(scope), error)(scope, receive, answer.send)
            return
        # Whatever is logged meanwhile is done for them.
        bound = bind_contextvars(caller=caller.owner_id, address=gate.address(headers, peer))
        try:
            await self._app(scope, receive, answer.send)
            if scope["method"] not in _READING and answer.status < 400:
                _log.info("request", method=scope["method"], path=path, status=answer.status)
        finally:
            reset_contextvars(**bound)
            leave_place()


class _Answer:
    """An answer on its way.

    Parameters
    ----------
    send
        Sends it.
    """

    __slots__ = ("_send", "status")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 500
        """Its status; without a first word there was an error."""

    async def send(self, message: Message) -> None:
        """Have browsers take every answer for what it says that it is: most hold words of strangers."""
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"x-content-type-options", b"nosniff")]
            self.status = message["status"]
        await self._send(message)


def tell_error(request: Request, error: RequestError) -> Response:
    """Answer with an error."""
    answer = error_response(request, error.to_text(), status=error.status)
    answer.headers.update(error.headers)
    return answer


def caller_of(request: Request) -> Caller:
    """Who makes a request."""
    caller: Caller = request.scope[_KEY]
    return caller
