"""Answers that come late: one for all who learn of a change, and the usual one where news tells nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from lsst.ts.ocps.service import handlers
from lsst.ts.ocps.service.app import create_app
from lsst.ts.ocps.service.errors import StoreError
from lsst.ts.ocps.service.results import JobFolder
from lsst.ts.ocps.service.store import Store
from lsst.ts.ocps.uws.codec import parse_job
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.processes import until
from support.service_process import FakeService, create_running, fake_service, id_of

pytestmark = pytest.mark.asyncio
P = ExecutionPhase
Waiting = list[asyncio.Task[httpx.Response]]


async def start_waiting(
    fake: FakeService, path: str, phase: P, num: int, host: str = "uws.example"
) -> Waiting:
    before = asleep(path)
    query = {"WAIT": "50", "PHASE": phase.value}
    reading = (fake.calls.http.get(path, params=query, headers={"Host": host}) for _ in range(num))
    waiting = [asyncio.create_task(each) for each in reading]
    await until(lambda: asleep(path) == before + num, "all wait")
    return waiting


def asleep(path: str) -> int:
    """How many have read the job, and wait for a change."""
    names = [task.get_name() for task in asyncio.all_tasks() if not task.cancelling()]
    return names.count(f"client of {path}")


async def hears(there: FakeService, here: FakeService) -> None:
    """Wait until one process hears the news of another; when it begins to, all who wait there look again."""
    path = await here.calls.create("work")
    waiting = await start_waiting(there, path, P.PENDING, 1)
    await here.calls.post(f"{path}/phase", PHASE="ABORT")
    await answers(waiting)


async def answers(waiting: Waiting) -> list[httpx.Response]:
    async with asyncio.timeout(20):
        return list(await asyncio.gather(*waiting))


def counted(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[object]:
    """Note each call of a function."""
    calls: list[object] = []
    function: Callable[..., object] = getattr(owner, name)

    def call(*args: object, **kwargs: object) -> object:
        calls.append(args)
        return function(*args, **kwargs)

    monkeypatch.setattr(owner, name, call)
    return calls


async def test_one_document_is_made_for_all_who_ask_at_one_url(
    fake: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await create_running(fake)
    (fake.config.jobs_directory / id_of(path) / "out" / "map").write_text("a result has a URL")
    waiting = await start_waiting(fake, path, P.EXECUTING, 20)
    elsewhere = await start_waiting(fake, path, P.EXECUTING, 20, host="localhost:80")
    made = counted(monkeypatch, handlers, "job_to_xml")
    fake.cluster.finish(id_of(path))
    here, there = await answers(waiting), await answers(elsewhere)
    assert len(made) == 2
    assert len({answer.content for answer in here}) == len({answer.content for answer in there}) == 1
    for answer, root in ((here[0], "http://uws.example"), (there[0], "http://localhost:80")):
        assert answer.status_code == 200
        assert parse_job(answer.content, f"{root}{path}").phase is P.COMPLETED
        assert f'href="{root}{path}/results/map"' in answer.text
    # It is the answer that everybody gets later, headers and all.
    later = await fake.calls.http.get(path)
    assert (later.content, later.headers) == (here[0].content, here[0].headers)
    assert later.headers["x-content-type-options"] == "nosniff"


async def test_the_progress_of_a_job_that_starts_is_read_once_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fake_service(tmp_path, max_running=1) as fake:
        first = await create_running(fake)
        path = await fake.calls.create("work", PHASE="RUN")
        waiting = await start_waiting(fake, path, P.QUEUED, 20)
        read = counted(monkeypatch, JobFolder, "read_progress")
        fake.cluster.finish(id_of(first))
        for answer in await answers(waiting):
            assert parse_job(answer.content, path).phase is P.EXECUTING
        assert len(read) == 1


async def test_news_without_a_change_leaves_those_who_wait_waiting(fake: FakeService) -> None:
    path = await create_running(fake)
    watch = fake.context.watch
    waiting = await start_waiting(fake, path, P.EXECUTING, 3)
    for _ in range(3):
        watch.publish(id_of(path), None)
        assert watch.count(id_of(path)) == 0
        await until(lambda: watch.count(id_of(path)) == 3, "all wait again")
    assert not any(task.done() for task in waiting)
    fake.cluster.finish(id_of(path))
    assert {parse_job(answer.content, path).phase for answer in await answers(waiting)} == {P.COMPLETED}
    assert watch.total == 0


async def test_news_that_is_older_than_what_was_read_is_none(fake: FakeService) -> None:
    path = await create_running(fake)
    waiting = await start_waiting(fake, path, P.EXECUTING, 3)
    fake.context.watch.publish(id_of(path), await fake.context.store.find(id_of(path)))
    await until(lambda: fake.context.watch.count(id_of(path)) == 3, "all wait again")
    fake.cluster.finish(id_of(path))
    assert {parse_job(answer.content, path).phase for answer in await answers(waiting)} == {P.COMPLETED}


@pytest.mark.system
@pytest.mark.xdist_group("postgresql")
async def test_a_job_that_changes_at_another_process_is_read_once_for_all_who_wait(
    tmp_path: Path, postgresql_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        fake_service(tmp_path, database_url=postgresql_database) as here,
        fake_service(tmp_path, database_url=postgresql_database, cluster=here.cluster) as there,
    ):
        await hears(there, here)
        path = await here.calls.create("work")
        waiting = await start_waiting(there, path, P.PENDING, 20)
        found = counted(monkeypatch, there.context.store, "find")
        made = counted(monkeypatch, handlers, "job_to_xml")
        await here.calls.post(f"{path}/phase", PHASE="ABORT")
        for answer in await answers(waiting):
            assert parse_job(answer.content, path).phase is P.ABORTED
        assert len(found) == 1
        # One in the answer to the abort, and one for all.
        assert len(made) == 2


async def test_news_without_a_change_does_not_prolong_the_wait(tmp_path: Path) -> None:
    async with fake_service(tmp_path, max_wait=0.2) as fake:
        path = await create_running(fake)
        waiting = asyncio.create_task(fake.calls.job(path, WAIT="-1"))
        async with asyncio.timeout(20):
            while not waiting.done():
                fake.context.watch.publish(id_of(path), None)
                await asyncio.sleep(0.01)
        assert (await waiting).phase is P.EXECUTING


async def test_a_database_that_fails_while_somebody_waits_is_told_as_ever(
    fake: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_self: Store, _job_id: str) -> None:
        raise StoreError("gone")

    path = await create_running(fake)
    waiting = await start_waiting(fake, path, P.EXECUTING, 2)
    monkeypatch.setattr(Store, "find", fail)
    fake.context.watch.publish(id_of(path), None)
    for answer in await answers(waiting):
        assert answer.status_code == 503
        assert "Retry-After" in answer.headers
    assert fake.context.watch.total == 0


async def read_statuses(fake: FakeService) -> str:
    figures = (await fake.calls.http.get("/metrics")).text
    about = 'ocps_http_requests_total{method="GET",route="/{payload}/async/{job_id}"'
    return "\n".join(line for line in figures.splitlines() if line.startswith(about))


async def test_each_who_waited_is_counted_once(fake: FakeService) -> None:
    path = await fake.calls.create("work")
    waiting = await start_waiting(fake, path, P.PENDING, 3)
    assert await read_statuses(fake) == ""
    fake.context.watch.publish(id_of(path), None)
    await until(lambda: fake.context.watch.count(id_of(path)) == 3, "all wait again")
    await fake.calls.post(f"{path}/phase", PHASE="ABORT")
    await answers(waiting)
    assert (await read_statuses(fake)).endswith('status="200"} 3.0')


async def test_a_client_that_leaves_is_let_go_and_told_nothing_good(fake: FakeService) -> None:
    path = await fake.calls.create("work")
    left = asyncio.Event()
    messages = iter([{"type": "http.request", "body": b"", "more_body": False}])
    sent = []

    async def receive() -> Any:
        if (message := next(messages, None)) is not None:
            return message
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": b"WAIT=50",
        "headers": [(b"host", b"uws.example")],
        "client": ("127.0.0.1", 1),
        "scheme": "http",
        "server": ("uws.example", 80),
    }
    application: Awaitable[None] = create_app(fake.config, fake.context)(scope, receive, send)
    answering = asyncio.ensure_future(application)
    await until(lambda: fake.context.watch.total == 1, "it waits")
    left.set()
    await asyncio.wait_for(answering, 20)
    assert fake.context.watch.total == 0
    assert [message.get("status") for message in sent] == [499, None]
    assert (await read_statuses(fake)).endswith('status="499"} 1.0')
