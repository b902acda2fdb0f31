"""The database goes away and comes back: requests are told to try again, jobs lose nothing."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from lsst.ts.ocps.service import postgresql
from lsst.ts.ocps.service.config import read_database_url
from lsst.ts.ocps.service.context import open_context
from lsst.ts.ocps.service.errors import ServiceStartError
from lsst.ts.ocps.service.main import running_service
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.postgresql import ON_POSTGRESQL, PASSWORD, PostgresqlCluster, running_cluster
from support.processes import end_commands, until
from support.service_calls import Calls
from support.service_process import PAYLOADS, ServiceProcess, id_of, make_config

pytestmark = [pytest.mark.asyncio, *ON_POSTGRESQL]
P = ExecutionPhase
MakeService = Callable[..., ServiceProcess]


@pytest.fixture
def mortal_cluster() -> Iterator[PostgresqlCluster]:
    """A cluster of a test that stops it."""
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture
def service_database() -> dict[str, str]:
    """Each test names its own."""
    return {}


def is_to_be_repeated(answer: httpx.Response) -> bool:
    return answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0


async def until_answered(calls: Calls, path: str) -> httpx.Response:
    async with asyncio.timeout(30):
        while True:
            answer = await calls.http.get(path)
            if not is_to_be_repeated(answer):
                return answer
            await asyncio.sleep(0.05)


async def test_a_restart_of_the_database_costs_no_job_and_is_told_as_such(
    make_service_process: MakeService, mortal_cluster: PostgresqlCluster, tmp_path: Path
) -> None:
    service = make_service_process(database_url=mortal_cluster.url("postgres"), lease=1)
    await service.start()
    gates = [tmp_path / "during", tmp_path / "after"]
    async with Calls.to(service.url) as calls:
        script = "echo begun >> begun; while [ ! -e {} ]; do sleep 0.02; done; exit 3"
        paths = [await calls.create("shell", script=script.format(gate), PHASE="RUN") for gate in gates]
        for path in paths:
            await calls.executing(path)
        waiting = asyncio.create_task(calls.http.get(paths[1], params={"WAIT": "3", "PHASE": "EXECUTING"}))
        await asyncio.to_thread(mortal_cluster.stop)
        for path in (paths[0], "/shell/async", "/jobs"):
            assert is_to_be_repeated(await calls.http.get(path))
        assert is_to_be_repeated(await calls.post("/shell/async", script="true", PHASE="RUN"))
        assert is_to_be_repeated(await waiting)
        assert "false" in (await calls.http.get("/availability")).text
        gates[0].touch()
        ended = service.config.jobs_directory / id_of(paths[0]) / ".ended.json"
        await until(ended.exists, "a command has ended while the database was away")
        await asyncio.to_thread(mortal_cluster.start)
        assert (await until_answered(calls, paths[0])).status_code == 200
        gates[1].touch()
        for path in paths:
            job = await calls.end(path)
            assert job.phase is P.ERROR
            assert (service.config.jobs_directory / id_of(path) / "begun").read_text() == "begun\n"
        assert (await calls.end(await calls.create("shell", script="true", PHASE="RUN"))).phase is P.COMPLETED
    await service.stop()
    log = service.log.read_text()
    assert PASSWORD not in log
    assert PASSWORD.replace("%20", " ") not in log


async def test_news_is_heard_again_after_its_connection_was_lost(
    make_service_process: MakeService, postgresql_cluster: PostgresqlCluster, postgresql_database: str
) -> None:
    one, two = [make_service_process(database_url=postgresql_database) for _ in range(2)]
    await one.start()
    await two.start()
    async with Calls.to(one.url) as of_one, Calls.to(two.url) as of_two:
        path = await of_one.create("sleep")
        await of_two.job(path)
        connections = f"FROM pg_stat_activity WHERE datname = '{postgresql_database.rpartition('/')[2]}'"
        listening = f"SELECT pid {connections} AND query LIKE 'LISTEN%'"
        await until(lambda: len(postgresql_cluster.execute(listening)) == 2, "both hear the news")
        postgresql_cluster.execute(f"SELECT pg_terminate_backend(pid) {connections}")
        await until_answered(of_two, path)
        waiting = asyncio.create_task(of_two.job(path, WAIT="50", PHASE="PENDING"))
        await until(
            lambda: '"no news of other processes' in two.log.read_text(), "it has lost the connection"
        )
        await until_answered(of_one, path)
        await of_one.post(f"{path}/phase", PHASE="ABORT")
        async with asyncio.timeout(30):
            assert (await waiting).phase is P.ABORTED


async def test_a_database_that_hangs_is_waited_for_no_longer_than_the_deadline(
    postgresql_cluster: PostgresqlCluster,
    postgresql_database: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = make_config(tmp_path, PAYLOADS, database_url=postgresql_database)
    try:
        async with running_service(config) as service, Calls.to(service.url) as calls:
            path = await calls.create("sleep")
            monkeypatch.setattr(postgresql, "_DEADLINE", 1.0)
            async with postgresql_cluster.frozen(), asyncio.timeout(30):
                assert is_to_be_repeated(await calls.http.get(path))
            assert (await until_answered(calls, path)).status_code == 200
    finally:
        end_commands(config.jobs_directory)


async def test_a_restored_dump_has_the_jobs_and_goes_on(
    postgresql_cluster: PostgresqlCluster, postgresql_database: str, tmp_path: Path
) -> None:
    config = make_config(tmp_path, PAYLOADS, database_url=postgresql_database)
    try:
        async with running_service(config) as service, Calls.to(service.url) as calls:
            ended = await calls.create("fail", PHASE="RUN")
            await calls.end(ended)
            pending = await calls.create("sleep", seconds="0")
            dump = tmp_path / "dump"
            await asyncio.to_thread(
                postgresql_cluster.run, "pg_dump", "--format=custom", f"--file={dump}", postgresql_database
            )
            await calls.http.delete(pending)
        restoring = ("pg_restore", "--clean", "--if-exists", f"--dbname={postgresql_database}", str(dump))
        await asyncio.to_thread(postgresql_cluster.run, *restoring)
        async with running_service(config) as service, Calls.to(service.url) as calls:
            assert (await calls.job(ended)).phase is P.ERROR
            await calls.post(f"{pending}/phase", PHASE="RUN")
            assert (await calls.end(pending)).phase is P.COMPLETED
    finally:
        end_commands(config.jobs_directory)


@pytest.mark.parametrize("change", [{"password": "hunter2"}, {"database": "absent"}, {"port": 1}])
async def test_a_database_that_cannot_be_used_at_the_start_is_told_without_the_password(
    postgresql_database: str, tmp_path: Path, change: dict[str, Any]
) -> None:
    config = make_config(tmp_path, PAYLOADS, database_url=postgresql_database)
    assert config.database_url is not None
    url = read_database_url(config.database_url).set(**change)
    config = make_config(tmp_path, PAYLOADS, database_url=url.render_as_string(hide_password=False))
    with pytest.raises(ServiceStartError) as raised:
        async with open_context(config):
            pass
    shown = f"{raised.value} {config!r} {config} {config.model_dump_json()}"
    assert "hunter2" not in shown
    assert PASSWORD not in shown
    assert PASSWORD.replace("%20", " ") not in shown
    assert "127.0.0.1" in str(raised.value)
