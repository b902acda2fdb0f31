"""Whether the configured back ends can be reached, and since when not."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lsst.ts.ocps.aio.periodic import run_periodically
from lsst.ts.ocps.aio.tasks import TaskSupervisor
from lsst.ts.ocps.client.errors import BackendError

from .backends import BackendPool, to_stored_settings
from .config import CscConfig
from .logs import get_logger
from .reporter import Reporter
from .texts import clip

__all__ = ["BackendHealth", "BackendStatus"]

_MAX_MESSAGE_BYTES = 500


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """What the last probe of a back end found."""

    url: str
    kind: str
    required: bool
    connected: bool
    version: str = ""
    message: str = ""

    def to_json(self) -> dict[str, Any]:
        """As in the event ``backend_status``."""
        return {
            "url": self.url,
            "kind": self.kind,
            "version": self.version,
            "connected": self.connected,
            "message": self.message,
        }


class BackendHealth:
    """Probes the configured back ends, and tells of changes.

    Parameters
    ----------
    pool
        Gives the back ends.
    reporter
        Tells the world.
    on_lost
        Called while a required back end has been unreachable for longer than ``fault_after``, with a text for
        operators, at every probe.
    on_death
        Called with the name and the error of a task that died.
    interval
        Time between two probes of each back end (s).
    """

    def __init__(
        self,
        pool: BackendPool,
        reporter: Reporter,
        *,
        on_lost: Callable[[str], Awaitable[None]],
        on_death: Callable[[str, BaseException], None],
        interval: float,
    ) -> None:
        self._interval = interval
        self._pool = pool
        self._reporter = reporter
        self._on_lost = on_lost
        self._tasks = TaskSupervisor("health", on_death=on_death)
        self._config: CscConfig | None = None
        self._statuses: Mapping[str, BackendStatus] = {}
        self._lost_at: dict[str, float] = {}
        self._versions: dict[str, str] = {}
        self._log = get_logger("health")

    def start(self) -> None:
        """Begin to probe."""
        _ = self._tasks.start(
            run_periodically(self._check, interval=self._interval, first_delay=self._interval), name="probe"
        )

    async def configure(self, config: CscConfig) -> None:
        """Probe the back ends of a new configuration, and tell of them."""
        self._config = config
        self._statuses = {}
        self._versions = {}
        self._lost_at = {}
        await self.probe()

    async def probe(self) -> list[str]:
        """Probe every back end now.

        Returns
        -------
        list [ str ]
            What is wrong with the required ones.
        """
        config = self._config
        if config is None:
            return []
        found = await asyncio.gather(*(self._probe(config, name) for name in config.backends))
        if config is not self._config:
            return []
        statuses = dict(zip(config.backends, found, strict=True))
        self._note_lost(statuses)
        await self._publish(config, statuses)
        return [
            f"{name} at {status.url}: {status.message}"
            for name, status in statuses.items()
            if status.required and not status.connected
        ]

    def _note_lost(self, statuses: Mapping[str, BackendStatus]) -> None:
        now = time.monotonic()
        for name, status in statuses.items():
            if status.connected:
                self._lost_at.pop(name, None)
            elif name not in self._lost_at:
                self._lost_at[name] = now
                self._log.warning(
                    "back end not reachable", backend=name, url=status.url, error=status.message
                )

    async def _publish(self, config: CscConfig, statuses: Mapping[str, BackendStatus]) -> None:
        """Tell what has changed, unless another configuration comes in between."""
        if statuses != self._statuses:
            self._statuses = statuses
            await self._reporter.publish_backends(
                {name: status.to_json() for name, status in statuses.items()},
                connected=all(status.connected for status in statuses.values() if status.required),
            )
        # What has been seen of a back end stays true while it cannot be reached.
        versions = self._versions | {
            name: f"{status.kind} {status.version}".rstrip()
            for name, status in statuses.items()
            if status.connected
        }
        if versions != self._versions and config is self._config:
            self._versions = versions
            await self._reporter.publish_versions(versions)

    async def aclose(self) -> None:
        """Probe no more."""
        await self._tasks.aclose()

    async def _probe(self, config: CscConfig, name: str) -> BackendStatus:
        settings = config.backends[name]
        status = BackendStatus(settings.url, settings.kind, settings.required, connected=False)
        try:
            backend = await self._pool.get(to_stored_settings(name, settings))
            info = await backend.probe()
        except BackendError as error:
            return replace(status, message=clip(error.message, _MAX_MESSAGE_BYTES))
        message = clip(info.message, _MAX_MESSAGE_BYTES)
        return replace(status, connected=True, version=info.version, message=message)

    async def _check(self) -> None:
        problems = await self.probe()
        config = self._config
        if config is None or not problems:
            return
        now = time.monotonic()
        lost_for = [now - since for name, since in self._lost_at.items() if config.backends[name].required]
        if max(lost_for, default=0.0) > config.fault_after:
            await self._on_lost(
                f"required back ends not reachable for {max(lost_for):.0f} s: {'; '.join(problems)}"
            )
