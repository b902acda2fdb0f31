"""What becomes of jobs at their time of destruction and when they are deleted, on a fake executor."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lsst.ts.ocps.executors.base import ExecutorState
from lsst.ts.ocps.executors.testing import FakeCluster
from lsst.ts.ocps.service import reaper
from lsst.ts.ocps.service.dispatch import Dispatcher
from lsst.ts.ocps.service.results import JobFolder
from lsst.ts.ocps.service.schema import StoredJob, now
from lsst.ts.ocps.service.store import Store
from lsst.ts.ocps.uws.jobs import Job
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.processes import until
from support.service_process import FakeService, create_running, expire, fake_service, id_of

pytestmark = pytest.mark.asyncio
P = ExecutionPhase

SOON = 2.0
"""So far in the future (s) that a busy machine gets there before it is past."""


def in_seconds(seconds: float) -> str:
    """A time to come, as a client writes it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


async def until_forgotten(fake: FakeService, path: str) -> None:
    """Wait until not even the row of a job is left."""
    async with asyncio.timeout(20):
        while await fake.context.store.find_any(id_of(path)):  # noqa: ASYNC110 (the store has no event for it)
            await asyncio.sleep(0.01)
    assert (await fake.calls.http.get(path)).status_code == 404


async def until_archived(fake: FakeService, path: str) -> Job:
    """Wait until only the record of a job is left."""
    job = await fake.calls.until(path, lambda job: job.phase is P.ARCHIVED)
    await until(lambda: not (fake.config.jobs_directory / id_of(path)).exists(), "the folder is gone")
    return job


