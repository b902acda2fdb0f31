"""One run from where it is to its end: does what `decide` says and brings back the news."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from lsst.ts.ocps.aio.turns import take_turn
from lsst.ts.ocps.aio.unless import unless
from lsst.ts.ocps.client.base import Backend
from lsst.ts.ocps.client.errors import BackendError, JobNotFoundError, RequestRefusedError
from lsst.ts.ocps.uws.jobs import Job
from lsst.ts.ocps.uws.phases import WAITABLE, ExecutionPhase

from .creation import JobCreation, Pairs
from .crowd import Watched
from .errors import LedgerError
from .fetching import ResultFetching
from .logs import BoundLogger, get_logger
from .parts import Parts
from .records import Creating, OutcomeKind, Running, RunRecord, Starting
from .runs import (
    AbortAsked,
    Action,
    GivenUp,
    JobMissing,
    JobSeen,
    News,
    Progress,
    ResumeIntended,
    StartIntended,
    StartRefused,
    decide,
    observe,
)
from .secrets import Secrets
from .slots import RunSlots
from .teller import Teller

__all__ = ["Follower"]

T = TypeVar("T")
_Act = Callable[[Backend, str], Awaitable[None]]

_MAX_REFUSALS = 3
"""So often may the back end refuse to run a PENDING job before the run is over."""


class Follower:
    """Follows one run.

    Parameters
    ----------
    record
        The run as the ledger has it.
    parts
        What it works with.
    pairs
        The encoded parameters of a new run, secrets in the clear; the SAL layer sends its first
        acknowledgement, and `release` says when. None for a run of an earlier life of the process.
    """

    def __init__(self, record: RunRecord, parts: Parts, *, pairs: Pairs | None = None) -> None:
        is_restored = pairs is None
        self.record = record
        self.settled = asyncio.Event()
        """Set when the run has a job, or has ended without one."""

        self.ended = asyncio.Event()
        """Set when it is known how the run ended."""

        self._parts = parts
        self._is_restored = is_restored
        self._pairs = pairs
        self._is_saved = True
        self._slots = RunSlots(parts.slots, record.run)
        self._teller = Teller(parts, is_restored=is_restored)
        self._wake = asyncio.Event()
        # What an earlier process did last is in doubt: the phase is read before anything is sent.
        self._progress = Progress(run_sent=is_restored)
        self._is_start_doubtful = True
        self._sent_at = 0.0
        self._abort_at = 0.0
        self._refusals = 0
        self._failures = 0
        self._missing_since: float | None = None
        self._last_news = self._last_change = self._now()
        self._secrets = Secrets.of(record.run, pairs)
        self._results = ResultFetching(parts, self._secrets, self._open_backend)
        self._bare_log = get_logger("follower", hide=self._secrets.hide)
        self._note_milestones()
        self._occupy_slots()

    @property
    def _log(self) -> BoundLogger:
        """The logger of the run as it is now."""
        return self._bare_log.bind(**self.record.to_logging_context())

    @property
    def is_waiting(self) -> bool:
        """Whether the run waits for its job, for prerequisites or for a slot."""
        return self.record.handle is None or decide(self.record, self._progress) in {
            Action.AWAIT_PREREQUISITES,
            Action.AWAIT_SLOT,
        }

    def release(self) -> None:
        """The first acknowledgement is on its way: news may follow it."""
        self._teller.release()

    async def request_abort(self) -> None:
        """Write down that the run shall end, and see to it."""
        await self._note(AbortAsked())
        self._wake.set()

    def abandon(self) -> None:
        """The sender was told that the command is aborted: end the run, as soon as there is time for it."""
        self.record = observe(self.record, AbortAsked())
        saved = self._parts.ledger.save(self.record)
        saved.add_done_callback(self._check_saved)
        self._note_milestones()
        self._wake.set()
        self.release()

    async def run(self) -> None:
        """Follow until everything is reported."""
        try:
            self._results.begin(self.record, self._log)
            while True:
                await self._teller.tell(self.record)
                action = decide(self.record, self._progress)
                if action is Action.NOTHING:
                    break
                await self._act(action)
        finally:
            self._slots.release()
            self._teller.stop_acknowledging()

    def _occupy_slots(self) -> None:
        """A job that runs, or may run, has slots before any of the runs that wait is looked after."""
        state, run = self.record.state, self.record.run
        if isinstance(state, Starting | Running) or (isinstance(state, Creating) and not run.creates_pending):
            self._slots.occupy()
            self._progress = replace(self._progress, has_slot=True)

    async def _act(self, action: Action) -> None:
        self._wake.clear()
        match action:
            case Action.CREATE:
                await self._create()
            case Action.AWAIT_PREREQUISITES:
                await self._await_prerequisites()
            case Action.AWAIT_SLOT:
                await self._await_slot()
            case Action.REPORT:
                await self._report()
            case Action.START | Action.RESUME:
                await self._call(self._start)
            case Action.ABORT:
                await self._call(self._abort)
            case Action.WATCH:
                await self._call(self._watch)
            case Action.NOTHING:
                pass

    # Before the job runs

    async def _create(self) -> None:
        creation = JobCreation(
            self._note, self._is_written, patience=self._parts.patience, pairs=self._pairs, log=self._log
        )
        await creation.run(lambda: self.record, self._open_backend)

    async def _is_written(self) -> bool:
        """Whether the ledger has the run as it is, after one more attempt if it has not."""
        if not self._is_saved:
            await self._save()
        return self._is_saved

    async def _await_prerequisites(self) -> None:
        for prerequisite in self.record.run.prerequisites:
            try:
                reason = await self._until_woken(self._parts.wait_for_other(prerequisite))
            except LedgerError as error:
                # Whether it has ended cannot be read now.
                self._parts.on_ledger_error(error)
                await self._pause(self._parts.patience.trouble)
                return
            if reason is None:
                return
            if reason:
                self._log.warning(reason)
                await self._parts.reporter.publish_phase(self.record, reason)
        self._progress = replace(self._progress, prerequisites_ended=True)

    async def _await_slot(self) -> None:
        if await self._until_woken(self._slots.acquire()):
            self._progress = replace(self._progress, has_slot=True)

    # While there is a job

    async def _start(self, backend: Backend, url: str) -> None:
        is_resuming = isinstance(self.record.state, Running)
        await self._note(ResumeIntended() if is_resuming else StartIntended())
        self._progress = replace(self._progress, run_sent=True)
        self._sent_at = self._now()
        self._is_start_doubtful = True
        try:
            told = await backend.start(url)
        except RequestRefusedError as error:
            self._refusals += 1
            if self._refusals >= _MAX_REFUSALS:
                await self._note(StartRefused(f"the job could not be started: {error}"))
                return
            self._log.warning("PHASE=RUN was refused", error=str(error))
        else:
            self._is_start_doubtful = False
            if told is not None:
                await self._take(told)

    async def _abort(self, backend: Backend, url: str) -> None:
        await self._note(AbortAsked())
        try:
            await backend.abort(url)
        except JobNotFoundError:
            await self._note(JobMissing(0.0))
            return
        except RequestRefusedError as error:
            # It is asked again after a while; meanwhile the job may end by itself.
            self._log.warning("ABORT was refused", error=str(error))
        self._progress = replace(self._progress, abort_sent=True)
        self._abort_at = self._now()
        await self._take(await backend.read(url))

    async def _watch(self, backend: Backend, url: str) -> None:
        began, before = self._now(), self.record.phase
        job = await self._until_woken(self._read(backend, url))
        if job is None:
            return
        await self._take(job)
        if job.phase is ExecutionPhase.UNKNOWN:
            await self._give_up_after_silence("the back end says that its phase is UNKNOWN")
        self._review()
        if self.record.phase is before and not self.record.has_ended:
            await self._pause(self._choose_pause(self._now() - began))

    async def _read(self, backend: Backend, url: str) -> Job:
        phase, job = self.record.phase, self.record.job
        sent_lately = self._progress.run_sent and self._is_start_doubtful
        if job is None or phase not in WAITABLE or sent_lately:
            return await backend.read(url)
        is_ending = self._progress.abort_sent
        watched = Watched(self.record.run.payload, url, job.job_id, phase, is_ending=is_ending)
        return await self._parts.crowd.read_changed(backend, watched, self._parts.patience)

    async def _take(self, job: Job) -> None:
        self._failures = 0
        self._missing_since = None
        if job.phase is not ExecutionPhase.UNKNOWN:
            self._last_news = self._now()
        if job.phase is not self.record.phase:
            self._last_change = self._now()
        await self._note(JobSeen(job))

    def _review(self) -> None:
        """Whether PHASE=RUN and ABORT, sent some time ago without effect, may be sent again."""
        patience, now = self._parts.patience, self._now()
        waits = isinstance(self.record.state, Starting) or self.record.phase is ExecutionPhase.HELD
        limit = patience.doubtful_start if self._is_start_doubtful else patience.start
        if not waits or now - self._sent_at > limit:
            self._progress = replace(self._progress, run_sent=False)
        if now - self._abort_at > patience.abort:
            self._progress = replace(self._progress, abort_sent=False)

    def _choose_pause(self, took: float) -> float:
        """Time until the next read of an unchanged job; none after a read that blocked."""
        patience = self._parts.patience
        wanted = min(
            max(patience.between_reads, 0.1 * (self._now() - self._last_change)), patience.between_polls
        )
        return 0.0 if took >= patience.between_polls else max(0.0, wanted - took)

    # The end

    async def _report(self) -> None:
        # The job has ended: whoever waits for its place need not wait for the report too.
        self._slots.release()
        record, outcome = self.record, self.record.outcome
        is_rejected = outcome is not None and outcome.kind is OutcomeKind.REJECTED
        if is_rejected and not self._is_restored:
            await self._teller.wait_released()
            self.record = await self._parts.reporter.settle_rejected(record)
            return
        # A deposit takes its time, and the sender goes on being told until it is over.
        results = await self._results.finish()
        self._teller.stop_acknowledging()
        if (deposit := results.deposit) is not None:
            level = logging.INFO if deposit.is_complete else logging.WARNING
            text = f"deposit {deposit.state}"
            self._log.log(level, text, location=deposit.location, message=deposit.message)
        self.record = await self._parts.reporter.report(record, results)

    # Tools

    async def _call(self, act: _Act) -> None:
        """Do something with the back end; whatever goes wrong there is met with patience."""
        handle = self.record.handle
        if handle is None:
            raise RuntimeError(f"run {self.record.run.run_id} has no job: it is {self.record.state.step}")
        try:
            await act(await self._open_backend(), handle.url)
        except JobNotFoundError as error:
            await self._miss(error)
        except BackendError as error:
            await self._endure(error)

    async def _miss(self, error: JobNotFoundError) -> None:
        now = self._now()
        if self._missing_since is None:
            self._missing_since = now
            self._log.warning("the back end does not know the job", error=str(error))
        await self._note(JobMissing(now - self._missing_since))
        if not self.record.has_ended:
            await self._pause(self._parts.patience.missing)

    async def _endure(self, error: BackendError) -> None:
        self._failures += 1
        if await self._give_up_after_silence(str(error)):
            return
        pause = min(0.25 * 2.0 ** min(self._failures, 10), self._parts.patience.trouble)
        if self._failures in {1, 5} or self._failures % 20 == 0:
            self._log.warning("the job cannot be reached; trying again", error=str(error), pause=pause)
        await self._pause(pause)

    async def _give_up_after_silence(self, reason: str) -> bool:
        silence = self._now() - self._last_news
        if silence <= self.record.run.execution_duration + self._parts.patience.give_up:
            return False
        await self._note(GivenUp(f"no news of the job for {silence:.0f} s: {reason}"))
        return True

    async def _open_backend(self) -> Backend:
        return await self._parts.pool.get(self.record.run.backend)

    async def _note(self, news: News) -> RunRecord:
        """Take news into the record, at once, and into the ledger before anything else is done."""
        before = self.record
        self.record = observe(before, self._secrets.hide_news(news))
        if self.record is not before:
            self._results.begin(self.record, self._log)
            await self._save()
            self._note_milestones()
            # One write to the disk is for many runs.
            await take_turn()
        return self.record

    async def _save(self) -> None:
        self._is_saved = False
        try:
            await self._parts.ledger.save(self.record)
            self._is_saved = True
        except LedgerError as error:
            self._parts.on_ledger_error(error)

    def _note_milestones(self) -> None:
        if self.record.handle is not None or self.record.has_ended:
            self.settled.set()
        if self.record.has_ended:
            self.ended.set()

    def _check_saved(self, saved: "asyncio.Future[None]") -> None:
        if not saved.cancelled() and isinstance(error := saved.exception(), LedgerError):
            self._parts.on_ledger_error(error)

    async def _until_woken(self, coro: Coroutine[Any, Any, T]) -> T | None:
        return await unless(self._wake, coro)

    async def _pause(self, seconds: float) -> None:
        await self._until_woken(asyncio.sleep(seconds))

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
