"""The core of the CSC (tracker, followers, reporter, ledger) with outsides that die with it at any step.

A *step* is the moment before, or after, anything that leaves a trace outside of the process: a transaction of
the ledger, a call to the back end, a record for the broker. A process that is killed at a step does nothing
more: whatever it still asks for is never answered.
"""

import asyncio
import json
import sqlite3
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

from typing_extensions import override

from lsst.ts.ocps.client.base import Backend, CreatedJob, Submission
from lsst.ts.ocps.client.errors import BackendUnavailableError
from lsst.ts.ocps.client.settings import AnyBackendSettings, UwsSettings
from lsst.ts.ocps.client.testing import FakeBackend, FakeService
from lsst.ts.ocps.csc.backends import BackendPool, to_stored_settings
from lsst.ts.ocps.csc.commands import choose_first_ack
from lsst.ts.ocps.csc.deposit import Depositor
from lsst.ts.ocps.csc.errors import LedgerError
from lsst.ts.ocps.csc.ledger import Ledger
from lsst.ts.ocps.csc.ledger_file import prepare_database
from lsst.ts.ocps.csc.logs import get_logger
from lsst.ts.ocps.csc.outlet import Outlet
from lsst.ts.ocps.csc.patience import Patience
from lsst.ts.ocps.csc.records import CommandKey, FinalAck, Run, RunRecord
from lsst.ts.ocps.csc.reporter import Reporter
from lsst.ts.ocps.csc.scratch import Scratch
from lsst.ts.ocps.csc.tracker import Tracker
from lsst.ts.ocps.salobj import SalRetCode

__all__ = ["CoreLife", "World"]

T = TypeVar("T")

_RET_CODES = {
    None: SalRetCode.CMD_INPROGRESS,
    FinalAck.COMPLETE: SalRetCode.CMD_COMPLETE,
    FinalAck.FAILED: SalRetCode.CMD_FAILED,
    FinalAck.ABORTED: SalRetCode.CMD_ABORTED,
}
_CALL_TIMEOUT = 30.0
"""So long a real back end waits for an answer (s)."""

STORED = to_stored_settings("fake", UwsSettings(url="http://fake.invalid"))


class Mortality:
    """Counts the steps of one life, and ends it."""

    def __init__(self, steps: int | None) -> None:
        self._left = steps
        self.died = asyncio.Event()

    def pass_step(self) -> bool:
        """Whether the process still lives after this step."""
        if self._left is not None and not self.died.is_set():
            self._left -= 1
            if self._left < 0:
                self.died.set()
        return not self.died.is_set()

    async def step(self) -> None:
        """Go on, or never."""
        if not self.pass_step():
            await asyncio.get_running_loop().create_future()


class MortalService(FakeService):
    """A service that outlives those who ask it."""

    def __init__(self) -> None:
        super().__init__()
        self.mortality = Mortality(None)
        self.silences: dict[str, deque[bool]] = {}
        """The next calls of an operation are never answered; they are carried out (True), or not."""

    @override
    async def serve(self, backend: str, operation: str, work: Callable[[], T]) -> T:
        mortality = self.mortality
        await mortality.step()
        if self.silences.get(operation):
            if self.silences[operation].popleft():
                work()
            await asyncio.sleep(_CALL_TIMEOUT)
            raise BackendUnavailableError(backend, f"{operation}: no answer in {_CALL_TIMEOUT:g} s")
        done = await super().serve(backend, operation, work)
        await mortality.step()
        return done


class EagerBackend(FakeBackend):
    """A back end where creating a job starts it."""

    creates_pending = False

    @override
    async def create(self, submission: Submission) -> CreatedJob:
        def work() -> CreatedJob:
            created = self.service.create(submission, f"http://{self.name}.invalid")
            self.service.start(created.url)
            return CreatedJob(created.url, self.service.read(created.url))

        return await self._ask("create", submission.payload, work)


class InlineLedger(Ledger):
    """The ledger without its thread, on a database that outlives it."""

    def __init__(self, world: "World", mortality: Mortality) -> None:
        self._world = world
        self._path = Path("memory")
        self._connection = world.connection
        self._unreadable = set()
        self._unsaved = {}
        self._log = get_logger("ledger")
        self._mortality = mortality

    @override
    def _submit(self, call: Callable[[sqlite3.Connection], T]) -> "asyncio.Future[T]":
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._mortality.pass_step():
            if self._world.disk_is_full:
                future.set_exception(LedgerError("database or disk is full"))
                return future
            (outcome,) = self._transact([call])
            if not self._mortality.pass_step():
                return future
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
        return future

    @override
    async def aclose(self) -> None:
        await self._save_last()


@dataclass
class BrokerLog:
    """What the world has been told, and how the broker fails."""

    records: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    failures: deque[bool] = field(default_factory=deque)
    """The next writes of ``job_result`` and acknowledgements fail: the answer is lost (True), or the record
    (False); so does the look for the last ``job_result``."""

    def of(self, name: str) -> list[Mapping[str, Any]]:
        return [fields for told, fields in self.records if told == name]


