"""Jobs of others do not exist: on any route, in any list, for any method; and an operator sees all."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from lsst.ts.ocps.client.base import Submission
from lsst.ts.ocps.client.errors import BackendAuthenticationError, JobNotFoundError
from lsst.ts.ocps.client.registry import open_backend
from lsst.ts.ocps.client.settings import CredentialsSettings, UwsSettings
from lsst.ts.ocps.service.app import create_app
from lsst.ts.ocps.service.forms import Form
from lsst.ts.ocps.service.main import running_service
from lsst.ts.ocps.service.tokens import new_token
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.backend_bench import finished
from support.owners import Owners, fake_with_owners, write_tokens
from support.processes import end_commands
from support.routes import routes_of
from support.service_calls import Calls
from support.service_process import PAYLOADS, id_of, make_config

pytestmark = pytest.mark.asyncio
P = ExecutionPhase

PUBLIC = {"/", "/availability", "/capabilities", "/docs", "/openapi.json"}
PUBLIC |= {"/{payload}/availability", "/{payload}/capabilities"}
NOTHING_OF_JOBS = {"/docs/oauth2-redirect", "/redoc"}
LISTS = {"/jobs", "/{payload}/async", "/api/v1/job"}
ABOUT_ALL = {"/metrics"}
STARTING = {"/{payload}/sync"}


@pytest_asyncio.fixture
async def owners(tmp_path: Path, service_database: dict[str, str]) -> AsyncIterator[Owners]:
    async with fake_with_owners(tmp_path, **service_database) as service:
        yield service


async def ended(owners: Owners, calls: Calls) -> str:
    """A job with a result; its path."""
    path = await calls.create("work", PHASE="RUN", text="mine", RUNID="secret-run")
    await calls.executing(path)
    output = owners.fake.config.jobs_directory / id_of(path) / "out"
    await asyncio.to_thread((output / "result.txt").write_text, "mine")
    owners.fake.cluster.finish(id_of(path), 0)
    assert (await calls.end(path)).phase is P.COMPLETED
    return path


def routes(owners: Owners) -> Iterator[tuple[str, str]]:
    return routes_of(create_app(owners.fake.config, owners.fake.context))


def fill(path: str, job_id: str) -> str:
    names = {"payload": "work", "job_id": job_id, "result_id": "result.txt", "index": "0"}
    name = "phase" if path.startswith("/api/") else "text"
    return path.format(name=name, **names)


BODIES = {
    "/phase": {"PHASE": "ABORT"},
    "/executionduration": {"EXECUTIONDURATION": "1"},
    "/destruction": {"DESTRUCTION": "2199-01-01"},
    "/parameters": {"text": "changed"},
    "/parameters/{name}": {"text": "changed"},
}


async def call(calls: Calls, method: str, path: str, job_id: str) -> httpx.Response:
    body = next((body for end, body in BODIES.items() if path.endswith(end)), {"ACTION": "DELETE"})
    data = None if method in {"GET", "HEAD"} else body
    return await calls.http.request(method, fill(path, job_id), data=data)


async def test_every_route_hides_the_jobs_of_others(owners: Owners) -> None:
    path = await ended(owners, owners.alice)
    job_id = id_of(path)
    before = await owners.fake.context.store.find(job_id)
    seen = set()
    for method, route in routes(owners):
        if route in PUBLIC | NOTHING_OF_JOBS | LISTS | ABOUT_ALL | STARTING:
            continue
        # Whatever a new route is about, it has to be named above or to hide jobs.
        assert "{job_id}" in route, route
        theirs = await call(owners.bob, method, route, job_id)
        missing = await call(owners.bob, method, route, "1234567890")
        assert theirs.status_code == missing.status_code == 404, (method, route, theirs.text)
        # Nothing tells that there is such a job.
        assert theirs.text.replace(job_id, "ID") == missing.text.replace("1234567890", "ID"), (method, route)
        assert "secret-run" not in theirs.text
        seen.add((method, route))
    assert {method for method, _ in seen} == {"GET", "HEAD", "POST", "PUT", "DELETE"}
    assert len(seen) > 30
    assert await owners.fake.context.store.find(job_id) == before


async def test_every_route_but_the_public_ones_wants_to_know_who_asks(owners: Owners) -> None:
    path = await ended(owners, owners.alice)
    for method, route in routes(owners):
        answer = await call(owners.stranger, method, route, id_of(path))
        if route in PUBLIC and method in {"GET", "HEAD"}:
            assert answer.status_code in {200, 405}, (method, route)
            continue
        assert answer.status_code == 401, (method, route)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
        assert answer.text.startswith("AuthenticationError: ") or method == "HEAD"
    for method in ("GET", "POST", "PATCH", "PROPFIND"):
        assert (await owners.stranger.http.request(method, "/no/such/page")).status_code == 401


async def test_the_owner_and_an_operator_can_use_every_route(owners: Owners) -> None:
    for calls in (owners.alice, owners.operator):
        reading = [route for method, route in routes(owners) if method == "GET" and "{job_id}" in route]
        path = await ended(owners, owners.alice)
        for route in reading:
            answer = await call(calls, "GET", route, id_of(path))
            # It has not failed.
            assert answer.status_code == (404 if route.endswith("/error") else 200), (route, answer.text)
        answer = await calls.http.delete(path)
        assert answer.status_code == 303
        assert (await calls.http.get(path)).status_code == 404


async def test_the_owner_is_noted_and_shown(owners: Owners) -> None:
    path = await owners.alice.create("work")
    job = await owners.alice.job(path)
    assert job.owner_id == "alice"
    assert await owners.alice.text(f"{path}/owner") == "alice"
    assert "<uws:ownerId>alice</uws:ownerId>" in (await owners.alice.http.get(path)).text
    assert (await owners.alice.http.get(f"/api/v1/job/{id_of(path)}")).json()["ownerId"] == "alice"
    assert (await owners.operator.job(path)).owner_id == "alice"


async def test_lists_show_what_is_theirs(owners: Owners) -> None:
    mine = id_of(await owners.alice.create("work"))
    theirs = id_of(await owners.bob.create("work"))
    for calls, expected in (
        (owners.alice, {mine}),
        (owners.bob, {theirs}),
        (owners.operator, {mine, theirs}),
    ):
        for payload in ("", "work"):
            for query in ({}, {"LAST": "10"}, {"PHASE": "PENDING"}, {"AFTER": "2000-01-01"}):
                assert {ref.job_id for ref in await calls.jobs(payload, query)} == expected
        for query in ({}, {"phase": "pending"}):
            listed = (await calls.http.get("/api/v1/job", params=query)).json()
            assert {entry["jobId"] for entry in listed} == expected


async def test_archived_jobs_of_others_are_not_told_of(owners: Owners) -> None:
    path = await ended(owners, owners.alice)
    store = owners.fake.context.store
    job = (await owners.alice.job(path)).destruction
    assert job is not None
    assert await store.archive(id_of(path), P.COMPLETED, until=job)
    assert [ref.job_id for ref in await owners.alice.jobs("", {"PHASE": "ARCHIVED"})] == [id_of(path)]
    assert await owners.bob.jobs("", {"PHASE": "ARCHIVED"}) == ()
    assert (await owners.bob.http.get(path)).status_code == 404


async def test_waiting_for_a_job_of_others_is_waiting_for_nothing(owners: Owners) -> None:
    path = await owners.alice.create("work", PHASE="RUN")
    await owners.alice.executing(path)
    answer = await owners.bob.http.get(path, params={"WAIT": "50", "PHASE": "EXECUTING"})
    assert answer.status_code == 404
    assert owners.fake.context.watch.count(id_of(path)) == 0


async def test_jobs_of_the_synchronous_resource_have_an_owner_too(owners: Owners) -> None:
    request = asyncio.create_task(owners.alice.post("/work/sync", text="x"))
    while not (listed := await owners.alice.jobs("work", {"PHASE": "EXECUTING"})):  # noqa: ASYNC110 (over HTTP)
        await asyncio.sleep(0.01)
    assert await owners.bob.jobs("work") == ()
    owners.fake.cluster.finish(listed[0].job_id, 0)
    assert (await request).status_code == 204
    assert (await owners.alice.job(f"/work/async/{listed[0].job_id}")).owner_id == "alice"


async def test_jobs_from_before_there_were_owners_are_for_operators(owners: Owners) -> None:
    old = await owners.fake.context.jobs.create("work", Form(()))
    assert old.job.owner_id is None
    url = f"/work/async/{old.job_id}"
    assert (await owners.alice.http.get(url)).status_code == 404
    assert (await owners.operator.job(url)).owner_id is None


async def test_tokens_are_given_and_taken_back_while_the_service_runs(owners: Owners) -> None:
    secret, line = new_token("carol", is_operator=False)
    await asyncio.to_thread(_replace, owners.token_file, f"{line.to_line()}\n")
    async with asyncio.timeout(20):
        while (await owners.alice.http.get("/jobs")).status_code == 200:  # noqa: ASYNC110 (over HTTP)
            await asyncio.sleep(0.02)
    answer = await owners.stranger.http.get("/jobs", headers={"Authorization": f"Bearer {secret}"})
    assert answer.status_code == 200


def _replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.touch(0o600)
    new.write_text(text)
    os.replace(new, path)  # noqa: PTH105 (atomic, as an operator would do it)


async def test_a_broken_token_file_changes_nothing(owners: Owners, tmp_path: Path) -> None:
    await asyncio.to_thread(_replace, owners.token_file, "nonsense\n")
    access = owners.fake.context.gate._access
    await access._look()  # type: ignore[attr-defined]
    assert (await owners.alice.http.get("/jobs")).status_code == 200


async def test_guessing_tokens_is_answered_by_429(owners: Owners) -> None:
    statuses = []
    for number in range(12):
        answer = await owners.stranger.http.get("/jobs", headers={"Authorization": f"Bearer guess{number}"})
        statuses.append(answer.status_code)
    assert statuses == [401] * 10 + [429] * 2
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.text.startswith("ServiceUnavailable: ")


async def test_the_client_of_the_csc_works_with_a_token(tmp_path: Path) -> None:
    secrets = write_tokens(tmp_path / "tokens", "ocps", "other")
    for owner, secret in secrets.items():
        (tmp_path / f"{owner}.secret").write_text(f"{secret}\n")
    access = {"mode": "tokens", "file": tmp_path / "tokens"}
    config = make_config(tmp_path, {"echo": PAYLOADS["echo"]}, access=access)

    def settings(url: str, owner: str | None) -> UwsSettings:
        file = str(tmp_path / f"{owner}.secret")
        return UwsSettings(url=url, credentials=None if owner is None else CredentialsSettings(file=file))

    try:
        async with AsyncExitStack() as stack:
            service = await stack.enter_async_context(running_service(config))
            backends = []
            for name in ("ocps", "other", None):
                backends.append(await open_backend("service", settings(service.url, name)))
                stack.push_async_callback(backends[-1].aclose)
            ours, others, nobody = backends
            await ours.probe()
            created = await ours.create(Submission("echo", "ocps-test-1", parameters=(("needed", "x"),)))
            await ours.start(created.url)
            job = await finished(ours, created.url)
            assert (job.phase, job.owner_id) == (P.COMPLETED, "ocps")
            content = await ours.fetch(created.url, "result.json", job.results[0].url, max_bytes=10_000)
            assert secrets["ocps"] not in content.decode()
            with pytest.raises(JobNotFoundError):
                await others.read(created.url)
            with pytest.raises(BackendAuthenticationError):
                await nobody.read(created.url)
    finally:
        end_commands(config.jobs_directory)
