"""Blocking reads over real HTTP: released by the change, by the clock, by the client, by the stop."""

import asyncio
import re
import time
from pathlib import Path

import pytest

from lsst.ts.ocps.service.main import running_service
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.processes import end_commands, until
from support.service_calls import Calls
from support.service_process import PAYLOADS, make_config

pytestmark = pytest.mark.asyncio
P = ExecutionPhase


async def test_a_waiter_is_answered_when_the_phase_changes(calls: Calls) -> None:
    path = await calls.create("sleep")
    waiting = asyncio.create_task(calls.job(path, WAIT="30"))
    await calls.until_waiting(1)
    assert not waiting.done()
    await calls.post(f"{path}/phase", PHASE="RUN")
    assert (await asyncio.wait_for(waiting, 20)).phase in {P.QUEUED, P.EXECUTING}


async def test_fifty_waiters_on_one_job_all_learn_of_its_end(calls: Calls) -> None:
    path = await calls.create("sleep", PHASE="RUN")
    await calls.executing(path)
    waiting = [asyncio.create_task(calls.job(path, WAIT="-1", PHASE="EXECUTING")) for _ in range(50)]
    await calls.until_waiting(50)
    assert not any(task.done() for task in waiting)
    await calls.post(f"{path}/phase", PHASE="ABORT")
    jobs = await asyncio.wait_for(asyncio.gather(*waiting), 20)
    assert {job.phase for job in jobs} == {P.ABORTED}


async def test_those_who_wait_for_a_destroyed_job_are_told_that_it_is_gone(calls: Calls) -> None:
    path = await calls.create("sleep")
    waiting = [asyncio.create_task(calls.http.get(path, params={"WAIT": "30"})) for _ in range(10)]
    await calls.until_waiting(10)
    await calls.http.delete(path)
    answers = await asyncio.wait_for(asyncio.gather(*waiting), 20)
    # The abort that comes first may be what they see; nobody is left waiting, nobody sees a failure.
    assert {answer.status_code for answer in answers} <= {200, 404}
    for answer in answers:
        assert answer.status_code == 404 or "ABORTED" in answer.text


async def test_a_change_between_two_requests_is_not_missed(calls: Calls) -> None:
    path = await calls.create("sleep", seconds="0.05", PHASE="RUN")
    seen = [P.QUEUED]
    async with asyncio.timeout(20):
        while seen[-1] is not P.COMPLETED:
            seen.append((await calls.job(path, WAIT="30", PHASE=seen[-1].value)).phase)
    assert seen == sorted(set(seen), key=[P.QUEUED, P.EXECUTING, P.COMPLETED].index)


async def test_the_wait_is_capped(tmp_path: Path, service_database: dict[str, str]) -> None:
    config = make_config(tmp_path, PAYLOADS, **service_database, max_wait=0.5)
    async with running_service(config) as service, Calls.to(service.url) as calls:
        path = await calls.create("sleep")
        for wait in ("-1", "3000"):
            start = time.monotonic()
            assert (await calls.job(path, WAIT=wait)).phase is P.PENDING
            assert 0.4 < time.monotonic() - start < 20


async def test_a_client_that_leaves_is_not_waited_for(
    tmp_path: Path, service_database: dict[str, str]
) -> None:
    config = make_config(tmp_path, PAYLOADS, **service_database)
    async with running_service(config) as service, Calls.to(service.url) as calls:
        path = await calls.create("sleep")
        watch = service.context.watch
        waiting = [asyncio.create_task(calls.job(path, WAIT="30")) for _ in range(5)]
        await until(lambda: watch.count(path.rpartition("/")[2]) == 5, "all wait")
        for task in waiting[:3]:
            task.cancel()
        await until(lambda: watch.count(path.rpartition("/")[2]) == 2, "those who left are released")
        await calls.post(f"{path}/phase", PHASE="ABORT")
        jobs = await asyncio.wait_for(asyncio.gather(*waiting[3:]), 20)
        assert {job.phase for job in jobs} == {P.ABORTED}


async def test_a_stop_answers_those_who_wait(tmp_path: Path, service_database: dict[str, str]) -> None:
    config = make_config(tmp_path, PAYLOADS, **service_database)
    try:
        async with running_service(config) as service, Calls.to(service.url) as calls:
            path = await calls.create("sleep", PHASE="RUN")
            await calls.executing(path)
            waiting = [asyncio.create_task(calls.job(path, WAIT="50")) for _ in range(5)]
            watch = service.context.watch
            await until(lambda: watch.count(path.rpartition("/")[2]) == 5, "all wait")
            service.stop()
            jobs = await asyncio.wait_for(asyncio.gather(*waiting), 20)
        assert {job.phase for job in jobs} == {P.EXECUTING}
    finally:
        end_commands(config.jobs_directory)


async def test_answers_do_not_wait_for_acknowledgements_of_the_network(calls: Calls) -> None:
    """Without TCP_NODELAY every answer but the first takes 40 ms; a busy machine slows down some of them."""
    await calls.jobs("sleep")
    times = []
    for _ in range(100):
        start = time.monotonic()
        await calls.jobs("sleep")
        times.append(time.monotonic() - start)
    assert min(times) < 0.04


async def test_the_location_is_found_by_clients_that_know_another_name_of_the_host(
    tmp_path: Path, service_database: dict[str, str]
) -> None:
    access = {"mode": "anonymous", "hosts": ["telescope.example"]}
    config = make_config(tmp_path, PAYLOADS, **service_database, access=access)
    async with running_service(config) as service, Calls.to(service.url) as calls:
        answer = await calls.http.post("/sleep/async", headers={"Host": "telescope.example:81"})
        pattern = r"http://telescope\.example:81/sleep/async/[0-9a-z]+"
        assert re.fullmatch(pattern, answer.headers["Location"])
        # A name that somebody else has given our address.
        for host in ("evil.example", f"evil.example:{service.url.rpartition(':')[2]}"):
            for method, path in (("POST", "/sleep/async"), ("GET", "/jobs"), ("GET", "/")):
                answer = await calls.http.request(method, path, headers={"Host": host})
                assert answer.status_code == 403, (host, path)
        assert len(await calls.jobs("")) == 1


async def test_a_public_url_wins(tmp_path: Path, service_database: dict[str, str]) -> None:
    config = make_config(tmp_path, PAYLOADS, **service_database, public_url="https://proxy.example/uws/")
    async with running_service(config) as service, Calls.to(service.url) as calls:
        answer = await calls.post("/sleep/async")
        assert answer.headers["Location"].startswith("https://proxy.example/uws/sleep/async/")
