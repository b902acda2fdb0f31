"""Jobs of ours that the ledger knows nothing of, because it was lost (design section 6 point 1)."""

import time
from collections.abc import Iterable
from typing import Any

from lsst.ts.ocps.client.errors import JobNotFoundError
from lsst.ts.ocps.uws.jobs import JobRef
from lsst.ts.ocps.uws.phases import ACTIVE, ExecutionPhase
from lsst.ts.ocps.uws.run_id import is_own_run_id

from .backends import BackendPool, list_newest
from .records import CommandKey, Creating, Run, RunRecord
from .runs import JobCreated, observe

__all__ = ["find_lost_runs"]

_ADOPTED = ACTIVE - {ExecutionPhase.PENDING}
"""A job that was never started is nobody's loss; a job that has ended may have been reported."""


async def find_lost_runs(
    pool: BackendPool, stored: dict[str, Any], payloads: Iterable[str], prefix: str
) -> list[RunRecord]:
    """Look for jobs that run and bear a run_id of ours.

    Parameters
    ----------
    pool, stored
        The back end to look at.
    payloads
        Names of the payloads.
    prefix
        What our run_ids begin with.

    Returns
    -------
    list [ RunRecord ]
        Runs to be followed; nobody waits for them, and nothing is known of their parameters.

    Raises
    ------
    BackendError
        If a list could not be read.
    """
    backend = await pool.get(stored)
    found: list[RunRecord] = []
    if not backend.has_jobs:
        return found
    async for payload, ref in list_newest(backend, payloads):
        if ref.phase not in _ADOPTED or ref.url is None:
            continue
        if ref.run_id and not is_own_run_id(ref.run_id, prefix):
            continue
        try:
            job = await backend.read(ref.url)
        except JobNotFoundError:
            continue
        # A list of UWS 1.0 has no run_ids; the jobs have.
        run_id = ref.run_id or job.run_id or ""
        if not is_own_run_id(run_id, prefix):
            continue
        run = _make_run(ref, run_id, payload, stored, creates_pending=backend.creates_pending)
        found.append(observe(RunRecord(run, Creating()), JobCreated(ref.url, job)))
    return found


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
