"""Reading what a job refers to before its command is started, and not longer than the job is wanted."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext

from lsst.ts.ocps.payloads.schema import PayloadDefinition
from lsst.ts.ocps.uws.phases import FINAL

from .errors import FetchError
from .schema import StoredJob
from .store import Store
from .uploads import UploadStore

__all__ = ["Aside", "UploadReader", "refers_elsewhere"]

Aside = Callable[[], AbstractAsyncContextManager[None]]
"""Gives what is entered while a job waits for others, and needs nothing of this machine."""


def refers_elsewhere(stored: StoredJob) -> bool:
    """Whether something is read for a job before its command is started."""
    return any(upload.url is not None for upload in stored.uploads)


class UploadReader:
    """Reads the uploads of jobs that are about to be started.

    Parameters
    ----------
    store
        The jobs.
    uploads
        Reads what they refer to.
    """

    def __init__(self, store: Store, uploads: UploadStore) -> None:
        self._store = store
        self._uploads = uploads
        self._limits: dict[str, asyncio.Timeout] = {}

    async def read(self, stored: StoredJob, definition: PayloadDefinition | None, aside: Aside) -> None:
        """Read all uploads of a job.

        Parameters
        ----------
        stored
            The job.
        definition
            Its payload.
        aside
            Entered while something is read from elsewhere.

        Raises
        ------
        FetchError
            If something cannot be read, or the job is ended meanwhile; nothing is kept of its files then.
        OSError
            If it cannot be written.
        """
        if not stored.uploads:
            return
        job_id = stored.job_id
        size: int | None = None
        try:
            # It has no end but the one that `stop` may set.
            async with asyncio.timeout(None) as limit:
                self._limits[job_id] = limit
                # Whoever ended it before this could not stop it.
                if await self._is_wanted(job_id):
                    async with aside() if refers_elsewhere(stored) else nullcontext():
                        size = await self._uploads.fetch(stored, definition)
        except TimeoutError:
            if not limit.expired():
                raise
        finally:
            self._limits.pop(job_id, None)
        if size is not None:
            current = await self._store.set_upload_bytes(job_id, size)
            if current is not None and current.phase not in FINAL:
                return
        await self._uploads.discard(job_id)
        await self._store.set_upload_bytes(job_id, 0)
        raise FetchError("the job was ended before its command was started")

    def stop(self, job_id: str) -> None:
        """Read no further for a job; harmless if nothing is read."""
        if limit := self._limits.pop(job_id, None):
            limit.reschedule(asyncio.get_running_loop().time())

    async def _is_wanted(self, job_id: str) -> bool:
        current = await self._store.find_any(job_id)
        return current is not None and current.phase not in FINAL
