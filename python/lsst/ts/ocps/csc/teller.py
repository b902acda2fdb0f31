"""What is told of one run while it lives: the first acknowledgement first, then each thing once."""

import asyncio
import logging

from lsst.ts.ocps.uws.phases import ExecutionPhase

from .logs import get_logger
from .parts import Parts
from .records import Accepted, Creating, OutcomeKind, Reported, Reporting, RunRecord

__all__ = ["Teller"]


class Teller:
    """Tells what is new of one run.

    Parameters
    ----------
    parts
        Reporter and patience.
    is_restored
        Whether the run comes from an earlier life of the process: then all acknowledgements are written here,
        and nothing has to wait for `release`.
    """

    def __init__(self, parts: Parts, *, is_restored: bool) -> None:
        self._parts = parts
        self._is_restored = is_restored
        self._released = asyncio.Event()
        if is_restored:
            self._released.set()
        self._has_told_job = False
        self._has_told_acceptance = False
        self._told_phase: ExecutionPhase | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._log = get_logger("run")

    def release(self) -> None:
        """The first acknowledgement is on its way: news may follow it."""
        self._released.set()

    async def wait_released(self) -> None:
        """Wait for the first acknowledgement to be on its way."""
        await self._released.wait()

    async def tell(self, record: RunRecord) -> None:
        """Say what is new since the last time."""
        await self._tell_acceptance(record)
        if not _is_public(record):
            return
        if record.handle is not None and not self._has_told_job:
            self._has_told_job = True
            await self._released.wait()
            await self._begin_acknowledging(record)
            if not record.run.is_adopted:
                await self._parts.reporter.publish_job(record)
        if record.phase is not self._told_phase:
            self._told_phase = record.phase
            # The world is told by events; the log, which is published too, gets the ends only.
            is_end = record.has_ended or record.phase is ExecutionPhase.PENDING
            self._log.log(
                logging.INFO if is_end else logging.DEBUG,
                "phase",
                phase=record.phase.value,
                **record.to_logging_context(),
            )
            await self._parts.reporter.publish_phase(record)

    async def _tell_acceptance(self, record: RunRecord) -> None:
        """See to it that the sender of a detached command knows of the job: the earlier life may not have."""
        run = record.run
        if self._is_restored and run.detach and record.handle is not None and not self._has_told_acceptance:
            self._has_told_acceptance = True
            await self._parts.reporter.acknowledge(record)

    def stop_acknowledging(self) -> None:
        """The final acknowledgement comes next."""
        if self._keeper is not None:
            self._keeper.cancel()
            # Its end would hold the stack, and with it the run, in a circle.
            self._keeper = None

    async def _begin_acknowledging(self, record: RunRecord) -> None:
        if record.run.is_adopted or record.run.detach:
            return
        if self._is_restored:
            # The earlier life may not have told of the job; whoever waits is told though it has ended.
            await self._parts.reporter.acknowledge(record)
        if not record.has_ended:
            keeping = self._keep_acknowledged(record)
            self._keeper = self._parts.tasks.start(keeping, name=f"ack:{record.run.run_id}")

    async def _keep_acknowledged(self, record: RunRecord) -> None:
        """Repeat CMD_INPROGRESS before the sender's patience runs out."""
        duration = record.run.expected_duration
        while True:
            await asyncio.sleep(0.75 * duration)
            duration = max(duration, self._parts.patience.min_repeat)
            await self._parts.reporter.acknowledge(record, duration)


def _is_public(record: RunRecord) -> bool:
    """Whether there is news of the run for the world.

    There is none before its job where that comes at once, of one that is rejected, and after its end.
    """
    if isinstance(record.state, Creating | Reporting | Reported):
        return False
    if isinstance(record.state, Accepted):
        return not record.run.creates_pending
    return record.outcome is None or record.outcome.kind is not OutcomeKind.REJECTED
