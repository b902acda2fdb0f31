"""From a row of the ledger to a job of the back end, without ever having two that run (design section 6)."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from lsst.ts.ocps.client.base import Backend, Submission
from lsst.ts.ocps.client.errors import (
    BackendAuthenticationError,
    BackendError,
    BackendFailedError,
    BackendUnavailableError,
    JobNotFoundError,
    RequestRefusedError,
)
from lsst.ts.ocps.uws.phases import ExecutionPhase
from lsst.ts.ocps.uws.times import format_time

from .logs import BoundLogger
from .patience import Patience
from .records import Run, RunRecord
from .runs import CreateGivenUp, CreateIntended, CreateRefused, JobCreated, News

__all__ = ["JobCreation", "Pairs", "delete_orphans", "to_submission"]

_FIRST_PAUSE, _LAST_PAUSE = 0.25, 30.0
_LIST_LENGTH = 200
"""So many of the newest jobs are looked through for one of ours."""

_REFUSALS = (RequestRefusedError, BackendAuthenticationError)
"""What has the answer to a creation mean that there is no job; of a look for one it says nothing."""

Pairs = tuple[tuple[str, str], ...]
"""Encoded parameters."""

Note = Callable[[News], Awaitable[object]]
"""Takes a piece of news into the record and the ledger."""


def to_submission(run: Run, pairs: Pairs) -> Submission:
    """What the back end is asked for.

    Parameters
    ----------
    run
        What was accepted.
    pairs
        The encoded parameters, secrets in the clear.
    """
    destruction = datetime.now(UTC) + timedelta(seconds=run.destruction_after)
    return Submission(
        payload=run.payload,
        run_id=run.run_id,
        parameters=pairs,
        execution_duration=run.execution_duration,
        destruction=format_time(destruction),
        shell=run.shell,
    )


async def delete_orphans(backend: Backend, record: RunRecord) -> int:
    """Delete PENDING jobs of a run that are not the one it uses.

    Parameters
    ----------
    backend
        Where they may be.
    record
        A run for which a job was asked for more than once, or in vain.

    Returns
    -------
    int
        How many were deleted.

    Raises
    ------
    BackendError
        If that could not be done.
    """
    used = None if record.handle is None else record.handle.job_id
    count = 0
    for ref in await backend.list_jobs(record.run.payload, last=_LIST_LENGTH):
        if ref.job_id == used or ref.phase is not ExecutionPhase.PENDING or ref.url is None:
            continue
        if await _read_run_id(backend, ref.url, ref.run_id) == record.run.run_id:
            await backend.delete(ref.url)
            count += 1
    return count


async def _read_run_id(backend: Backend, url: str, listed: str | None) -> str | None:
    """A list of UWS 1.0 has no run_ids; the jobs have."""
    if listed:
        return listed
    try:
        return (await backend.read(url)).run_id
    except JobNotFoundError:
        return None


class JobCreation:
    """Asks for the job of one run until there is one, or until that is given up.

    Parameters
    ----------
    note
        Takes news into the record.
    is_written
        Whether the ledger has the run as it is; it may try once more.
    patience
        How long to try.
    pairs
        The encoded parameters, secrets in the clear. None for a run of an earlier life of the process: its
        sender may have been waiting for long, and nothing is known of what was asked for then.
    log
        Logger of the run.
    """

    def __init__(
        self,
        note: Note,
        is_written: Callable[[], Awaitable[bool]],
        *,
        patience: Patience,
        pairs: Pairs | None,
        log: BoundLogger,
    ) -> None:
        self._note = note
        self._is_written = is_written
        self._log = log
        self._patience = patience
        self._pairs = pairs
        self._is_restored = pairs is None
        self._has_asked = self._is_restored
        self._doubt: BackendError | None = None
        self._doubt_since = 0.0

    async def run(
        self, get_record: Callable[[], RunRecord], open_backend: Callable[[], Awaitable[Backend]]
    ) -> None:
        """Bring news of a job, or of there being none.

        Parameters
        ----------
        get_record
            Gives the run as it is now: without a job at first; where it is ``creating`` and new, the intent
            is on the disk already.
        open_backend
            Gives the back end of the run.
        """
        run = get_record().run
        budget = self._get_budget(run)
        if budget <= 0 and run.creates_pending:
            age = time.time() - run.accepted_at
            await self._note(CreateRefused(f"OCPS was not running; the command is {age:.0f} s old by now"))
            return
        began, pause = time.monotonic(), _FIRST_PAUSE
        while not get_record().abort_requested or self._may_run(get_record()):
            try:
                await self._try(get_record(), await open_backend())
            except BackendError as error:
                is_lookup = self._may_run(get_record())
                if isinstance(error, _REFUSALS) and not is_lookup:
                    await self._note(CreateRefused(str(error)))
                    return
                since = max(began, self._doubt_since) if is_lookup else began
                left = since + self._get_budget(run) - time.monotonic()
                if is_lookup:
                    # What may be there is looked for until its time is over.
                    pause = min(pause, max(left, _FIRST_PAUSE))
                if left <= 0 or (left < pause and not is_lookup):
                    await self._note(self._give_up(get_record(), error))
                    return
                self._log.warning("no job yet; trying again", error=str(error), pause=pause)
            else:
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LAST_PAUSE)
        await self._note(CreateRefused("aborted before it had a job"))

    async def _try(self, record: RunRecord, backend: Backend) -> None:
        """Find the job of an earlier attempt, or ask for one."""
        if self._has_asked:
            if (found := await self._find_if_listed(record, backend)) is not None:
                if record.create_attempts == 0:
                    # The disk was full when it was asked for.
                    await self._note(CreateIntended())
                await self._note(found)
                return
            if not record.run.creates_pending and record.create_attempts > 0:
                # Creating is starting here: what was asked for may run, and is never asked for twice.
                raise BackendFailedError(backend.name, "the job that was asked for is not in the list (yet)")
        if self._pairs is None and record.run.has_secrets:
            await self._note(CreateRefused("OCPS was restarted, and does not keep secret parameters"))
            return
        if self._has_asked or record.create_attempts == 0:
            await self._note(CreateIntended())
        if not record.run.creates_pending and not await self._is_written():
            # A later process that knows nothing of it would ask once more, and have two jobs that run.
            self._has_asked = False
            text = "it is not asked for a job before the ledger can be written"
            raise BackendUnavailableError(backend.name, text, was_sent=False)
        is_doubtful = self._has_asked and record.create_attempts > 0
        self._has_asked = True
        try:
            created = await backend.create(to_submission(record.run, self._pairs or record.run.pairs))
        except BackendError as error:
            # What never left this process, or was refused, created nothing and may be asked for again.
            self._has_asked = is_doubtful or (error.was_sent and not isinstance(error, _REFUSALS))
            self._doubt, self._doubt_since = error, time.monotonic()
            raise
        await self._note(JobCreated(created.url, created.job))

    def _may_run(self, record: RunRecord) -> bool:
        """Whether a job that nobody has seen may be running: it must be found before it can be aborted."""
        return self._has_asked and not record.run.creates_pending and record.create_attempts > 0

    async def _find_if_listed(self, record: RunRecord, backend: Backend) -> JobCreated | None:
        try:
            return await self._find(record, backend)
        except (*_REFUSALS, JobNotFoundError):
            # Some services show nobody a list. Where a job waits to be started, creating again is safe.
            if not record.run.creates_pending:
                raise
            return None

    async def _find(self, record: RunRecord, backend: Backend) -> JobCreated | None:
        """Look for a job that an earlier attempt may have left; among several, any is as good."""
        for ref in await backend.list_jobs(record.run.payload, last=_LIST_LENGTH):
            if ref.run_id == record.run.run_id and ref.url is not None:
                return JobCreated(ref.url, await backend.read(ref.url))
        return None

    def _get_budget(self, run: Run) -> float:
        if run.creates_pending and self._is_restored:
            return self._patience.max_command_age - (time.time() - run.accepted_at)
        is_lookup = self._has_asked and not run.creates_pending
        return self._patience.lookup if is_lookup else self._patience.create

    def _give_up(self, record: RunRecord, error: BackendError) -> CreateGivenUp | CreateRefused:
        if self._may_run(record):
            why = error if self._doubt is None else f"{self._doubt}; {error.message}"
            return CreateGivenUp(f"outcome unknown, not resubmitted: {why}")
        text = f"OCPS was not running when the job was to be created: {error}"
        text = text if self._is_restored else str(error)
        return CreateGivenUp(text) if record.run.creates_pending else CreateRefused(text)
