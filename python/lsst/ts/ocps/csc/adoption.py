"""Jobs of ours that the ledger knows nothing of, because it was lost (design section 6 point 1)."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

from lsst.ts.ocps.client.errors import BackendError, BackendUnavailableError, JobNotFoundError
from lsst.ts.ocps.uws.jobs import JobRef
from lsst.ts.ocps.uws.phases import ACTIVE, ExecutionPhase
from lsst.ts.ocps.uws.run_id import is_own_run_id

from .backends import BackendPool, list_newest
from .errors import LedgerError
from .ledger import Ledger
from .logs import get_logger
from .records import CommandKey, Creating, Run, RunRecord
from .runs import JobCreated, observe

__all__ = ["Adoption", "find_lost_runs"]

_ADOPTED = ACTIVE - {ExecutionPhase.PENDING}
"""A job that was never started is nobody's loss; a job that has ended may have been reported."""


class Adoption:
    """Looks for jobs of a lost ledger: in each back end until all that it has of them was read.

    Parameters
    ----------
    ledger, pool
        What it works with.
    follow
        Has a run followed.
    """

    def __init__(self, ledger: Ledger, pool: BackendPool, follow: Callable[[RunRecord], None]) -> None:
        self._ledger = ledger
        self._pool = pool
        self._follow = follow
        self._is_ledger_new: bool | None = None
        self._searched: set[str] = set()
        self._troubles: dict[str, str] = {}
        self._log = get_logger("adoption")

    async def search(self, backends: Sequence[dict[str, Any]], payloads: Sequence[str], prefix: str) -> None:
        """If the ledger was empty when this was first called, look where nobody has looked yet.

        Parameters
        ----------
        backends
            Stored settings of the back ends.
        payloads
            Names of the payloads.
        prefix
            What our run_ids begin with.
        """
        try:
            if self._is_ledger_new is None:
                self._is_ledger_new = await self._ledger.is_empty()
        except LedgerError as error:
            self._note_trouble("", str(error))
            return
        if self._is_ledger_new:
            await asyncio.gather(*(self._search_one(stored, payloads, prefix) for stored in backends))

    async def _search_one(self, stored: dict[str, Any], payloads: Sequence[str], prefix: str) -> None:
        key = json.dumps([stored, *payloads], sort_keys=True)
        if key in self._searched:
            return
        try:
            async for record in find_lost_runs(self._pool, stored, payloads, prefix):
                await self._adopt(record)
        except (BackendError, LedgerError) as error:
            # No answer does not mean that there are none.
            self._note_trouble(stored["name"], str(error))
        else:
            self._searched.add(key)

    async def _adopt(self, record: RunRecord) -> None:
        # Accepted while the lists were read: its row was there before its job.
        if await self._ledger.find(record.run.run_id) is not None:
            return
        if await self._ledger.add(record) is None:
            self._log.warning("adopted a job that the ledger has lost", **record.to_logging_context())
            self._follow(record)

    def _note_trouble(self, backend: str, trouble: str) -> None:
        if self._troubles.get(backend) != trouble:
            self._troubles[backend] = trouble
            self._log.warning(
                "jobs of a lost ledger cannot be looked for yet", backend=backend, error=trouble
            )


async def find_lost_runs(
    pool: BackendPool, stored: dict[str, Any], payloads: Iterable[str], prefix: str
) -> AsyncIterator[RunRecord]:
    """Look for jobs that run and bear a run_id of ours.

    Parameters
    ----------
    pool, stored
        The back end to look at.
    payloads
        Names of the payloads.
    prefix
        What our run_ids begin with.

    Yields
    ------
    RunRecord
        A run to be followed; nobody waits for it, and nothing is known of its parameters.

    Raises
    ------
    BackendError
        If a list or a job could not be read. The other jobs come first, unless the back end is away.
    """
    backend = await pool.get(stored)
    if not backend.has_jobs:
        return
    trouble: BackendError | None = None
    async for payload, ref in list_newest(backend, payloads):
        if ref.phase not in _ADOPTED or ref.url is None:
            continue
        if ref.run_id and not is_own_run_id(ref.run_id, prefix):
            continue
        try:
            job = await backend.read(ref.url)
        except JobNotFoundError:
            continue
        except BackendUnavailableError:
            raise
        except BackendError as error:
            trouble = error
            continue
        # A list of UWS 1.0 has no run_ids; the jobs have.
        run_id = ref.run_id or job.run_id or ""
        if not is_own_run_id(run_id, prefix):
            continue
        run = _make_run(ref, run_id, payload, stored, creates_pending=backend.creates_pending)
        yield observe(RunRecord(run, Creating()), JobCreated(ref.url, job))
    if trouble is not None:
        raise trouble


def _make_run(
    ref: JobRef, run_id: str, payload: str, stored: dict[str, Any], *, creates_pending: bool
) -> Run:
    created = ref.creation_time
    return Run(
        run_id=run_id,
        command="adopted",
        key=CommandKey(run_id, 0, 0, 0.0),
        payload=payload,
        parameters={},
        pairs=(),
        backend=stored,
        creates_pending=creates_pending,
        accepted_at=time.time() if created is None else created.timestamp(),
    )
