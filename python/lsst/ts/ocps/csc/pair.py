"""``job_result`` and final acknowledgement of a run: back to back, one run at a time, once.

Clients share one event queue and throw away what is not theirs (baseline section 7), so the two records of
one run go out under one lock. Around them the ledger says ``reporting`` and ``reported``. The last records of
``job_result`` of this index tell, after a crash or a write whose answer was lost, whether the pair's first
half is out.
"""

import asyncio
from collections.abc import Awaitable, Callable

from lsst.ts.ocps.aio.tasks import TaskSupervisor
from lsst.ts.ocps.salobj import SalRetCode

from .documents import reported_job_id
from .errors import LedgerError
from .ledger import Ledger
from .logs import get_logger
from .outlet import PROGRAMMING_ERRORS, Outlet
from .records import FinalAck, Report, Reporting, RunRecord
from .runs import ReportBuilt, ReportWritten, observe

__all__ = ["ACK_CODES", "MIN_ACK_GAP", "PairWriter"]

ACK_CODES = {
    FinalAck.COMPLETE: SalRetCode.CMD_COMPLETE,
    FinalAck.FAILED: SalRetCode.CMD_FAILED,
    FinalAck.ABORTED: SalRetCode.CMD_ABORTED,
}
"""The codes of final acknowledgements."""

MIN_ACK_GAP = 0.5
"""Least time between the first acknowledgement and the pair (s): a ts_salobj Remote that has not called
``next_ackcmd`` by then would raise (salobj-api section 7)."""

_CLOSE_PATIENCE = 3.0
"""How long a pair that is being written may take when the CSC closes (s)."""

_FIRST_RETRY, _LAST_RETRY = 0.5, 10.0


class PairWriter:
    """Writes the end of runs.

    Parameters
    ----------
    outlet
        Where to.
    ledger
        Says which report is on its way, and which is out.
    on_ledger_error
        Called when the ledger cannot be written; reporting goes on from memory.
    """

    def __init__(
        self, outlet: Outlet, ledger: Ledger, *, on_ledger_error: Callable[[LedgerError], None]
    ) -> None:
        self._outlet = outlet
        self._ledger = ledger
        self._on_ledger_error = on_ledger_error
        self._log = get_logger("reporter")
        self._lock = asyncio.Lock()
        self._doubtful: set[str] = set()
        self._is_certain = asyncio.Event()
        self._is_certain.set()
        self._tasks = TaskSupervisor("pairs")

    def doubt(self, run_id: str) -> None:
        """Write no other pair until that of this run, left at ``reporting``, is settled; `trust` says when.

        Where only the very last ``job_result`` can be read, it must not be another one by then.
        """
        self._doubtful.add(run_id)
        self._is_certain.clear()

    def trust(self, run_id: str) -> None:
        """Nobody is about to settle the pair of this run any more; harmless if there was no doubt."""
        self._doubtful.discard(run_id)
        if not self._doubtful:
            self._is_certain.set()

    async def write(self, record: RunRecord, report: Report | None) -> RunRecord:
        """Write the pair of one run, when there is no doubt about another; returns when the ledger knows.

        Cancelling the caller does not tear the pair apart.

        Parameters
        ----------
        record
            A run that has ended; or one left at ``reporting``, which is settled before anything is written.
        report
            What to say; None for a run left at ``reporting``.

        Returns
        -------
        RunRecord
            The same run, reported.
        """
        if report is not None:
            await self._is_certain.wait()
        task = self._tasks.start(self._write(record, report), name=record.run.run_id)
        return await asyncio.shield(task)

    async def save(self, record: RunRecord) -> None:
        """Write to the ledger; where that fails, say so and go on."""
        await self._endure(self._ledger.save(record))

    async def _endure(self, saved: Awaitable[None]) -> None:
        try:
            await saved
        except LedgerError as error:
            self._on_ledger_error(error)

    async def aclose(self) -> None:
        """Let the pair that is being written finish, within limits."""
        if tasks := self._tasks.tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_PATIENCE)
        await self._tasks.aclose()

    async def _write(self, record: RunRecord, report: Report | None) -> RunRecord:
        async with self._lock:
            is_doubtful = report is None
            if report is None:
                if not isinstance(record.state, Reporting):
                    raise ValueError(f"run {record.run.run_id} has no report: it is {record.state.step}")
                report = record.state.report
            else:
                record = observe(record, ReportBuilt(report))
                await self.save(record)
            if report.has_result:
                await self._write_result(record, report, is_doubtful=is_doubtful)
            if report.ack is not None:
                await self.acknowledge(record, report.ack, report.ack_result)
            record = observe(record, ReportWritten())
            saved = self._ledger.save(record)
        # The next pair need not wait for this: the ledger keeps the order, and no other run can be at
        # "reporting" there before this one is not.
        await self._endure(saved)
        return record

    async def _write_result(self, record: RunRecord, report: Report, *, is_doubtful: bool) -> None:
        async def write() -> None:
            await self._outlet.write(
                "evt_job_result",
                job_id=reported_job_id(record),
                exit_code=report.exit_code,
                result=report.result,
            )

        async def is_out() -> bool:
            return await self._is_out(record, report)

        await self._insist("job_result", record, write, is_out, is_doubtful=is_doubtful)

    async def acknowledge(self, record: RunRecord, ack: FinalAck, result: str) -> None:
        """Write a final acknowledgement; returns when the broker has it.

        Parameters
        ----------
        record
            Whose command it is.
        ack, result
            What its sender is told.
        """

        async def write() -> None:
            await self._outlet.acknowledge(
                f"cmd_{record.run.command}", record.run.key, ack=ACK_CODES[ack], result=result
            )

        async def is_out() -> bool:
            return False  # cannot be known, and writing it twice does no harm

        await self._insist("final acknowledgement", record, write, is_out, is_doubtful=False)

    async def _is_out(self, record: RunRecord, report: Report) -> bool:
        """Whether the world has seen this ``job_result``."""
        told = (reported_job_id(record), report.exit_code, report.result)
        results = await self._outlet.read_results()
        return told in [(data.job_id, data.exit_code, data.result) for data in results]

    async def _insist(
        self,
        what: str,
        record: RunRecord,
        write: Callable[[], Awaitable[None]],
        is_out: Callable[[], Awaitable[bool]],
        *,
        is_doubtful: bool,
    ) -> None:
        """Write until it is certain that the record is out; whoever waits for the lock waits with us."""
        pause = _FIRST_RETRY
        while True:
            try:
                if not (is_doubtful and await is_out()):
                    await write()
            except PROGRAMMING_ERRORS:
                raise
            except Exception as error:  # noqa: BLE001 (whatever the SAL layer raises; it is logged and tried again)
                about = record.to_logging_context()
                self._log.warning(
                    "not written; trying again", what=what, error=str(error), pause=pause, **about
                )
            else:
                return
            is_doubtful = True
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LAST_RETRY)
