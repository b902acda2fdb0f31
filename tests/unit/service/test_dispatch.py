"""Which job runs when, and what becomes of jobs over restarts, on a fake executor."""

import asyncio
from pathlib import Path

import pytest

from lsst.ts.ocps.executors.base import Execution, ExecutionStatus, ExecutorError, ExecutorState
from lsst.ts.ocps.executors.testing import FakeCluster, FakeExecutor
from lsst.ts.ocps.service.errors import StoreError
from lsst.ts.ocps.service.runner import LOST_SIGHT, JobRunner
from lsst.ts.ocps.service.schema import StoredJob, now
from lsst.ts.ocps.service.store import Store
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.processes import until
from support.service_process import FakeService, create_running, fake_service, id_of

pytestmark = pytest.mark.asyncio
P = ExecutionPhase


async def until_settled(fake: FakeService) -> None:
    """Wait until the ends of all commands are written down."""
    async with asyncio.timeout(20):
        while await fake.context.store.list_handed_over():  # noqa: ASYNC110 (the store has no event for it)
            await asyncio.sleep(0.01)


class TestQueue:
    async def test_no_more_commands_run_than_allowed_and_the_next_follows_in_order(
        self, tmp_path: Path
    ) -> None:
        async with fake_service(tmp_path, max_running=2) as fake:
            # One after the other: two that start at once may be handed over in either order.
            paths = [await create_running(fake), await create_running(fake)]
            for path in paths:
                assert (await fake.calls.executing(path)).phase is P.EXECUTING
            paths += [await fake.calls.create("work", PHASE="RUN") for _ in range(2)]
            assert await fake.calls.text(f"{paths[2]}/phase") == "QUEUED"
            fake.cluster.finish(id_of(paths[1]))
            await fake.calls.executing(paths[2])
            assert await fake.calls.text(f"{paths[3]}/phase") == "QUEUED"
            assert fake.cluster.keys == tuple(map(id_of, paths[:3]))

    @pytest.mark.parametrize("payload", ["single", "alone"])
    async def test_a_payload_with_max_active_does_not_hold_up_the_others(
        self, fake: FakeService, payload: str
    ) -> None:
        first = await create_running(fake, payload)
        second = await fake.calls.create(payload, PHASE="RUN")
        await create_running(fake, "work")
        assert await fake.calls.text(f"{second}/phase") == "QUEUED"
        fake.cluster.finish(id_of(first))
        assert (await fake.calls.executing(second)).phase is P.EXECUTING

    async def test_a_payload_of_higher_priority_is_started_first(self, tmp_path: Path) -> None:
        async with fake_service(tmp_path, max_running=1) as fake:
            first = await create_running(fake)
            later, urgent = [await fake.calls.create(name, PHASE="RUN") for name in ("work", "urgent")]
            fake.cluster.finish(id_of(first))
            await fake.calls.executing(urgent)
            assert await fake.calls.text(f"{later}/phase") == "QUEUED"

    async def test_jobs_wait_until_what_they_ask_for_is_free_in_this_life_and_the_next(
        self, tmp_path: Path
    ) -> None:
        cluster = FakeCluster()
        async with fake_service(tmp_path, cluster=cluster, memory=2**30) as fake:
            first = await create_running(fake, "large")
            second = await fake.calls.create("large", PHASE="RUN")
            small = await create_running(fake, "work")
            assert await fake.calls.text(f"{second}/phase") == "QUEUED"
        async with fake_service(tmp_path, cluster=cluster, memory=2**30) as fake:
            # What still runs is counted in the next life, too; memory is what there is too little of.
            cluster.finish(id_of(small))
            await fake.calls.end(small)
            assert await fake.calls.text(f"{second}/phase") == "QUEUED"
            cluster.finish(id_of(first))
            assert (await fake.calls.executing(second)).phase is P.EXECUTING

    async def test_an_abort_lets_those_start_that_were_held_back_for_the_job(self, tmp_path: Path) -> None:
        async with fake_service(tmp_path, cpus=2.5) as fake:
            await create_running(fake, "tiny")
            held_for = await fake.calls.create("huge", PHASE="RUN")
            small = await fake.calls.create("work", PHASE="RUN")
            assert await fake.calls.text(f"{small}/phase") == "QUEUED"
            await fake.calls.post(f"{held_for}/phase", PHASE="ABORT")
            assert (await fake.calls.executing(small)).phase is P.EXECUTING

    async def test_an_aborted_queued_job_is_never_started_and_frees_its_place(self, tmp_path: Path) -> None:
        async with fake_service(tmp_path, max_running=1) as fake:
            first = await create_running(fake)
            second, third = [await fake.calls.create("work", PHASE="RUN") for _ in range(2)]
            await fake.calls.post(f"{second}/phase", PHASE="ABORT")
            fake.cluster.finish(id_of(first))
            await fake.calls.executing(third)
            assert id_of(second) not in fake.cluster.keys


