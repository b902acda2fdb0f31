"""From the kind of a back end to the object that speaks its protocol."""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any

from .base import Backend
from .credentials import Credentials
from .settings import AnyBackendSettings, BackendSettings, UwsSettings
from .uws import UwsBackend

__all__ = ["FACTORIES", "open_backend"]


async def _open_uws(name: str, settings: UwsSettings) -> Backend:
    credentials = await Credentials.resolve(name, settings.credentials)
    return UwsBackend(name, settings, credentials=credentials)


FACTORIES: Mapping[str, Callable[[str, Any], Awaitable[Backend]]] = MappingProxyType({"uws": _open_uws})
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
