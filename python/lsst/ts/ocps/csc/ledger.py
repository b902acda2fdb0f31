"""What the CSC must not forget: one row per run, on the disk before the act (design section 6).

All statements run in one thread, in the order in which they were asked for. Whatever is waiting when the
thread is free becomes one transaction, so that fifty runs that change at once cost one write to the disk.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from lsst.ts.ocps.aio.batches import BatchThread

from .errors import LedgerDamagedError, LedgerError, LedgerRowMissingError
from .ledger_file import LedgerLock, map_sqlite_error, open_ledger
from .logs import get_logger
from .records import RECORD, CommandKey, RunRecord

__all__ = ["Ledger"]

T = TypeVar("T")

_LAST_ATTEMPTS, _LAST_PAUSE = 10, 0.1
"""How often rows that the disk does not take are tried when the CSC ends, and the time between (s)."""

_MOST_PURGED = 1000
"""So many old rows are removed at a time: others wait meanwhile."""

_INSERT = """
INSERT INTO runs (run_id, identity, origin, seq_num, snd_stamp, payload, step, job_id, outcome, accepted_at,
                  ended_at, record)
VALUES (:run_id, :identity, :origin, :seq_num, :snd_stamp, :payload, :step, :job_id, :outcome, :accepted_at,
        :ended_at, :record)
ON CONFLICT (identity, origin, seq_num, snd_stamp) DO NOTHING
"""
_UPDATE = """
UPDATE runs SET step = :step, job_id = :job_id, outcome = :outcome, record = :record,
                ended_at = coalesce(ended_at, :ended_at)
