"""The thread that does together whatever waits for it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from lsst.ts.ocps.aio.batches import BatchThread

Call = Callable[[str], Any]


class Worker:
    """Calls with "tool"; can be held up, so that calls gather, and can fail as a whole."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.threads: set[int] = set()
        self.may_go = threading.Event()
        self.may_go.set()
        self.error: Exception | None = None
        self.finished = 0

    def work(self, calls: Sequence[Call]) -> Sequence[object]:
        assert self.may_go.wait(30)
        self.sizes.append(len(calls))
        self.threads.add(threading.get_ident())
        if self.error is not None:
            raise self.error
        return [self.run(call) for call in calls]

    @staticmethod
    def run(call: Call) -> object:
        try:
            return call("tool")
        except ValueError as error:
            return error

    def finish(self) -> None:
        self.finished += 1


@asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[BatchThread[str]]:
    thread: BatchThread[str] = BatchThread(
        "worker", worker.work, finish=worker.finish, make_closed_error=lambda: RuntimeError("closed")
    )
    try:
        yield thread
    finally:
        worker.may_go.set()
        await thread.aclose()


@pytest.mark.asyncio
async def test_a_call_gets_the_tool_in_the_thread_and_its_value_comes_back() -> None:
    worker = Worker()
    async with running(worker) as thread:
        assert await thread.submit(str.upper) == "TOOL"
    assert worker.threads.isdisjoint({threading.get_ident()})
    assert worker.finished == 1


@pytest.mark.asyncio
async def test_what_came_meanwhile_is_done_together_and_in_order() -> None:
    worker, done = Worker(), list[int]()

    def noting(number: int) -> Callable[[str], None]:
        return lambda _tool: done.append(number)

    async with running(worker) as thread:
        worker.may_go.clear()
        calls = [thread.submit(noting(number)) for number in range(600)]
        worker.may_go.set()
        await asyncio.gather(*calls)
    assert done == list(range(600))
    assert sum(worker.sizes) == 600
    # The first may have been taken alone; the rest has waited.
    assert len(worker.sizes) <= 4
    assert max(worker.sizes) == 256


@pytest.mark.asyncio
async def test_an_exception_goes_to_its_caller_alone() -> None:
    worker = Worker()
    async with running(worker) as thread:
        worker.may_go.clear()
        good, bad = thread.submit(len), thread.submit(int)
        worker.may_go.set()
        assert await good == 4
        with pytest.raises(ValueError, match="tool"):
            await bad


@pytest.mark.asyncio
async def test_a_failure_of_the_whole_reaches_every_caller_and_the_thread_goes_on() -> None:
    worker = Worker()
    async with running(worker) as thread:
        worker.error = OSError("no disk")
        outcomes = await asyncio.gather(*(thread.submit(len) for _ in range(3)), return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == ["no disk"] * 3
        worker.error = None
        assert await thread.submit(len) == 4


@pytest.mark.asyncio
async def test_a_cancelled_call_is_done_and_harms_nobody() -> None:
    worker, done = Worker(), list[str]()
    async with running(worker) as thread:
        worker.may_go.clear()
        cancelled, other = thread.submit(done.append), thread.submit(len)
        cancelled.cancel()
        worker.may_go.set()
        assert await other == 4
    assert done == ["tool"]


@pytest.mark.asyncio
async def test_closing_finishes_what_was_asked_for_and_refuses_the_rest() -> None:
    worker = Worker()
    async with running(worker) as thread:
        worker.may_go.clear()
        asked = thread.submit(len)
        closing = asyncio.create_task(thread.aclose())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="closed"):
            await thread.submit(len)
        worker.may_go.set()
        await closing
        assert await asked == 4
        await thread.aclose()
    assert worker.finished == 1
