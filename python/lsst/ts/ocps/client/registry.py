"""From the kind of a back end to the object that speaks its protocol."""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any

from .api_server import ApiServerBackend
from .base import Backend
from .credentials import Credentials, read_secret
from .http_backend import Connection
from .rapid_analysis import RapidAnalysisBackend
from .settings import (
    AnyBackendSettings,
    ApiServerSettings,
    BackendSettings,
    HttpSettings,
    RapidAnalysisSettings,
    UwsSettings,
)
from .tls import Tls
from .uws import UwsBackend

__all__ = ["FACTORIES", "open_backend"]


async def _resolve(name: str, settings: HttpSettings) -> Connection:
    credentials = await Credentials.resolve(name, settings.credentials)
    tls = None if settings.tls is None else await Tls.resolve(name, settings.tls)
    return Connection(credentials=credentials, tls=tls)


async def _open_uws(name: str, settings: UwsSettings) -> Backend:
    return UwsBackend(name, settings, **await _resolve(name, settings))


async def _open_api_server(name: str, settings: ApiServerSettings) -> Backend:
    return ApiServerBackend(name, settings, **await _resolve(name, settings))


async def _open_rapid_analysis(name: str, settings: RapidAnalysisSettings) -> Backend:
    from .redis_lists import RedisLists  # noqa: PLC0415 (6 MB that few sites need)

    password = None if settings.password is None else await read_secret(name, settings.password)
    return RapidAnalysisBackend(name, RedisLists(name, settings, password))


FACTORIES: Mapping[str, Callable[[str, Any], Awaitable[Backend]]] = MappingProxyType(
    {"uws": _open_uws, "api_server": _open_api_server, "rapid_analysis": _open_rapid_analysis}
)
"""How a back end of each kind is made, from its name and its settings."""


async def open_backend(name: str, settings: AnyBackendSettings) -> Backend:
    """Make a back end; nothing is sent yet.

    Parameters
    ----------
    name
        Its name in the configuration.
    settings
        Its settings; their class belongs to the kind.

    Raises
    ------
    BackendAuthenticationError
        If its credentials are not where the settings say.
    """
    common: BackendSettings = settings
    return await FACTORIES[common.kind](name, settings)
