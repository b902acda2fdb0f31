"""Requests that are answered by the result of the job that they make (DALI 1.1 section 2.2)."""

import asyncio
from collections.abc import Iterable
from pathlib import PurePosixPath

from lsst.ts.ocps.aio.deadline import Deadline
from lsst.ts.ocps.uws.phases import FINAL, WAITABLE, ExecutionPhase

from .controls import Waiting
from .dali import RESPONSE_FORMAT, base_type
from .errors import JobFailedError, UnavailableError, UsageError
from .forms import Form
from .jobs import JobService
from .schema import StoredJob, StoredResult

__all__ = ["primary_result", "run_at_once"]


async def run_at_once(
    jobs: JobService, payload: str, form: Form, *, max_time: float, left: asyncio.Future[None]
) -> StoredJob:
    """Create a job, run it, and wait for its end; it is a job like others, and listed.

    Parameters
    ----------
    jobs
        The jobs.
    payload
        Which payload.
    form
        As for the creation of a job.
    max_time
        Longest wait (s). A job that takes longer is aborted: nobody was told where it is.
    left
        Done when the client is no longer there; the job is aborted then too.

    Returns
    -------
    StoredJob
        The job, COMPLETED.

    Raises
    ------
    UsageError
        If anything in the form is wrong.
    JobFailedError
        If the job failed or was aborted.
    UnavailableError
        If it took too long, or failed for a reason that may pass.
    """
    stored = await jobs.create(payload, form, run=True)
    deadline = Deadline(f"job {stored.job_id}", max_time)
    while stored.phase in WAITABLE:
        before = stored.phase
        stored = await _wait(jobs, stored, deadline, left)
        if stored.phase is before:
            break
    if stored.phase not in FINAL:
        advice = f"for long jobs there is the list {payload}/async"
        if not deadline.expired and not left.done():
            # The service is stopping, or the executor has put the job aside: it goes on without us.
            raise UnavailableError(f"job {stored.job_id} is {stored.phase}; {advice}")
        stored = await jobs.abort(stored)
        if stored.phase is ExecutionPhase.ABORTED:
            reason = f"job {stored.job_id} took longer than {max_time:g} s and was aborted"
            raise UnavailableError(f"{reason}; {advice}")
    if stored.phase is ExecutionPhase.COMPLETED:
        return stored
    error = stored.job.error
    message = error.message if error else f"it is {stored.phase}"
    kind = UnavailableError if error and error.is_transient else JobFailedError
    raise kind(f"{message} (job {stored.job_id})")


async def _wait(
    jobs: JobService, stored: StoredJob, deadline: Deadline, left: asyncio.Future[None]
) -> StoredJob:
    """The job when it has left its phase; as it is when the time is over or the client gone."""
    wait = jobs.waiting(stored.payload, stored.job_id, Waiting(deadline.left(), stored.phase))
    while (found := await wait.look()) is None:
        changed = await wait.sleep(left)
        if changed is not None or left.done():
            return changed or stored
    return found


def primary_result(files: Iterable[StoredResult], *, media_type: str | None = None) -> StoredResult | None:
    """The result that answers a synchronous request: ``result``, with any suffix, or else the first.

    What the command said is no answer, whether it said something or not.

    Parameters
    ----------
    files
        The results of the job.
    media_type
        Only results of this type will do; None: any.

    Raises
    ------
    UsageError
        If there are results, but none of that type.
    """
    listed = [file for file in files if not file.is_log]
    there = sorted({base_type(file.mime_type) for file in listed})
    if listed and media_type is not None:
        listed = [file for file in listed if base_type(file.mime_type) == media_type]
        if not listed:
            raise UsageError(f"{RESPONSE_FORMAT}: no result is {media_type}; there are: {', '.join(there)}")
    named = [file for file in listed if PurePosixPath(file.path).name.partition(".")[0] == "result"]
    return next(iter(named or listed), None)
