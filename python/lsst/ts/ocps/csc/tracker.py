"""Every run of this CSC, from the process start on, in every summary state."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from lsst.ts.ocps.aio.tasks import TaskSupervisor
from lsst.ts.ocps.client.base import Backend

from .backends import BackendPool, find_job
from .creation import Pairs
from .crowd import Crowd
from .deposit import Depositor
from .documents import reported_job_id
from .errors import LedgerError
from .follower import Follower
from .garbage import are_collections_postponed, collect_garbage
from .handover import Handovers
from .ledger import Ledger
from .logs import get_logger
from .parts import Parts
from .patience import Patience
from .prerequisites import wait_for_job
from .reconcile import Reconciler, Surroundings
from .records import CommandKey, Reporting, Run, RunRecord
from .reporter import Reporter
from .runs import CreateIntended, observe

__all__ = ["Tracker"]

_REFOLLOW_PAUSE = 1.0
"""A run whose follower died is followed again at the next reconciling; this is the pace of asking until then
(s)."""


class Tracker:
    """Follows runs; the one place that knows which are alive.

    Parameters
    ----------
    ledger, reporter, depositor, pool
        What it works with.
    on_death
        Called with the name and the error of a task that died.
    on_ledger_error
        Called when the ledger cannot be written.
    patience
        How long to wait for what.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        reporter: Reporter,
        depositor: Depositor,
        pool: BackendPool,
        on_death: Callable[[str, BaseException], None],
        on_ledger_error: Callable[[LedgerError], None],
        patience: Patience,
    ) -> None:
        self._tasks = TaskSupervisor("tracker", on_death=on_death)
        self._parts = Parts(
            ledger=ledger,
            reporter=reporter,
            depositor=depositor,
            pool=pool,
            tasks=self._tasks,
            wait_for_other=self._wait_for_other,
            on_ledger_error=on_ledger_error,
            crowd=Crowd(self._tasks),
            patience=patience,
        )
        self._followers: dict[str, Follower] = {}
        self._handovers = Handovers(ledger, self._tasks, on_ledger_error)
        self._reconciler = Reconciler(
            self._parts,
            get_known=lambda: self._followers.keys() | self._handovers.run_ids,
            get_used=lambda: [follower.record.run.backend for follower in self._followers.values()],
            follow=lambda record: self._follow(Follower(record, self._parts)),
        )
        self._log = get_logger("tracker")

    async def start(self) -> None:
        """Take up the runs that an earlier process left, and go on looking after them."""
        await self._reconciler.reconcile()
        _ = self._tasks.start(self._reconciler.run(), name="reconcile")
        if are_collections_postponed():
            _ = self._tasks.start(collect_garbage(lambda: bool(self._followers)), name="garbage")

    def configure(
        self,
        *,
        payloads: Iterable[str],
        backends: Sequence[dict[str, Any]],
        create: float,
        max_command_age: float,
        keep_runs: float,
    ) -> None:
        """Take over a new configuration; runs that are under way keep what they were given.

        Parameters
        ----------
        payloads
            Names of the payloads, in whose job lists jobs that are not ours are looked for.
        backends
            Stored settings of the back ends.
        create, max_command_age
            As in `Patience`.
        keep_runs
            How long the ledger remembers reported runs (s).
        """
        self._reconciler.surroundings = Surroundings(tuple(payloads), tuple(backends), keep_runs)
        self._parts.patience = replace(self._parts.patience, create=create, max_command_age=max_command_age)

    @property
    def active(self) -> list[RunRecord]:
        """The runs that have not ended, oldest first."""
        return [follower.record for follower in self._followers.values() if not follower.record.has_ended]

    @property
    def waiting(self) -> frozenset[str]:
        """run_ids of those that wait for their job, for prerequisites or for a slot."""
        return frozenset(run_id for run_id, follower in self._followers.items() if follower.is_waiting)

    def count_active(self, payload: str) -> int:
        """How many runs of a payload have not ended."""
        return sum(record.run.payload == payload for record in self.active)

    async def submit(self, run: Run, pairs: Pairs) -> RunRecord:
        """Write a run down, and have its job created.

        News of it wait until `release` is called, which must happen however this ends.

        Parameters
        ----------
        run
            What is written down.
        pairs
            The encoded parameters, secrets in the clear.

        Returns
        -------
        RunRecord
            The run, which has a job or has ended without one; it may be an older run that the same command
            record has started.

        Raises
        ------
        LedgerError
            If the run cannot be written down; then nothing was asked of the back end.
        """
        record = RunRecord(run)
        if run.creates_pending:
            # Nothing is waited for before the job is asked for: one row tells of both.
            record = observe(record, CreateIntended())
        follower = Follower(record, self._parts, pairs=pairs)
        # Known before the row is written, so that reconciling does not take it for a run left behind.
        self._followers[run.run_id] = follower
        try:
            earlier = await self._parts.ledger.add(record)
        except BaseException:
            del self._followers[run.run_id]
            raise
        if earlier is not None:
            del self._followers[run.run_id]
            return await self._join(earlier)
        self._follow(follower)
        try:
            await follower.settled.wait()
        except asyncio.CancelledError:
            follower.abandon()
            raise
        return follower.record

    async def hand_over(self, run: Run, pairs: Pairs, backend: Backend) -> RunRecord:
        """Hand a run over to a back end that has no jobs; see `Handovers.carry_out`."""
        return await self._handovers.carry_out(run, pairs, backend, self._join)

    async def _join(self, earlier: RunRecord) -> RunRecord:
        self._log.warning("a command record was delivered twice", **earlier.to_logging_context())
        follower = self._followers.get(earlier.run.run_id)
        if follower is None:
            return await self._handovers.join(earlier)
        await follower.settled.wait()
        return follower.record

    async def find_command(self, key: CommandKey) -> RunRecord | None:
        """The run that a command record has started; None if none."""
        earlier = await self._parts.ledger.find_command(key)
        return None if earlier is None else await self._join(earlier)

    def release(self, run_id: str) -> None:
        """The first acknowledgement of a new run is on its way."""
        if (follower := self._followers.get(run_id)) is not None:
            self._parts.reporter.note_first_ack(run_id)
            follower.release()

    async def find(self, identifier: str) -> RunRecord | None:
        """The run of a run_id or job_id, alive or reported; None if there is none."""
        for follower in self._followers.values():
            if _is_named(follower.record, identifier):
                return follower.record
        return await self._parts.ledger.find(identifier)

    async def abort(self, run_id: str, *, patience: float) -> RunRecord | None:
        """Ask for the end of a living run, and wait for it for a while.

        Parameters
        ----------
        run_id
            The run.
        patience
            Longest wait (s).

        Returns
        -------
        RunRecord or None
            The run as it is then; None if it is not alive.
        """
        follower = self._followers.get(run_id)
        if follower is None:
            return None
        await follower.request_abort()
        try:
            async with asyncio.timeout(patience):
                await follower.ended.wait()
        except TimeoutError:
            self._log.warning(
                "not aborted yet", phase=follower.record.phase.value, **follower.record.to_logging_context()
            )
        return follower.record

    async def find_foreign(self, job_id: str) -> tuple[Backend, str] | None:
        """A job that is not ours, in the lists of the configured back ends; None if none has it.

        Raises
        ------
        BackendError
            If it was not found and a list could not be read.
        """
        known = self._reconciler.surroundings
        backends = [await self._parts.pool.get(stored) for stored in known.backends]
        return await find_job(backends, known.payloads, job_id)

    def adopt(self, prefix: str) -> None:
        """If the ledger is empty, look for jobs of a CSC that has lost it, and follow them.

        Parameters
        ----------
        prefix
            What the run_ids of this CSC begin with.
        """
        _ = self._tasks.start(self._reconciler.adopt(prefix), name="adopt")

    async def aclose(self) -> None:
        """Stop following; the runs go on, and a later process follows them."""
        await self._tasks.aclose()

    def _follow(self, follower: Follower) -> None:
        run_id = follower.record.run.run_id
        self._followers[run_id] = follower
        self._parts.reporter.note_change()
        if isinstance(follower.record.state, Reporting):
            self._parts.reporter.doubt(run_id)
        _ = self._tasks.start(self._run(follower), name=run_id)

    async def _run(self, follower: Follower) -> None:
        run_id = follower.record.run.run_id
        try:
            await follower.run()
        finally:
            del self._followers[run_id]
            self._parts.reporter.trust(run_id)
            self._reconciler.note_end(follower.record)
            self._parts.reporter.note_change()
            # Whoever waits for this follower must not wait for a dead one.
            follower.settled.set()
            follower.ended.set()

    async def _wait_for_other(self, identifier: str) -> str:
        """Wait until a job or run has ended; returns why it counts as ended where that was not seen."""
        while (record := await self.find(identifier)) is not None:
            if record.has_ended:
                return ""
            follower = self._followers.get(record.run.run_id)
            if follower is not None:
                await follower.ended.wait()
            if follower is None or not follower.record.has_ended:
                await asyncio.sleep(_REFOLLOW_PAUSE)
        return await wait_for_job(identifier, self.find_foreign)


def _is_named(record: RunRecord, identifier: str) -> bool:
    if record.run.run_id == identifier:
        return True
    handle = record.handle
    return handle is not None and identifier in {handle.job_id, reported_job_id(record)}
