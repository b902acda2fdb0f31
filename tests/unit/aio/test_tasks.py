import asyncio
import logging

import pytest

from lsst.ts.ocps.aio.tasks import TaskSupervisor

pytestmark = pytest.mark.asyncio


async def fail(message: str) -> None:
    raise RuntimeError(message)


async def test_tasks_carry_the_name_of_their_owner() -> None:
    tasks = TaskSupervisor("tracker")
    task = tasks.start(asyncio.sleep(60), name="job-1")
    assert task.get_name() == "tracker:job-1"
    assert tasks.tasks == {task}
    await tasks.aclose()


async def test_a_task_that_ended_is_forgotten() -> None:
    tasks = TaskSupervisor("owner")
    task = tasks.start(asyncio.sleep(0, "done"), name="short")
    assert await task == "done"
    await asyncio.sleep(0)
    assert tasks.tasks == frozenset()
    await tasks.aclose()


async def test_the_death_of_a_task_is_told() -> None:
    deaths: asyncio.Queue[tuple[str, BaseException]] = asyncio.Queue()
    tasks = TaskSupervisor("owner", on_death=lambda name, error: deaths.put_nowait((name, error)))
    _ = tasks.start(fail("broken"), name="weak")
    async with asyncio.timeout(10):
        name, error = await deaths.get()
    assert (name, str(error)) == ("owner:weak", "broken")
    await tasks.aclose()


async def test_without_a_callback_the_death_of_a_task_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    tasks = TaskSupervisor("owner")
    task = tasks.start(fail("broken"), name="weak")
    await asyncio.wait([task])
    await asyncio.sleep(0)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "owner:weak" in record.getMessage()
    assert record.exc_info is not None
    assert "broken" in str(record.exc_info[1])
    await tasks.aclose()


async def test_a_cancelled_task_is_no_death() -> None:
    deaths: list[str] = []
    tasks = TaskSupervisor("owner", on_death=lambda name, _: deaths.append(name))
    task = tasks.start(asyncio.sleep(60), name="long")
    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert deaths == []
    await tasks.aclose()


async def test_closing_ends_every_task() -> None:
    tasks = TaskSupervisor("owner")
    ended = []

    async def run(number: int) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)  # an end may take a while
            ended.append(number)

    started = [tasks.start(run(number), name=str(number)) for number in range(3)]
    await asyncio.sleep(0)
    await tasks.aclose()
    assert sorted(ended) == [0, 1, 2]
    assert all(task.cancelled() for task in started)
    assert tasks.tasks == frozenset()


async def test_a_task_may_close_its_own_supervisor() -> None:
    tasks = TaskSupervisor("owner")
    other = tasks.start(asyncio.sleep(60), name="other")
    await asyncio.sleep(0)
    closer = tasks.start(tasks.aclose(), name="closer")
    async with asyncio.timeout(10):
        await closer
    assert other.cancelled()


async def test_tasks_that_refuse_to_end_are_named(caplog: pytest.LogCaptureFixture) -> None:
    tasks = TaskSupervisor("owner")
    release = asyncio.Event()

    async def stubborn() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await release.wait()

    task = tasks.start(stubborn(), name="stubborn")
    await asyncio.sleep(0)
    await tasks.aclose(timeout=0.05)
    assert "owner:stubborn" in caplog.text
    release.set()
    await task


async def test_a_closed_supervisor_starts_nothing() -> None:
    tasks = TaskSupervisor("owner")
    await tasks.aclose()
    await tasks.aclose()
    with pytest.raises(RuntimeError, match="owner is closed; cannot start late"):
        _ = tasks.start(asyncio.sleep(0), name="late")


async def test_what_a_death_callback_raises_does_not_stop_the_others() -> None:
    seen: list[str] = []

    def note(name: str, _: BaseException) -> None:
        seen.append(name)
        raise ValueError("the callback is broken too")

    reports: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
    tasks = TaskSupervisor("owner", on_death=note)
    started = [tasks.start(fail(name), name=name) for name in ("a", "b")]
    await asyncio.wait(started)
    await asyncio.sleep(0)
    assert seen == ["owner:a", "owner:b"]
    assert len(reports) == 2
    await tasks.aclose()
