"""How much an owner may have and do: counted right when many ask at once, and told with its reason."""

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from lsst.ts.ocps.client.answers import Answer, error_for_status
from lsst.ts.ocps.client.errors import BackendError, BackendUnavailableError, RequestRefusedError
from lsst.ts.ocps.service.schema import StoredResult, now
from lsst.ts.ocps.service.sections import OwnerLimits
from lsst.ts.ocps.service.store import Outcome
from lsst.ts.ocps.service.usage import Room, room_for
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.owners import Owners, calls_from, fake_with_owners
from support.postgresql import ON_POSTGRESQL
from support.processes import until
from support.service_calls import Calls
from support.service_process import create_running, expire, id_of

pytestmark = pytest.mark.asyncio
P = ExecutionPhase


def meaning(answer: httpx.Response) -> type[BackendError] | None:
    """What the client of this project makes of an answer."""
    told = Answer("POST", str(answer.url), answer.status_code, answer.headers, answer.content)
    return error_for_status(told, reading=False)


async def run(calls: Calls, path: str) -> httpx.Response:
    return await calls.post(f"{path}/phase", PHASE="RUN")


async def end_with(owners: Owners, path: str, size: int) -> None:
    """Let a job end, and leave results of some size."""
    job_id = id_of(path)
    owners.fake.cluster.finish(job_id, 0)
    await owners.operator.end(path)
    files = (StoredResult("a", "a", size, "text/plain"),)
    await owners.fake.context.store.record_end(job_id, Outcome(now(), 0, files))


async def test_no_more_than_so_many_jobs_are_pending(
    tmp_path: Path, service_database: dict[str, str]
) -> None:
    async with fake_with_owners(tmp_path, limits={"max_pending": 3}, **service_database) as owners:
        answers = await asyncio.gather(*(owners.alice.post("/work/async") for _ in range(12)))
        assert Counter(answer.status_code for answer in answers) == {303: 3, 429: 9}
        assert len(await owners.alice.jobs("work")) == 3
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.text == (
            "ServiceUnavailable: you have 3 PENDING jobs, and 3 are allowed: run or destroy some\n"
        )
        assert int(refused.headers["Retry-After"]) > 0
        assert meaning(refused) is BackendUnavailableError
        # Others have room of their own, and what is destroyed or run makes room.
        await owners.bob.create("work")
        first, second, _ = [ref.job_id for ref in await owners.alice.jobs("work")]
        assert (await owners.alice.http.delete(f"/work/async/{first}")).status_code == 303
        await owners.alice.create("work")
        assert (await run(owners.alice, f"/work/async/{second}")).status_code == 303
        await owners.alice.create("work")
        assert (await owners.alice.post("/work/async")).status_code == 429


async def test_no_more_than_so_many_jobs_are_active(tmp_path: Path, service_database: dict[str, str]) -> None:
    async with fake_with_owners(tmp_path, limits={"max_active": 2}, **service_database) as owners:
        paths = [await owners.alice.create("work") for _ in range(8)]
        answers = await asyncio.gather(*(run(owners.alice, path) for path in paths))
        assert Counter(answer.status_code for answer in answers) == {303: 2, 429: 6}
        assert len(await owners.alice.jobs("work", {"PHASE": "PENDING"})) == 6
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert "2 of your jobs have not ended, and 2 are allowed" in refused.text
        assert meaning(refused) is BackendUnavailableError
        for creation in (
            owners.alice.post("/work/async", PHASE="RUN"),
            owners.alice.post("/work/sync"),
            owners.alice.http.put("/api/v1/job", json={"command": "work"}),
        ):
            assert (await creation).status_code == 429
        await owners.bob.create("work", PHASE="RUN")
        # The end of one makes room for one.
        active = [path for path in paths if (await owners.alice.job(path)).phase is not P.PENDING]
        await owners.alice.executing(active[0])
        owners.fake.cluster.finish(id_of(active[0]), 0)
        await owners.alice.end(active[0])
        waiting = [path for path in paths if path not in active]
        assert [(await run(owners.alice, path)).status_code for path in waiting[:2]] == [303, 429]


