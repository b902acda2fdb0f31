"""The jobs, for those who cannot give up where the database does not answer."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from typing_extensions import override

from lsst.ts.ocps.aio.deadline import Deadline
from lsst.ts.ocps.aio.retry import retry

from .claims import Terms
from .database import Database
from .errors import StoreUnavailableError
from .schema import StoredJob
from .store import Store

__all__ = ["claim_patiently", "patient"]

T = TypeVar("T")

_FIRST_PAUSE = 0.2
"""First pause between two attempts (s)."""

_log = logging.getLogger(__name__)


def patient(store: Store) -> Store:
    """The same jobs; every call is tried again, for as long as it takes, where the database does not answer.

    Whether a change was made whose answer was lost is not known; it is tried again, and is found to be
    impossible then. So where a change gives None, look at the job.
    """
    return store.on(_PatientDatabase(store.database))


async def claim_patiently(store: Store, job_id: str, terms: Terms) -> StoredJob | None:
    """Take a queued job for an executor, as `Store.claim` does, however long the database is away."""
    while True:
        try:
            return await store.claim(job_id, terms)
        except StoreUnavailableError as error:
            _log.warning("job %s cannot be taken; trying again: %s", job_id, error)
        found = await patient(store).find_any(job_id)
        if found is not None and found.handed_over and found.instance == store.instance:
            # The answer was lost, not the change; nobody else in this process takes the job.
            return found
        await asyncio.sleep(_FIRST_PAUSE)


class _PatientDatabase(Database):
    """A database that tries again; closed by whoever has opened the one behind it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @override
    async def write(self, call: Callable[[sa.Connection], T], *, alone: str = "") -> T:
        return await _insist(lambda: self._database.write(call, alone=alone))

    @override
    async def read(self, call: Callable[[sa.Connection], T]) -> T:
        return await _insist(lambda: self._database.read(call))

    @override
    async def read_parts(
        self, query: sa.Select[Any], take: Callable[[Sequence[sa.Row[Any]]], None], *, size: int
    ) -> None:
        async def collect() -> Sequence[Sequence[sa.Row[Any]]]:
            parts: list[Sequence[sa.Row[Any]]] = []
            await self._database.read_parts(query, parts.append, size=size)
            return parts

        # Parts of an attempt that has failed are not to be there twice.
        for rows in await _insist(collect):
            take(rows)

    @override
    async def aclose(self) -> None:
        await self._database.aclose()


async def _insist(call: Callable[[], Awaitable[T]]) -> T:
    return await retry(
        call,
        deadline=Deadline("the database does not answer", math.inf),
        is_transient=lambda error: isinstance(error, StoreUnavailableError),
        first_delay=_FIRST_PAUSE,
        log=_log,
    )