class TestSubmission:
    async def test_a_refusal_for_good_is_the_error_of_the_job(self, fake: FakeService) -> None:
        fake.cluster.refuse_next(ExecutorError("no such partition"))
        job = await fake.calls.end(await fake.calls.create("work", PHASE="RUN"))
        assert job.phase is P.ERROR
        assert job.error is not None
        assert (job.error.message, job.error.is_transient) == ("no such partition", False)

    async def test_a_transient_refusal_is_tried_again(self, fake: FakeService) -> None:
        fake.cluster.refuse_next(ExecutorError("too many files", transient=True))
        await create_running(fake)

    async def test_a_job_aborted_while_it_is_handed_over_is_cancelled(self, fake: FakeService) -> None:
        path = await fake.calls.create("work")
        run, abort = await asyncio.gather(
            fake.calls.post(f"{path}/phase", PHASE="RUN"), fake.calls.post(f"{path}/phase", PHASE="ABORT")
        )
        assert abort.status_code == 303
        assert run.status_code in {303, 403}
        assert (await fake.calls.end(path)).phase is P.ABORTED
        await until(
            lambda: (
                fake.cluster.status(id_of(path)).state not in {ExecutorState.WAITING, ExecutorState.RUNNING}
            ),
            "the command does not run",
        )


class TestRaces:
    async def test_of_two_aborts_both_are_accepted_and_one_counts(self, fake: FakeService) -> None:
        path = await create_running(fake)
        answers = await asyncio.gather(*(fake.calls.post(f"{path}/phase", PHASE="ABORT") for _ in range(10)))
        assert {answer.status_code for answer in answers} == {303}
        assert (await fake.calls.job(path)).phase is P.ABORTED

    @pytest.mark.parametrize("exit_code", [0, 1])
    async def test_abort_against_the_end_leaves_one_truth(self, fake: FakeService, exit_code: int) -> None:
        for delay in (0, 0.001, 0.002, 0.003, 0.005, 0.008):
            path = await create_running(fake)
            abort = asyncio.create_task(fake.calls.post(f"{path}/phase", PHASE="ABORT"))
            await asyncio.sleep(delay)
            fake.cluster.finish(id_of(path), exit_code)
            shown = await fake.calls.job((await abort).headers["Location"])
            assert shown.phase in {P.ABORTED, P.COMPLETED if exit_code == 0 else P.ERROR}
            assert (shown.error is None) == (shown.phase is not P.ERROR)
            await until_settled(fake)
            last = await fake.calls.job(path)
            assert (last.phase, last.end_time) == (shown.phase, shown.end_time)

    async def test_run_twice_at_once_starts_one_command(self, fake: FakeService) -> None:
        path = await fake.calls.create("work")
        answers = await asyncio.gather(*(fake.calls.post(f"{path}/phase", PHASE="RUN") for _ in range(10)))
        assert sorted(answer.status_code for answer in answers) == [303] + [403] * 9
        await fake.calls.executing(path)
        assert fake.cluster.keys == (id_of(path),)

    async def test_deletes_at_once_do_not_disturb_each_other(self, fake: FakeService) -> None:
        path = await create_running(fake)
        answers = await asyncio.gather(*(fake.calls.http.delete(path) for _ in range(10)))
        assert {answer.status_code for answer in answers} <= {303, 404}
        assert 303 in {answer.status_code for answer in answers}
        assert (await fake.calls.http.get(path)).status_code == 404


