"""The states of a script, its checkpoints and its heartbeat (salobj-api section 14)."""

import asyncio
import re
from collections.abc import Collection

from typing_extensions import override

from lsst.ts.ocps.aio.periodic import run_periodically

from .controller import Controller
from .data_type import BaseMsgType
from .enums import ScriptState
from .errors import BrokerError, ExpectedError
from .pulse import Pulse
from .salinfo import SalInfo
from .tai import current_tai

__all__ = ["ALIVE", "HEARTBEAT_INTERVAL", "ScriptStates", "check_pattern"]

HEARTBEAT_INTERVAL = 5
"""Time between two heartbeats of a script (s)."""

ALIVE = frozenset({ScriptState.UNCONFIGURED, ScriptState.CONFIGURED, ScriptState.RUNNING, ScriptState.PAUSED})
"""States of a script that is not about to end."""


class ScriptStates(Controller):
    """A Controller of the component ``Script`` that tells its state.

    A state that the broker did not take is written again with the next heartbeat.

    Parameters
    ----------
    index
        SAL index.
    descr
        What the script does, in a few words.
    help
        What there is to know beyond that.
    """

    def __init__(self, index: int, descr: str, help: str) -> None:  # noqa: A002 (the API)
        self.heartbeat_interval: float = HEARTBEAT_INTERVAL
        self.timestamps: dict[ScriptState, float] = {}
        """When each state was last entered (TAI Unix time, s)."""

        self._num_group_ids = 0
        self._resumed = asyncio.Event()
        super().__init__("Script", index, do_callbacks=True)
        self.evt_description.set(classname=type(self).__name__, description=descr, help=help)
        self.evt_state.set(state=ScriptState.UNCONFIGURED)
        self._pulse = Pulse(self.evt_heartbeat, (self.evt_state,), self.log)

    @override
    async def start(self) -> None:
        """Start: logLevel, description, state UNCONFIGURED; the first heartbeat comes one interval later."""
        await super().start()
        others = {
            each.name_index
            for each in self.domain.salinfo_set
            if isinstance(each, SalInfo) and each is not self.salinfo
        }
        await self.evt_description.set_write(remotes=",".join(sorted(others)), force_output=True)
        self.timestamps.setdefault(ScriptState.UNCONFIGURED, current_tai())
        await self.evt_state.write()
        interval = self.heartbeat_interval
        beating = run_periodically(self._pulse.beat, interval=interval, first_delay=interval)
        _ = self._tasks.start(beating, name="heartbeat")

    # What it is, and where

    @property
    def state(self) -> BaseMsgType:
        """The event state: ``state``, ``reason``, ``groupId``, ``lastCheckpoint``, ``numCheckpoints``."""
        data: BaseMsgType = self.evt_state.data
        return data

    @property
    def state_name(self) -> str:
        """Name of the state."""
        return ScriptState(self.state.state).name

    @property
    def checkpoints(self) -> BaseMsgType:
        """The event checkpoints: ``pause`` and ``stop``, regular expressions; "": none."""
        data: BaseMsgType = self.evt_checkpoints.data
        return data

    @property
    def num_checkpoints(self) -> int:
        """How many checkpoints have been met."""
        return int(self.state.numCheckpoints)

    @property
    def group_id(self) -> str:
        """Group id of the images; "": none."""
        return str(self.state.groupId)

    def next_supplemented_group_id(self) -> str:
        """The group id with the next number: ``g#1``, then ``g#2``, and so on.

        Raises
        ------
        RuntimeError
            If there is no group id.
        """
        if not self.group_id:
            raise RuntimeError("there is no group id")
        self._num_group_ids += 1
        return f"{self.group_id}#{self._num_group_ids}"

    def assert_state(self, action: str, states: Collection[ScriptState]) -> None:
        """Refuse an action in other states.

        Parameters
        ----------
        action
            What is refused.
        states
            Where it is allowed.

        Raises
        ------
        ~lsst.ts.ocps.sal.errors.ExpectedError
            If the state is another one.
        """
        if self.state.state not in states:
            allowed = ", ".join(state.name for state in sorted(states))
            raise ExpectedError(f"{action} not allowed in state {self.state_name}; allowed in {allowed}")

    async def set_state(
        self,
        state: ScriptState | int | None = None,
        reason: str | None = None,
        keep_old_reason: bool = False,
        force_output: bool = False,
    ) -> None:
        """Enter a state and publish it.

        Parameters
        ----------
        state
            The state; None: the present one.
        reason
            Why; None: no reason.
        keep_old_reason
            Whether the reason given before stays, in front of the new one.
        force_output
            Whether to publish even if nothing has changed.

        Raises
        ------
        ValueError
            If there is no such state.
        """
        if state is not None:
            state = ScriptState(state)
            self.timestamps[state] = current_tai()
        reasons = (self.state.reason if keep_old_reason else "", reason or "")
        try:
            await self.evt_state.set_write(
                state=state, reason="; ".join(filter(None, reasons)), force_output=force_output
            )
        except BrokerError as error:
            # The work goes on; the next heartbeat brings the state.
            self.log.warning("state %s is not published yet: %s", self.state_name, error)

    # Checkpoints

    async def checkpoint(self, name: str = "") -> None:
        """A place where the script may be paused or stopped.

        Parameters
        ----------
        name
            Its name.

        Raises
        ------
        asyncio.CancelledError
            If the script is to stop.
        RuntimeError
            If the script is not running.
        """
        if self.state.state == ScriptState.STOPPING:
            raise asyncio.CancelledError("the script was told to stop")
        if self.state.state != ScriptState.RUNNING:
            raise RuntimeError(f"checkpoint {name!r} in state {self.state_name}, not RUNNING")
        self.evt_state.set(lastCheckpoint=name, numCheckpoints=self.num_checkpoints + 1)
        if _matches(self.checkpoints.stop, name):
            await self.set_state(ScriptState.STOPPING, reason=f"stop at checkpoint {name!r}")
            raise asyncio.CancelledError(f"the script was to stop at checkpoint {name!r}")
        if not _matches(self.checkpoints.pause, name):
            await self.set_state(force_output=True)
            return
        self._resumed.clear()
        await self.set_state(ScriptState.PAUSED)
        await self._resumed.wait()

    async def do_setCheckpoints(self, data: BaseMsgType) -> None:  # noqa: N802 (SAL's spelling)
        """Say where to pause and where to stop."""
        self.assert_state("setCheckpoints", ALIVE)
        await self._put_checkpoints(data.pause, data.stop)

    async def _put_checkpoints(self, pause: str, stop: str) -> None:
        check_pattern(pause)
        check_pattern(stop)
        await self.evt_checkpoints.set_write(pause=pause, stop=stop, force_output=True)

    async def do_resume(self, data: BaseMsgType) -> None:
        """Go on after a pause."""
        del data
        self.assert_state("resume", {ScriptState.PAUSED})
        await self.set_state(ScriptState.RUNNING)
        self._resumed.set()


def check_pattern(pattern: str) -> None:
    """Refuse what is no regular expression.

    Raises
    ------
    ~lsst.ts.ocps.sal.errors.ExpectedError
        If it is none.
    """
    try:
        re.compile(pattern)
    except re.error as error:
        raise ExpectedError(f"checkpoint {pattern!r} is not a regular expression: {error}") from error


def _matches(pattern: str, name: str) -> bool:
    return bool(pattern) and re.fullmatch(pattern, name) is not None
