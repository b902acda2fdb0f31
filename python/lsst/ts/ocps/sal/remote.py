"""A program's view of another component (salobj-api section 8)."""

import asyncio
from collections.abc import Iterable
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Self

from typing_extensions import override

from .domain import Domain
from .salinfo import SalInfo
from .topics.remote_command import RemoteCommand
from .topics.remote_topics import RemoteEvent, RemoteTelemetry

__all__ = ["Remote"]


class Remote:
    """Another component: attributes ``cmd_x``, ``evt_x`` and ``tel_x``.

    Parameters
    ----------
    domain
        Identity and connections.
    name
        Name of the component.
    index
        Its index; 0 or None: the only one, or all of them.
    readonly
        Whether there are no commands.
    include, exclude
        Names of the events and telemetry topics to be read, or not to be read (without prefix); at most one
        of the two. An empty ``include`` leaves the commands only.
    evt_max_history
        0: no old samples of events; 1: the newest old one of each index.
    start
        Whether to start at once; ``start_task`` tells when it is done.
    num_messages, consume_messages_timeout
        Accepted for programs written for ts_salobj; they have no meaning here.
    discard_out_of_order_telemetry, discard_out_of_order_events
        Whether a sample with an older stamp than the one before is dropped.

    Raises
    ------
    ValueError
        If both ``include`` and ``exclude`` are given, or as `~lsst.ts.ocps.sal.salinfo.SalInfo` says.
    """

    start_task: asyncio.Task[None]

    if TYPE_CHECKING:
        # Topics are attributes; their names come from the interface XML.
        def __getattr__(self, name: str) -> Any: ...

    def __init__(
        self,
        domain: Domain,
        name: str,
        index: int | IntEnum | None = None,
        *,
        readonly: bool = False,
        include: Iterable[str] | None = None,
        exclude: Iterable[str] | None = None,
        evt_max_history: int = 1,
        start: bool = True,
        num_messages: int = 1,
        consume_messages_timeout: float = 0.1,
        discard_out_of_order_telemetry: bool = True,
        discard_out_of_order_events: bool = True,
    ) -> None:
        if include is not None and exclude is not None:
            raise ValueError("include and exclude cannot both be given")
        self.salinfo = SalInfo(
            domain,
            name,
            index,
            num_messages=num_messages,
            consume_messages_timeout=consume_messages_timeout,
            discard_out_of_order_telemetry=discard_out_of_order_telemetry,
            discard_out_of_order_events=discard_out_of_order_events,
        )
        if not readonly:
            for command_name in self.salinfo.command_names:
                setattr(self, f"cmd_{command_name}", RemoteCommand(self.salinfo, command_name))
        self._add_read_topics(include, exclude, evt_max_history)
        self.start_called = False
        if start:
            self.start_task = asyncio.create_task(self.start(), name=f"{self!r}:start")
            domain.add_remote_start(self.start_task)

    def _add_read_topics(
        self, include: Iterable[str] | None, exclude: Iterable[str] | None, max_history: int
    ) -> None:
        included = None if include is None else frozenset(include)
        excluded = frozenset(exclude or ())

        def is_wanted(name: str) -> bool:
            return (included is None or name in included) and name not in excluded

        for name in filter(is_wanted, self.salinfo.event_names):
            setattr(self, f"evt_{name}", RemoteEvent(self.salinfo, name, max_history=max_history))
        for name in filter(is_wanted, self.salinfo.telemetry_names):
            setattr(self, f"tel_{name}", RemoteTelemetry(self.salinfo, name))

    async def start(self) -> None:
        """Start reading; returns when the old samples are there.

        Raises
        ------
        RuntimeError
            If started before, or closed.
        ~lsst.ts.ocps.sal.errors.SalError
            If broker or registry do not do what is needed.
        """
        if self.start_called:
            raise RuntimeError("Start already called")
        self.start_called = True
        await self.salinfo.start()

    async def close(self) -> None:
        """Stop reading; the domain stays open. May be called again."""
        await self.salinfo.close()

    async def __aenter__(self) -> Self:
        if hasattr(self, "start_task"):
            await self.start_task
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @override
    def __repr__(self) -> str:
        return f"Remote(name={self.salinfo.name}, index={int(self.salinfo.index)})"
