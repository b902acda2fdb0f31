"""The shipped fake passes the contract of executors."""

from pathlib import Path

import pytest
from typing_extensions import override

from lsst.ts.ocps.executors.base import Executor, ExecutorError, ExecutorState, Listener
from lsst.ts.ocps.executors.testing import FakeCluster, FakeExecutor
from support.executor_contract import ExecutorBench, ExecutorContract, News


class FakeBench(ExecutorBench):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.cluster = FakeCluster()

    @override
    def create(self, listener: Listener) -> Executor:
        return FakeExecutor(listener, cluster=self.cluster)

    @override
    def exiting(self, code: int) -> tuple[str, ...]:
        return ("exit", str(code))

    @override
    def lasting(self, seconds: float) -> tuple[str, ...]:
        return ("sleep", str(seconds))

    @property
    @override
    def unrunnable(self) -> tuple[str, ...]:
        return ("no-such-program",)


@pytest.fixture
def bench(tmp_path: Path) -> FakeBench:
    return FakeBench(tmp_path)


class TestFakeExecutor(ExecutorContract):
    async def test_a_refusal_starts_nothing(self, bench: FakeBench) -> None:
        bench.cluster.refuse_next(ExecutorError("no room", transient=True))
        async with bench.life(News()) as executor:
            with pytest.raises(ExecutorError, match="no room"):
                await executor.submit(bench.execution(bench.exiting(0)))
            assert bench.cluster.keys == ()

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
