"""What every executor promises, as tests: a suite that each executor inherits.

A test class derives from `ExecutorContract` and has a fixture ``bench`` that yields an `ExecutorBench`.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lsst.ts.ocps.executors.base import (
    Execution,
    ExecutionStatus,
    Executor,
    ExecutorError,
    ExecutorState,
    Listener,
)

__all__ = ["ExecutorBench", "ExecutorContract", "News"]

_TIMEOUT = 20.0
_ORDER = [ExecutorState.WAITING, ExecutorState.RUNNING]
"""The states before the end, in the order in which news may tell them."""


class News:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, ExecutionStatus]] = []
        self._changed = asyncio.Event()

    def __call__(self, key: str, status: ExecutionStatus) -> None:
        self.heard.append((key, status))
        self._changed.set()

    def of(self, key: str) -> list[ExecutionStatus]:
        """The news of one execution, in order."""
        return [status for heard, status in self.heard if heard == key]

    async def end_of(self, key: str) -> ExecutionStatus:
        """Wait for the end of an execution."""
        return await self._first(key, {state for state in ExecutorState if state.is_final})

    async def running(self, key: str) -> ExecutionStatus:
        """Wait until an execution is known to run."""
        return await self._first(key, {ExecutorState.RUNNING})

    async def unknown(self, key: str) -> ExecutionStatus:
        """Wait until an executor has lost sight of an execution."""
        return await self._first(key, {ExecutorState.UNKNOWN})

    async def _first(self, key: str, states: set[ExecutorState]) -> ExecutionStatus:
        async with asyncio.timeout(_TIMEOUT):
            while True:
                for status in self.of(key):
                    if status.state in states:
                        return status
                self._changed.clear()
                await self._changed.wait()


class ExecutorBench(ABC):
    """One kind of executor, and commands that it understands."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @abstractmethod
    def create(self, listener: Listener) -> Executor:
        """Make an executor; all of one bench meet the same executions, as lives of one service do."""

    @abstractmethod
    def exiting(self, code: int) -> tuple[str, ...]:
        """A command that ends at once."""

    @abstractmethod
    def lasting(self, seconds: float) -> tuple[str, ...]:
        """A command that takes some time, and ends well."""

    @property
    @abstractmethod
    def unrunnable(self) -> tuple[str, ...]:
        """A command that does not exist."""

    def execution(
        self, command: tuple[str, ...], *, key: str = "1a", time_limit: float | None = None
    ) -> Execution:
        """An execution in a directory of its own."""
        directory = self.directory / key
        directory.mkdir(exist_ok=True)
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
        return Execution(key, command, directory, environment, time_limit)

    @asynccontextmanager
    async def life(self, listener: Listener) -> AsyncIterator[Executor]:
        """An executor from start to close."""
        executor = self.create(listener)
        await executor.start()
        try:
            yield executor
        finally:
            await executor.aclose()


