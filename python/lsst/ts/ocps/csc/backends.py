"""The back ends in use: those of the configuration, and those that older runs were given."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any

from pydantic import TypeAdapter

from lsst.ts.ocps.client.base import Backend
from lsst.ts.ocps.client.errors import BackendError, RequestRefusedError
from lsst.ts.ocps.client.registry import open_backend
from lsst.ts.ocps.client.settings import AnyBackendSettings, BackendSettings
from lsst.ts.ocps.uws.jobs import JobRef

__all__ = ["BackendPool", "Opener", "find_job", "list_newest", "to_stored_settings"]

Opener = Callable[[str, AnyBackendSettings], Awaitable[Backend]]
"""Makes a back end of its name and settings."""

_SETTINGS: TypeAdapter[AnyBackendSettings] = TypeAdapter(AnyBackendSettings)
_LIST_LENGTH = 1000
"""So many of the newest jobs of a payload are looked through for one that the ledger does not know."""

_NOT_FOUND = 404


def to_stored_settings(name: str, settings: AnyBackendSettings) -> dict[str, Any]:
    """The settings of a back end as they are kept with a run; secrets are in them by reference only."""
    common: BackendSettings = settings
    return {"name": name, "settings": common.model_dump(mode="json")}


class BackendPool:
    """Open back ends, one for each different setting.

    Parameters
    ----------
    opener
        Makes a back end; `lsst.ts.ocps.client.registry.open_backend` unless a test brings its own.
    """

    def __init__(self, opener: Opener = open_backend) -> None:
        self._opener = opener
        self._backends: dict[str, Backend] = {}
        self._lock = asyncio.Lock()

    async def get(self, stored: Mapping[str, Any]) -> Backend:
        """The back end of stored settings, opened if it is not.

        Parameters
        ----------
        stored
            From `to_stored_settings`.

        Raises
        ------
        BackendError
            If it cannot be opened, as for want of credentials.
        """
        key = json.dumps(stored, sort_keys=True)
        async with self._lock:
            if key not in self._backends:
                settings = _SETTINGS.validate_python(stored["settings"])
                self._backends[key] = await self._opener(stored["name"], settings)
            return self._backends[key]

    async def keep_only(self, used: Iterable[Mapping[str, Any]]) -> None:
        """Close the back ends that nobody uses any more.

        Parameters
        ----------
        used
            Stored settings of those that are in use.
        """
        keys = {json.dumps(stored, sort_keys=True) for stored in used}
        async with self._lock:
            idle = [self._backends.pop(key) for key in list(self._backends) if key not in keys]
        for backend in idle:
            await backend.aclose()

    async def aclose(self) -> None:
        """Close all of them."""
        await self.keep_only(())


async def list_newest(backend: Backend, payloads: Iterable[str]) -> AsyncIterator[tuple[str, JobRef]]:
    """The newest jobs of those payloads that a back end has; the list of another one's is not found there.

    Parameters
    ----------
    backend
        Where to look.
    payloads
        Names of payloads.

    Yields
    ------
    tuple
        The payload and a job of it.

    Raises
    ------
    BackendError
        If a list could not be read, or no list at all was found: that is no back end of these payloads, or
        something answers in its place.
    """
    has_any, missing = False, None
    for payload in payloads:
        try:
            refs = await backend.list_jobs(payload, last=_LIST_LENGTH)
        except RequestRefusedError as error:
            if error.status != _NOT_FOUND:
                raise
            missing = error
            continue
        has_any = True
        for ref in refs:
            yield payload, ref
    if missing is not None and not has_any:
        raise missing


async def find_job(
    backends: Iterable[Backend], payloads: Iterable[str], job_id: str
) -> tuple[Backend, str] | None:
    """Look for a job in the lists of back ends.

    Parameters
    ----------
    backends, payloads
        Where to look.
    job_id
        The job.

    Returns
    -------
    tuple or None
        Its back end and its URL; None if no list has it.

    Raises
    ------
    BackendError
        If the job was not found and some list could not be read: then nothing is known.
    """
    trouble: BackendError | None = None
    names = tuple(payloads)
    for backend in backends:
        if not backend.has_jobs:
            continue
        try:
            async for _, ref in list_newest(backend, names):
                if ref.job_id == job_id and ref.url is not None:
                    return backend, ref.url
        except BackendError as error:
            trouble = error
    if trouble is not None:
        raise trouble
    return None
