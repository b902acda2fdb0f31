"""Ending a job on demand: one of ours, or one that a back end lists (design section 5, acks, point 6)."""

import asyncio
from collections.abc import Awaitable, Callable

from lsst.ts.ocps.client.base import Backend
from lsst.ts.ocps.client.errors import BackendError, JobNotFoundError
from lsst.ts.ocps.uws.phases import FINAL, ExecutionPhase

from .errors import RequestRejectedError
from .records import OutcomeKind, RunRecord
from .requests import JOB_ID
from .tracker import Tracker

__all__ = ["abort_job"]

_SHORT, _LONG = 1.0, 30.0
"""How long the end of the job is waited for before and after the sender is told that it takes longer (s)."""

_POLL = 0.5


async def abort_job(tracker: Tracker, identifier: str, on_slow: Callable[[float], Awaitable[None]]) -> None:
    """End a job, and return when it has ended as ABORTED.

    Parameters
    ----------
    tracker
        Knows our runs and the lists of the back ends; nothing else is ever passed on.
    identifier
        A run_id or job id.
    on_slow
        Called with how much longer it may take (s), if it does not happen at once.

    Raises
    ------
    RequestRejectedError
        If no such job is known, if it has ended otherwise, or if it has not ended yet; in the last case its
        abort goes on.
    """
    if not JOB_ID.fullmatch(identifier):
        raise RequestRejectedError(
            [f"job_id: {identifier[:60]!r} cannot be a job id, which has only letters, digits, '_' and '-'"]
        )
    record = await tracker.find(identifier)
    if record is None:
        await _abort_foreign(tracker, identifier, on_slow)
        return
    if not record.has_ended:
        record = await _abort_own(tracker, record, on_slow)
    _judge(identifier, record)


async def _abort_own(
    tracker: Tracker, record: RunRecord, on_slow: Callable[[float], Awaitable[None]]
) -> RunRecord:
    run_id = record.run.run_id
    record = await tracker.abort(run_id, patience=_SHORT) or record
    if not record.has_ended:
        await on_slow(_LONG)
        record = await tracker.abort(run_id, patience=_LONG) or record
    return record if record.has_ended else await tracker.find(run_id) or record


def _judge(identifier: str, record: RunRecord) -> None:
    outcome = record.outcome
    if outcome is None:
        state = f"job {identifier} is still {record.phase.value}"
        raise RequestRejectedError([f"{state}: its abort is not confirmed and is asked for until it ends"])
    if outcome.kind is not OutcomeKind.ABORTED:
        raise RequestRejectedError([f"job {identifier} has ended as {record.phase.value}: nothing to abort"])


async def _abort_foreign(tracker: Tracker, job_id: str, on_slow: Callable[[float], Awaitable[None]]) -> None:
    try:
        found = await tracker.find_foreign(job_id)
        if found is None:
            raise RequestRejectedError([f"no run and no job {job_id} is known"])
        phase = await _abort_at(*found, on_slow)
    except JobNotFoundError:
        return  # gone after it was asked to abort
    except BackendError as error:
        raise RequestRejectedError([str(error)]) from error
    if phase not in FINAL:
        raise RequestRejectedError([f"job {job_id} is still {phase.value}: it was asked to abort"])
    if phase is not ExecutionPhase.ABORTED:
        raise RequestRejectedError([f"job {job_id} has ended as {phase.value}: nothing to abort"])


async def _abort_at(
    backend: Backend, url: str, on_slow: Callable[[float], Awaitable[None]]
) -> ExecutionPhase:
    job = await backend.read(url)
    if job.phase in FINAL:
        return job.phase
    await backend.abort(url)
    loop = asyncio.get_running_loop()
    began, is_slow = loop.time(), False
    while (job := await backend.read(url)).phase not in FINAL and loop.time() - began < _LONG:
        if not is_slow and loop.time() - began > _SHORT:
            is_slow = True
            await on_slow(_LONG)
        await asyncio.sleep(_POLL)
    return job.phase
