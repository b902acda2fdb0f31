"""Several services on one PostgreSQL: they share the work, hear of each other, and inherit from the dead."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.postgresql import ON_POSTGRESQL
from support.processes import until
from support.service_calls import Calls
from support.service_process import ServiceProcess, id_of, write_payload

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(300), *ON_POSTGRESQL]
P = ExecutionPhase
MakeService = Callable[..., ServiceProcess]


@pytest.fixture
def service_database(postgresql_database: str) -> dict[str, str]:
    return {"database_url": postgresql_database}


@asynccontextmanager
async def started(*services: ServiceProcess) -> AsyncIterator[list[Calls]]:
    """Services that answer, and calls to each."""
    for service in services:
        await service.start()
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Calls.to(service.url)) for service in services]


def begun(service: ServiceProcess, path: str) -> Path:
    return service.config.jobs_directory / id_of(path) / "begun"


def holding(gate: Path) -> str:
    """A script that says that it has begun, and waits for a file."""
    return f"echo begun >> begun; while [ ! -e {gate} ]; do sleep 0.02; done"


async def create_many(all_calls: Sequence[Calls], count: int, script: str) -> list[str]:
    """Create jobs at each service in turn."""
    creating = [
        all_calls[number % len(all_calls)].create("shell", script=script, PHASE="RUN")
        for number in range(count)
    ]
    return await asyncio.gather(*creating)


def count_by_process(url: str) -> dict[str, int]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT instance, count(*) FROM jobs GROUP BY instance").fetchall()
    return dict(rows)


async def test_two_processes_share_two_hundred_jobs_and_none_runs_twice(
    make_service_process: MakeService, postgresql_database: str, tmp_path: Path
) -> None:
    services = [make_service_process(max_running=8) for _ in range(2)]
    async with started(*services) as (one, two):
        # All are made at one process; what it has no room for is done by the other.
        paths = await create_many([one], 200, holding(tmp_path / "gate"))
        await until(
            lambda: sum(begun(services[0], path).exists() for path in paths) == 16, "both run what they may"
        )
        (tmp_path / "gate").touch()
        for path in paths:
            assert (await two.end(path)).phase is P.COMPLETED
    for path in paths:
        assert begun(services[0], path).read_text() == "begun\n"
    shares = count_by_process(postgresql_database)
    assert len(shares) == 2
    assert min(shares.values()) >= 8


async def test_processes_of_one_host_do_not_run_more_than_it_bears_together(
    make_service_process: MakeService,
) -> None:
    # Each of the jobs asks for one processor.
    services = [make_service_process(cpus=2) for _ in range(2)]
    async with started(*services) as all_calls:
        paths = await create_many(all_calls, 10, "sleep 0.5")
        jobs = [await all_calls[0].end(path) for path in paths]
    assert {job.phase for job in jobs} == {P.COMPLETED}
    starts = [job.start_time for job in jobs if job.start_time]
    ends = [job.end_time for job in jobs if job.end_time]
    assert len(starts) == len(ends) == 10
    assert max(sum(start <= at for start in starts) - sum(end <= at for end in ends) for at in starts) == 2


async def test_of_three_processes_one_is_killed_and_no_job_is_lost_or_doubled(
    make_service_process: MakeService,
) -> None:
    services = [make_service_process(max_running=8, lease=2, attach_patience=2) for _ in range(3)]
    async with started(*services) as all_calls:
        paths = await create_many(all_calls, 200, "echo begun >> begun; sleep 0.3")
        await until(lambda: sum(begun(services[0], path).exists() for path in paths) > 40, "some have begun")
        await services[1].kill()
        survivors = [all_calls[0], all_calls[2]]
        jobs = [await survivors[number % 2].end(path) for number, path in enumerate(paths)]
    for path, job in zip(paths, jobs, strict=True):
        # Those, too, that the dead one had taken but not started.
        assert (job.phase, job.error) == (P.COMPLETED, None)
        assert begun(services[0], path).read_text() == "begun\n"
    logs = [services[number].log.read_text() for number in (0, 2)]
    assert any("took over the jobs of a dead process" in log for log in logs)


async def test_a_command_of_a_killed_process_is_followed_by_another_one(
    make_service_process: MakeService, tmp_path: Path
) -> None:
    one, two = make_service_process(lease=1), make_service_process(lease=1)
    async with started(one) as (of_one,):
        script = f"{holding(tmp_path / 'gate')}; exit 7"
        path = await of_one.create("shell", script=script, PHASE="RUN")
        await until(begun(one, path).exists, "it has begun")
        await of_one.executing(path)
    # Had it been there before, it might have been the one to run the job.
    async with started(two) as (of_two,):
        await one.kill()
        waiting = asyncio.create_task(of_two.end(path))
        (tmp_path / "gate").touch()
        job = await waiting
    assert job.phase is P.ERROR
    assert begun(one, path).read_text() == "begun\n"


async def test_a_process_that_stops_leaves_its_commands_to_the_others_and_comes_back_under_its_name(
    make_service_process: MakeService, tmp_path: Path, postgresql_database: str
) -> None:
    one, two = make_service_process(lease=60), make_service_process(lease=3)
    async with started(one) as (of_one,):
        path = await of_one.create("shell", script=holding(tmp_path / "gate"), PHASE="RUN")
        await of_one.executing(path)
    async with started(two) as (of_two,):
        await one.stop()
        # Long before the lease of the first is over.
        await until(lambda: '"found again"' in two.log.read_text(), "the other follows it")
        (tmp_path / "gate").touch()
        assert (await of_two.end(path)).phase is P.COMPLETED
    await one.start()
    with psycopg.connect(postgresql_database) as connection:
        assert connection.execute("SELECT count(*) FROM instances").fetchone() == (2,)


async def test_what_one_process_does_is_heard_at_the_other(make_service_process: MakeService) -> None:
    one, two = make_service_process(), make_service_process()
    async with started(one, two) as (of_one, of_two):
        path = await of_one.create("sleep", seconds="60")
        waiting = [asyncio.create_task(of_two.job(path, WAIT="50", PHASE="PENDING")) for _ in range(10)]
        await of_two.until(path, lambda job: job.phase is P.PENDING)
        await of_one.post(f"{path}/phase", PHASE="RUN")
        async with asyncio.timeout(20):
            assert {job.phase for job in await asyncio.gather(*waiting)} <= {P.QUEUED, P.EXECUTING}
            await of_two.executing(path)
            waiting = [asyncio.create_task(of_two.job(path, WAIT="50", PHASE="EXECUTING"))]
            # It runs at one of them; both are asked to end it.
            await of_two.post(f"{path}/phase", PHASE="ABORT")
            assert (await waiting[0]).phase is P.ABORTED
        ended = one.config.jobs_directory / id_of(path) / ".ended.json"
        await until(ended.exists, "the command is gone")


@pytest.mark.parametrize("method", ["DELETE", "abort"])
async def test_an_end_at_one_process_reaches_the_command_of_the_other(
    make_service_process: MakeService, method: str
) -> None:
    one = make_service_process()
    two = make_service_process()
    await one.start()
    async with Calls.to(one.url) as of_one:
        path = await of_one.create("sleep", PHASE="RUN")
        await of_one.executing(path)
        async with started(two) as (of_two,):
            folder = one.config.jobs_directory / id_of(path)
            if method == "DELETE":
                assert (await of_two.http.delete(path)).status_code == 303
                await until(lambda: not folder.exists(), "folder and command are gone")
                assert (await of_one.http.get(path)).status_code == 404
            else:
                await of_two.post(f"{path}/phase", PHASE="ABORT")
                await until((folder / ".ended.json").exists, "the command is gone")


async def test_max_active_holds_over_all_processes(make_service_process: MakeService, tmp_path: Path) -> None:
    alone = f"mkdir {tmp_path}/alone || exit 9; sleep 0.05; rmdir {tmp_path}/alone"
    definition: dict[str, Any] = {
        "parameters": {"type": "object", "properties": {}, "additionalProperties": False},
        "run": {"command": ["sh", "-c", alone]},
        "max_active": 1,
    }
    services = [make_service_process() for _ in range(3)]
    write_payload(tmp_path / "payloads", "single", definition)
    async with started(*services) as all_calls:
        creating = [all_calls[number % 3].create("single", PHASE="RUN") for number in range(30)]
        for path in await asyncio.gather(*creating):
            assert (await all_calls[0].end(path)).phase is P.COMPLETED


async def test_jobs_whose_time_comes_at_one_instant_are_archived_by_whoever_is_first(
    make_service_process: MakeService,
) -> None:
    services = [make_service_process() for _ in range(2)]
    async with started(*services) as (one, two):
        running = [await one.create("sleep", PHASE="RUN") for _ in range(5)]
        for path in running:
            await one.executing(path)
        # All of them have to be told before it comes.
        time = (datetime.now(UTC) + timedelta(seconds=10)).isoformat()
        creating = [(one, two)[number % 2].create("sleep", DESTRUCTION=time) for number in range(20)]
        paths = [*await asyncio.gather(*creating), *running]
        for path in running:
            assert (await two.post(f"{path}/destruction", DESTRUCTION=time)).status_code == 303
        for path in paths:
            await one.until(path, lambda job: job.phase is P.ARCHIVED)
        jobs_directory = services[0].config.jobs_directory
        await until(lambda: not any(jobs_directory.iterdir()), "their folders are gone")
        for calls in (one, two):
            assert (await calls.job(paths[0])).phase is P.ARCHIVED
    for service in services:
        assert '"level": "error"' not in service.log.read_text()
        await service.stop()


async def test_the_jobs_of_another_host_are_left_to_it(
    make_service_process: MakeService, postgresql_database: str, tmp_path: Path
) -> None:
    service = make_service_process(lease=1)
    async with started(service) as (calls,):
        path = await calls.create("shell", script=holding(tmp_path / "gate"), PHASE="RUN")
        await calls.executing(path)
        await service.kill()
        with psycopg.connect(postgresql_database) as connection:
            connection.execute("UPDATE jobs SET instance = 'far.away.example_1'")
            connection.execute("UPDATE instances SET instance = 'far.away.example_1', alive_until = 0")
    async with started(service) as (calls,):
        await until(lambda: "left to its host" in service.log.read_text(), "it has been looked for")
        assert (await calls.job(path)).phase is P.EXECUTING
        # Users can end it all the same.
        await calls.post(f"{path}/phase", PHASE="ABORT")
        assert (await calls.job(path)).phase is P.ABORTED


async def test_the_jobs_of_a_host_that_does_not_come_back_end_in_error_and_make_room(
    make_service_process: MakeService, postgresql_database: str, tmp_path: Path
) -> None:
    definition: dict[str, Any] = {
        "parameters": {"type": "object", "properties": {}, "additionalProperties": False},
        "run": {"command": ["sh", "-c", holding(tmp_path / "gate")]},
        "max_active": 1,
    }
    write_payload(tmp_path / "payloads", "single", definition)
    service = make_service_process(lease=1, abandon_after=timedelta(seconds=60))
    names = service.config.data_directory / "instances"
    async with started(service) as (calls,):
        path = await calls.create("single", PHASE="RUN")
        await calls.executing(path)
        await service.kill()
    (lock,) = names.iterdir()
    far = "far.away.example_1"
    lock.rename(names / f"{far}.lock")
    await asyncio.to_thread(rename_process, postgresql_database, lock.stem, far)
    async with started(service) as (calls,):
        job = await calls.end(path)
        assert (job.phase, job.error is not None and job.error.is_transient) == (P.ERROR, True)
        assert far in str(job.error)
        following = await calls.create("single", PHASE="RUN")
        await calls.executing(following)
        assert not (service.config.jobs_directory / id_of(path) / ".ended.json").exists()
        await service.kill()
    # It comes back nevertheless, and its command still runs.
    (names / f"{far}.lock").rename(tmp_path / "lock")
    for other in names.iterdir():
        other.unlink()
    (tmp_path / "lock").rename(lock)
    await asyncio.to_thread(rename_process, postgresql_database, far, lock.stem)
    async with started(service):
        await until((service.config.jobs_directory / id_of(path) / ".ended.json").exists, "it is ended")


def rename_process(url: str, old: str, new: str) -> None:
    """Let a dead process be of another host."""
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE jobs SET instance = %s WHERE instance = %s", (new, old))
        earlier = "UPDATE instances SET instance = %s, alive_until = alive_until - 600000 WHERE instance = %s"
        connection.execute(earlier, (new, old))


async def test_a_service_with_sqlite_does_not_join_them(make_service_process: MakeService) -> None:
    first = make_service_process()
    await first.start()
    with pytest.raises(AssertionError, match="is used by another service"):
        await make_service_process(database_url=None).start()
