"""Waiting for the jobs that must have ended before another one starts (design section 6 point 2)."""

import asyncio
from collections.abc import Awaitable, Callable

from lsst.ts.ocps.client.base import Backend
from lsst.ts.ocps.client.errors import BackendError, JobNotFoundError
from lsst.ts.ocps.uws.phases import FINAL

from .logs import get_logger

__all__ = ["Search", "wait_for_job"]

_WAIT = 30.0
_FIRST_PAUSE, _LAST_PAUSE = 1.0, 30.0

Search = Callable[[str], Awaitable[tuple[Backend, str] | None]]
"""Finds a job that is not ours: its back end and URL, or None."""


async def wait_for_job(job_id: str, search: Search) -> str:
    """Wait until a job that is not ours has ended, well or badly.

    Parameters
    ----------
    job_id
        The job.
    search
        Finds it.

    Returns
    -------
    str
        "" if its end was seen; else why it counts as ended.
    """
    log = get_logger("prerequisites", prerequisite=job_id)
    pause = _FIRST_PAUSE
    while True:
        try:
            return await _wait_once(job_id, search)
        except JobNotFoundError:
            return f"prerequisite {job_id} has vanished and counts as ended"
        except BackendError as error:
            log.warning("prerequisite cannot be read; trying again", error=str(error), pause=pause)
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LAST_PAUSE)


async def _wait_once(job_id: str, search: Search) -> str:
    found = await search(job_id)
    if found is None:
        return f"prerequisite {job_id} is not known and counts as ended"
    backend, url = found
    job = await backend.read(url)
    while job.phase not in FINAL:
        began = asyncio.get_running_loop().time()
        seen = await backend.wait(url, phase=job.phase, seconds=_WAIT)
        if seen.phase is job.phase:
            # Servers may skip blocking; two reads that show no change are a second apart.
            await asyncio.sleep(max(0.0, began + _FIRST_PAUSE - asyncio.get_running_loop().time()))
        job = seen
    return ""