class TestRestart:
    async def test_queued_jobs_are_queued_again(self, tmp_path: Path) -> None:
        cluster = FakeCluster()
        async with fake_service(tmp_path, cluster=cluster, max_running=1) as fake:
            first = await create_running(fake)
            second, third = [await fake.calls.create("work", PHASE="RUN") for _ in range(2)]
        async with fake_service(tmp_path, cluster=cluster, max_running=1) as fake:
            assert [ref.phase for ref in await fake.calls.jobs("work")] == [P.EXECUTING, P.QUEUED, P.QUEUED]
            cluster.finish(id_of(first))
            await fake.calls.executing(second)
            cluster.finish(id_of(second))
            await fake.calls.executing(third)
        assert cluster.keys == tuple(map(id_of, (first, second, third)))

    async def test_a_command_that_ended_meanwhile_ends_its_job(self, tmp_path: Path) -> None:
        cluster = FakeCluster()
        async with fake_service(tmp_path, cluster=cluster) as fake:
            path = await create_running(fake)
        cluster.finish(id_of(path), 5)
        async with fake_service(tmp_path, cluster=cluster) as fake:
            job = await fake.calls.end(path)
        assert job.phase is P.ERROR
        assert job.error is not None
        assert "exit code 5" in job.error.message

    async def test_a_command_without_trace_is_an_error_after_some_patience(self, tmp_path: Path) -> None:
        cluster = FakeCluster()
        async with fake_service(tmp_path, cluster=cluster) as fake:
            path = await create_running(fake)
        cluster.lose(id_of(path))
        async with fake_service(tmp_path, cluster=cluster) as fake:
            assert (await fake.calls.job(path)).phase is P.EXECUTING
            job = await fake.calls.end(path)
        assert job.phase is P.ERROR
        assert job.error is not None
        assert job.error.message == f"{LOST_SIGHT}: no trace of it is left"

    async def test_a_job_aborted_in_the_last_life_whose_command_still_runs_is_cancelled(
        self, tmp_path: Path
    ) -> None:
        cluster = FakeCluster()
        async with fake_service(tmp_path, cluster=cluster) as fake:
            path = await create_running(fake)
            stored = await fake.context.store.abort(
                id_of(path),
                P.EXECUTING,
                end_time=(await fake.context.store.find(id_of(path))).job.creation_time,  # type: ignore[arg-type, union-attr]
            )
            assert stored is not None
        async with fake_service(tmp_path, cluster=cluster) as fake:
            await until(lambda: cluster.status(id_of(path)).state.is_final, "the command is cancelled")
            assert (await fake.calls.job(path)).phase is P.ABORTED

    async def test_a_job_destroyed_in_the_last_life_is_removed_in_this_one(self, tmp_path: Path) -> None:
        cluster = FakeCluster()
        async with fake_service(tmp_path, cluster=cluster) as fake:
            path = await create_running(fake)
            folder = fake.config.jobs_directory / id_of(path)
            await fake.context.store.abort(id_of(path), P.EXECUTING, end_time=now())
            await fake.context.store.mark_destroyed(id_of(path))
        assert folder.exists()
        async with fake_service(tmp_path, cluster=cluster) as fake:
            await until(lambda: not folder.exists(), "the folder is gone")
            assert cluster.status(id_of(path)).state is ExecutorState.CANCELLED


