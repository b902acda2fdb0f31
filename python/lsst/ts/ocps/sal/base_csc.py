"""A component with the standard states (salobj-api section 6, sal-on-kafka section 11)."""

import asyncio
import signal
import threading
from collections.abc import Collection, Sequence
from enum import IntEnum
from typing import ClassVar

from typing_extensions import override

from lsst.ts.ocps.aio.periodic import run_periodically

from .command_line import CommandLine
from .duplicate_check import DuplicateWatch, Heartbeat
from .enums import State
from .errors import ExpectedError
from .pulse import Pulse
from .state_machine import StateMachine
from .states import make_state_transition_dict

__all__ = ["HEARTBEAT_INTERVAL", "BaseCsc"]

HEARTBEAT_INTERVAL = 1.0
"""Time between two heartbeats (s)."""


class BaseCsc(CommandLine, StateMachine):
    """A Commandable SAL Component.

    Subclasses set the class variable ``version``, add a coroutine ``do_x`` for each of their own commands,
    and may override ``begin_x``, ``end_x`` of the state commands, `handle_summary_state` and `close_tasks`.

    Parameters
    ----------
    name
        Name of the component.
    index
        Its index; None or 0 for a component without indices.
    check_if_duplicate
        Whether to refuse to start while another instance is alive.
    initial_state
        State to go to at the start, by the usual transitions; None: ``default_initial_state``.
    override
        ``configurationOverride`` of the ``start`` transition on that way.
    simulation_mode
        One of ``valid_simulation_modes``.
    allow_missing_callbacks, extra_commands
        As for `~lsst.ts.ocps.sal.controller.Controller`.
    discard_out_of_order_telemetry, discard_out_of_order_events
        As for `~lsst.ts.ocps.sal.controller.Controller`.

    Raises
    ------
    RuntimeError
        If ``version`` or ``valid_simulation_modes`` is missing.
    ValueError
        If the initial state or the simulation mode is not valid.
    """

    enable_cmdline_state: ClassVar[bool] = False
    """Whether the command line has the options ``--state`` and ``--override``."""

    valid_simulation_modes: ClassVar[Sequence[int] | None] = (0,)
    """Simulation modes; 0 = none."""

    simulation_help: ClassVar[str | None] = None
    """Help for the option ``--simulate``."""

    default_initial_state: ClassVar[State] = State.STANDBY
    """State before any transition."""

    version: ClassVar[str]
    """Version of the package of the subclass."""

    def __init__(  # noqa: PLR0917 (the API)
        self,
        name: str,
        index: int | IntEnum | None = None,
        check_if_duplicate: bool = False,
        initial_state: State | int | None = None,
        override: str = "",
        simulation_mode: int = 0,
        allow_missing_callbacks: bool = False,
        extra_commands: Collection[str] = frozenset(),
        discard_out_of_order_telemetry: bool = True,
        discard_out_of_order_events: bool = True,
    ) -> None:
        self._check_class(simulation_mode)
        self._initial_state = self._check_initial_state(initial_state)
        self._initial_override = override
        self._duplicate_watch: DuplicateWatch | None = None
        self._duplicate_task: asyncio.Task[None] | None = None
        self.check_if_duplicate = check_if_duplicate
        self.heartbeat_interval = HEARTBEAT_INTERVAL
        super().__init__(
            name,
            index,
            summary_state=self.default_initial_state,
            allow_missing_callbacks=allow_missing_callbacks,
            extra_commands=extra_commands,
            discard_out_of_order_telemetry=discard_out_of_order_telemetry,
            discard_out_of_order_events=discard_out_of_order_events,
        )
        self.evt_simulationMode.set(mode=int(simulation_mode))
        self.evt_softwareVersions.set(
            cscVersion=self.version, xmlVersion=self.salinfo.component_info.xml_version
        )
        self._pulse = Pulse(self.evt_heartbeat, (self.evt_errorCode, self.evt_summaryState), self.log)
        self._add_signal_handlers()

    @classmethod
    def _check_class(cls, simulation_mode: int) -> None:
        if not hasattr(cls, "version"):
            raise RuntimeError(f"{cls.__name__} has no class variable 'version'")
        if cls.valid_simulation_modes is None:
            raise RuntimeError(f"{cls.__name__}.valid_simulation_modes is None; 0 alone means no simulation")
        if simulation_mode not in cls.valid_simulation_modes:
            raise ValueError(f"simulation_mode={simulation_mode} not in {tuple(cls.valid_simulation_modes)}")

    @classmethod
    def _check_initial_state(cls, initial_state: State | int | None) -> State:
        state = cls.default_initial_state if initial_state is None else State(initial_state)
        if state is State.FAULT:
            raise ValueError(f"initial_state={state!r} is not possible")
        return state

    # Signals

    def _add_signal_handlers(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self.domain.loop.add_signal_handler(number, self.signal_handler)

    def _remove_signal_handlers(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self.domain.loop.remove_signal_handler(number)

    def signal_handler(self) -> None:
        """Close, without telling a change of state; called at SIGINT and SIGTERM."""
        if self._closing:
            self.log.warning("closing already")
            return
        self._close_soon()

    # Start

    @override
    async def start(self) -> None:
        """Start: logLevel, duplicate check, heartbeat, simulationMode, softwareVersions."""
        await super().start()
        await self._pulse.beat()
        interval = self.heartbeat_interval
        beating = run_periodically(self._pulse.beat, interval=interval, first_delay=interval)
        _ = self._tasks.start(beating, name="heartbeat")
        if self._duplicate_watch is not None:
            self._duplicate_task = self._tasks.start(
                self._watch_duplicates(self._duplicate_watch), name="duplicate check"
            )
        await self.set_simulation_mode(self.simulation_mode)
        await self.evt_softwareVersions.write()

    async def set_simulation_mode(self, simulation_mode: int) -> None:
        """Publish the simulation mode; called once, at the start."""
        await self.implement_simulation_mode(simulation_mode)
        await self.evt_simulationMode.set_write(mode=simulation_mode, force_output=True)

    async def implement_simulation_mode(self, simulation_mode: int) -> None:
        """Do what the simulation mode needs (deprecated: do it in ``__init__`` or ``configure``)."""

    @override
    async def start_phase2(self) -> None:
        """Publish the state, then go to the initial state."""
        await self.handle_summary_state()
        await self._report_summary_state()
        try:
            await self._go_to_initial_state()
        except Exception:
            self.log.exception("could not go to the initial state %r", self._initial_state)

    async def _go_to_initial_state(self) -> None:
        # Not from the present state: a command may have come first, and it is not to be undone.
        steps = make_state_transition_dict()[self.default_initial_state, self._initial_state]
        for name, _ in steps:
            data = self._commands[name].DataType()
            if name == "start":
                data.configurationOverride = self._initial_override
            await getattr(self, f"do_{name}")(data)

    # Duplicate check

    @override
    async def _check_may_run(self) -> None:
        if self.check_if_duplicate:
            await self.check_for_duplicate_heartbeat()

    async def check_for_duplicate_heartbeat(self, num_messages: int = 5) -> None:
        """Look for another instance, for three heartbeat intervals at most; called during the start.

        Parameters
        ----------
        num_messages
            Accepted for programs written for ts_salobj; it has no meaning here.

        Raises
        ------
        ~lsst.ts.ocps.sal.errors.ExpectedError
            If there is one.
        """
        del num_messages
        topic = self.evt_heartbeat.topic_info
        self._duplicate_watch = DuplicateWatch(
            broker=self.salinfo.broker,
            registry=self.salinfo.registry,
            codec=self.evt_heartbeat.codec,
            topic=topic.kafka_name(self.salinfo.settings.topic_subname),
            index=self.salinfo.index,
            interval=self.heartbeat_interval,
            log=self.log,
        )
        other = await self._duplicate_watch.find_before_start()
        if other is not None:
            raise self._make_duplicate_error(other)

    def _make_duplicate_error(self, other: Heartbeat) -> ExpectedError:
        return ExpectedError(
            f"{self.salinfo.name}:{int(self.salinfo.index)} with origin={self.domain.origin} quitting: "
            f"found another instance with origin={other.origin}."
        )

    async def _watch_duplicates(self, watch: DuplicateWatch) -> None:
        other = await watch.find_after_start(self.evt_heartbeat.recent_stamps)
        if other is not None:
            error = self._make_duplicate_error(other)
            self.log.error("%s", error)
            self._close_soon(error)

    @override
    async def close_tasks(self) -> None:
        """Stop background tasks; subclasses override it and call it."""
        if self._duplicate_task is not None:
            self._duplicate_task.cancel()
            await asyncio.wait([self._duplicate_task])
        if self._duplicate_watch is not None:
            await self._duplicate_watch.aclose()
        await super().close_tasks()

    @override
    def _finish(self, exception: Exception | None) -> None:
        # Not earlier: a second signal must not kill the process while the last records go out.
        self._remove_signal_handlers()
        super()._finish(exception)
