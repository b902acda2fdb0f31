"""What the CSC is made of: built in one place, started and closed in order."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from lsst.ts.ocps.client.registry import open_backend
from lsst.ts.ocps.payloads.catalogue import Catalogue

from .backends import BackendPool, Opener, to_stored_settings
from .config import CscConfig
from .counts import Counts
from .deposit import Depositor
from .errors import LedgerError
from .health import BackendHealth
from .ledger import Ledger
from .missed import MissedCommands
from .outlet import Outlet
from .patience import Patience
from .reporter import Reporter
from .scratch import Scratch
from .tracker import Tracker

__all__ = ["CscContext"]


class CscContext:
    """Owner of the ledger, the back ends, the reporter and the tracker of one CSC; made by `open`.

    Parameters
    ----------
    ledger, pool, reporter, tracker, health, counts, missed, outlet
        The parts.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        pool: BackendPool,
        reporter: Reporter,
        tracker: Tracker,
        health: BackendHealth,
        counts: Counts,
        missed: MissedCommands,
        outlet: Outlet,
    ) -> None:
        self.ledger = ledger
        self.pool = pool
        self.reporter = reporter
        self.tracker = tracker
        self.health = health
        self._counts = counts
        self.missed = missed
        self._outlet = outlet

    @classmethod
    async def open(
        cls,
        outlet: Outlet,
        *,
        state_dir: Path,
        index: int,
        on_lost: Callable[[str], Awaitable[None]],
        on_ledger_error: Callable[[LedgerError], None],
        on_death: Callable[[str, BaseException], None],
        opener: Opener = open_backend,
        patience: Patience | None = None,
    ) -> "CscContext":
        """Build everything; nothing is written to SAL or sent to a back end yet.

        Parameters
        ----------
        outlet
            Where events go.
        state_dir, index
            Where the ledger is, and whose.
        on_lost
            Called while a required back end has been unreachable for too long.
        on_ledger_error
            Called when the ledger cannot be written.
        on_death
            Called with the name and the error of an internal task that died.
        opener, patience
            Other back ends and other times, for tests.

        Raises
        ------
        LedgerError
            If the ledger cannot be used.
        """
        ledger = await Ledger.open(state_dir, index)
        scratch = Scratch(ledger.path)
        await scratch.clean()
        pool = BackendPool(opener)
        reporter = Reporter(outlet, ledger, on_ledger_error=on_ledger_error, on_death=on_death)
        patience = patience or Patience()
        tracker = Tracker(
            ledger=ledger,
            reporter=reporter,
            depositor=Depositor(outlet, scratch),
            pool=pool,
            on_death=on_death,
            on_ledger_error=on_ledger_error,
            patience=patience,
        )
        health = BackendHealth(pool, reporter, on_lost=on_lost, on_death=on_death, interval=patience.probe)
        counts = Counts(tracker, reporter, ledger, on_ledger_error=on_ledger_error, on_death=on_death)
        missed = MissedCommands(outlet, ledger, on_death=on_death)
        outlet.limit_command_age(patience.max_command_age)
        return cls(
            ledger=ledger,
            pool=pool,
            reporter=reporter,
            tracker=tracker,
            health=health,
            counts=counts,
            missed=missed,
            outlet=outlet,
        )

    async def start(self) -> None:
        """Begin to tell, and take up the runs of an earlier life; the topics can be written by now."""
        await self.tracker.start()
        self.reporter.start(lambda: self.tracker.active)
        self.health.start()
        self._counts.start()
        self.missed.start()

    async def configure(self, config: CscConfig, catalogue: Catalogue, *, prefix: str) -> None:
        """Take over a new configuration.

        Parameters
        ----------
        config
            The merged configuration.
        catalogue
            The payloads that it names.
        prefix
            What the run_ids of this CSC begin with.
        """
        self.tracker.configure(
            payloads=catalogue,
            backends=[to_stored_settings(name, settings) for name, settings in config.backends.items()],
            create=config.create_timeout,
            max_command_age=config.max_command_age,
            keep_runs=config.keep_runs,
        )
        self._outlet.limit_command_age(config.max_command_age)
        self.tracker.adopt(prefix)
        await self.reporter.publish_payloads(catalogue)
        await self.health.configure(config)

    async def aclose(self) -> None:
        """Stop following and telling, in this order; runs go on and are followed by the next process."""
        # At the same time: while a thousand runs are followed, each turn of the others takes long.
        followers = (self.missed, self._counts, self.health, self.tracker)
        await asyncio.gather(*(follower.aclose() for follower in followers))
        await self.reporter.aclose()
        await self.ledger.aclose()
        await self.pool.aclose()