async def test_a_second_run_is_refused_for_its_own_reason(
    tmp_path: Path, service_database: dict[str, str]
) -> None:
    async with fake_with_owners(tmp_path, limits={"max_active": 1}, **service_database) as owners:
        path = await owners.alice.create("work", PHASE="RUN")
        answer = await run(owners.alice, path)
        assert (answer.status_code, answer.text.startswith("UsageError: PHASE=RUN")) == (403, True)


async def test_what_is_archived_counts_no_more_though_it_ran_when_its_time_came(
    tmp_path: Path, service_database: dict[str, str]
) -> None:
    async with fake_with_owners(tmp_path, limits={"max_stored": "1KiB"}, **service_database) as owners:
        store = owners.fake.context.store
        path = await create_running(owners.fake, calls=owners.alice)
        output = owners.fake.config.jobs_directory / id_of(path) / "out" / "result.txt"
        output.write_text("x" * 2000)
        await expire(owners.fake, path)
        await owners.alice.until(path, lambda job: job.phase is P.ARCHIVED)
        await until(lambda: not output.parent.parent.exists(), "its folder is gone")
        async with asyncio.timeout(20):
            while await store.list_removable():  # noqa: ASYNC110 (the store has no event for it)
                await asyncio.sleep(0.01)
        assert (await store.usage("alice")).stored == 0
        await owners.alice.create("work", PHASE="RUN")


async def test_whoever_keeps_too_much_has_to_destroy_something(
    tmp_path: Path, service_database: dict[str, str]
) -> None:
    async with fake_with_owners(tmp_path, limits={"max_stored": "1KiB"}, **service_database) as owners:
        pending = await owners.alice.create("work")
        paths = [await owners.alice.create("work", PHASE="RUN") for _ in range(2)]
        for path in paths:
            await owners.alice.executing(path)
        await end_with(owners, paths[0], 600)
        third = await owners.alice.create("work")
        await end_with(owners, paths[1], 424)
        refused = [await owners.alice.post("/work/async"), await run(owners.alice, pending)]
        for answer in refused:
            assert answer.status_code == 403
            assert answer.text.startswith("Error: the results of your jobs have 1024 bytes, and 1024 are")
            assert meaning(answer) is RequestRefusedError
        await owners.bob.create("work")
        await owners.alice.http.delete(paths[1])
        assert (await run(owners.alice, third)).status_code == 303


async def test_archived_jobs_keep_nothing(tmp_path: Path, service_database: dict[str, str]) -> None:
    async with fake_with_owners(tmp_path, limits={"max_stored": 10}, **service_database) as owners:
        path = await owners.alice.create("work", PHASE="RUN")
        await owners.alice.executing(path)
        await end_with(owners, path, 10)
        assert (await owners.alice.post("/work/async")).status_code == 403
        until = now().replace(year=2199)
        assert await owners.fake.context.store.archive(id_of(path), P.COMPLETED, until=until)
        await owners.alice.create("work")


async def test_uploads_are_kept_too(tmp_path: Path, service_database: dict[str, str]) -> None:
    async with fake_with_owners(tmp_path, limits={"max_stored": 10}, **service_database) as owners:
        path = await owners.alice.create("work")
        await owners.fake.context.store.set_upload_bytes(id_of(path), 10)
        assert (await owners.alice.post("/work/async")).status_code == 403
        assert (await run(owners.alice, path)).status_code == 403
        await owners.bob.create("work")


async def test_owners_may_have_limits_of_their_own(tmp_path: Path, service_database: dict[str, str]) -> None:
    limits = {"max_pending": 1, "owners": {"bob": {"max_pending": 2}, "night": {"max_pending": None}}}
    async with fake_with_owners(tmp_path, limits=limits, **service_database) as owners:
        for calls, expected in (
            (owners.alice, [303, 429, 429]),
            (owners.bob, [303, 303, 429]),
            (owners.operator, [303, 303, 303]),
        ):
            assert [(await calls.post("/work/async")).status_code for _ in range(3)] == expected