@pytest.mark.asyncio
class ExecutorContract:
    """The promises of `lsst.ts.ocps.executors.base.Executor`."""

    async def test_exit_code_0_is_success_and_the_times_are_told_in_order(self, bench: ExecutorBench) -> None:
        news = News()
        async with bench.life(news) as executor:
            await executor.submit(bench.execution(bench.exiting(0)))
            end = await news.end_of("1a")
        assert (end.state, end.exit_code) == (ExecutorState.SUCCEEDED, 0)
        assert end.start_time is not None
        assert end.end_time is not None
        assert end.start_time <= end.end_time

    async def test_another_exit_code_is_failure_and_is_told(self, bench: ExecutorBench) -> None:
        news = News()
        async with bench.life(news) as executor:
            await executor.submit(bench.execution(bench.exiting(3)))
            end = await news.end_of("1a")
        assert (end.state, end.exit_code) == (ExecutorState.FAILED, 3)
        assert "3" in end.message

    async def test_a_command_that_cannot_be_run_is_failure_without_exit_code(
        self, bench: ExecutorBench
    ) -> None:
        news = News()
        async with bench.life(news) as executor:
            await executor.submit(bench.execution(bench.unrunnable))
            end = await news.end_of("1a")
        assert (end.state, end.exit_code) == (ExecutorState.FAILED, None)
        assert "cannot be run" in end.message

    async def test_news_never_goes_back_and_the_end_comes_once(self, bench: ExecutorBench) -> None:
        news = News()
        async with bench.life(news) as executor:
            for number in range(5):
                await executor.submit(bench.execution(bench.exiting(number % 2), key=f"{number}"))
            for number in range(5):
                await news.end_of(f"{number}")
            await executor.cancel("0")
        for number in range(5):
            *before, last = [status.state for status in news.of(f"{number}")]
            assert last.is_final
            assert before == sorted(before, key=_ORDER.index)
            assert ExecutorState.RUNNING in before

    async def test_the_time_limit_ends_a_command(self, bench: ExecutorBench) -> None:
        news = News()
        async with bench.life(news) as executor:
            await executor.submit(bench.execution(bench.lasting(60), time_limit=0.2))
            end = await news.end_of("1a")
        assert end.state is ExecutorState.TIMED_OUT
        assert "time limit" in end.message

    async def test_a_command_within_its_time_limit_is_not_disturbed(self, bench: ExecutorBench) -> None:
        news = News()
        async with bench.life(news) as executor:
            await executor.submit(bench.execution(bench.lasting(0.1), time_limit=30))
            assert (await news.end_of("1a")).state is ExecutorState.SUCCEEDED

    async def test_cancel_ends_a_command_however_often_it_is_asked_for(self, bench: ExecutorBench) -> None:
        news = News()
        async with bench.life(news) as executor:
            await executor.submit(bench.execution(bench.lasting(60)))
            await asyncio.gather(executor.cancel("1a"), executor.cancel("1a"))
            end = await news.end_of("1a")
            await executor.cancel("1a")
            assert (await executor.status("1a")).state is ExecutorState.CANCELLED
        assert end.state is ExecutorState.CANCELLED
        assert [status.state.is_final for status in news.of("1a")].count(True) == 1

    async def test_cancel_after_the_end_does_not_change_it(self, bench: ExecutorBench) -> None:
        news = News()
        async with bench.life(news) as executor:
            await executor.submit(bench.execution(bench.exiting(0)))
            end = await news.end_of("1a")
            await executor.cancel("1a")
            assert await executor.status("1a") == end

    async def test_what_was_never_submitted_is_unknown_and_cancelling_it_is_harmless(
        self, bench: ExecutorBench
    ) -> None:
        news = News()
        async with bench.life(news) as executor:
            await executor.cancel("9z")
            assert (await executor.status("9z")).state is ExecutorState.UNKNOWN
            attached = await executor.attach(bench.execution((), key="9z"), "")
        assert attached.state is ExecutorState.UNKNOWN
        assert not attached.state.is_final
        assert news.heard == []

    async def test_a_key_is_never_run_twice(self, bench: ExecutorBench) -> None:
        news = News()
        async with bench.life(news) as executor:
            execution = bench.execution(bench.lasting(60))
            await executor.submit(execution)
            with pytest.raises(ExecutorError):
                await executor.submit(execution)
            await executor.cancel("1a")
            await news.end_of("1a")
            with pytest.raises(ExecutorError):
                await executor.submit(execution)

    async def test_a_running_command_outlives_the_executor_and_is_found_again(
        self, bench: ExecutorBench
    ) -> None:
        execution = bench.execution(bench.lasting(0.8))
        async with bench.life(News()) as executor:
            native_id = await executor.submit(execution)
        news = News()
        async with bench.life(news) as executor:
            assert (await executor.attach(execution, native_id)).state in _ORDER
            end = await news.end_of("1a")
        assert (end.state, end.exit_code) == (ExecutorState.SUCCEEDED, 0)

    async def test_a_command_that_was_found_again_can_be_cancelled(self, bench: ExecutorBench) -> None:
        execution = bench.execution(bench.lasting(60))
        first = News()
        async with bench.life(first) as executor:
            native_id = await executor.submit(execution)
            await first.running("1a")
        news = News()
        async with bench.life(news) as executor:
            await executor.attach(execution, native_id)
            await executor.cancel("1a")
            assert (await news.end_of("1a")).state is ExecutorState.CANCELLED

    async def test_the_end_between_two_lives_is_told_with_its_exit_code(self, bench: ExecutorBench) -> None:
        execution = bench.execution(bench.exiting(7))
        news = News()
        async with bench.life(news) as executor:
            native_id = await executor.submit(execution)
            await news.end_of("1a")
        async with bench.life(News()) as executor:
            attached = await executor.attach(execution, native_id)
            assert (attached.state, attached.exit_code) == (ExecutorState.FAILED, 7)
            assert (await executor.status("1a")).exit_code == 7

    async def test_the_key_alone_finds_an_execution_whose_native_id_was_lost(
        self, bench: ExecutorBench
    ) -> None:
        execution = bench.execution(bench.exiting(0))
        news = News()
        async with bench.life(news) as executor:
            await executor.submit(execution)
            await news.end_of("1a")
        async with bench.life(News()) as executor:
            assert (await executor.attach(execution, "")).state is ExecutorState.SUCCEEDED

    async def test_closing_tells_nothing_more(self, bench: ExecutorBench) -> None:
        news = News()
        execution = bench.execution(bench.lasting(60))
        async with bench.life(news) as executor:
            native_id = await executor.submit(execution)
            await news.running("1a")
        heard = len(news.heard)
        later = News()
        async with bench.life(later) as executor:
            await executor.attach(execution, native_id)
            await executor.cancel("1a")
            await later.end_of("1a")
        assert len(news.heard) == heard
