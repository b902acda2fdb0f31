"""A base class for the tests of a CSC (salobj-api section 12)."""

import asyncio
import itertools
import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from .base_csc import BaseCsc
from .data_type import BaseMsgType
from .domain import Domain
from .enums import SalRetCode, State
from .remote import Remote
from .states import TRANSITIONS, get_expected_summary_states
from .tai import current_tai
from .testing import assertRaisesAckError, delete_kafka_topics, set_test_topic_subname

if TYPE_CHECKING:
    import unittest

    from .topics.read_topic import ReadTopic

__all__ = ["STD_TIMEOUT", "STD_WITH_DUPLICATE_CHECK_TIMEOUT", "BaseCscTestCase"]

STD_TIMEOUT = 30
"""Longest wait for one thing (s)."""

STD_WITH_DUPLICATE_CHECK_TIMEOUT = 40
"""Longest wait for the start of a CSC that looks for another instance first (s)."""

_INDICES = itertools.count(1)

_STATE_AFTER = {name: transition.target for name, transition in TRANSITIONS.items()}


class BaseCscTestCase(ABC):
    """Mix-in for `unittest.IsolatedAsyncioTestCase`: makes a CSC and a Remote of it.

    The Remote is started before the CSC, so that it has everything from the beginning in its queues.
    """

    csc: BaseCsc
    """The CSC made by `make_csc`."""

    remote: Remote
    """A Remote of it."""

    csc_start_time: float = 0.0
    """When the CSC was made (TAI Unix s)."""

    _randomize_topic_subname: ClassVar[bool] = False

    def run(self, result: "unittest.TestResult | None" = None) -> "unittest.TestResult | None":
        """Set the environment, then run the test."""
        set_test_topic_subname(randomize=self._randomize_topic_subname)
        os.environ["LSST_SITE"] = "test"  # noqa: TID251 (the site of tests)
        # unittest.TestCase comes next in the order of base classes.
        outcome: unittest.TestResult | None = super().run(result)  # type: ignore[misc]
        return outcome

    async def asyncTearDown(self) -> None:
        """Delete the topics of the test; subclasses that override it call it."""
        await delete_kafka_topics()
        await super().asyncTearDown()  # type: ignore[misc]

    @abstractmethod
    def basic_make_csc(
        self,
        initial_state: State | int | None,
        config_dir: str | Path | None,
        simulation_mode: int,
        **kwargs: Any,
    ) -> BaseCsc:
        """Make the CSC; arguments as for its constructor."""

    def next_index(self) -> int:
        """An index that no other test of this process has used."""
        return next(_INDICES)

    @asynccontextmanager
    async def make_csc(
        self,
        initial_state: State | int | None = None,
        config_dir: str | Path | None = None,
        simulation_mode: int = 0,
        log_level: int | None = None,
        timeout: float = STD_TIMEOUT,  # noqa: ASYNC109 (the API)
        **kwargs: Any,
    ) -> AsyncIterator[None]:
        """Make ``self.csc`` and ``self.remote``, start both, and close them at the end.

        Parameters
        ----------
        initial_state, config_dir, simulation_mode
            Passed on to `basic_make_csc`.
        log_level
            Level of the CSC's logger; None: as it is.
        timeout
            Longest time for the start of each (s).
        **kwargs
            Passed on to `basic_make_csc`.
        """
        self.csc_start_time = current_tai()
        self.csc = self.basic_make_csc(
            initial_state=initial_state, config_dir=config_dir, simulation_mode=simulation_mode, **kwargs
        )
        self.csc.delay_start_event.clear()
        try:
            if log_level is not None:
                self.csc.log.setLevel(log_level)
            self.remote = Remote(self.csc.domain, self.csc.salinfo.name, self.csc.salinfo.index)
            try:
                await self._start_both(timeout)
                yield
            finally:
                await self.csc.close()
                await self.remote.close()
        finally:
            await self.csc.close()

    async def _start_both(self, limit: float) -> None:
        async with asyncio.timeout(limit):
            await self.remote.start_task
        self.csc.delay_start_event.set()
        async with asyncio.timeout(limit):
            await self.csc.start_task
        if self.csc.done_task.done():
            # Raises what made the start fail.
            self.csc.done_task.result()
        await self._keep_last_state(limit)

    async def _keep_last_state(self, limit: float) -> None:
        """Leave only the last summaryState in the queue."""
        event = self.remote.evt_summaryState
        async with asyncio.timeout(limit):
            while True:
                data = await event.next(flush=False)
                if data.summaryState == self.csc.summary_state and event.nqueued == 0:
                    break
        event.accept(data)

    async def assert_next_sample(
        self,
        topic: "ReadTopic",
        flush: bool = False,
        timeout: float = STD_TIMEOUT,  # noqa: ASYNC109 (the API)
        **fields: Any,
    ) -> BaseMsgType:
        """Wait for the next sample and check its fields; samples from before the CSC was made are skipped.

        Parameters
        ----------
        topic
            A topic of the Remote.
        flush
            Empty the queue first.
        timeout
            Longest wait (s).
        **fields
            Expected values.

        Raises
        ------
        AssertionError
            If a field has another value, or does not exist.
        TimeoutError
            If no sample came in time.
        """
        async with asyncio.timeout(timeout):
            data = await topic.next(flush=flush)
            while data.private_sndStamp < self.csc_start_time:
                data = await topic.next(flush=False)
        for name, expected in fields.items():
            if not hasattr(data, name):
                raise AssertionError(f"{topic.attr_name} has no field {name}")
            value = getattr(data, name)
            if isinstance(expected, IntEnum) and value in set(type(expected)):
                value = type(expected)(value)
            if value != expected:
                raise AssertionError(f"{topic.attr_name}.{name} is {value!r}, not {expected!r}: {data}")
        return data

    async def assert_next_summary_state(
        self,
        state: State,
        flush: bool = False,
        timeout: float = STD_TIMEOUT,  # noqa: ASYNC109 (the API)
        remote: Remote | None = None,
    ) -> None:
        """Wait for the next summaryState and check it; see `assert_next_sample`."""
        topic = (remote or self.remote).evt_summaryState
        _ = await self.assert_next_sample(topic, flush=flush, timeout=timeout, summaryState=state)

    async def check_standard_state_transitions(
        self,
        enabled_commands: Collection[str],
        skip_commands: Collection[str] | None = None,
        override: str = "",
        timeout: float = STD_TIMEOUT,  # noqa: ASYNC109 (the API)
    ) -> None:
        """Go from STANDBY to ENABLED and back to OFFLINE; in each state every other command has to fail.

        Parameters
        ----------
        enabled_commands
            Commands that are legal in ENABLED only.
        skip_commands
            Commands that are not tried.
        override
            ``configurationOverride`` for the ``start`` command.
        timeout
            Longest wait for each thing (s).

        Raises
        ------
        AssertionError
            If the CSC is in another state than it should be, or obeys a command that it should not.
        TimeoutError
            If a state is not published in time.
        ~lsst.ts.ocps.sal.errors.AckError
            If it refuses a state command.
        """
        enabled = tuple(enabled_commands)
        way: Sequence[tuple[str, State, tuple[str, ...]]] = (
            ("start", State.STANDBY, ("exitControl",)),
            ("enable", State.DISABLED, ("standby",)),
            ("disable", State.ENABLED, enabled),
            ("standby", State.DISABLED, ("enable",)),
            ("exitControl", State.STANDBY, ("start",)),
        )
        await self.assert_next_summary_state(State.STANDBY, timeout=timeout)
        seen: set[State] = set()
        for command_name, state, other_legal in way:
            if self.csc.summary_state is not state:
                raise AssertionError(f"the CSC is in {self.csc.summary_state!r}, not {state!r}")
            if state not in seen:
                seen.add(state)
                legal = {command_name, *other_legal, "setLogLevel"}
                await self.check_bad_commands(good_commands=legal | set(skip_commands or ()))
            command = getattr(self.remote, f"cmd_{command_name}")
            fields = {"configurationOverride": override} if command_name == "start" else {}
            await command.set_start(timeout=timeout, **fields)
            expected = _STATE_AFTER[command_name]
            await self.assert_next_summary_state(expected, timeout=timeout)

    async def check_bad_commands(
        self,
        bad_commands: Collection[str] | None = None,
        good_commands: Collection[str] | None = None,
    ) -> None:
        """Check that commands fail in the current state.

        Parameters
        ----------
        bad_commands
            Commands that have to fail; None: all.
        good_commands
            Commands that are not tried.

        Raises
        ------
        AssertionError
            If a command succeeds, or fails in another way than with CMD_FAILED.
        """
        names = self.remote.salinfo.command_names if bad_commands is None else sorted(bad_commands)
        for name in names:
            if name in (good_commands or ()):
                continue
            with assertRaisesAckError(ack=SalRetCode.CMD_FAILED):
                await getattr(self.remote, f"cmd_{name}").start(timeout=STD_TIMEOUT)

    async def check_bin_script(  # noqa: PLR0917 (the API)
        self,
        name: str,
        index: int | None,
        exe_name: str,
        default_initial_state: State = State.STANDBY,
        initial_state: State | None = None,
        override: str | None = None,
        cmdline_args: Sequence[str] = (),
        timeout: float = STD_WITH_DUPLICATE_CHECK_TIMEOUT,  # noqa: ASYNC109 (the API)
    ) -> None:
        """Run the executable of a CSC until it has published the expected states.

        Parameters
        ----------
        name, index
            Component and index.
        exe_name
            The executable, on the path.
        default_initial_state
            Its first state.
        initial_state
            Passed on as ``--state``; None: not passed on.
        override
            Passed on as ``--override``; None: not passed on.
        cmdline_args
            Further arguments.
        timeout
            Longest wait for each state (s).

        Raises
        ------
        AssertionError
            If it publishes another state.
        TimeoutError
            If a state is not published in time.
        OSError
            If there is no such executable.
        """
        arguments = [*([str(int(index))] if index else []), *cmdline_args]
        if initial_state is not None:
            arguments += ["--state", initial_state.name.lower()]
        if override is not None:
            arguments += ["--override", override]
        expected = get_expected_summary_states(default_initial_state, initial_state or default_initial_state)
        async with Domain() as domain, Remote(domain, name, index, include=["summaryState"]) as remote:
            started = current_tai()
            process = await asyncio.create_subprocess_exec(exe_name, *arguments)
            try:
                for state in expected:
                    data = await remote.evt_summaryState.next(flush=False, timeout=timeout)
                    while data.private_sndStamp < started:
                        data = await remote.evt_summaryState.next(flush=False, timeout=timeout)
                    if data.summaryState != state:
                        raise AssertionError(f"summaryState is {data.summaryState}, not {state!r}")
            finally:
                if process.returncode is None:
                    process.terminate()
                await process.wait()