class TestDestruction:
    async def test_a_destroyed_job_leaves_neither_row_nor_folder(self, fake: FakeService) -> None:
        path = await create_running(fake)
        folder = fake.config.jobs_directory / id_of(path)
        assert folder.exists()
        await fake.calls.http.delete(path)
        await until(lambda: not folder.exists(), "the folder is gone")
        await until_forgotten(fake, path)

    async def test_a_folder_that_cannot_be_removed_does_not_keep_the_others(
        self, fake: FakeService, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        locked, other = [await create_running(fake) for _ in range(2)]
        remove = JobFolder.remove

        def remove_unlocked(folder: JobFolder) -> None:
            if folder.path.name == id_of(locked):
                raise PermissionError(13, "Permission denied", str(folder.path))
            remove(folder)

        monkeypatch.setattr(JobFolder, "remove", remove_unlocked)
        for path in (locked, other):
            await fake.calls.http.delete(path)
        await until_forgotten(fake, other)
        assert await fake.context.store.find_any(id_of(locked))
        assert (await fake.calls.http.get(locked)).status_code == 404

    async def test_a_job_is_destroyed_at_its_time_though_it_runs(self, fake: FakeService) -> None:
        path = await create_running(fake)
        soon = asyncio.get_running_loop().time()
        answer = await fake.calls.post(f"{path}/destruction", DESTRUCTION=in_seconds(SOON))
        assert answer.status_code == 303
        await until_archived(fake, path)
        assert asyncio.get_running_loop().time() - soon >= SOON / 2
        assert fake.cluster.status(id_of(path)).state is ExecutorState.CANCELLED

    async def test_a_time_given_at_creation_holds_for_pending_jobs_too(self, fake: FakeService) -> None:
        path = await fake.calls.create("work", DESTRUCTION=in_seconds(SOON))
        assert (await fake.calls.job(path)).phase is P.PENDING
        await until_archived(fake, path)

    async def test_a_job_is_kept_no_longer_than_the_service_allows_but_for_what_it_was_promised(
        self, tmp_path: Path
    ) -> None:
        async with fake_service(tmp_path, max_retention=timedelta(days=2)) as fake:
            path = await fake.calls.create("work")
            job = await fake.calls.job(path)
            assert job.creation_time is not None
            assert job.destruction == job.creation_time + timedelta(days=2)
            for asked, shown in (("2199-01-01", timedelta(days=2)), (in_seconds(86400), None)):
                answer = await fake.calls.post(f"{path}/destruction", DESTRUCTION=asked)
                assert answer.status_code == 303
                destruction = (await fake.calls.job(path)).destruction
                assert destruction is not None
                assert destruction == job.creation_time + shown if shown else destruction < job.destruction
            # The service allowed more then.
            promised = now() + timedelta(days=30)
            await fake.context.store.set_destruction(id_of(path), promised)
            await fake.calls.post(f"{path}/destruction", DESTRUCTION="2199-01-01")
            assert (await fake.calls.job(path)).destruction == promised

    async def test_another_process_that_is_quicker_does_no_harm(
        self, fake: FakeService, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = fake.context.store
        abort = Dispatcher.abort
        last = now() + timedelta(days=3)

        async def abort_too_late(
            dispatcher: Dispatcher, stored: StoredJob, *, hide: bool = False
        ) -> StoredJob | None:
            assert await store.abort(stored.job_id, stored.phase, end_time=now())
            assert await store.archive(stored.job_id, P.ABORTED, until=last)
            return await abort(dispatcher, stored, hide=hide)

        paths = [await fake.calls.create("work") for _ in range(2)]
        with monkeypatch.context() as patch:
            patch.setattr(Dispatcher, "abort", abort_too_late)
            for path in paths:
                await expire(fake, path)
            for path in paths:
                assert (await until_archived(fake, path)).destruction == last
        assert not fake.context.failure.done()
        path = await fake.calls.create("work")
        await expire(fake, path)
        await until_archived(fake, path)

    async def test_an_unforeseen_failure_with_one_job_keeps_neither_the_others_nor_the_service(
        self, fake: FakeService, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reaper, "_PAUSE", 0.05)
        bad, good = [await fake.calls.create("work") for _ in range(2)]
        archive = Store.archive
        failed = asyncio.Event()

        async def fail(
            store: Store, job_id: str, old: ExecutionPhase, *, until: datetime
        ) -> StoredJob | None:
            if job_id == id_of(bad):
                failed.set()
                raise ValueError("nobody has thought of this")
            return await archive(store, job_id, old, until=until)

        with monkeypatch.context() as patch:
            patch.setattr(Store, "archive", fail)
            await expire(fake, bad)
            await asyncio.wait_for(failed.wait(), 20)
            await expire(fake, good)
            await until_archived(fake, good)
        assert not fake.context.failure.done()
        await until_archived(fake, bad)

    async def test_what_should_have_been_destroyed_during_a_stop_is_destroyed_at_the_start(
        self, tmp_path: Path
    ) -> None:
        async with fake_service(tmp_path) as fake:
            path = await fake.calls.create("work", DESTRUCTION=in_seconds(SOON))
            time = (await fake.calls.job(path)).destruction
        assert time is not None
        await until(lambda: datetime.now(UTC) > time, "the time has come")
        async with fake_service(tmp_path) as fake:
            await until_archived(fake, path)


class TestArchive:
    """What is left of a job after its time of destruction."""

    async def archived(self, fake: FakeService, exit_code: int = 0) -> tuple[str, Job]:
        path = await fake.calls.create("work", text="kept", RUNID="r", PHASE="RUN")
        await fake.calls.executing(path)
        output = fake.config.jobs_directory / id_of(path) / "out" / "result.txt"
        output.write_text("gone soon")
        fake.cluster.finish(id_of(path), exit_code)
        before = await fake.calls.end(path)
        assert [result.result_id for result in before.results] == ["result.txt"]
        await fake.calls.post(f"{path}/destruction", DESTRUCTION=in_seconds(SOON))
        await until_archived(fake, path)
        return path, before

    async def test_the_document_stays_without_results(self, fake: FakeService) -> None:
        path, before = await self.archived(fake)
        job = await fake.calls.job(path)
        assert (job.phase, job.results, job.run_id) == (P.ARCHIVED, (), "r")
        assert (job.parameters, job.start_time, job.end_time) == (
            before.parameters,
            before.start_time,
            before.end_time,
        )
        assert job.destruction is not None
        assert job.destruction > datetime.now(UTC) + timedelta(days=29)
        assert await fake.calls.text(f"{path}/phase") == "ARCHIVED"
        assert (await fake.calls.http.get(f"{path}/results/result.txt")).status_code == 404

    async def test_it_is_listed_to_those_who_ask_for_archived_jobs_only(self, fake: FakeService) -> None:
        path, _ = await self.archived(fake)
        other = await fake.calls.create("work")
        for query in ((), {"LAST": "9"}, {"PHASE": "COMPLETED"}):
            assert id_of(path) not in [ref.job_id for ref in await fake.calls.jobs("work", query)]
        (listed,) = await fake.calls.jobs("work", {"PHASE": "ARCHIVED"})
        assert (listed.job_id, listed.phase) == (id_of(path), P.ARCHIVED)
        both = await fake.calls.jobs("", [("PHASE", "ARCHIVED"), ("PHASE", "PENDING"), ("LAST", "9")])
        assert [ref.job_id for ref in both] == [id_of(other), id_of(path)]

    async def test_why_it_failed_is_still_told_but_not_in_detail(self, fake: FakeService) -> None:
        path, before = await self.archived(fake, exit_code=3)
        job = await fake.calls.job(path)
        assert job.error is not None
        assert before.error is not None
        assert (job.error.message, job.error.has_detail) == (before.error.message, False)
        assert (await fake.calls.http.get(f"{path}/error")).status_code == 404

    async def test_nothing_about_it_can_be_changed_but_that_it_is_there(self, fake: FakeService) -> None:
        path, _ = await self.archived(fake)
        before = await fake.calls.job(path, WAIT="30")
        for part, form in [
            ("phase", {"PHASE": "RUN"}),
            ("destruction", {"DESTRUCTION": "2199-01-01"}),
            ("executionduration", {"EXECUTIONDURATION": "5"}),
            ("parameters", {"text": "new"}),
        ]:
            answer = await fake.calls.post(f"{path}/{part}", form)
            assert answer.status_code == 403
            assert "ARCHIVED" in answer.text
        assert (await fake.calls.post(f"{path}/phase", PHASE="ABORT")).status_code == 303
        assert await fake.calls.job(path) == before
        assert (await fake.calls.http.delete(path)).status_code == 303
        assert (await fake.calls.http.get(path)).status_code == 404
        assert await fake.calls.jobs("work", {"PHASE": "ARCHIVED"}) == ()
        await until_forgotten(fake, path)

    async def test_it_is_forgotten_when_the_retention_is_over(self, tmp_path: Path) -> None:
        for retention in (timedelta(0), timedelta(seconds=1)):
            async with fake_service(tmp_path, archive_retention=retention) as fake:
                path = await fake.calls.create("work", DESTRUCTION=in_seconds(SOON))
                await until_forgotten(fake, path)

    async def test_a_crash_before_its_folder_was_removed_is_made_up_for(self, tmp_path: Path) -> None:
        cluster = FakeCluster()
        async with fake_service(tmp_path, cluster=cluster) as fake:
            path = await create_running(fake)
            await fake.context.store.abort(id_of(path), P.EXECUTING, end_time=now())
            last = now() + timedelta(days=1)
            assert await fake.context.store.archive(id_of(path), P.ABORTED, until=last)
            assert (fake.config.jobs_directory / id_of(path)).exists()
        async with fake_service(tmp_path, cluster=cluster) as fake:
            assert (await until_archived(fake, path)).results == ()
            assert cluster.status(id_of(path)).state is ExecutorState.CANCELLED

    async def test_a_deletion_meanwhile_wins(self, fake: FakeService) -> None:
        path = await fake.calls.create("work")
        await fake.calls.http.delete(path)
        last = now() + timedelta(days=1)
        assert await fake.context.store.archive(id_of(path), P.ABORTED, until=last) is None
        await until_forgotten(fake, path)
