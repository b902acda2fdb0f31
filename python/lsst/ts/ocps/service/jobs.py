"""The rules of UWS: what may be asked of jobs, and what it does to them."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Self, TypeVar

import structlog

from lsst.ts.ocps.payloads.schema import PayloadDefinition
from lsst.ts.ocps.uws.jobs import Job, Parameter
from lsst.ts.ocps.uws.phases import WAITABLE, ExecutionPhase
from lsst.ts.ocps.uws.progress import Progress

from . import listing
from .changes import ParameterChanges
from .conditional import Version
from .controls import (
    CONTROLS,
    Waiting,
    read_controls,
    read_destruction,
    read_execution_duration,
    read_phase_request,
    shift,
)
from .dispatch import Dispatcher
from .errors import NotFoundError, RequestError, UnreadableJobError, WrongPhaseError
from .forms import Form
from .job_ids import JobIds
from .listing import JobFilter, ListedJob
from .owners import ANYBODY, Caller
from .parameter_checks import check_parameters
from .phase_wait import PhaseWait
from .quotas import Quotas
from .reaper import Reaper
from .results import JobFolder
from .rows import note_unreadable
from .schema import StoredJob, StoredUpload, now, upload_parameter
from .store import Store
from .uploads import UPLOAD, UploadStore, check_complete, largest_files, read_uploads
from .watch import PhaseWatch

__all__ = ["JobService"]

T = TypeVar("T")

_log = structlog.stdlib.get_logger(__name__)


class JobService:
    """Jobs as clients may use them: everybody, or the one whose view `seen_by` has made.

    Every method that takes the name of a payload and a job id raises `NotFoundError` if there is no such
    payload, or no such job of it that the caller may see.

    Parameters
    ----------
    definitions
        The payloads, by name; only those with a ``run`` section exist here.
    store, watch, dispatcher, reaper
        The truth, news of it, and who runs and removes jobs.
    jobs_directory
        Where each job has its folder.
    quotas
        How much each owner may have.
    uploads
        Keeps the files that come with jobs.
    max_retention
        How long a job is kept at the latest.
    """

    def __init__(
        self,
        *,
        definitions: Mapping[str, PayloadDefinition],
        store: Store,
        watch: PhaseWatch,
        dispatcher: Dispatcher,
        reaper: Reaper,
        jobs_directory: Path,
        quotas: Quotas,
        uploads: UploadStore,
        max_retention: timedelta,
    ) -> None:
        self._definitions = definitions
        self._store = store
        self._watch = watch
        self._dispatcher = dispatcher
        self._reaper = reaper
        self._jobs_directory = jobs_directory
        self._quotas = quotas
        self._uploads = uploads
        self._changes = ParameterChanges(quotas, uploads)
        self._max_retention = max_retention
        self._ids = JobIds()
        self._caller = ANYBODY

    def seen_by(self, caller: Caller) -> Self:
        """The same jobs, but those of others are not there, and new ones belong to the caller."""
        view = copy(self)
        view._caller = caller  # noqa: SLF001 (it is one of ours)
        return view

    @property
    def definitions(self) -> Sequence[PayloadDefinition]:
        """The payloads that can be run, sorted by name."""
        runnable = (definition for definition in self._definitions.values() if definition.run is not None)
        return sorted(runnable, key=lambda definition: definition.name)

    def definition(self, payload: str) -> PayloadDefinition:
        """The payload of that name."""
        definition = self._definitions.get(payload)
        if definition is None or definition.run is None:
            names = ", ".join(definition.name for definition in self.definitions)
            raise NotFoundError(f"no payload is called {payload[:80]!r}; there are: {names}")
        return definition

    def max_file_bytes(self, payload: str) -> int:
        """How many bytes of files may come with a job of a payload; 0: none."""
        return largest_files(self.definition(payload), self._uploads.section)

    def find_definition(self, payload: str) -> PayloadDefinition | None:
        """The payload of that name; None if it is not configured any more."""
        return self._definitions.get(payload)

    async def create(self, payload: str, form: Form, *, run: bool = False) -> StoredJob:
        """Create a job, PENDING or QUEUED as the form or ``run`` asks.

        Raises
        ------
        UsageError
            If anything in the form is wrong; every problem with the parameters is listed.
        TooManyError, QuotaError
            If the owner has as many jobs, or as large results, as they may.
        """
        definition = self.definition(payload)
        spec = definition.run
        if spec is None:
            raise NotFoundError(f"payload {payload} is not run by this service")
        created = now()
        controls = read_controls(form, definition, created=created, max_retention=self._max_retention)
        run = run or controls.run
        files = read_uploads(form, definition, self._uploads.section)
        uploads = tuple(upload for upload, _ in files)
        if run:
            check_complete(definition, uploads)
        pairs = await check_parameters(definition, form.without(CONTROLS | {UPLOAD}))
        job = Job(
            job_id=self._ids.next(),
            phase=ExecutionPhase.QUEUED if run else ExecutionPhase.PENDING,
            run_id=controls.run_id,
            owner_id=self._caller.owner_id,
            creation_time=created,
            execution_duration=controls.execution_duration,
            destruction=controls.destruction,
            parameters=(*_parameters(pairs), *(upload_parameter(upload) for upload in uploads)),
        )
        stored = StoredJob(
            job, payload=payload, executor=spec.executor, outputs=spec.outputs, uploads=uploads
        )
        try:
            await self._uploads.keep(job.job_id, files)
            await self._quotas.add(stored)
        except (RequestError, OSError):
            # After a failure of the database it is not certain that there is no such job: see `leftovers`.
            await self._uploads.discard(job.job_id)
            raise
        self._reaper.note_destruction(job.destruction)
        _log.info(
            "created",
            job_id=job.job_id,
            run_id=job.run_id,
            payload=payload,
            phase=job.phase,
            owner=job.owner_id,
        )
        if run:
            self._dispatcher.enqueue(stored)
        return stored

    async def get(self, payload: str, job_id: str) -> StoredJob:
        """The job as it is now."""
        stored = await self.find(job_id)
        if stored is None or stored.payload != payload:
            raise NotFoundError(f"payload {payload[:80]!r} has no job {job_id[:80]!r}")
        return stored

    async def find(self, job_id: str) -> StoredJob | None:
        """The job of any payload; None if it is not there."""
        try:
            stored = await self._store.find(job_id)
        except UnreadableJobError as error:
            note_unreadable(error)
            if self._caller.may_see(error.owner_id):
                raise
            return None
        return stored if stored is not None and self._caller.may_see(stored.job.owner_id) else None

    def waiting(self, payload: str, job_id: str, waiting: Waiting) -> PhaseWait:
        """One who waits for the next change of a job's phase; the time begins to run now."""
        return PhaseWait(lambda: self.get(payload, job_id), self._watch, job_id, waiting)

    async def list_jobs(self, wanted: JobFilter, write: Callable[[Iterable[ListedJob]], T]) -> Sequence[T]:
        """The jobs of one payload, or of all; what ``write`` makes of one part after the other."""
        if wanted.payload is not None:
            self.definition(wanted.payload)
        return await listing.list_jobs(self._store.database, wanted, write, self._caller)

    async def list_whole(
        self,
        phases: frozenset[ExecutionPhase] | None,
        write: Callable[[Iterable[StoredJob]], T],
        *,
        last: int,
    ) -> Sequence[T]:
        """The newest jobs with all that is known of them, written so; ``phases`` None: all but ARCHIVED."""
        return await listing.list_whole(self._store.database, phases, write, self._caller, last=last)

    async def set_phase(self, payload: str, job_id: str, form: Form) -> StoredJob:
        """Run or abort a job.

        Raises
        ------
        UsageError
            If it is to be run, and lacks uploads.
        WrongPhaseError
            If it is to be run and is neither PENDING nor HELD. Aborting what has ended changes nothing.
        TooManyError, QuotaError
            If it is to be run, and its owner has as much as they may.
        """
        request = read_phase_request(form, ("RUN", "ABORT"))
        stored = await self.get(payload, job_id)
        if request == "ABORT":
            return await self.abort(stored)
        if stored.phase in {ExecutionPhase.PENDING, ExecutionPhase.HELD}:
            if definition := self.find_definition(payload):
                check_complete(definition, stored.uploads)
            queued = await self._quotas.queue(stored)
            if queued is not None:
                self._dispatcher.enqueue(queued)
                return queued
            stored = await self.get(payload, job_id)
        raise WrongPhaseError(f"PHASE=RUN: the job is {stored.phase}; only PENDING and HELD jobs can be run")

    async def abort(self, stored: StoredJob) -> StoredJob:
        """End a job; one that has ended stays as it is."""
        aborted = await self._dispatcher.abort(stored)
        if aborted is None or aborted.is_hidden:
            raise NotFoundError(f"job {stored.job_id} has been destroyed meanwhile")
        return aborted

    def quote(self, stored: StoredJob) -> datetime | None:
        """When a job is expected to be complete; None if nobody knows.

        It is counted from the start, or from the creation as long as there is none. Only payloads that say
        how long they usually take have a quote, and it is withdrawn when the time has come.
        """
        definition = self._definitions.get(stored.payload)
        if stored.phase not in WAITABLE or definition is None:
            return None
        start = stored.job.start_time or stored.job.creation_time
        if start is None or "expected_duration" not in definition.model_fields_set:
            return None
        expected = shift(start, timedelta(seconds=definition.expected_duration))
        return expected if expected > now() else None

    async def set_execution_duration(self, payload: str, job_id: str, form: Form) -> StoredJob:
        """Set the limit of the execution time; that of the payload is never exceeded.

        Raises
        ------
        WrongPhaseError
            If the command has been handed over: its limit goes with it.
        """
        seconds = read_execution_duration(form, self.definition(payload))
        stored = await self.get(payload, job_id)
        changed = await self._store.set_execution_duration(job_id, seconds)
        if changed is None:
            raise WrongPhaseError(f"EXECUTIONDURATION: cannot be changed any more, the job is {stored.phase}")
        return changed

    async def set_destruction(self, payload: str, job_id: str, form: Form) -> StoredJob:
        """Set the time of destruction; nothing is kept longer than the service allows.

        Raises
        ------
        WrongPhaseError
            If the job has been destroyed: how long it is still told of is up to the service.
        """
        time = read_destruction(form)
        stored = await self.get(payload, job_id)
        if stored.phase is ExecutionPhase.ARCHIVED:
            raise WrongPhaseError("DESTRUCTION: cannot be changed any more, the job is ARCHIVED")
        time = min(time, self._latest_destruction(stored.job))
        changed = await self._store.set_destruction(job_id, time)
        if changed is None:
            raise NotFoundError(f"job {job_id} has been destroyed meanwhile")
        self._reaper.note_destruction(time)
        return changed

    async def set_parameters(self, payload: str, job_id: str, form: Form) -> StoredJob:
        """Replace some parameters of a PENDING job, or give it files, as `ParameterChanges.make` does."""
        definition = self.definition(payload)
        return await self._changes.make(lambda: self.get(payload, job_id), definition, form)

    async def destroy(self, payload: str, job_id: str) -> None:
        """Stop a job and forget it with its results, an archived one too."""
        await self._reaper.destroy(await self.get(payload, job_id))

    async def read_progress(self, stored: StoredJob) -> Progress | None:
        """What a running job says of its progress."""
        if stored.phase is not ExecutionPhase.EXECUTING:
            return None
        return await asyncio.to_thread(self._folder(stored).read_progress)

    async def read_error(self, payload: str, job_id: str) -> str:
        """Why a job failed, with the end of its standard error.

        Raises
        ------
        NotFoundError
            If it has not failed.
        """
        stored = await self.get(payload, job_id)
        if stored.phase is not ExecutionPhase.ERROR or stored.job.error is None:
            raise NotFoundError(f"job {job_id} is {stored.phase}; it has no error")
        tail = await asyncio.to_thread(self._folder(stored).read_stderr_tail)
        return f"Error: {stored.job.error.message}\n" + (f"\n{tail}" if tail else "")

    async def open_result(self, payload: str, job_id: str, result_id: str) -> tuple[IO[bytes], Version, str]:
        """Open a result for reading; the caller closes it.

        Returns
        -------
        tuple
            The file, its version and its media type.

        Raises
        ------
        NotFoundError
            If there is no such result, or its file is gone.
        """
        stored = await self.get(payload, job_id)
        for result in stored.files:
            if result.result_id == result_id:
                file, version = await asyncio.to_thread(self._folder(stored).open_result, result)
                return file, version, result.mime_type
        raise NotFoundError(f"job {job_id} has no result {result_id[:80]!r}")

    async def open_upload(self, stored: StoredJob, upload: StoredUpload) -> tuple[IO[bytes], Version]:
        """Open a file that came with a request, and its version; the caller closes it."""
        return await asyncio.to_thread(self._folder(stored).open_upload, upload)

    def _latest_destruction(self, job: Job) -> datetime:
        """Until when a job may be kept; a time that it was given when longer ones were allowed stays so."""
        latest = shift(job.creation_time or now(), self._max_retention)
        return max(latest, job.destruction) if job.destruction else latest

    def _folder(self, stored: StoredJob) -> JobFolder:
        return JobFolder(self._jobs_directory / stored.job_id, stored.outputs)


def _parameters(pairs: Sequence[tuple[str, str]]) -> tuple[Parameter, ...]:
    return tuple(Parameter(name, value) for name, value in pairs)