class MortalOutlet(Outlet):
    """Writes into a `BrokerLog`."""

    def __init__(self, log: BrokerLog, mortality: Mortality) -> None:
        self._records = log
        self._mortality = mortality

    async def _put(self, name: str, fields: Mapping[str, Any]) -> None:
        may_fail = name in {"evt_job_result", "ack"} and self._records.failures
        is_answer_lost = self._records.failures.popleft() if may_fail else None
        await self._mortality.step()
        if is_answer_lost is not False:
            self._records.records.append((name, fields))
        await self._mortality.step()
        await asyncio.sleep(0)
        if is_answer_lost is not None:
            raise ConnectionError("the broker was away")

    @override
    async def write(self, name: str, **fields: Any) -> None:
        await self._put(name, fields)

    @override
    async def write_all(self, records: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        for name, fields in records:
            await self._put(name, fields)

    @override
    async def acknowledge(
        self, command: str, key: CommandKey, *, ack: SalRetCode, result: str, duration: float = 0.0
    ) -> None:
        await self._put("ack", {"key": key, "ack": ack, "result": result})

    @override
    async def read_results(self) -> list[Any]:
        await self._mortality.step()
        if self._records.failures:
            self._records.failures.popleft()
            raise ConnectionError("the broker is away")
        return [SimpleNamespace(**fields) for fields in self._records.of("evt_job_result")]


class World:
    """What outlives a CSC: disk, broker, service.

    Parameters
    ----------
    creates_pending
        Whether jobs of the service wait to be started.
    """

    def __init__(self, *, creates_pending: bool) -> None:
        self.creates_pending = creates_pending
        self.service = MortalService()
        self.log = BrokerLog()
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        prepare_database(self.connection, Path("memory"))
        self.disk_is_full = False
        self.deaths: list[str] = []
        """Tasks that ended by an exception."""

    async def open_backend(self, name: str, _settings: AnyBackendSettings | None) -> Backend:
        return (FakeBackend if self.creates_pending else EagerBackend)(name, self.service)

    @property
    def has_unfinished(self) -> bool:
        """Whether the ledger has runs that are not reported."""
        return bool(self.connection.execute("SELECT 1 FROM runs WHERE step <> 'reported'").fetchone())

    async def records(self) -> list[RunRecord]:
        """All rows of the ledger."""
        rows = self.connection.execute("SELECT run_id FROM runs").fetchall()
        ledger = InlineLedger(self, Mortality(None))
        found = [await ledger.find(run_id) for (run_id,) in rows]
        return [record for record in found if record is not None]

    def results_of(self, run_id: str) -> list[Mapping[str, Any]]:
        """The records of ``job_result`` of a run."""
        return [
            fields
            for fields in self.log.of("evt_job_result")
            if json.loads(fields["result"])["runId"] == run_id
        ]

    def final_acks_of(self, key: CommandKey) -> list[tuple[SalRetCode, str]]:
        """The final acknowledgements of a command."""
        return [
            (fields["ack"], fields["result"])
            for fields in self.log.of("ack")
            if fields["key"] == key and fields["ack"] != SalRetCode.CMD_INPROGRESS
        ]

    async def aclose(self) -> None:
        """Let nothing run on."""
        await self.service.aclose()
        self.connection.close()


class CoreLife:
    """One life of the core of the CSC.

    Parameters
    ----------
    world
        Where it lives.
    steps
        After so many steps it is killed; None: never.
    patience
        How patient it is.
    """

    def __init__(self, world: World, steps: int | None, patience: Patience) -> None:
        self._world = world
        self._mortality = world.service.mortality = Mortality(steps)
        self.ledger = InlineLedger(world, self._mortality)
        self._outlet = MortalOutlet(world.log, self._mortality)
        self.reporter = Reporter(
            self._outlet, self.ledger, on_ledger_error=self._note_ledger_error, on_death=self._note_death
        )
        self.tracker = Tracker(
            ledger=self.ledger,
            reporter=self.reporter,
            depositor=Depositor(self._outlet, Scratch(self.ledger.path)),
            pool=BackendPool(world.open_backend),
            on_death=self._note_death,
            on_ledger_error=self._note_ledger_error,
            patience=patience,
        )
        self._patience = patience

    @property
    def died(self) -> asyncio.Event:
        """Set when the process is killed."""
        return self._mortality.died

    async def start(self) -> None:
        """Take up what earlier lives have left."""
        self.tracker.configure(
            payloads=("echo",),
            backends=[STORED],
            create=self._patience.create,
            max_command_age=self._patience.max_command_age,
            keep_runs=1e9,
        )
        await self.tracker.start()
        self.reporter.start(lambda: self.tracker.active)

    async def obey(self, run: Run) -> None:
        """Take a command as ``do_run`` does, and acknowledge it as the SAL layer does."""
        try:
            record = await self.tracker.submit(run, run.pairs)
        except LedgerError:
            # Refused: the back end was not asked for anything.
            return
        finally:
            _ = asyncio.get_running_loop().call_soon(self.tracker.release, run.run_id)
        first = choose_first_ack(record)
        while True:
            try:
                await self._outlet.acknowledge(
                    f"cmd_{run.command}", run.key, ack=_RET_CODES[first.final], result=first.text
                )
            except ConnectionError:
                # The SAL layer writes until the broker has it.
                continue
            return

    async def aclose(self) -> None:
        """Take what has died out of the event loop; close what has not."""
        await self.tracker.aclose()
        await self.reporter.aclose()
        if not self.died.is_set():
            await self.ledger.aclose()

    def _note_death(self, name: str, error: BaseException) -> None:
        self._world.deaths.append(f"{name}: {error!r}")

    def _note_ledger_error(self, error: LedgerError) -> None:
        if not self._world.disk_is_full:
            self._world.deaths.append(f"ledger: {error}")
