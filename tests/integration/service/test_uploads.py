"""Files that come with a job: sent with the request, or read from an allowed place when it runs."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from lsst.ts.ocps.service.main import running_service
from lsst.ts.ocps.uws.codec import parse_parameters
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.file_server import FileServer
from support.http_server import Reply, Request
from support.processes import end_commands
from support.service_calls import Calls
from support.service_process import ServiceProcess, make_config
from support.uws_samples import schema_problems

pytestmark = pytest.mark.asyncio
P = ExecutionPhase

PAYLOAD: dict[str, Any] = {
    "parameters": {"type": "object", "properties": {"text": {"type": "string", "default": ""}}},
    "run": {
        "command": [
            *("sh", "-c", 'cd "$JOB_UPLOAD_DIR" && sha256sum * && cp Table "$JOB_OUTPUT_DIR/result"', "sh"),
            "{text}",
        ],
        "uploads": {
            "Table": {"description": "A table.", "required": True, "max_bytes": 50_000},
            "mask": {},
        },
    },
}
CONTENT = bytes(range(256)) * 100


@pytest_asyncio.fixture
async def files() -> AsyncIterator[FileServer]:
    async with FileServer(Reply(200, CONTENT, closes=True)) as server:
        yield server


@pytest_asyncio.fixture
async def calls(tmp_path: Path, files: FileServer, service_database: dict[str, str]) -> AsyncIterator[Calls]:
    host = f"127.0.0.1:{files.port}"
    uploads = {"max_bytes": 100_000, "schemes": ["http"], "hosts": [host, "data.example"]}
    config = make_config(
        tmp_path,
        {"take": PAYLOAD, "single": PAYLOAD | {"max_active": 1}, "plain": {"run": {"command": ["true"]}}},
        uploads={**uploads, "internal_hosts": [host]},
        **service_database,
    )
    try:
        async with running_service(config) as service, Calls.to(service.url) as calls:
            yield calls
    finally:
        end_commands(config.jobs_directory)


async def wait_for_ever(_: Request) -> None:
    """The habit of a server that does not answer."""
    await asyncio.Event().wait()


def folders(tmp_path: Path) -> list[str]:
    return [path.name for path in (tmp_path / "data" / "jobs").iterdir()]


async def create(calls: Calls, *uploads: str, files: Any = None, payload: str = "take") -> httpx.Response:
    data = {"UPLOAD": list(uploads), "text": "x", "PHASE": "RUN"}
    return await calls.http.post(f"/{payload}/async", data=data, files=files)


async def test_a_file_in_the_request_reaches_the_command(calls: Calls) -> None:
    answer = await create(
        calls, "table,param:first", files={"first": ("../../x\r\ny", CONTENT, "text/plain")}
    )
    assert answer.status_code == 303, answer.text
    url = answer.headers["Location"]
    job = await calls.end(url)
    assert job.phase is P.COMPLETED, job.error
    assert (await calls.http.get(f"{url}/results/result")).content == CONTENT
    # It is told by reference, and can be read there (UWS 1.1 section 2.2.3).
    for document in (await calls.http.get(url), await calls.http.get(f"{url}/parameters")):
        assert schema_problems(document.content) == []
    listed = parse_parameters((await calls.http.get(f"{url}/parameters")).content)
    table = next(parameter for parameter in listed if parameter.name == "Table")
    assert (table.by_reference, table.is_post, table.value) == (True, True, f"{url}/parameters/Table")
    read = await calls.http.get(table.value)
    assert (read.content, read.headers["content-type"]) == (CONTENT, "application/octet-stream")
    assert (await calls.http.get(f"{url}/parameters/TEXT")).text == "x"
    assert (await calls.http.get(f"{url}/parameters/mask")).status_code == 404


async def test_a_url_is_read_when_the_job_runs(calls: Calls, files: FileServer) -> None:
    source = f"http://127.0.0.1:{files.port}/table"
    form = {"UPLOAD": f"TABLE,{source}", "text": "x"}
    url = (await calls.http.post("/take/async", data=form)).headers["Location"]
    assert files.requests == []
    assert await calls.text(f"{url}/parameters/table") == source
    await calls.post(f"{url}/phase", PHASE="RUN")
    job = await calls.end(url)
    assert job.phase is P.COMPLETED, job.error
    assert len(files.requests) == 1
    assert (await calls.http.get(f"{url}/results/result")).content == CONTENT
    # Parameters can be changed beside it.
    assert [(parameter.name, parameter.value) for parameter in job.parameters] == [
        ("text", "x"),
        ("Table", source),
    ]


async def test_several_ways_go_together_and_through_the_synchronous_resource(
    calls: Calls, files: FileServer
) -> None:
    source = f"http://127.0.0.1:{files.port}/mask"
    data = {"UPLOAD": ["table,param:t", f"mask,{source}"]}
    answer = await calls.http.post("/take/sync", data=data, files={"t": b"small"})
    assert answer.status_code == 303, answer.text
    assert (await calls.http.get(answer.headers["Location"])).content == b"small"


WRONG: tuple[tuple[tuple[str, ...], dict[str, bytes], int, str], ...] = (
    ((), {}, 400, "missing: Table"),
    (("mask,param:m",), {"m": b""}, 400, "missing: Table"),
    (("table,param:t",), {}, 400, "no file called 't'"),
    (("table,param:t",), {"t": b"1", "u": b"2"}, 400, "u: no UPLOAD names this file"),
    (("table,param:t", "TABLE,param:t"), {"t": b"1"}, 400, "given twice"),
    (("other,param:t",), {"t": b"1"}, 400, "takes no 'other'; it takes: Table, mask"),
    (("../x,param:t",), {"t": b"1"}, 400, "is not NAME,URL"),
    (("table",), {}, 400, "is not NAME,URL"),
    (("table,",), {}, 400, "is not NAME,URL"),
    (("table,param:t",), {"t": bytes(50_001)}, 413, "Table has 50001 bytes; 50000 are allowed"),
    (("table,http://169.254.169.254/latest/meta-data",), {}, 400, "nothing is read"),
    (("table,http://localhost/",), {}, 400, "nothing is read"),
    (("table,file:///etc/passwd",), {}, 400, "'file' URLs"),
    (("table,https://data.example/",), {}, 400, "'https' URLs"),
)


async def test_what_is_not_right_creates_nothing(calls: Calls, tmp_path: Path) -> None:
    for uploads, sent, status, words in WRONG:
        answer = await create(calls, *uploads, files=sent or None)
        assert answer.status_code == status, (uploads, answer.text)
        assert words in answer.text
    assert await calls.jobs("take") == ()
    assert folders(tmp_path) == []


async def test_other_payloads_take_no_files(calls: Calls) -> None:
    answer = await calls.http.post("/plain/async", files={"t": b"1"})
    assert (answer.status_code, "t: no file is taken here" in answer.text) == (400, True)
    answer = await calls.post("/plain/async", UPLOAD="table,param:t")
    assert (answer.status_code, "it takes: none" in answer.text) == (400, True)


async def test_a_body_with_files_has_a_largest_size(calls: Calls) -> None:
    answer = await create(calls, "table,param:t", files={"t": bytes(2 * 2**20)})
    assert (answer.status_code, "the body has more than" in answer.text) == (413, True)


async def test_the_job_fails_if_its_url_cannot_be_read(calls: Calls, files: FileServer) -> None:
    files.reply = Reply(200, bytes(50_001), closes=True)
    for source, words in (
        (f"http://127.0.0.1:{files.port}/", "it has more than 50000 bytes"),
        ("http://data.example/", "UPLOAD from data.example: "),
    ):
        answer = await create(calls, f"table,{source}")
        job = await calls.end(answer.headers["Location"])
        assert job.phase is P.ERROR
        assert job.error is not None
        assert words in job.error.message


@pytest.mark.parametrize("by", ["ABORT", "DELETE"])
async def test_a_job_that_is_ended_while_its_url_is_read_makes_room_at_once_and_is_never_started(
    calls: Calls, files: FileServer, tmp_path: Path, by: str
) -> None:
    files.habit = wait_for_ever
    answer = await create(calls, f"table,http://127.0.0.1:{files.port}/", payload="single")
    url = answer.headers["Location"]
    await files.received(1)
    assert (await calls.job(url)).phase is P.QUEUED
    if by == "ABORT":
        ended = await calls.post(f"{url}/phase", PHASE="ABORT")
        assert (await calls.job(url)).phase is P.ABORTED
    else:
        ended = await calls.http.delete(url)
    assert ended.status_code == 303
    # The server has not answered yet, and one job of this payload may be under way.
    other = await create(calls, "table,param:t", payload="single", files={"t": CONTENT})
    job = await calls.end(other.headers["Location"])
    assert job.phase is P.COMPLETED
    # Nothing is left of what was not started.
    async with asyncio.timeout(20):
        while await asyncio.to_thread(folders, tmp_path) != [job.job_id]:  # noqa: ASYNC110 (files)
            await asyncio.sleep(0.02)


async def test_uploads_go_with_the_job(calls: Calls, tmp_path: Path) -> None:
    url = (await create(calls, "table,param:t", files={"t": CONTENT})).headers["Location"]
    await calls.end(url)
    assert len(folders(tmp_path)) == 1
    await calls.http.delete(url)
    async with asyncio.timeout(20):
        while await asyncio.to_thread(folders, tmp_path):  # noqa: ASYNC110 (another process would see no more)
            await asyncio.sleep(0.02)


@pytest.mark.system
async def test_a_job_whose_service_was_killed_before_the_command_was_started_is_run_by_the_next(
    tmp_path: Path, service_database: dict[str, str]
) -> None:
    async with FileServer(Reply(200, CONTENT, closes=True)) as files:
        files.habit = wait_for_ever
        host = f"127.0.0.1:{files.port}"
        uploads = {"max_bytes": 100_000, "schemes": ["http"], "hosts": [host], "internal_hosts": [host]}
        config = make_config(tmp_path, {"take": PAYLOAD}, uploads=uploads, **service_database)
        service = ServiceProcess(config, tmp_path / "log")
        try:
            await service.start()
            async with Calls.to(service.url) as calls:
                answer = await create(calls, f"table,http://{host}/x")
                path = answer.headers["Location"].removeprefix(service.url)
                await files.received(1)
                assert (await calls.job(path)).phase is P.QUEUED
            await service.kill()
            files.habit = None
            await service.start()
            async with Calls.to(service.url) as calls:
                job = await calls.end(path)
                assert (job.phase, job.error) == (P.COMPLETED, None)
                assert (await calls.http.get(f"{path}/results/result")).content == CONTENT
            await service.stop()
            assert service.log.read_text().count('"queued again') == 1
        finally:
            service.close()
