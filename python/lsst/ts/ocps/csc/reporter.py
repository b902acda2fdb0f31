"""The one mouth of the CSC: every OCPS event, and every acknowledgement that comes later than the first.

The end of a run goes out through `~lsst.ts.ocps.csc.pair.PairWriter`, which this module owns.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from lsst.ts.ocps.aio.deadline import Deadline
from lsst.ts.ocps.aio.retry import retry
from lsst.ts.ocps.aio.tasks import TaskSupervisor
from lsst.ts.ocps.aio.turns import take_turn
from lsst.ts.ocps.payloads.schema import PayloadDefinition
from lsst.ts.ocps.salobj import SalRetCode

from .documents import (
    accepted_text,
    build_report,
    in_progress_text,
    read_document,
    recall,
)
from .errors import LedgerError
from .event_fields import job_fields, output_events, phase_fields
from .ledger import Ledger
from .logs import get_logger
from .outlet import PROGRAMMING_ERRORS, Outlet
from .pair import MIN_ACK_GAP, PairWriter
from .records import FinalAck, Reporting, RunRecord
from .results import RunResults
from .runs import ReportBuilt, ReportWritten, observe
from .snapshots import active_jobs_text, payloads_fields
from .texts import clip, dump_json

__all__ = ["Reporter"]

_ACTIVE_PAUSE = 0.05
"""Least time between two lists of active jobs (s): each names every run, and fifty may change at once."""

_GATHER_TIME = 0.05
"""How long the news of changed jobs is gathered before ``active_jobs`` is written (s)."""

_RECALL_TIME = 10.0
"""How long it is tried to read what was told before (s)."""


class Reporter:
    """Writes what the world is told about runs.

    Parameters
    ----------
    outlet
        Where to.
    ledger
        Says which report is on its way, and which is out.
    on_ledger_error
        Called when the ledger cannot be written; reporting goes on from memory.
    on_death
        Called with the name and the error of a task that died.
    """

    def __init__(
        self,
        outlet: Outlet,
        ledger: Ledger,
        *,
        on_ledger_error: Callable[[LedgerError], None],
        on_death: Callable[[str, BaseException], None],
    ) -> None:
        self._outlet = outlet
        self._pairs = PairWriter(outlet, ledger, on_ledger_error=on_ledger_error)
        self._log = get_logger("reporter")
        self._acked_at: dict[str, float] = {}
        self._tasks = TaskSupervisor("reporter", on_death=on_death)
        self._changed = asyncio.Event()
        self._active: Callable[[], Sequence[RunRecord]] = tuple

    def start(self, active: Callable[[], Sequence[RunRecord]]) -> None:
        """Begin to tell which jobs are active, now and at every change.

        Parameters
        ----------
        active
            Gives the runs that have not ended, oldest first.
        """
        self._active = active
        self._changed.set()
        _ = self._tasks.start(self._keep_active_jobs(), name="active_jobs")

    # Acknowledgements

    def note_first_ack(self, run_id: str) -> None:
        """The SAL layer is about to send the first acknowledgement of a run."""
        self._acked_at.setdefault(run_id, asyncio.get_running_loop().time())

    async def acknowledge(self, record: RunRecord, duration: float | None = None) -> None:
        """Say that a run goes on; to the sender of a detached one, that it was accepted.

        Parameters
        ----------
        record
            A run with a job.
        duration
            How much longer the sender should wait (s); None: the expected duration of the run.
        """
        run = record.run
        self.note_first_ack(run.run_id)
        if run.detach:
            await self._pairs.acknowledge(record, FinalAck.COMPLETE, accepted_text(record))
            return
        await self._try(
            "acknowledgement",
            lambda: self._outlet.acknowledge(
                f"cmd_{run.command}",
                run.key,
                ack=SalRetCode.CMD_INPROGRESS,
                result=in_progress_text(record),
                duration=duration or run.expected_duration,
            ),
            record,
        )

    # News of one run

    async def publish_job(self, record: RunRecord) -> None:
        """Say which job a command has led to."""
        await self._try_write("evt_job_id", record, **job_fields(record))

    async def publish_phase(self, record: RunRecord, message: str = "") -> None:
        """Say in which phase a run is.

        Parameters
        ----------
        record
            The run.
        message
            What there is to say besides; "" = why it ended, if it has.
        """
        self.note_change()
        await self._try_write("evt_job_phase", record, **phase_fields(record, message))

    async def report(self, record: RunRecord, results: RunResults) -> RunRecord:
        """Report an ended run, once; returns when that is on the disk.

        Parameters
        ----------
        record
            A run that has ended, or was left at ``reporting`` by an earlier process.
        results
            What was read of its results; of no use for one left at ``reporting``.

        Returns
        -------
        RunRecord
            The same run, reported.
        """
        report = None
        if not isinstance(record.state, Reporting):
            report = build_report(record, results)
            if report.has_result:
                told = output_events(record, results)
                await self._try("outputs", lambda: self._outlet.write_all(told), record)
        if not record.run.detach:
            await self._wait_for_gap(record.run.run_id)
        record = await self._pairs.write(record, report)
        self._acked_at.pop(record.run.run_id, None)
        return record

    def doubt(self, run_id: str) -> None:
        """A run was left at ``reporting`` by an earlier process: no other one is reported before it is."""
        self._pairs.doubt(run_id)

    def trust(self, run_id: str) -> None:
        """Others wait no longer for the report of a run: its follower has ended, however that came."""
        self._pairs.trust(run_id)

    async def recall(self, records: Sequence[RunRecord]) -> list[RunRecord]:
        """Find out what the world was told before, of runs that nobody follows.

        A process that is killed while its disk is full leaves runs that are reported, and rows that do not
        say so.

        Parameters
        ----------
        records
            Runs that are not reported, as the ledger has them.

        Returns
        -------
        list [ RunRecord ]
            The same runs; of those whose ``job_result`` is out only the final acknowledgement is left to say.
        """
        # Those that the ledger has at "reporting" are settled by whoever reports them.
        if all(isinstance(record.state, Reporting) for record in records):
            return list(records)
        told = {read_document(data.result).get("runId"): data for data in await self._read_results()}
        return [
            record
            if isinstance(record.state, Reporting) or (data := told.get(record.run.run_id)) is None
            else recall(record, data.result, data.exit_code)
            for record in records
        ]

    async def _read_results(self) -> list[Any]:
        """What was told of the last runs; nothing if that cannot be read for a while."""
        deadline = Deadline("reading what was told before", _RECALL_TIME)
        try:
            return await retry(
                self._outlet.read_results,
                deadline=deadline,
                is_transient=lambda error: not isinstance(error, PROGRAMMING_ERRORS),
            )
        except PROGRAMMING_ERRORS:
            raise
        except Exception as error:  # noqa: BLE001 (whatever the SAL layer raises; runs are reported as the ledger has them)
            self._log.warning("what was told before cannot be read", error=str(error))
            return []

    async def settle_rejected(self, record: RunRecord) -> RunRecord:
        """Settle a rejected command whose only acknowledgement the SAL layer sends.

        The row is left at ``reporting`` for a moment, so that a process that dies before the acknowledgement
        is out is followed by one that sends it.
        """
        record = observe(record, ReportBuilt(build_report(record, RunResults())))
        await self._pairs.save(record)
        await asyncio.sleep(MIN_ACK_GAP)
        record = observe(record, ReportWritten())
        await self._pairs.save(record)
        self._acked_at.pop(record.run.run_id, None)
        return record

    async def _wait_for_gap(self, run_id: str) -> None:
        acked_at = self._acked_at.get(run_id)
        if acked_at is not None:
            await asyncio.sleep(max(0.0, acked_at + MIN_ACK_GAP - asyncio.get_running_loop().time()))

    # The state of the CSC

    def note_change(self) -> None:
        """The list of active jobs is out of date."""
        self._changed.set()

    async def publish_payloads(self, definitions: Mapping[str, PayloadDefinition]) -> None:
        """Say what can be run."""
        await self._try_write("evt_payloads", **payloads_fields(definitions))

    async def publish_backends(self, backends: Mapping[str, Mapping[str, Any]], *, connected: bool) -> None:
        """Say which back ends can be reached.

        Parameters
        ----------
        backends
            url, kind, version, connected, message, by name.
        connected
            Whether all required ones can be reached.
        """
        await self._try_write("evt_backend_status", backends=clip(dump_json(backends)), connected=connected)

    async def publish_versions(self, versions: Mapping[str, str]) -> None:
        """Say which versions the back ends have.

        Parameters
        ----------
        versions
            Kind and version, by name of the back end.
        """
        text = ", ".join(f"{name}={version}" for name, version in versions.items())
        await self._try("evt_softwareVersions", lambda: self._outlet.write_versions(clip(text)))

    async def publish_counts(self, fields: Mapping[str, Any]) -> None:
        """Say how many runs are in which phase."""
        await self._try_write("tel_job_counts", **fields)

    async def aclose(self) -> None:
        """Finish the pair that is being written, within limits; write nothing more."""
        await self._tasks.aclose()
        await self._pairs.aclose()

    async def _keep_active_jobs(self) -> None:
        while True:
            await self._changed.wait()
            # Changes come in bursts, and acknowledgements matter more.
            await asyncio.sleep(_GATHER_TIME)
            self._changed.clear()
            await self._try_write("evt_active_jobs", jobs=active_jobs_text(self._active()))
            await asyncio.sleep(_ACTIVE_PAUSE)

    async def _try_write(self, name: str, record: RunRecord | None = None, /, **fields: Any) -> None:
        await self._try(name, lambda: self._outlet.write(name, **fields), record)
        # The broker takes the records of many runs at once.
        await take_turn()

    async def _try(
        self, what: str, write: Callable[[], Awaitable[None]], record: RunRecord | None = None
    ) -> None:
        try:
            await write()
        except PROGRAMMING_ERRORS:
            raise
        except Exception as error:  # noqa: BLE001 (whatever the SAL layer raises; a run goes on without this news)
            about = {} if record is None else record.to_logging_context()
            self._log.warning("not written", what=what, error=str(error), **about)
