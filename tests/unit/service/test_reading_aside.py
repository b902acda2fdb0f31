"""Jobs that read what they refer to leave their places to others meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lsst.ts.ocps.executors.testing import FakeCluster
from lsst.ts.ocps.service.errors import FetchError
from lsst.ts.ocps.service.fetching import Fetcher
from lsst.ts.ocps.service.queue import QueuedJob
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.processes import until
from support.queues import cpus, drain, fill, job, make_queue
from support.service_process import FakeService, create_running, fake_service, id_of

P = ExecutionPhase
URL = "https://data.example/table"


class Source:
    """What is read from elsewhere comes when the test says so."""

    def __init__(self) -> None:
        self.asked = 0
        self.has_come = asyncio.Event()
        self.fails = False

    async def fetch(self, _fetcher: Fetcher, _url: str, file: Path, *, max_bytes: int) -> int:
        self.asked += 1
        await self.has_come.wait()
        if self.fails:
            raise FetchError("it is not there")
        await asyncio.to_thread(file.write_bytes, b"content")
        return min(max_bytes, 7)


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Source:
    source = Source()

    async def fetch(fetcher: Fetcher, url: str, file: Path, *, max_bytes: int) -> int:
        return await source.fetch(fetcher, url, file, max_bytes=max_bytes)

    monkeypatch.setattr(Fetcher, "fetch", fetch)
    return source


@asynccontextmanager
async def small_service(directory: Path, cluster: FakeCluster | None = None) -> AsyncIterator[FakeService]:
    """A service that runs one command at a time."""
    uploads = {"hosts": ["data.example"]}
    async with fake_service(directory, cluster=cluster, max_running=1, uploads=uploads) as fake:
        yield fake
        assert not fake.context.failure.done()


async def create_reading(fake: FakeService, source: Source) -> str:
    path = await fake.calls.create("take", UPLOAD=f"table,{URL}", PHASE="RUN")
    await until(lambda: source.asked, "it reads")
    return path


async def create_three(fake: FakeService, source: Source) -> tuple[str, str, str]:
    """One that has read and waits for its place, one that has it, and one that came later."""
    reading = await create_reading(fake, source)
    running = await create_running(fake)
    later = await fake.calls.create("work", PHASE="RUN")
    source.has_come.set()
    await until(lambda: fake.context.dispatcher._gates, "it has read")
    return reading, running, later


@pytest.mark.asyncio
async def test_others_run_meanwhile_and_it_comes_next_when_it_has_read(
    tmp_path: Path, source: Source
) -> None:
    async with small_service(tmp_path) as fake:
        reading, running, later = await create_three(fake, source)
        assert [await fake.calls.text(f"{path}/phase") for path in (reading, later)] == ["QUEUED"] * 2
        fake.cluster.finish(id_of(running))
        assert (await fake.calls.executing(reading)).phase is P.EXECUTING
        assert await fake.calls.text(f"{later}/phase") == "QUEUED"
        fake.cluster.finish(id_of(reading))
        assert (await fake.calls.executing(later)).phase is P.EXECUTING


@pytest.mark.asyncio
async def test_an_abort_while_it_waits_for_its_place_holds_it_for_nobody(
    tmp_path: Path, source: Source
) -> None:
    async with small_service(tmp_path) as fake:
        reading, running, later = await create_three(fake, source)
        assert (await fake.calls.post(f"{reading}/phase", PHASE="ABORT")).status_code == 303
        await until(lambda: fake.context.dispatcher.running == 1, "it waits no longer")
        fake.cluster.finish(id_of(running))
        assert (await fake.calls.executing(later)).phase is P.EXECUTING
        assert id_of(reading) not in fake.cluster.keys
        assert (await fake.calls.job(reading)).phase is P.ABORTED


@pytest.mark.asyncio
async def test_what_cannot_be_read_takes_no_place_of_others(tmp_path: Path, source: Source) -> None:
    async with small_service(tmp_path) as fake:
        reading = await create_reading(fake, source)
        running = await create_running(fake)
        source.fails = True
        source.has_come.set()
        ended = await fake.calls.end(reading)
        assert (ended.phase, ended.error and ended.error.message) == (P.ERROR, "it is not there")
        later = await fake.calls.create("work", PHASE="RUN")
        assert await fake.calls.text(f"{later}/phase") == "QUEUED"
        fake.cluster.finish(id_of(running))
        assert (await fake.calls.executing(later)).phase is P.EXECUTING


@pytest.mark.asyncio
async def test_a_service_that_ends_meanwhile_reads_again(tmp_path: Path, source: Source) -> None:
    cluster = FakeCluster()
    async with small_service(tmp_path, cluster) as fake:
        reading = await create_reading(fake, source)
    source.has_come.set()
    async with small_service(tmp_path, cluster) as fake:
        assert (await fake.calls.executing(reading)).phase is P.EXECUTING
    assert source.asked == 2
    assert cluster.keys == (id_of(reading),)


class TestQueue:
    """A job that only reads from elsewhere needs nothing of this machine meanwhile."""

    def test_its_place_is_free_and_it_comes_first_when_it_wants_it_back(self) -> None:
        queue = fill(make_queue(of=cpus(1)), job("a", of=cpus(1)), job("b", of=cpus(1)), job("c", of=cpus(1)))
        assert drain(queue) == ["a"]
        queue.set_aside("a")
        assert drain(queue) == ["b"]
        queue.take_up("a")
        assert drain(queue) == []
        queue.note_end("b")
        assert drain(queue) == ["a"]
        assert queue.running == ("a",)
        queue.note_end("a")
        assert drain(queue) == ["c"]

    def test_a_slot_is_a_place_too_and_what_it_does_not_need_is_given_to_others(self) -> None:
        queue = fill(make_queue(slots=1), job("a"), job("b"))
        assert drain(queue) == ["a"]
        queue.set_aside("a")
        assert drain(queue) == ["b"]
        queue = fill(make_queue(of=cpus(3)), job("large", of=cpus(2)), job("x", of=cpus(2)))
        assert drain(queue) == ["large"]
        queue.set_aside("large")
        assert drain(queue) == ["x"]
        queue.take_up("large")
        fill(queue, job("small", of=cpus(1)), job("other", of=cpus(1)))
        assert drain(queue) == ["small"]

    def test_an_end_while_it_is_aside_frees_nothing_twice(self) -> None:
        for is_taken_up in (False, True):
            queue = fill(make_queue(of=cpus(1)), job("a", of=cpus(1)), job("b", of=cpus(1)))
            drain(queue)
            queue.set_aside("a")
            assert drain(queue) == ["b"]
            if is_taken_up:
                queue.take_up("a")
                assert drain(queue) == []
            queue.note_end("a")
            fill(queue, job("c", of=cpus(1)))
            assert drain(queue) == []
            assert queue.running == ("b",)
            queue.note_end("b")
            assert drain(queue) == ["c"]

    def test_no_more_are_aside_than_there_are_slots_and_others_are_not_kept_by_them(self) -> None:
        queue = make_queue(slots=2)
        fill(queue, *(QueuedJob(f"r{number}", "p", reads=True) for number in range(4)))
        for _ in range(2):
            for job_id in drain(queue):
                queue.set_aside(job_id)
        assert queue.running == ("r0", "r1")
        assert drain(fill(queue, job("a", payload="q"))) == ["a"]
        queue.take_up("r0")
        assert drain(queue) == ["r0"]
        queue.note_end("a")
        assert drain(queue) == ["r2"]
