"""How much an owner may have.

The database decides, in the statement that adds to it: two requests that counted first and added afterwards
would both find room for the last job.
"""

from collections.abc import Sequence

from lsst.ts.ocps.uws.phases import ExecutionPhase

from .errors import QuotaError, RequestError, TooManyError
from .schema import StoredJob, StoredUpload
from .sections import LimitsSection, OwnerLimits
from .store import Store
from .usage import ANY, Usage, room_for, room_for_files

__all__ = ["Quotas"]

_PATIENCE = 10
"""When those who have too many jobs are told to try again (s)."""


class Quotas:
    """Adds to what owners have, as long as they may have more.

    Parameters
    ----------
    store
        The jobs.
    limits
        How much each owner may have.
    """

    def __init__(self, store: Store, limits: LimitsSection) -> None:
        self._store = store
        self._limits = limits

    async def add(self, stored: StoredJob) -> None:
        """Keep a new job, PENDING or QUEUED.

        Raises
        ------
        TooManyError, QuotaError
            If its owner has as much as they may.
        """
        owner_id = stored.job.owner_id
        limits = self._limits.of(owner_id)
        if not await self._store.add(stored, room_for(owner_id, stored.phase, limits)):
            raise _refusal(stored.phase, await self._store.usage(owner_id), limits)

    async def set_parameters(
        self, seen: StoredJob, pairs: Sequence[tuple[str, str]], uploads: Sequence[StoredUpload]
    ) -> StoredJob | None:
        """Replace parameters and uploads; None if the job is not PENDING, or not as it was seen, any more.

        Raises
        ------
        QuotaError
            If there are other uploads than before, and its owner keeps as much as they may.
        """
        owner_id = seen.job.owner_id
        limits = self._limits.of(owner_id)
        room = ANY if tuple(uploads) == seen.uploads else room_for_files(owner_id, limits)
        changed = await self._store.set_parameters(seen, pairs, uploads, room)
        if changed is None and room.is_limited and limits.max_stored is not None:
            usage = await self._store.usage(owner_id)
            if usage.stored >= limits.max_stored:
                raise _refusal(seen.phase, usage, limits)
        return changed

    async def queue(self, stored: StoredJob) -> StoredJob | None:
        """Commit a job to execution; None if it is not in the same phase any more.

        Raises
        ------
        TooManyError, QuotaError
            If its owner has as much as they may.
        """
        if stored.phase is not ExecutionPhase.PENDING:
            # It has been counted among the active ones since it was told to run for the first time.
            return await self._store.queue(stored.job_id, stored.phase)
        owner_id = stored.job.owner_id
        limits = self._limits.of(owner_id)
        room = room_for(owner_id, ExecutionPhase.QUEUED, limits)
        queued = await self._store.queue(stored.job_id, stored.phase, room)
        if queued is None and room.is_limited:
            current = await self._store.find(stored.job_id)
            if current is not None and current.phase is stored.phase:
                raise _refusal(ExecutionPhase.QUEUED, await self._store.usage(owner_id), limits)
        return queued


def _refusal(phase: ExecutionPhase, usage: Usage, limits: OwnerLimits) -> RequestError:
    """Why an owner may not have one more job in a phase."""
    if limits.max_stored is not None and usage.stored >= limits.max_stored:
        text = f"the results of your jobs have {usage.stored} bytes, and {int(limits.max_stored)} are allowed"
        return QuotaError(f"{text}: destroy some jobs")
    if phase is ExecutionPhase.PENDING:
        text = f"you have {usage.pending} PENDING jobs, and {limits.max_pending} are allowed"
        return TooManyError(f"{text}: run or destroy some", retry_after=_PATIENCE)
    text = f"{usage.active} of your jobs have not ended, and {limits.max_active} are allowed"
    return TooManyError(f"{text}: wait for one to end", retry_after=_PATIENCE)
