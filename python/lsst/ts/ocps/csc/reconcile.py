"""What is compared with what is remembered: at the start, and then every half minute, by the same code."""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from lsst.ts.ocps.aio.periodic import run_periodically
from lsst.ts.ocps.client.errors import BackendError

from .adoption import Adoption
from .creation import delete_orphans
from .errors import LedgerError
from .logs import get_logger
from .parts import Parts
from .records import RunRecord

__all__ = ["Reconciler", "Surroundings"]

_INTERVAL = 30.0
_ORPHAN_LIFE = 86400.0
"""How long an orphan is looked for (s); it never runs, and its service destroys it some day."""


@dataclass(frozen=True)
class Surroundings:
    """What the configuration says of back ends and payloads."""

    payloads: tuple[str, ...] = ()
    """Names of the payloads, in whose job lists jobs that are not ours are looked for."""

    backends: tuple[dict[str, Any], ...] = ()
    """Stored settings of the back ends."""

    keep_runs: float = 90 * 86400.0
    """How long the ledger remembers reported runs (s)."""


class Reconciler:
    """Finds runs that nobody follows, jobs that nobody wants, and what may be forgotten.

    Parameters
    ----------
    parts
        What it works with.
    get_known
        run_ids of the runs that somebody looks after now.
    get_used
        Stored settings of the back ends of those runs.
    follow
        Has a run followed.
    """

    def __init__(
        self,
        parts: Parts,
        *,
        get_known: Callable[[], Collection[str]],
        get_used: Callable[[], Collection[Mapping[str, Any]]],
        follow: Callable[[RunRecord], None],
    ) -> None:
        self._parts = parts
        self._get_known = get_known
        self._get_used = get_used
        self._follow = follow
        self._suspects: dict[str, tuple[RunRecord, float]] = {}
        self._ended_lately: set[str] = set()
        self._adoption = Adoption(parts.ledger, parts.pool, follow)
        self._prefix: str | None = None
        self._log = get_logger("reconcile")
        self.surroundings = Surroundings()

    async def run(self) -> None:
        """Do it every half minute; goes on until cancelled."""
        await run_periodically(self.reconcile, interval=_INTERVAL, first_delay=_INTERVAL)

    def note_end(self, record: RunRecord) -> None:
        """The follower of a run has ended: what was read of the run before is old."""
        run_id = record.run.run_id
        self._ended_lately.add(run_id)
        may_be_orphans = record.create_attempts > 1 or (record.create_attempts > 0 and record.handle is None)
        # Where creating is starting, a job that is PENDING is about to run, and nobody's to delete.
        if may_be_orphans and record.run.creates_pending:
            self._suspects[run_id] = (record, time.time())

    async def reconcile(self) -> None:
        """Follow every unfinished run that nobody follows, delete orphans, forget what is old."""
        ledger = self._parts.ledger
        self._ended_lately.clear()
        try:
            # One whose end is not there would be reported once more.
            await ledger.save_unsaved()
            # A row that cannot be read must not keep the other runs from being followed.
            records = await ledger.unfinished(self._parts.on_ledger_error, known=self._get_known())
            await ledger.purge(time.time() - self.surroundings.keep_runs)
        except LedgerError as error:
            self._parts.on_ledger_error(error)
            return
        for record in await self._parts.reporter.recall(records):
            run_id = record.run.run_id
            # What was read of a run that has ended meanwhile is from before its end.
            if run_id not in self._get_known() and run_id not in self._ended_lately:
                self._log.info("followed again", step=record.state.step, **record.to_logging_context())
                self._follow(record)
        await self._delete_orphans()
        await self._adopt()
        await self._parts.pool.keep_only([*self.surroundings.backends, *self._get_used()])

    async def adopt(self, prefix: str) -> None:
        """If the ledger is empty, look for jobs of a CSC that has lost it, and follow them.

        Back ends that cannot be read now are asked again at each reconciling.

        Parameters
        ----------
        prefix
            What the run_ids of this CSC begin with.
        """
        self._prefix = prefix
        await self._adopt()

    async def _adopt(self) -> None:
        if self._prefix is not None:
            known = self.surroundings
            await self._adoption.search(known.backends, known.payloads, self._prefix)

    async def _delete_orphans(self) -> None:
        for run_id, (record, since) in list(self._suspects.items()):
            try:
                backend = await self._parts.pool.get(record.run.backend)
                if deleted := await delete_orphans(backend, record):
                    self._log.info("deleted orphans", count=deleted, **record.to_logging_context())
            except BackendError as error:
                if time.time() - since < _ORPHAN_LIFE:
                    continue
                self._log.warning(
                    "orphans are left to their service", error=str(error), **record.to_logging_context()
                )
            del self._suspects[run_id]
