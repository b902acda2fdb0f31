"""A component that obeys commands and writes events and telemetry (salobj-api section 5)."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Self

from lsst.ts.ocps.aio.tasks import TaskSupervisor

from .data_type import BaseMsgType
from .domain import Domain
from .errors import ExpectedError
from .log_handler import SalLogHandler
from .salinfo import SalInfo
from .topics.controller_command import ControllerCommand
from .topics.controller_topics import ControllerEvent, ControllerTelemetry

__all__ = ["SHUTDOWN_DELAY", "Controller"]

SHUTDOWN_DELAY = 1.0
"""Pause between the last acknowledgement and the end for Remotes of the same domain, which end too (s).

For all others none is needed, because every write is awaited.
"""


class Controller:
    """A component: attributes ``cmd_x``, ``evt_x`` and ``tel_x``, and a start task that runs at once.

    Parameters
    ----------
    name
        Name of the component.
    index
        Its index; None or 0 for a component without indices.
    do_callbacks
        Whether methods ``do_x`` are the code of the commands.
    write_only
        Whether there are no commands.
    allow_missing_callbacks
        Whether commands without a method are refused when they come, rather than now.
    extra_commands
        Names of commands that may have a method although the component lacks them.
    discard_out_of_order_telemetry, discard_out_of_order_events
        For programs written for ts_salobj; a Controller reads commands only.

    Raises
    ------
    ValueError
        If the arguments contradict each other, or as `~lsst.ts.ocps.sal.salinfo.SalInfo` says.
    TypeError
        If a method ``do_x`` is missing, or there is one too many.
    RuntimeError
        If no event loop is running, or the environment lacks ``LSST_TOPIC_SUBNAME``.
    """

    if TYPE_CHECKING:
        # Topics are attributes; their names come from the interface XML.
        def __getattr__(self, name: str) -> Any: ...

    def __init__(
        self,
        name: str,
        index: int | IntEnum | None = None,
        *,
        do_callbacks: bool = False,
        write_only: bool = False,
        allow_missing_callbacks: bool = False,
        extra_commands: Collection[str] = frozenset(),
        discard_out_of_order_telemetry: bool = True,
        discard_out_of_order_events: bool = True,
    ) -> None:
        if do_callbacks and write_only:
            raise ValueError("do_callbacks and write_only cannot both be True")
        if allow_missing_callbacks and not do_callbacks:
            raise ValueError("allow_missing_callbacks needs do_callbacks")
        self._do_callbacks = do_callbacks
        self._allow_missing_callbacks = allow_missing_callbacks
        self.isopen = True
        self.start_called = False
        self.domain = Domain()
        self.done_task: asyncio.Future[None] = self.domain.loop.create_future()
        self.salinfo = SalInfo(
            self.domain,
            name,
            index,
            write_only=write_only,
            discard_out_of_order_telemetry=discard_out_of_order_telemetry,
            discard_out_of_order_events=discard_out_of_order_events,
        )
        self.domain.default_identity = self.salinfo.name_index
        self.log = self.salinfo.log
        if do_callbacks:
            self._check_do_methods(extra_commands)
        self._commands: dict[str, ControllerCommand] = {}
        self._add_topics()
        self.delay_start_event = asyncio.Event()
        self.delay_start_event.set()
        self._closing = False
        self._closer: asyncio.Task[None] | None = None
        self._tasks = TaskSupervisor(self.salinfo.name_index, on_death=self._note_death, log=self.log)
        self._log_handler = SalLogHandler(self)
        self.log.addHandler(self._log_handler)
        self.start_task: asyncio.Task[None] = asyncio.create_task(
            self._run_start(), name=f"{self.salinfo.name_index}:start"
        )

    def _add_topics(self) -> None:
        if not self.salinfo.write_only:
            for name in self.salinfo.command_names:
                command = ControllerCommand(self.salinfo, name)
                self._commands[name] = command
                setattr(self, command.attr_name, command)
        for name in self.salinfo.event_names:
            setattr(self, f"evt_{name}", ControllerEvent(self.salinfo, name))
        for name in self.salinfo.telemetry_names:
            setattr(self, f"tel_{name}", ControllerTelemetry(self.salinfo, name))

    def _check_do_methods(self, extra_commands: Collection[str]) -> None:
        present = {name for name in dir(self) if name.startswith("do_")}
        needed = {f"do_{name}" for name in self.salinfo.command_names}
        missing = set() if self._allow_missing_callbacks else needed - present
        allowed = {f"do_{name}" for name in extra_commands} | {"do_setLogLevel"}
        excess = present - needed - allowed
        problems = []
        if missing:
            problems.append(f"must add {', '.join(sorted(missing))} methods")
        if excess:
            problems.append(f"must remove {', '.join(sorted(excess))} methods")
        if problems:
            raise TypeError(f"This class {' and '.join(problems)}")

    # Start

    async def _run_start(self) -> None:
        """Start; a failure closes the controller and ends up in ``done_task``."""
        try:
            await asyncio.sleep(0)
            await self.delay_start_event.wait()
            self.start_called = True
            await self.start()
            await self.start_phase2()
        except asyncio.CancelledError:
            if not self._closing:
                await self._close_failed(RuntimeError("the start was cancelled"))
        except ExpectedError as error:
            self.log.error("start failed: %s", error)  # noqa: TRY400 (expected: no traceback)
            await self._close_failed(error)
        except Exception as error:
            self.log.exception("start failed")
            await self._close_failed(error)

    async def _close_failed(self, error: Exception) -> None:
        await self.close(error, cancel_start=False)

    async def start(self) -> None:
        """Start reading and writing, attach the ``do_`` methods, publish logLevel.

        Subclasses that override it call it; commands are obeyed from then on, those sent before are not.
        """
        starts = [
            task for task in self.domain.remote_starts if not task.done() or task.exception() is not None
        ]
        await asyncio.gather(self.salinfo.start(), *starts)
        self.salinfo.done_task.add_done_callback(self._note_salinfo_end)
        await self.put_log_level()
        await self._check_may_run()
        if self._do_callbacks:
            self._attach_callbacks()

    async def _check_may_run(self) -> None:
        """Raise an exception if no command may be obeyed; those that came meanwhile wait in their queues."""

    async def start_phase2(self) -> None:
        """What comes after `start`, the overriding parts of subclasses included."""

    def _attach_callbacks(self) -> None:
        for name, command in self._commands.items():
            command.callback = getattr(self, f"do_{name}", None) or self._refuse_command

    async def _refuse_command(self, data: BaseMsgType) -> None:
        del data
        raise ExpectedError("This command is not supported")

    # Generic commands

    async def do_setLogLevel(self, data: BaseMsgType) -> None:  # noqa: N802 (SAL's spelling)
        """Set the level of the component's logger; ``subsystem`` is ignored."""
        self.log.setLevel(data.level)
        await self.put_log_level()

    async def put_log_level(self) -> None:
        """Publish logLevel, if it changed."""
        await self.evt_logLevel.set_write(level=self.log.getEffectiveLevel())

    # End

    def _note_death(self, name: str, error: BaseException) -> None:
        self.log.critical("task %s died", name, exc_info=error)
        self._close_soon(error)

    def _note_salinfo_end(self, done: asyncio.Future[None]) -> None:
        if done.cancelled() or self._closing:
            return
        error = done.exception()
        if error is not None:
            self._close_soon(error)

    def _close_soon(self, error: BaseException | None = None) -> None:
        """Close in a task of its own."""
        if not self._closing:
            reason = error if isinstance(error, Exception) else None
            self._closer = asyncio.create_task(self.close(reason), name=f"{self.salinfo.name_index}:close")

    async def _let_remotes_read(self) -> None:
        """Give Remotes of the same domain, which end with it, the time to read the last records."""
        if self.domain.num_read_loops > 1:
            await asyncio.sleep(SHUTDOWN_DELAY)

    async def close_tasks(self) -> None:
        """Stop background tasks; subclasses override it and call it."""

    async def close(self, exception: Exception | None = None, cancel_start: bool = True) -> None:
        """Abort the commands, stop the background tasks, close the domain, and finish ``done_task``.

        A second call waits for the first.

        Parameters
        ----------
        exception
            What ``done_task`` is to be finished with; None: no error.
        cancel_start
            Whether a start under way is cancelled.
        """
        if self._closing:
            await asyncio.wait([self.done_task])
            return
        self._closing = True
        try:
            if cancel_start and self.start_task is not asyncio.current_task():
                self.start_task.cancel()
                await asyncio.wait([self.start_task])
            for step in (self._stop_commands, self.close_tasks, self._tasks.aclose, self._close_log):
                await self._try_close(step)
        finally:
            self.isopen = False
            await self.domain.close()
            self._finish(exception)

    async def _try_close(self, step: Callable[[], Awaitable[None]]) -> None:
        try:
            await step()
        except Exception:
            self.log.exception("%s failed; closing goes on", step.__name__)

    async def _stop_commands(self) -> None:
        await asyncio.gather(*(command.close() for command in self._commands.values()))
        self.isopen = False

    async def _close_log(self) -> None:
        self.log.removeHandler(self._log_handler)
        await self._log_handler.aclose()

    def _finish(self, exception: Exception | None) -> None:
        if self.done_task.done():
            return
        if exception is None:
            self.done_task.set_result(None)
        else:
            self.done_task.set_exception(exception)
            # It has been logged; whoever awaits the future gets it too.
            self.done_task.exception()

    async def __aenter__(self) -> Self:
        await self.start_task
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