async def test_whoever_asks_too_often_is_told_when_to_ask_again(tmp_path: Path) -> None:
    limits = {"requests_per_second": 0.01, "request_burst": 3}
    async with fake_with_owners(tmp_path, limits=limits) as owners:
        answers = [await owners.alice.http.get("/jobs") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert 90 < int(answers[3].headers["Retry-After"]) <= 100
        assert meaning(answers[3]) is BackendUnavailableError
        assert (await owners.bob.http.get("/jobs")).status_code == 200
        # Whoever has no name is counted by address.
        statuses = [(await owners.stranger.http.get("/availability")).status_code for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        async with calls_from(owners.fake, address="192.0.2.9") as elsewhere:
            assert (await elsewhere.http.get("/availability")).status_code == 200


async def test_no_more_than_so_many_requests_of_an_owner_wait(tmp_path: Path) -> None:
    limits = {"max_waiting": 2, "owners": {"bob": {"max_waiting": 3}}}
    async with fake_with_owners(tmp_path, limits=limits) as owners:
        path = await owners.alice.create("work")
        watch = owners.fake.context.watch

        def wait(calls: Calls, query: str = "WAIT=30") -> asyncio.Task[httpx.Response]:
            return asyncio.create_task(calls.http.get(f"{path}?{query}"))

        waiting = [wait(owners.alice), wait(owners.alice, "%57ait=30")]
        await until(lambda: watch.count(id_of(path)) == 2, "two wait")
        for query in ("WAIT=30", "wait=30", "%77AIT=-1"):
            refused = await wait(owners.alice, query)
            assert (refused.status_code, refused.headers["Retry-After"]) == (429, "5")
            assert "2 of your requests wait for jobs" in refused.text
            assert meaning(refused) is BackendUnavailableError
        assert (await owners.alice.post("/work/sync")).status_code == 429
        # Everything that does not wait is answered, and others wait too.
        assert (await owners.alice.job(path)).phase is P.PENDING
        theirs = await owners.bob.create("work")
        waiting += [asyncio.create_task(owners.bob.http.get(f"{theirs}?WAIT=30")) for _ in range(3)]
        await until(lambda: watch.count(id_of(theirs)) == 3, "three of another owner wait")
        assert (await owners.bob.http.get(f"{theirs}?WAIT=30")).status_code == 429
        for job in (path, theirs):
            await owners.operator.post(f"{job}/phase", PHASE="ABORT")
        answers = await asyncio.wait_for(asyncio.gather(*waiting), 20)
        assert {answer.status_code for answer in answers} == {200}
        assert (await owners.alice.job(path, WAIT="1")).phase is P.ABORTED


@pytest.mark.parametrize("body", [b"text=" + b"x" * 2000, b"a=&" * 700], ids=["long", "many"])
async def test_requests_have_a_largest_size(tmp_path: Path, body: bytes) -> None:
    async with fake_with_owners(tmp_path, max_request="1KiB") as owners:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        for method, path in (("POST", "/work/async"), ("PUT", "/api/v1/job"), ("POST", "/work/sync")):
            answer = await owners.alice.http.request(method, path, content=body, headers=form)
            assert answer.status_code == 413
            assert answer.text.startswith("UsageError: the body has more than 1024 bytes")
            assert meaning(answer) is RequestRefusedError
        assert await owners.alice.jobs("work") == ()


class TestSeveralProcesses:
    """Each process counts before it sees what the others add at the same moment."""

    pytestmark = ON_POSTGRESQL

    async def test_two_that_count_at_the_same_time_do_not_both_find_room(
        self, tmp_path: Path, postgresql_database: str
    ) -> None:
        async with fake_with_owners(tmp_path, database_url=postgresql_database) as owners:
            store = owners.fake.context.store
            jobs = [await store.find(id_of(await owners.alice.create("work"))) for _ in range(3)]
            room = slowly(room_for("alice", P.QUEUED, OwnerLimits(max_active=1)))
            queued = [store.queue(job.job_id, P.PENDING, room) for job in jobs if job is not None]
            assert sum(job is not None for job in await asyncio.gather(*queued)) == 1
            # Two are left pending: there is room for one.
            room = slowly(room_for("alice", P.PENDING, OwnerLimits(max_pending=3)))
            new = [
                replace(job, job=replace(job.job, job_id=f"new{number}", phase=P.PENDING))
                for number, job in enumerate(jobs)
                if job is not None
            ]
            assert sum(await asyncio.gather(*(store.add(job, room) for job in new))) == 1


def slowly(room: Room) -> Room:
    """The same room; the database takes some time between counting and adding."""
    return replace(room, conditions=[*room.conditions, sa.func.pg_sleep(0.3).is_not(None)])