WHERE run_id = :run_id
"""


def _to_row(record: RunRecord) -> dict[str, Any]:
    run, handle, outcome = record.run, record.handle, record.outcome
    return {
        "run_id": run.run_id,
        "identity": run.key.identity,
        "origin": run.key.origin,
        "seq_num": run.key.seq_num,
        "snd_stamp": run.key.snd_stamp,
        "payload": run.payload,
        "step": record.state.step,
        "job_id": None if handle is None else handle.job_id,
        "outcome": None if outcome is None else outcome.kind.value,
        "accepted_at": run.accepted_at,
        "ended_at": None if outcome is None else time.time(),
        "record": RECORD.dump_json(record).decode(),
    }


class Ledger:
    """The runs of one CSC; made by `open`.

    Parameters
    ----------
    path
        The database file.
    lock
        Held by this process.
    connection
        Used by the ledger's thread only.
    damage
        What was wrong with the ledger that was there before this one; "" if nothing.
    """

    def __init__(
        self, path: Path, lock: LedgerLock, connection: sqlite3.Connection, damage: str = ""
    ) -> None:
        self.damage = damage
        """Why this ledger took the place of a damaged one, which is kept aside; "" if it did not."""

        self._unreadable: set[str] = set()
        self._path = path
        self._lock = lock
        self._connection = connection
        self._unsaved: dict[str, RunRecord] = {}
        self._closed = False
        self._log = get_logger("ledger")
        self._thread: BatchThread[sqlite3.Connection] = BatchThread(
            f"ledger:{path.name}",
            self._transact,
            finish=self._give_back,
            make_closed_error=lambda: LedgerError(f"ledger {path} is closed"),
        )

    @classmethod
    async def open(cls, folder: Path, index: int) -> "Ledger":
        """Open the ledger of one SAL index, or make it.

        Parameters
        ----------
        folder
            An existing folder on a local or block volume.
        index
            SAL index of the CSC.

        Raises
        ------
        LedgerError
            If it cannot be used: no folder, another owner, read-only, on a network file system, no ledger of
            ours or one of a later version. One that is damaged is kept aside instead, and `damage` says so.
        """
        return cls(*await asyncio.to_thread(open_ledger, folder, f"ocps-{index}.sqlite3"))

    @property
    def path(self) -> Path:
        """The database file."""
        return self._path

    async def add(self, record: RunRecord) -> RunRecord | None:
        """Write the first row of a run.

        Returns
        -------
        RunRecord or None
            The run that the same command record has started before; None if this one is new.
        """
        row = _to_row(record)

        def call(connection: sqlite3.Connection) -> str | None:
            if connection.execute(_INSERT, row).rowcount == 1:
                return None
            return _select_command(connection, record.run.key)

        text: str | None = await self._submit(call)
        return self._newest(text)

    def save(self, record: RunRecord) -> "asyncio.Future[None]":
        """Write what a run has become.

        Saves are done in the order of the calls. The future ends when the row is on the disk; awaiting it
        can wait, for a later save of any run is never on the disk before this one. What the disk does not
        take is kept until `save_unsaved`, or the end, brings it there.
        """
        row = _to_row(record)

        def call(connection: sqlite3.Connection) -> None:
            if connection.execute(_UPDATE, row).rowcount != 1:
                raise LedgerRowMissingError(f"ledger {self._path} has no row of run {row['run_id']}")

        # The latest of a run, whatever becomes of those before: an older one must not be written after it.
        self._unsaved[record.run.run_id] = record
        saving = self._submit(call)
        saving.add_done_callback(lambda saved: self._note_saved(record, saved))
        # Whoever awaits this may be cancelled; what has become of the row is to be known all the same.
        return asyncio.shield(saving)

    def _note_saved(self, record: RunRecord, saved: "asyncio.Future[None]") -> None:
        if saved.cancelled():
            return
        is_settled = isinstance(saved.exception(), LedgerRowMissingError | None)
        if is_settled and self._unsaved.get(record.run.run_id) is record:
            del self._unsaved[record.run.run_id]

    async def save_unsaved(self) -> None:
        """Write again what the disk did not take, and what is on its way there.

        Raises
        ------
        LedgerError
            If the disk does not take it this time either.
        """
        await asyncio.gather(*[self.save(record) for record in list(self._unsaved.values())])

    async def find_command(self, key: CommandKey) -> RunRecord | None:
        """The run that a command record has started; None if none."""
        text: str | None = await self._submit(lambda connection: _select_command(connection, key))
        return self._newest(text)

    async def find(self, identifier: str) -> RunRecord | None:
        """The run of that run_id, or the latest whose job has that id; None if there is none."""

        def call(connection: sqlite3.Connection) -> str | None:
            row = connection.execute(
                "SELECT record FROM runs WHERE run_id = :id OR job_id = :id"
                " ORDER BY run_id = :id DESC, accepted_at DESC LIMIT 1",
                {"id": identifier},
            ).fetchone()
            return None if row is None else row[0]

        text: str | None = await self._submit(call)
        return self._newest(text)

    async def unfinished(
        self,
        on_unreadable: Callable[[LedgerDamagedError], None] | None = None,
        *,
        known: Collection[str] = (),
    ) -> list[RunRecord]:
        """The runs that are not reported yet, oldest first.

        Parameters
        ----------
        known
            run_ids of those that are left out; a thousand take long to read.
        on_unreadable
            Called once for each row that cannot be read, which is left out; None: that is an error.

        Raises
        ------
        LedgerDamagedError
            If a row cannot be read, and nobody wants to know of each.
        """
        skipped = frozenset(known)

        def call(connection: sqlite3.Connection) -> list[tuple[str, str]]:
            rows = connection.execute(
                "SELECT run_id, record FROM runs WHERE step <> 'reported' ORDER BY accepted_at, run_id"
            )
            return [row for row in rows if row[0] not in skipped]

        rows: list[tuple[str, str]] = await self._submit(call)
        if on_unreadable is None:
            return [self._parse(text, run_id) for run_id, text in rows]
        records = []
        for run_id, text in rows:
            try:
                records.append(self._parse(text, run_id))
            except LedgerDamagedError as error:
                if text not in self._unreadable:
                    self._unreadable.add(text)
                    on_unreadable(error)
        return records

    async def is_empty(self) -> bool:
        """Whether no run was ever written down, or all were forgotten."""
        row: tuple[int] = await self._submit(
            lambda connection: connection.execute("SELECT NOT EXISTS (SELECT 1 FROM runs)").fetchone()
        )
        return bool(row[0])

    async def count_outcomes(self, since: float) -> Mapping[str, int]:
        """How many runs have ended since a time (UTC, Unix s), by kind of outcome."""

        def call(connection: sqlite3.Connection) -> dict[str, int]:
            return dict(
                connection.execute(
                    "SELECT outcome, count(*) FROM runs WHERE ended_at >= ? GROUP BY outcome", (since,)
                ).fetchall()
            )

        counts: dict[str, int] = await self._submit(call)
        return counts

    async def position(self, topic: str) -> int | None:
        """Offset up to which the commands of a Kafka topic were settled in an earlier life, if known."""

        def call(connection: sqlite3.Connection) -> int | None:
            row = connection.execute("SELECT settled FROM positions WHERE topic = ?", (topic,)).fetchone()
            return None if row is None else int(row[0])

        position: int | None = await self._submit(call)
        return position

    async def save_positions(self, positions: Mapping[str, int]) -> None:
        """Remember up to which offset the commands of some Kafka topics are settled."""

        def call(connection: sqlite3.Connection) -> None:
            connection.executemany(
                "INSERT INTO positions (topic, settled) VALUES (?, ?)"
                " ON CONFLICT (topic) DO UPDATE SET settled = excluded.settled",
                list(positions.items()),
            )

        await self._submit(call)

    async def purge(self, before: float) -> int:
        """Remove reported runs that ended before a time (UTC, Unix s), some at a time.

        Returns
        -------
        int
            How many were removed.
        """

        def call(connection: sqlite3.Connection) -> int:
            return connection.execute(
                "DELETE FROM runs WHERE run_id IN (SELECT run_id FROM runs WHERE ended_at < ?"
                " AND step = 'reported' LIMIT ?)",
                (before, _MOST_PURGED),
            ).rowcount

        removed: int = await self._submit(call)
        return removed

    async def aclose(self) -> None:
        """Finish what was asked for, then give the ledger back.

        What the disk has not taken is tried again for a moment: without it, the next process would have to
        find on the broker which runs are reported.
        """
        if not self._closed:
            self._closed = True
            await self._save_last()
        await self._thread.aclose()

    async def _save_last(self) -> None:
        reason = ""
        for _ in range(_LAST_ATTEMPTS):
            try:
                await self.save_unsaved()
            except LedgerError as error:
                reason = str(error)
                await asyncio.sleep(_LAST_PAUSE)
            else:
                return
        self._log.warning("runs may be reported again", error=reason, runs=sorted(self._unsaved))

    def _submit(self, call: Callable[[sqlite3.Connection], T]) -> "asyncio.Future[T]":
        return self._thread.submit(call)

    def _newest(self, text: str | None) -> RunRecord | None:
        """The run of a row, as it is: the disk may not have taken yet what has become of it."""
        if text is None:
            return None
        record = self._parse(text)
        return self._unsaved.get(record.run.run_id, record)

    def _parse(self, text: str, run_id: str = "asked for") -> RunRecord:
        try:
            return RECORD.validate_json(text)
        except ValidationError as error:
            reason = f"ledger {self._path} has a row that cannot be read, of run {run_id}: {error}"
            raise LedgerDamagedError(reason) from error

    # What follows runs in the ledger's thread.

    def _give_back(self) -> None:
        self._connection.close()
        self._lock.release()

    def _transact(self, calls: Sequence[Callable[[sqlite3.Connection], Any]]) -> Sequence[object]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            outcomes = [self._run(call) for call in calls]
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            return [map_sqlite_error(self._path, error)] * len(calls)
        return outcomes

    def _run(self, call: Callable[[sqlite3.Connection], Any]) -> object:
        # An error of SQLite ends the whole transaction; any other is the answer to its caller alone.
        try:
            return call(self._connection)
        except sqlite3.Error:
            raise
        except Exception as error:  # noqa: BLE001 (it is raised where the answer is awaited)
            return error


def _select_command(connection: sqlite3.Connection, key: CommandKey) -> str | None:
    row = connection.execute(
        "SELECT record FROM runs WHERE identity = ? AND origin = ? AND seq_num = ? AND snd_stamp = ?",
        (key.identity, key.origin, key.seq_num, key.snd_stamp),
    ).fetchone()
    return None if row is None else row[0]