class TestSight:
    """An executor that loses sight of a command says so, and is asked to follow it again."""

    async def test_a_command_lost_sight_of_is_followed_again_to_its_end(self, fake: FakeService) -> None:
        path = await create_running(fake)
        for _ in range(2):
            fake.cluster.lose_sight(id_of(path))
            await until(lambda: fake.cluster.is_followed(id_of(path)), "it is followed again")
        assert (await fake.calls.job(path)).phase is P.EXECUTING
        fake.cluster.finish(id_of(path))
        assert (await fake.calls.end(path)).phase is P.COMPLETED

    async def test_an_end_that_nobody_saw_is_found(self, fake: FakeService) -> None:
        path = await create_running(fake)
        fake.cluster.lose_sight(id_of(path))
        fake.cluster.finish(id_of(path))
        assert (await fake.calls.end(path)).phase is P.COMPLETED

    async def test_an_abort_meanwhile_reaches_the_command(self, fake: FakeService) -> None:
        path = await create_running(fake)
        fake.cluster.lose_sight(id_of(path))
        await fake.calls.post(f"{path}/phase", PHASE="ABORT")
        await until(
            lambda: fake.cluster.status(id_of(path)).state is ExecutorState.CANCELLED, "it is cancelled"
        )
        assert (await fake.calls.job(path)).phase is P.ABORTED

    async def test_what_cannot_be_followed_again_ends_in_error_with_the_reason(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        attempts: list[str] = []

        async def fail(_executor: FakeExecutor, execution: Execution, _native_id: str) -> ExecutionStatus:
            attempts.append(execution.key)
            raise RuntimeError("can't start new thread")

        async with fake_service(tmp_path, follow_patience=5.0) as fake:
            path = await create_running(fake)
            monkeypatch.setattr(FakeExecutor, "attach", fail)
            fake.cluster.lose_sight(id_of(path))
            job = await fake.calls.end(path)
        assert job.phase is P.ERROR
        assert job.error is not None
        assert job.error.message == f"{LOST_SIGHT}: RuntimeError: can't start new thread"
        # More than once, and with pauses.
        assert 2 <= len(attempts) <= 9

    async def test_what_is_lost_again_and_again_ends_in_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        attach = FakeExecutor.attach

        async def attach_and_lose(
            executor: FakeExecutor, execution: Execution, native_id: str
        ) -> ExecutionStatus:
            status = await attach(executor, execution, native_id)
            asyncio.get_running_loop().call_soon(executor.cluster.lose_sight, execution.key)
            return status

        async with fake_service(tmp_path, follow_patience=0.5) as fake:
            path = await create_running(fake)
            monkeypatch.setattr(FakeExecutor, "attach", attach_and_lose)
            fake.cluster.lose_sight(id_of(path))
            job = await fake.calls.end(path)
        assert job.phase is P.ERROR
        assert job.error is not None
        assert job.error.message == f"{LOST_SIGHT}: lost sight of it"


class TestDeath:
    """A task of the service that dies takes the service with it, and not in silence."""

    @staticmethod
    async def assert_told(fake: FakeService, reason: str) -> None:
        await until(fake.context.failure.done, "the death is told")
        assert reason in str(fake.context.failure.exception())
        availability = (await fake.calls.http.get("/availability")).text
        assert ">false<" in availability
        # Anybody may read that; the reason is for the log.
        assert reason not in availability

    async def test_a_job_whose_end_cannot_be_written_down(
        self, fake: FakeService, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def fail(*_arguments: object) -> StoredJob | None:
            raise StoreError("disk full")

        path = await create_running(fake)
        monkeypatch.setattr(Store, "end", fail)
        fake.cluster.finish(id_of(path))
        await self.assert_told(fake, "disk full")

    async def test_the_reaper(self, fake: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
        async def fail(*_arguments: object) -> list[StoredJob]:
            raise RuntimeError("out of order")

        monkeypatch.setattr(Store, "list_due", fail)
        await fake.calls.http.delete(await fake.calls.create("work"))
        await self.assert_told(fake, "out of order")


async def test_a_job_tells_of_a_failure_of_the_service_without_the_secrets_of_the_site(
    fake: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_arguments: object, **_more: object) -> bool:
        raise StoreError("postgresql://planted-user@planted-host/planted-name: broken")

    monkeypatch.setattr(JobRunner, "run", fail)
    job = await fake.calls.end(await fake.calls.create("work", PHASE="RUN"))
    assert job.error is not None
    assert job.error.message == "the service failed (StoreError); its log tells more"


class TestStop:
    async def test_commands_go_on_unless_told_otherwise(self, tmp_path: Path) -> None:
        cluster = FakeCluster()
        async with fake_service(tmp_path, cluster=cluster) as fake:
            path = await create_running(fake)
        assert cluster.status(id_of(path)).state is ExecutorState.RUNNING

    async def test_on_stop_abort_ends_running_jobs_and_starts_no_others(self, tmp_path: Path) -> None:
        cluster = FakeCluster()
        async with fake_service(tmp_path, cluster=cluster, on_stop="abort", max_running=1) as fake:
            running = await create_running(fake)
            queued = await fake.calls.create("work", PHASE="RUN")
        assert cluster.status(id_of(running)).state is ExecutorState.CANCELLED
        assert cluster.keys == (id_of(running),)
        async with fake_service(tmp_path, cluster=cluster) as fake:
            assert (await fake.calls.job(running)).phase is P.ABORTED
            assert (await fake.calls.executing(queued)).phase is P.EXECUTING
