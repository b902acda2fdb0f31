"""The shipped fake passes the contract of executors."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from typing_extensions import override

from lsst.ts.ocps.executors.base import Execution, Executor, ExecutorError, ExecutorState, Listener
from lsst.ts.ocps.executors.bench import ExecutorBench, News
from lsst.ts.ocps.executors.contract import ExecutorContract
from lsst.ts.ocps.executors.testing import FakeCluster, FakeExecutor


class FakeBench(ExecutorBench):
    brief = 0.1

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.cluster = FakeCluster()

    @override
    def create(self, listener: Listener) -> Executor:
        return FakeExecutor(listener, cluster=self.cluster)

    @override
    @contextmanager
    def refusing(self, *, transient: bool) -> Iterator[None]:
        self.cluster.refuse_next(ExecutorError("no room", transient=transient))
        yield

    @override
    @contextmanager
    def failing_late(self) -> Iterator[None]:
        self.cluster.loses_answers = 1
        yield
        assert self.cluster.loses_answers == 0

    @override
    @contextmanager
    def losing_sight(self) -> Iterator[None]:
        self.cluster.is_foggy = True
        yield
        self.cluster.is_foggy = False

    @override
    async def delay(self, execution: Execution) -> Callable[[], Awaitable[None]]:
        attempt = self.cluster.attempt_of(execution.key)

        async def go_on() -> None:
            # Nobody hears the answer.
            with suppress(ExecutorError):
                self.cluster.accept(execution, attempt)
            await asyncio.sleep(0)

        return go_on

    @override
    def noting(self, seconds: float = 0) -> tuple[str, ...]:
        return ("note", str(seconds))

    @override
    def tidying(self) -> tuple[str, ...]:
        return ("tidy",)

    @override
    def with_children(self, then: str) -> tuple[str, ...]:
        return {"wait": ("resist",), "exit": ("exit", "4"), "disk": ("take", "disk", "3000000")}[then]

    @override
    def is_ready(self, key: str = "1a") -> bool:
        return self.cluster.status(key).state is not ExecutorState.WAITING

    @override
    def is_gone(self, key: str = "1a") -> bool:
        # It has no processes but the one.
        return self.cluster.status(key).state.is_final

    @override
    def exiting(self, code: int) -> tuple[str, ...]:
        return ("exit", str(code))

    @override
    def killing_itself(self, signal_number: int) -> tuple[str, ...]:
        return ("exit", str(-signal_number))

    @override
    def saying(self, out: str, err: str) -> tuple[str, ...]:
        return ("say", out, err)

    @override
    def telling_arguments(self, *arguments: str) -> tuple[str, ...]:
        return ("say", "".join(f"{argument}\0" for argument in arguments), "")

    @override
    def telling_environment(self) -> tuple[str, ...]:
        return ("env",)

    @override
    def taking_disk(self, size: int) -> tuple[str, ...]:
        return ("take", "disk", str(size))

    @override
    def taking_memory(self, size: int) -> tuple[str, ...]:
        return ("take", "memory", str(size))


@pytest.fixture
def bench(tmp_path: Path) -> FakeBench:
    return FakeBench(tmp_path)


class TestFakeExecutor(ExecutorContract):
    async def test_losing_sight_is_told_and_attaching_again_brings_the_end(self, bench: FakeBench) -> None:
        news = News()
        execution = bench.execution(("wait",))
        async with bench.life(news) as executor:
            native_id = await executor.submit(execution)
            await news.running("1a")
            bench.cluster.lose_sight("1a")
            assert news.of("1a")[-1].state is ExecutorState.UNKNOWN
            assert (await executor.status("1a")).state is ExecutorState.UNKNOWN
            assert (await executor.attach(execution, native_id)).state is ExecutorState.RUNNING
            bench.cluster.finish("1a")
            assert (await news.end_of("1a")).state is ExecutorState.SUCCEEDED

    async def test_a_lost_execution_is_unknown(self, bench: FakeBench) -> None:
        news = News()
        async with bench.life(news) as executor:
            await executor.submit(bench.execution(("wait",)))
            await news.running("1a")
            bench.cluster.lose("1a")
            assert (await executor.status("1a")).state is ExecutorState.UNKNOWN
