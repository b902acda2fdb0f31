"""What the back ends that speak HTTP have in common: how they are made, their time limits, their end."""

from typing import Generic, TypedDict, TypeVar

import httpx
from typing_extensions import override

from lsst.ts.ocps.aio.deadline import Deadline

from .base import Backend
from .credentials import Credentials
from .settings import HttpSettings
from .tls import Tls
from .transport import HttpTransport

__all__ = ["Connection", "HttpBackend"]

S = TypeVar("S", bound=HttpSettings)


class Connection(TypedDict, total=False):
    """Who we are, and what carries the requests; each may be left out."""

    credentials: Credentials
    """Who we are; left out: nobody."""

    tls: Tls | None
    """Whom to believe and who we are on encrypted connections; None: the usual."""

    http: httpx.AsyncBaseTransport
    """What carries the requests instead of the network (an ASGI application, recorded answers)."""


class HttpBackend(Backend, Generic[S]):
    """A back end that speaks HTTP.

    Parameters
    ----------
    name
        Name of the back end in the configuration.
    settings
        Its settings.
    connection
        Who we are, and what carries the requests.
    """

    def __init__(self, name: str, settings: S, connection: Connection) -> None:
        super().__init__(name)
        self._settings = settings
        self._http = HttpTransport(
            name,
            root=settings.url,
            credentials=connection.get("credentials", Credentials()),
            connect_timeout=settings.connect_timeout,
            max_connections=settings.max_connections,
            max_document=settings.max_document,
            tls=connection.get("tls"),
            http=connection.get("http"),
        )

    @override
    async def aclose(self) -> None:
        await self._http.aclose()

    def _deadline(self, operation: str) -> Deadline:
        return Deadline(operation, self._settings.call_timeout)
