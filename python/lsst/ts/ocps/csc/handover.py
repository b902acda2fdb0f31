"""Runs of back ends that have no jobs: something is handed over, once, and the command is over."""

import asyncio
from collections.abc import Awaitable, Callable

from lsst.ts.ocps.aio.tasks import TaskSupervisor
from lsst.ts.ocps.client.base import Backend
from lsst.ts.ocps.client.errors import BackendError

from .creation import Pairs, to_submission
from .errors import LedgerError
from .ledger import Ledger
from .pair import MIN_ACK_GAP
from .records import Ended, FinalAck, Outcome, OutcomeKind, Report, Run, RunRecord
from .runs import CreateIntended, ReportBuilt, ReportWritten, observe
from .secrets import Secrets
from .texts import clip

__all__ = ["Handovers"]

_MAX_MESSAGE_BYTES = 4_000

Join = Callable[[RunRecord], Awaitable[RunRecord]]
"""Gives the run that an earlier delivery of the command record has started."""


class Handovers:
    """Hands runs over; the ledger knows of each before and after (design section 5, acks, rule 1).

    Parameters
    ----------
    ledger
        Where the runs are written down.
    tasks
        Owns what is still to be written when the command has had its answer.
    on_ledger_error
        Called when the ledger cannot be written any more.
    """

    def __init__(
        self, ledger: Ledger, tasks: TaskSupervisor, on_ledger_error: Callable[[LedgerError], None]
    ) -> None:
        self._ledger = ledger
        self._tasks = tasks
        self._on_ledger_error = on_ledger_error
        self._under_way: dict[str, asyncio.Future[RunRecord]] = {}

    @property
    def run_ids(self) -> frozenset[str]:
        """Those that are under way."""
        return frozenset(self._under_way)

    async def join(self, earlier: RunRecord) -> RunRecord:
        """The run as it is when it has been handed over, if that is under way; else as it is given."""
        answer = self._under_way.get(earlier.run.run_id)
        return earlier if answer is None else await asyncio.shield(answer)

    async def carry_out(self, run: Run, pairs: Pairs, backend: Backend, join: Join) -> RunRecord:
        """Write a run down, hand it over, and say how that went.

        A process that dies in between leaves a row that says so, and its successor tells the sender that the
        outcome is not known; nothing is ever handed over twice.

        Parameters
        ----------
        run, pairs
            The run and its encoded parameters.
        backend
            Where it goes; its own time limit is the only one here.
        join
            What to do with a command record that is delivered again.

        Returns
        -------
        RunRecord
            The run at ``reporting``: the SAL layer sends the only acknowledgement.

        Raises
        ------
        LedgerError
            If the run cannot be written down; then nothing was handed over.
        """
        record = observe(RunRecord(run), CreateIntended())
        answer: asyncio.Future[RunRecord] = asyncio.get_running_loop().create_future()
        self._under_way[run.run_id] = answer
        try:
            earlier = await self._ledger.add(record)
            if earlier is not None:
                del self._under_way[run.run_id]
                return await join(earlier)
            record = _settle(record, await _hand_over(run, pairs, backend))
            answer.set_result(record)
            await self._save(record)
        except BaseException:
            # Cancelled, or a mistake of ours: the row tells what is known, and is taken up by reconciling.
            self._under_way.pop(run.run_id, None)
            if not answer.done():
                answer.set_result(record)
            raise
        _ = self._tasks.start(self._finish(record), name=f"handover:{run.run_id}")
        return record

    async def _finish(self, record: RunRecord) -> None:
        """Close the row when the acknowledgement is out: until then a successor would send it."""
        try:
            await asyncio.sleep(MIN_ACK_GAP)
            await self._save(observe(record, ReportWritten()))
        finally:
            del self._under_way[record.run.run_id]

    async def _save(self, record: RunRecord) -> None:
        try:
            await self._ledger.save(record)
        except LedgerError as error:
            self._on_ledger_error(error)


async def _hand_over(run: Run, pairs: Pairs, backend: Backend) -> Outcome:
    try:
        _ = await backend.create(to_submission(run, pairs))
    except BackendError as error:
        kind = OutcomeKind.LOST if error.transient and error.was_sent else OutcomeKind.REJECTED
        return Outcome(kind, clip(Secrets.of(run, pairs).hide(str(error)), _MAX_MESSAGE_BYTES))
    return Outcome(OutcomeKind.COMPLETED)


def _settle(record: RunRecord, outcome: Outcome) -> RunRecord:
    is_done = outcome.kind is OutcomeKind.COMPLETED
    report = Report(
        ack=FinalAck.COMPLETE if is_done else FinalAck.FAILED,
        ack_result="Done" if is_done else f"Failed: {outcome.message}",
        has_result=False,
    )
    ended = RunRecord(record.run, Ended(outcome), record.create_attempts)
    return observe(ended, ReportBuilt(report))
