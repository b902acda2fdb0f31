"""The state machine of a CSC at work: transitions, their hooks, faults (salobj-api section 6)."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from enum import IntEnum
from typing import Any

from .controller import Controller
from .data_type import BaseMsgType
from .enums import State
from .errors import BrokerError, ExpectedError, RegistryError
from .states import TRANSITIONS

__all__ = ["SCHEMA_PATIENCE", "StateMachine"]

SCHEMA_PATIENCE = 5.0
"""How long the command ``start`` waits for the schema registry (s); what comes later is used later."""


class StateMachine(Controller):
    """A Controller with a summary state.

    Parameters
    ----------
    name, index, allow_missing_callbacks, extra_commands
        As for `~lsst.ts.ocps.sal.controller.Controller`.
    discard_out_of_order_telemetry, discard_out_of_order_events
        As for `~lsst.ts.ocps.sal.controller.Controller`.
    summary_state
        The first state.
    """

    def __init__(
        self,
        name: str,
        index: int | IntEnum | None,
        *,
        summary_state: State,
        allow_missing_callbacks: bool,
        extra_commands: Collection[str],
        discard_out_of_order_telemetry: bool,
        discard_out_of_order_events: bool,
    ) -> None:
        self._summary_state = summary_state
        self._is_faulting = False
        self._num_faults = 0
        self._exit_task: asyncio.Task[None] | None = None
        super().__init__(
            name,
            index,
            do_callbacks=True,
            allow_missing_callbacks=allow_missing_callbacks,
            extra_commands=extra_commands,
            discard_out_of_order_telemetry=discard_out_of_order_telemetry,
            discard_out_of_order_events=discard_out_of_order_events,
        )

    @property
    def summary_state(self) -> State:
        """The state."""
        return self._summary_state

    @property
    def disabled_or_enabled(self) -> bool:
        """Whether the state is DISABLED or ENABLED."""
        return self._summary_state in {State.DISABLED, State.ENABLED}

    @property
    def simulation_mode(self) -> int:
        """The simulation mode; 0 = none."""
        return int(self.evt_simulationMode.data.mode)

    def assert_enabled(self, action: str = "") -> None:
        """Refuse a command unless the state is ENABLED.

        Parameters
        ----------
        action
            What is refused; "": the command.

        Raises
        ------
        ~lsst.ts.ocps.sal.errors.ExpectedError
            If the state is another one.
        """
        if self._summary_state is State.ENABLED:
            return
        prefix = f"{action} not allowed in" if action else "Not allowed in"
        if self._summary_state is State.FAULT:
            error = self.evt_errorCode.data
            raise ExpectedError(
                f"{prefix} Fault state: errorCode={error.errorCode}, errorReport={error.errorReport!r}"
            )
        raise ExpectedError(f"{prefix} state={self._summary_state!r}")

    async def handle_summary_state(self) -> None:
        """Called after each change of the state, before it is published, and once at the start."""

    async def _report_summary_state(self) -> None:
        """Publish the state, and that there is no error unless there is one."""
        await self.evt_summaryState.set_write(summaryState=self._summary_state)
        if self._summary_state is not State.FAULT:
            await self.evt_errorCode.set_write(errorCode=0, errorReport="", traceback="")

    async def fault(self, code: int | None, report: str, traceback: str = "") -> None:
        """Go to FAULT and say why; a call during another one does nothing.

        Parameters
        ----------
        code
            Error code; None: errorCode is not written.
        report
            What happened.
        traceback
            Where it happened.
        """
        if self._is_faulting:
            return
        self._is_faulting = True
        self._num_faults += 1
        self._summary_state = State.FAULT
        try:
            if code is not None:
                await self._try_report(
                    self.evt_errorCode.set_write(
                        errorCode=code, errorReport=report, traceback=traceback, force_output=True
                    )
                )
            self.log.critical("Fault! errorCode=%s, errorReport=%r", code, report)
            await self._try_report(self._report_summary_state())
            await self.handle_summary_state()
        finally:
            self._is_faulting = False

    async def _try_report(self, write: Awaitable[Any]) -> None:
        try:
            await write
        except Exception:
            self.log.exception("could not publish the fault; it is tried again with each heartbeat")

    # Transitions

    async def _do_change_state(self, data: BaseMsgType, name: str) -> None:
        """Run one state command: check, ``begin_x``, new state, ``end_x``, hook, publish.

        A failure leaves the old state in force, and whoever has been told of another one is told so. Only
        where the broker does not take the new state it stays, and is published with the next heartbeat. A
        fault in a hook beats the transition.
        """
        allowed, target = TRANSITIONS[name]
        old = self._summary_state
        if old not in allowed:
            raise ExpectedError(f"{name} not allowed in state {old!r}")
        num_faults = self._num_faults
        await getattr(self, f"begin_{name}", _do_nothing)(data)
        self._check_undisturbed(name, old, num_faults)
        self._summary_state = target
        is_hook_told = False
        try:
            await getattr(self, f"end_{name}", _do_nothing)(data)
            self._check_undisturbed(name, target, num_faults)
            is_hook_told = True
            await self.handle_summary_state()
            self._check_undisturbed(name, target, num_faults)
        except BaseException as error:
            if self._num_faults == num_faults and self._summary_state is target:
                await self._revert(name, old, error, is_hook_told=is_hook_told)
            raise
        try:
            await self._report_summary_state()
        except BrokerError:
            raise
        except Exception as error:
            if self._num_faults == num_faults and self._summary_state is target:
                await self._revert(name, old, error, is_hook_told=True)
            raise

    async def _revert(self, name: str, old: State, error: BaseException, *, is_hook_told: bool) -> None:
        """Put the old state into force again, and see that nobody believes anything else.

        Parameters
        ----------
        name
            The command that failed.
        old
            The old state.
        error
            Why it failed; where the task is cancelled there is no time to tell anybody.
        is_hook_told
            Whether ``handle_summary_state`` has been called for the new state.
        """
        self._summary_state = old
        if not isinstance(error, Exception):
            return
        self.log.error("%s failed: %s; the state is %r again", name, error, old)
        if is_hook_told:
            await self._try_after_revert(self.handle_summary_state)
        # Code of the subclass may have published the new state, or its own report may be what failed.
        if not await self._try_after_revert(self._report_summary_state):
            _ = await self._try_after_revert(lambda: StateMachine._report_summary_state(self))

    async def _try_after_revert(self, call: Callable[[], Awaitable[None]]) -> bool:
        try:
            await call()
        except Exception:
            self.log.exception("telling of a reverted transition failed")
            return False
        return True

    def _check_undisturbed(self, name: str, state: State, num_faults: int) -> None:
        """Refuse to go on with a transition that a fault or another command has overtaken."""
        if self._num_faults != num_faults:
            error = self.evt_errorCode.data
            raise ExpectedError(
                f"{name} ended in a fault: errorCode={error.errorCode}, errorReport={error.errorReport!r}"
            )
        if self._summary_state is not state:
            raise ExpectedError(f"{name} given up: the state has become {self._summary_state!r} meanwhile")

    async def do_start(self, data: BaseMsgType) -> None:
        """STANDBY to DISABLED."""
        # At the start of the process they have just been settled.
        if self._summary_state is State.STANDBY and self.start_task.done():
            settling = self._tasks.start(self._settle_schemas_again(), name="schemas")
            # The new state is told under the new schemas, unless the registry lets us wait.
            await asyncio.wait([settling], timeout=SCHEMA_PATIENCE)
        await self._do_change_state(data, "start")

    async def do_enable(self, data: BaseMsgType) -> None:
        """DISABLED to ENABLED."""
        await self._do_change_state(data, "enable")

    async def do_disable(self, data: BaseMsgType) -> None:
        """ENABLED to DISABLED."""
        await self._do_change_state(data, "disable")

    async def do_standby(self, data: BaseMsgType) -> None:
        """DISABLED or FAULT to STANDBY."""
        await self._do_change_state(data, "standby")

    async def do_exitControl(self, data: BaseMsgType) -> None:  # noqa: N802 (SAL's spelling)
        """STANDBY to OFFLINE, and the end of the process."""
        try:
            await self._do_change_state(data, "exitControl")
        finally:
            if self._summary_state is State.OFFLINE:
                self._exit_soon()

    def _exit_soon(self) -> None:
        self._exit_task = asyncio.create_task(self._exit(), name=f"{self.salinfo.name_index}:exit")

    async def _exit(self) -> None:
        """Close once the command has been acknowledged."""
        await self._commands["exitControl"].wait_idle()
        await self._let_remotes_read()
        await self.close()

    async def _settle_schemas_again(self) -> None:
        """Adopt what others have registered meanwhile."""
        try:
            await self.salinfo.settle_schemas()
        except RegistryError as error:
            self.log.warning("schemas stay as they are: %s", error)

    # Hooks

    async def begin_start(self, data: BaseMsgType) -> None:
        """Called before STANDBY becomes DISABLED; an exception prevents it."""

    async def end_start(self, data: BaseMsgType) -> None:
        """Called after STANDBY has become DISABLED; an exception reverts it."""

    async def begin_enable(self, data: BaseMsgType) -> None:
        """Called before DISABLED becomes ENABLED; an exception prevents it."""

    async def end_enable(self, data: BaseMsgType) -> None:
        """Called after DISABLED has become ENABLED; an exception reverts it."""

    async def begin_disable(self, data: BaseMsgType) -> None:
        """Called before ENABLED becomes DISABLED; an exception prevents it."""

    async def end_disable(self, data: BaseMsgType) -> None:
        """Called after ENABLED has become DISABLED; an exception reverts it."""

    async def begin_standby(self, data: BaseMsgType) -> None:
        """Called before the state becomes STANDBY; an exception prevents it."""

    async def end_standby(self, data: BaseMsgType) -> None:
        """Called after the state has become STANDBY; an exception reverts it."""

    async def begin_exitControl(self, data: BaseMsgType) -> None:  # noqa: N802 (SAL's spelling)
        """Called before STANDBY becomes OFFLINE; an exception prevents it."""

    async def end_exitControl(self, data: BaseMsgType) -> None:  # noqa: N802 (SAL's spelling)
        """Called after STANDBY has become OFFLINE; an exception reverts it."""


async def _do_nothing(data: BaseMsgType) -> None:
    """For state commands without hooks."""
