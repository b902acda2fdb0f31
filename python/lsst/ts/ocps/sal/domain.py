"""What the SAL objects of one process share: identity, and the connections to broker and registry.

Source: salobj-api section 3.
"""

import asyncio
import logging
import os
import weakref
from typing import Protocol, Self

from lsst.ts.ocps.aio.tasks import TaskSupervisor

from .broker.base import Broker
from .broker.factory import create_broker
from .errors import BrokerError, SalError
from .functions import get_user_host
from .registry import SchemaRegistry, create_registry
from .settings import SalSettings

__all__ = ["Connection", "Domain"]

_LOG = logging.getLogger(__name__)

_BESIDE_THE_CONNECTION = {"topic_subname": "", "site": None, "max_history_read": 0, "history_windows": ()}
"""Settings in which those may differ that share a connection."""


class _Member(Protocol):
    """A SalInfo, as its domain sees it."""

    @property
    def is_reading(self) -> bool: ...

    def basic_close(self) -> None: ...

    async def close(self) -> None: ...


class Connection:
    """One broker and one registry, shared by every SalInfo of a domain that reaches them in the same way.

    Parameters
    ----------
    broker
        The broker, not yet started.
    registry
        The schema registry.
    """

    def __init__(self, broker: Broker, registry: SchemaRegistry) -> None:
        self.broker = broker
        self.registry = registry
        self._start_task: asyncio.Task[None] | None = None

    async def started_broker(self) -> Broker:
        """The broker, once it is connected.

        Raises
        ------
        ~lsst.ts.ocps.sal.errors.BrokerError
            If it cannot be reached; the next call tries again.
        """
        if self._start_task is None:
            self._start_task = asyncio.create_task(self.broker.start(), name="sal:connect")
        try:
            # One user who gives up must not stop the others.
            await asyncio.shield(self._start_task)
        except SalError:
            self._start_task = None
            raise
        except asyncio.CancelledError:
            if self._start_task.cancelled():
                raise BrokerError("disconnected while connecting") from None
            raise
        return self.broker

    async def aclose(self) -> None:
        """Disconnect."""
        if self._start_task is not None:
            self._start_task.cancel()
            await asyncio.wait([self._start_task])
        await self.broker.aclose()
        await self.registry.aclose()


class Domain:
    """One per process, made inside a running event loop; a Controller makes its own.

    Raises
    ------
    RuntimeError
        If no event loop is running.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.isopen = True
        self.done_task: asyncio.Future[None] = self.loop.create_future()
        self.origin = os.getpid()
        self.salinfo_set: weakref.WeakSet[_Member] = weakref.WeakSet()
        self._default_identity: str | None = None
        self._connections: dict[SalSettings, Connection] = {}
        self._settings: dict[SalSettings, SalSettings] = {}
        self._settings_lock = asyncio.Lock()
        self._remote_starts: list[asyncio.Task[None]] = []
        self._tasks = TaskSupervisor("Domain", log=_LOG)
        self._closing = False

    @property
    def user_host(self) -> str:
        """``user@host`` of this process."""
        return get_user_host()

    @property
    def default_identity(self) -> str:
        """Identity of what is written through this domain; a Controller puts its own name here."""
        return get_user_host() if self._default_identity is None else self._default_identity

    @default_identity.setter
    def default_identity(self, identity: str) -> None:
        self._default_identity = identity

    async def prepare_identity(self) -> None:
        """Look the host name up without blocking the loop, if the identity needs it."""
        if self._default_identity is None:
            await asyncio.to_thread(get_user_host)

    @property
    def num_read_loops(self) -> int:
        """Number of running read loops."""
        return sum(1 for member in self.salinfo_set if member.is_reading)

    @property
    def remote_starts(self) -> tuple[asyncio.Task[None], ...]:
        """Start tasks of the Remotes made so far that run or have failed; a Controller waits for them."""
        return tuple(self._remote_starts)

    def add_remote_start(self, task: asyncio.Task[None]) -> None:
        """Note the start task of a Remote."""
        self._remote_starts.append(task)
        task.add_done_callback(self._note_remote_start)

    def _note_remote_start(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is None:
            self._remote_starts.remove(task)
        else:
            _LOG.error("%s failed: %s", task.get_name(), error)

    async def complete_settings(self, settings: SalSettings) -> SalSettings:
        """The settings with what the files say that they name; each file is read once a domain.

        Raises
        ------
        ~lsst.ts.ocps.sal.errors.SettingsError
            If a file is missing, broken or wrong.
        """
        if not settings.has_files:
            return settings
        async with self._settings_lock:
            if settings not in self._settings:
                self._settings[settings] = await asyncio.to_thread(settings.with_files)
            return self._settings[settings]

    def connection(self, settings: SalSettings) -> Connection:
        """The connection for these settings; nothing is sent yet.

        Raises
        ------
        RuntimeError
            If the domain is closed.
        """
        if not self.isopen:
            raise RuntimeError("Domain is closed")
        key = settings.model_copy(update=_BESIDE_THE_CONNECTION)
        if key not in self._connections:
            self._connections[key] = Connection(create_broker(settings), create_registry(settings))
        return self._connections[key]

    async def close(self) -> None:
        """Close every SalInfo, then the connections; a second call waits for the first."""
        if self._closing:
            await asyncio.shield(self.done_task)
            return
        self._closing = True
        self.isopen = False
        try:
            members = list(self.salinfo_set)
            outcomes = await asyncio.gather(*(member.close() for member in members), return_exceptions=True)
            await self._disconnect()
            for outcome in outcomes:
                if isinstance(outcome, Exception):
                    _LOG.error("closing a SalInfo failed", exc_info=outcome)
        finally:
            if not self.done_task.done():
                self.done_task.set_result(None)

    def basic_close(self) -> None:
        """Stop reading at once; disconnecting goes on in the background."""
        if self._closing:
            return
        self.isopen = False
        for member in list(self.salinfo_set):
            member.basic_close()
        _ = self._tasks.start(self.close(), name="close")

    async def _disconnect(self) -> None:
        connections = list(self._connections.values())
        self._connections.clear()
        outcomes = await asyncio.gather(*(each.aclose() for each in connections), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                _LOG.error("disconnecting failed", exc_info=outcome)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
