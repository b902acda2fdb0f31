"""Reads the results of a run that has completed, and deposits its files, while its end is written down."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from lsst.ts.ocps.client.base import Backend

from .logs import BoundLogger
from .parts import Parts
from .records import Ended, OutcomeKind, RunRecord
from .results import RunResults, fetch_results
from .secrets import Secrets

__all__ = ["ResultFetching"]


class ResultFetching:
    """What is read of the results of one run.

    Parameters
    ----------
    parts
        What it works with.
    secrets
        Hides those of the run in what was read.
    open_backend
        Gives the back end of the run.
    """

    def __init__(
        self, parts: Parts, secrets: Secrets, open_backend: Callable[[], Awaitable[Backend]]
    ) -> None:
        self._parts = parts
        self._secrets = secrets
        self._open_backend = open_backend
        self._task: asyncio.Task[RunResults] | None = None

    def begin(self, record: RunRecord, log: BoundLogger) -> None:
        """Begin, if the run has completed; once, however often this is called."""
        state = record.state
        if self._task is None and isinstance(state, Ended) and state.outcome.kind is OutcomeKind.COMPLETED:
            fetching = self._fetch(record, log)
            self._task = self._parts.tasks.start(fetching, name=f"fetch:{record.run.run_id}")

    async def finish(self) -> RunResults:
        """What was read; nothing of a run that has not completed."""
        return RunResults() if self._task is None else await self._task

    async def _fetch(self, record: RunRecord, log: BoundLogger) -> RunResults:
        if record.handle is None or record.job is None:
            return RunResults()
        deposit = self._parts.depositor.deposit(record, self._open_backend)
        small = fetch_results(self._open_backend, record.handle.url, record.job, log)
        fetched, deposited = await asyncio.gather(small, deposit)
        return self._secrets.hide_results(replace(fetched, deposit=deposited))
