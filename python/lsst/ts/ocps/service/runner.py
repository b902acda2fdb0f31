"""One job from the queue to its end."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from lsst.ts.ocps.aio.deadline import Deadline
from lsst.ts.ocps.aio.retry import retry
from lsst.ts.ocps.executors.base import Execution, ExecutionStatus, Executor, ExecutorError, ExecutorState
from lsst.ts.ocps.payloads.errors import PayloadError
from lsst.ts.ocps.payloads.schema import PayloadDefinition
from lsst.ts.ocps.uws.jobs import ErrorSummary
from lsst.ts.ocps.uws.phases import FINAL, ExecutionPhase

from .claims import Taken, Terms
from .environment import attached_execution, new_execution
from .errors import FetchError
from .executor_news import ExecutorNews, Search
from .outcome_reader import OutcomeReader
from .patience import claim_patiently, patient
from .results import JobFolder
from .schema import StoredJob, now
from .store import Outcome, Store
from .upload_reader import Aside, UploadReader
from .uploads import UploadStore

__all__ = ["JobRunner"]

LOST_SIGHT = "the service lost sight of the command"

_PHASES = {
    ExecutorState.SUCCEEDED: ExecutionPhase.COMPLETED,
    ExecutorState.FAILED: ExecutionPhase.ERROR,
    ExecutorState.CANCELLED: ExecutionPhase.ABORTED,
    ExecutorState.TIMED_OUT: ExecutionPhase.ABORTED,
    ExecutorState.EXCEEDED: ExecutionPhase.ERROR,
}
_WITHDRAWN = ExecutionStatus(ExecutorState.UNKNOWN, message="withdrawn before it began")
"""What was found of a command that was not started, and will not be."""

_SUBMIT_TIME = 30.0
"""How long an executor that is short of something is asked again (s)."""

_log = structlog.stdlib.get_logger(__name__)


class JobRunner:
    """Runs jobs: takes them from the store, hands them over, and writes down what becomes of them.

    Parameters
    ----------
    store
        The jobs.
    definitions
        The payloads, by name.
    executors
        The executors, by kind; their listener is ``news.put``.
    news
        What the executors tell.
    jobs_directory
        Where each job has its folder.
    attach_patience
        How long the trace of a command may be missing after a restart (s).
    follow_patience
        How long it is tried to follow a command again that its executor lost sight of (s).
    max_output
        How much is kept of what a command says on each of its streams (byte).
    max_results
        How many files of a job are results.
    removable
        Set when the command of a destroyed job has ended.
    uploads
        Reads what jobs refer to.
    """

    def __init__(
        self,
        *,
        store: Store,
        definitions: Mapping[str, PayloadDefinition],
        executors: Mapping[str, Executor],
        news: ExecutorNews,
        jobs_directory: Path,
        attach_patience: float,
        follow_patience: float,
        max_output: int,
        max_results: int,
        removable: asyncio.Event,
        uploads: UploadStore,
    ) -> None:
        # What a command does is written down, however long the database is away.
        self._store = patient(store)
        self._hasty_store = store
        self._definitions = definitions
        self._executors = executors
        self._news = news
        self._jobs_directory = jobs_directory
        self._attach_patience = attach_patience
        self._follow_patience = follow_patience
        self._max_output = max_output
        self._removable = removable
        self._outcomes = OutcomeReader(max_results)
        self._uploads = UploadReader(self._store, uploads)

    def folder(self, stored: StoredJob) -> JobFolder:
        """The folder of a job."""
        return JobFolder(self._jobs_directory / stored.job_id, stored.outputs)

    async def run(
        self,
        job_id: str,
        executor: str,
        aside: Aside,
        *,
        max_active: int | None = None,
        bears: Callable[[Taken], bool] | None = None,
    ) -> bool:
        """Run a queued job; does nothing if it is not queued any more.

        Parameters
        ----------
        job_id
            Which job.
        executor
            The kind of its executor.
        aside
            Entered while it only reads what it refers to.
        max_active, bears
            See `Terms`.

        Returns
        -------
        bool
            Whether the job has been dealt with. If not, as many of its payload run as may, or as many jobs as
            this machine bears.
        """
        # Written down before the act: after a crash the executor is asked what became of it.
        found = self._executors.get(executor)
        terms = Terms(found.preliminary_id() if found else None, max_active, bears)
        stored = await claim_patiently(self._hasty_store, job_id, terms)
        if stored is None:
            current = await self._store.find_any(job_id)
            return current is None or current.phase is not ExecutionPhase.QUEUED or current.handed_over
        await self._run(stored, aside)
        return True

    async def _run(self, stored: StoredJob, aside: Aside) -> None:
        _bind(stored)
        job_id = stored.job_id
        with self._news.following(job_id) as news:
            try:
                await self._uploads.read(stored, self._definitions.get(stored.payload), aside)
                execution = await asyncio.to_thread(self._prepare, stored)
                executor = self._executor(stored)
                native_id = await self._submit(executor, execution)
            except (PayloadError, ExecutorError, FetchError, OSError) as error:
                transient = isinstance(error, ExecutorError) and error.transient
                transient = transient or (isinstance(error, FetchError) and error.is_transient)
                await self.give_up(stored, str(error), transient=transient)
                return
            _log.info("handed over", executor=stored.executor, native_id=native_id)
            status = await executor.status(job_id)
            if status.state is ExecutorState.WAITING:
                await self._store.set_native_id(job_id, native_id)
            await self._follow(stored, executor, status, news, native_id)

    async def resume(self, stored: StoredJob) -> StoredJob | None:
        """Follow a job that an earlier life of the service took, to its end.

        Returns
        -------
        StoredJob
            The job, if it waits again: its command was not started, and will not be by that life.
        """
        _bind(stored)
        executor = self._executors.get(stored.executor)
        if executor is None:
            _log.error("nobody can tell what became of the job", executor=stored.executor)
            if stored.phase in {ExecutionPhase.EXECUTING, ExecutionPhase.SUSPENDED}:
                await self._store.lose_sight(stored.job_id, stored.phase)
            return None
        with self._news.following(stored.job_id) as news:
            search = Search(self._attach_patience)
            status = await self._attach(executor, stored, stored.native_id, search, may_withdraw=True)
            if status is _WITHDRAWN:
                return await self._put_back(stored)
            await self._follow(stored, executor, status, news, stored.native_id)
        return None

    async def _put_back(self, stored: StoredJob) -> StoredJob | None:
        """Let a job wait again whose command surely never ran; settle one that was ended meanwhile."""
        waiting = await self._store.put_back(stored.job_id)
        if waiting is None:
            waiting = await self._store.find_any(stored.job_id)
            if waiting is not None and waiting.phase in FINAL:
                await self._settle(waiting, waiting.phase, Outcome(now()))
                return None
        if waiting is None or waiting.handed_over:
            return None
        _log.warning("queued again: it was taken, but its command was never started")
        return waiting

    async def cancel(self, stored: StoredJob) -> None:
        """Ask for the end of a command, or of what is done for its start; harmless if none runs."""
        self._uploads.stop(stored.job_id)
        if executor := self._executors.get(stored.executor):
            await executor.cancel(stored.job_id)

    async def give_up(self, stored: StoredJob, message: str, *, transient: bool = False) -> None:
        """End a job that never ran, or that the service failed to follow."""
        _bind(stored)
        _log.error("the job cannot be run", reason=message)
        error = ErrorSummary(message, is_transient=transient)
        await self._settle(stored, ExecutionPhase.ERROR, Outcome(now(), error=error))

    def _prepare(self, stored: StoredJob) -> Execution:
        definition = self._definitions.get(stored.payload)
        if definition is None or definition.run is None:
            raise PayloadError(f"the payload {stored.payload} is not configured any more")
        folder = self.folder(stored)
        execution = new_execution(definition, stored, folder, max_output=self._max_output)
        folder.make()
        return execution

    def _executor(self, stored: StoredJob) -> Executor:
        try:
            return self._executors[stored.executor]
        except KeyError:
            raise ExecutorError(f"the executor {stored.executor} is not configured any more") from None

    @staticmethod
    async def _submit(executor: Executor, execution: Execution) -> str:
        return await retry(
            lambda: executor.submit(execution),
            deadline=Deadline(f"submission of {execution.key}", _SUBMIT_TIME),
            is_transient=lambda error: isinstance(error, ExecutorError) and error.transient,
        )

    async def _attach(
        self,
        executor: Executor,
        stored: StoredJob,
        native_id: str | None,
        search: Search,
        lost: str = "",
        *,
        may_withdraw: bool = False,
    ) -> ExecutionStatus:
        """Follow a command of an earlier life, or one that was lost sight of, for the reason ``lost``.

        `_WITHDRAWN` if it may be withdrawn, and was.
        """
        # Of what was seen to run, a lost trace tells nothing.
        may_withdraw = may_withdraw and stored.job.start_time is None
        execution = attached_execution(stored, self.folder(stored))
        while not lost or await search.pause():
            try:
                status = await executor.attach(execution, native_id or "")
                is_lost = status.state is ExecutorState.UNKNOWN
                if is_lost and may_withdraw and await executor.withdraw(execution, native_id or ""):
                    return _WITHDRAWN
            except Exception as error:  # noqa: BLE001 (it is logged, and the error of the job in the end)
                _log.exception("the command cannot be followed")
                lost = f"{type(error).__name__}: {error}"
                continue
            if not is_lost:
                _log.info("found again", state=status.state, message=status.message)
                search.note_found()
                # An abort while nobody followed the command has not reached it.
                current = await self._store.find_any(stored.job_id)
                if not status.state.is_final and current is not None and current.phase in FINAL:
                    await executor.cancel(stored.job_id)
                return status
            lost = status.message or "nothing is known of it"
        _log.error("lost sight of the command for good", reason=lost)
        # What may be left of it must not go on unseen.
        await executor.cancel(stored.job_id)
        return ExecutionStatus(ExecutorState.FAILED, message=f"{LOST_SIGHT}: {lost}")

    async def _follow(
        self,
        stored: StoredJob,
        executor: Executor,
        status: ExecutionStatus,
        news: asyncio.Queue[ExecutionStatus],
        native_id: str | None,
    ) -> None:
        """Write down what the executor tells until the command has ended."""
        search = Search(self._follow_patience)
        while not status.state.is_final:
            if status.state is ExecutorState.UNKNOWN:
                lost = status.message or "nothing is known of it"
                _log.error("lost sight of the command; trying to follow it again", reason=lost)
                status = await self._attach(executor, stored, native_id, search, lost)
                continue
            if status.state is ExecutorState.RUNNING and stored.phase not in {
                ExecutionPhase.EXECUTING,
                *FINAL,
            }:
                stored = await self._begin(stored, executor, status, native_id)
            status = await news.get()
        definition = self._definitions.get(stored.payload)
        wanted = definition.run.results if definition and definition.run else ()
        outcome = await self._outcomes.read(stored, status, self.folder(stored), wanted)
        if status.state is ExecutorState.SUCCEEDED and stored.phase is ExecutionPhase.QUEUED:
            stored = await self._begin(stored, executor, status, native_id)
        await self._settle(stored, _PHASES[status.state], outcome)

    async def _begin(
        self, stored: StoredJob, executor: Executor, status: ExecutionStatus, native_id: str | None
    ) -> StoredJob:
        """Note that the command runs; end it if the job was ended meanwhile."""
        begun = await self._store.begin(
            stored.job_id, stored.phase, start_time=status.start_time or now(), native_id=native_id
        )
        if begun is not None:
            _log.info("executing")
            return begun
        current = await self._store.find_any(stored.job_id)
        if current is not None and current.phase is ExecutionPhase.EXECUTING:
            # The answer of the database was lost, not the change.
            return current
        await executor.cancel(stored.job_id)
        return current or stored

    async def _settle(self, stored: StoredJob, phase: ExecutionPhase, outcome: Outcome) -> None:
        """Write down the end; whoever ended the job before keeps the last word on its phase."""
        current: StoredJob | None = stored
        while current is not None and current.phase not in FINAL:
            if await self._store.end(stored.job_id, current.phase, phase, outcome):
                _log.info("ended", phase=phase, exit_code=outcome.exit_code)
                return
            current = await self._store.find_any(stored.job_id)
        recorded = await self._store.record_end(stored.job_id, outcome)
        if recorded is not None and recorded.destroyed:
            self._removable.set()
        _log.info("the command of an ended job is gone", exit_code=outcome.exit_code)


def _bind(stored: StoredJob) -> None:
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(
        job_id=stored.job_id, run_id=stored.job.run_id, payload=stored.payload
    )
