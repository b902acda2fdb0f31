"""Folders of jobs that never came to be: of creations that a crash or a failing database cut short."""

import asyncio
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import structlog

from lsst.ts.ocps.aio.periodic import run_periodically

from .errors import StoreError
from .job_ids import is_job_id
from .results import RECEIVED_FOLDER, UPLOAD_FOLDER, JobFolder
from .store import Store

__all__ = ["Leftovers"]

_INTERVAL = 24 * 3600.0
"""Time from look to look (s)."""

_AGE = 24 * 3600.0
"""Younger folders may be of a creation under way, here or at another process (s)."""

_BATCH = 500
"""So many jobs are looked for in one query."""

_OF_CREATIONS = frozenset({RECEIVED_FOLDER, UPLOAD_FOLDER})

_log = structlog.stdlib.get_logger(__name__)


class Leftovers:
    """Removes the files that came with requests whose jobs are not there.

    Such files are kept before their job is, so that no job is without its files. What a command has had its
    hands on is never touched: were the database the wrong one, or an old one, all results would be gone.

    Parameters
    ----------
    store
        The jobs.
    jobs_directory
        Where each job has its folder.
    """

    def __init__(self, store: Store, jobs_directory: Path) -> None:
        self._store = store
        self._jobs_directory = jobs_directory

    async def run(self) -> None:
        """Look at the start, and every day."""
        await run_periodically(self._look, interval=_INTERVAL)

    async def _look(self) -> None:
        try:
            await self.remove()
        except (StoreError, OSError):
            _log.exception("folders without jobs are looked for later", pause=_INTERVAL)

    async def remove(self) -> None:
        """Look once.

        Raises
        ------
        StoreError, OSError
            If the jobs, or the folders, cannot be listed.
        """
        found = await asyncio.to_thread(lambda: list(_find(self._jobs_directory)))
        names = iter(found)
        while batch := list(islice(names, _BATCH)):
            known = await self._store.find_known(batch)
            for name in batch:
                if name not in known:
                    await self._remove(name)

    async def _remove(self, name: str) -> None:
        try:
            await asyncio.to_thread(JobFolder(self._jobs_directory / name, "out").remove)
        except OSError:
            _log.exception("a folder without a job cannot be removed", job_id=name)
        else:
            _log.warning("removed the files of a job that never came to be", job_id=name)


def _find(directory: Path) -> Iterator[str]:
    """The names of the old folders that hold nothing but what came with a request; blocks."""
    newest = time.time() - _AGE
    for folder in directory.iterdir():
        try:
            if not is_job_id(folder.name) or folder.lstat().st_mtime > newest or folder.is_symlink():
                continue
            if _OF_CREATIONS.issuperset(entry.name for entry in folder.iterdir()):
                yield folder.name
        except OSError as error:
            # It has been removed meanwhile, or its job has locked it.
            _log.debug("a folder is not looked at", folder=folder.name, reason=str(error))
