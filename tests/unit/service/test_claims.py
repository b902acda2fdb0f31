"""What becomes of jobs that a life of the service took but did not start, on a fake executor."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lsst.ts.ocps.executors.base import Execution
from lsst.ts.ocps.executors.registry import ExecutorRegistry
from lsst.ts.ocps.executors.testing import FakeCluster, FakeExecutor
from lsst.ts.ocps.service.claims import Terms
from lsst.ts.ocps.service.context import ProcessContext, open_context
from lsst.ts.ocps.service.forms import Form
from lsst.ts.ocps.service.runner import LOST_SIGHT
from lsst.ts.ocps.service.schema import now
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.processes import until
from support.service_process import FakeService, fake_service, id_of, make_config, write_payload

pytestmark = pytest.mark.asyncio
P = ExecutionPhase


async def claim(fake: FakeService, payload: str = "work") -> str:
    """Take a job as a life does that is killed before it starts the command; the path of the job."""
    path = await fake.calls.create(payload)
    store = fake.context.store
    assert await store.queue(id_of(path), P.PENDING)
    assert await store.claim(id_of(path), Terms(native_id=""))
    return path


async def test_a_job_that_was_taken_and_not_started_is_run_once(tmp_path: Path) -> None:
    cluster = FakeCluster()
    async with fake_service(tmp_path, cluster=cluster) as fake:
        path = await claim(fake)
    async with fake_service(tmp_path, cluster=cluster) as fake:
        assert (await fake.calls.executing(path)).phase is P.EXECUTING
        cluster.finish(id_of(path))
        assert (await fake.calls.end(path)).phase is P.COMPLETED
    assert cluster.keys == (id_of(path),)


async def test_it_waits_for_its_turn_like_any_other(tmp_path: Path) -> None:
    cluster = FakeCluster()
    async with fake_service(tmp_path, cluster=cluster, max_running=1) as fake:
        paths = [await claim(fake, "single") for _ in range(2)]
    async with fake_service(tmp_path, cluster=cluster, max_running=1) as fake:
        await until(lambda: cluster.keys, "one is started")
        running, waiting = sorted(paths, key=lambda path: id_of(path) not in cluster.keys)
        await fake.calls.executing(running)
        assert await fake.calls.text(f"{waiting}/phase") == "QUEUED"
        cluster.finish(id_of(running))
        await fake.calls.executing(waiting)
    assert set(cluster.keys) == set(map(id_of, paths))


async def test_a_submission_that_comes_late_starts_nothing_beside_it(tmp_path: Path) -> None:
    cluster = FakeCluster()
    async with fake_service(tmp_path, cluster=cluster) as fake:
        path = await claim(fake)
    late = cluster.attempt_of(id_of(path))
    async with fake_service(tmp_path, cluster=cluster) as fake:
        await fake.calls.executing(path)
        with pytest.raises(Exception, match="withdrawn"):
            cluster.accept(Execution(id_of(path), ("wait",), tmp_path), late)


async def test_a_submission_that_came_through_is_followed(tmp_path: Path) -> None:
    cluster = FakeCluster()
    async with fake_service(tmp_path, cluster=cluster) as fake:
        path = await claim(fake)
    cluster.accept(Execution(id_of(path), ("wait",), tmp_path), 0)
    async with fake_service(tmp_path, cluster=cluster) as fake:
        assert (await fake.calls.executing(path)).phase is P.EXECUTING
        cluster.finish(id_of(path))
        assert (await fake.calls.end(path)).phase is P.COMPLETED
    assert cluster.attempt_of(id_of(path)) == 0


@pytest.mark.parametrize("destroys", [False, True])
async def test_a_job_that_was_ended_meanwhile_is_not_started(tmp_path: Path, destroys: bool) -> None:
    cluster = FakeCluster()
    async with fake_service(tmp_path, cluster=cluster) as fake:
        path = await claim(fake)
        folder = fake.config.jobs_directory / id_of(path)
        folder.mkdir()
        assert await fake.context.store.abort(id_of(path), P.QUEUED, end_time=now(), hide=destroys)
    async with fake_service(tmp_path, cluster=cluster) as fake:
        if destroys:
            await until(lambda: not folder.exists(), "the folder is gone")
        else:
            async with asyncio.timeout(20):
                while await fake.context.store.list_handed_over():  # noqa: ASYNC110 (the store has no event)
                    await asyncio.sleep(0.01)
            assert (await fake.calls.job(path)).phase is P.ABORTED
    assert cluster.keys == ()
    # Nothing that is late would start it either.
    assert cluster.attempt_of(id_of(path)) == 1


async def test_a_job_of_which_it_is_not_certain_is_an_error_after_some_patience(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_arguments: object) -> bool:
        return False

    cluster = FakeCluster()
    async with fake_service(tmp_path, cluster=cluster) as fake:
        path = await claim(fake)
    monkeypatch.setattr(FakeExecutor, "withdraw", refuse)
    async with fake_service(tmp_path, cluster=cluster) as fake:
        job = await fake.calls.end(path)
    assert job.phase is P.ERROR
    assert job.error is not None
    assert job.error.message == f"{LOST_SIGHT}: no trace of it is left"


async def test_a_withdrawal_that_fails_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = [OSError("Too many open files")]
    withdraw = FakeExecutor.withdraw

    async def fail_once(*arguments: Any) -> bool:
        if errors:
            raise errors.pop()
        return await withdraw(*arguments)

    cluster = FakeCluster()
    async with fake_service(tmp_path, cluster=cluster) as fake:
        path = await claim(fake)
    monkeypatch.setattr(FakeExecutor, "withdraw", fail_once)
    async with fake_service(tmp_path, cluster=cluster, attach_patience=20.0) as fake:
        assert (await fake.calls.executing(path)).phase is P.EXECUTING
    assert not errors


class FarExecutor(FakeExecutor):
    """A fake whose commands take nothing of this machine."""

    kind = "far"
    uses_this_machine = False


@asynccontextmanager
async def life_with_two_executors(directory: Path) -> AsyncIterator[ProcessContext]:
    """A service with one payload, ``moving``."""
    registry = ExecutorRegistry({"fake": FakeExecutor, "far": FarExecutor})
    still = {"run": {"command": ["wait"], "executor": "fake"}}
    async with open_context(make_config(directory, {"still": still}), registry) as context:
        yield context


@pytest.mark.parametrize("waits", ["over the start", "for the request"])
async def test_a_job_that_asks_for_more_than_there_is_since_its_payload_moved_is_an_error(
    tmp_path: Path, waits: str
) -> None:
    payloads = tmp_path / "payloads"
    write_payload(payloads, "moving", {"run": {"command": ["wait"], "executor": "fake"}})
    async with life_with_two_executors(tmp_path) as context:
        job = await context.jobs.create("moving", Form(()))
        if waits == "over the start":
            assert await context.store.queue(job.job_id, P.PENDING)
    write_payload(payloads, "moving", {"run": {"command": ["wait"], "executor": "far", "cpus": 2000}})
    async with life_with_two_executors(tmp_path) as context:
        if waits == "for the request":
            await context.jobs.set_phase("moving", job.job_id, Form((("PHASE", "RUN"),)))
        async with asyncio.timeout(20):
            while (ended := await context.jobs.get("moving", job.job_id)).phase is P.QUEUED:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert ended.phase is P.ERROR
        assert ended.job.error is not None
        asked = "it asks for 2000 cpus and 0 byte of memory, and jobs can have 1000 cpus"
        assert ended.job.error.message.startswith(asked)


async def test_a_claim_keeps_what_the_executor_calls_the_job_before_it_has_it(
    fake: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeExecutor, "preliminary_id", lambda _executor: "before")
    kept: list[str | None] = []

    async def submit(_executor: FakeExecutor, execution: Execution) -> str:
        stored = await fake.context.store.find(execution.key)
        kept.append(stored.native_id if stored else None)
        raise RuntimeError("enough is known")

    monkeypatch.setattr(FakeExecutor, "submit", submit)
    await fake.calls.end(await fake.calls.create("work", PHASE="RUN"))
    assert kept == ["before"]
