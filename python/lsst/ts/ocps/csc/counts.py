"""The telemetry topic ``job_counts``: on every change of the numbers, and every few seconds."""

import time
from collections.abc import Callable
from typing import Any

from lsst.ts.ocps.aio.periodic import run_periodically
from lsst.ts.ocps.aio.tasks import TaskSupervisor

from .errors import LedgerError
from .ledger import Ledger
from .reporter import Reporter
from .snapshots import count_jobs, last_noon
from .tracker import Tracker

__all__ = ["Counts"]

_LOOK_INTERVAL = 0.5
"""Time between two looks at the numbers (s); a change is told at the next look."""

_INTERVAL = 5.0
"""Longest time between two records (s)."""


_ENDED = frozenset({"completed", "error", "aborted"})
"""These change only together with the numbers of the living, so the ledger is not asked at each look."""


class Counts:
    """Tells how many runs are in which phase.

    Parameters
    ----------
    tracker, ledger
        Know the numbers.
    reporter
        Tells them.
    on_ledger_error
        Called when the ledger cannot be read.
    on_death
        Called with the name and the error of a task that died.
    """

    def __init__(
        self,
        tracker: Tracker,
        reporter: Reporter,
        ledger: Ledger,
        *,
        on_ledger_error: Callable[[LedgerError], None],
        on_death: Callable[[str, BaseException], None],
    ) -> None:
        self._tracker = tracker
        self._reporter = reporter
        self._ledger = ledger
        self._on_ledger_error = on_ledger_error
        self._tasks = TaskSupervisor("counts", on_death=on_death)
        self._told: dict[str, Any] = {}
        self._told_at = 0.0

    def start(self) -> None:
        """Begin to tell."""
        _ = self._tasks.start(run_periodically(self._look, interval=_LOOK_INTERVAL), name="job_counts")

    async def aclose(self) -> None:
        """Tell no more."""
        await self._tasks.aclose()

    async def _look(self) -> None:
        records, waiting = self._tracker.active, self._tracker.waiting
        now = time.time()
        is_due = time.monotonic() - self._told_at >= _INTERVAL
        live = count_jobs(records, waiting, {}, now=now)
        age = live.pop("oldest_active_age")
        if not is_due and all(live[name] == self._told.get(name) for name in live if name not in _ENDED):
            return
        try:
            ended = await self._ledger.count_outcomes(last_noon(now))
        except LedgerError as error:
            self._on_ledger_error(error)
            return
        self._told = count_jobs(records, waiting, ended, now=now) | {"oldest_active_age": age}
        self._told_at = time.monotonic()
        await self._reporter.publish_counts(self._told)
