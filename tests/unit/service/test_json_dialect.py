"""The JSON dialect: the same jobs as in UWS, in other words."""

import hashlib
from typing import Any

import httpx
import pytest

from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.service_process import FakeService, id_of

pytestmark = pytest.mark.asyncio
P = ExecutionPhase
BASE = "/api/v1/job"


async def put(fake: FakeService, **body: Any) -> httpx.Response:
    return await fake.calls.http.put(BASE, json=body)


async def get(fake: FakeService, path: str) -> Any:
    answer = await fake.calls.http.get(f"{BASE}{path}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    return answer.json()


async def test_a_job_is_created_started_and_told_in_both_dialects(fake: FakeService) -> None:
    variables = [{"name": "text", "value": r"a\n\"b\" \\"}]
    answer = await put(fake, command="work", run_id="r-1", environment=variables)
    assert answer.status_code == 200
    created = answer.json()
    assert list(created) == [
        *("jobId", "runId", "ownerId", "phase", "creationTime", "startTime", "endTime", "executionDuration"),
        *("destruction", "parameters", "results", "errorSummary", "jobInfo"),
    ]
    assert (created["runId"], created["phase"], created["startTime"]) == ("r-1", "pending", None)
    assert created["creationTime"].endswith("+00:00")
    path = f"/work/async/{created['jobId']}"
    job = await fake.calls.executing(path)
    assert (job.phase, job.run_id, job.parameters[0].value) == (P.EXECUTING, "r-1", 'a\n"b" \\')
    assert await get(fake, f"/{job.job_id}/phase") == "executing"
    output = fake.config.jobs_directory / job.job_id / "out"
    (output / "maps").mkdir()
    (output / "maps" / "a.json").write_text("[1]")
    fake.cluster.finish(job.job_id)
    await fake.calls.end(path)
    told = await get(fake, f"/{job.job_id}")
    assert (told["phase"], told["errorSummary"]) == ("completed", {"message": ""})
    assert told["executionDuration"] >= 0
    digest = hashlib.sha256(b"[1]").hexdigest()
    assert told["results"] == [
        {"id": 0, "uri": f"/jobs/{job.job_id}/out/maps/a.json", "size": 3, "sha256": digest}
    ]
    assert await get(fake, f"/{job.job_id}/results") == told["results"]
    expected = {"command": ["work"], "environment": [{"name": "text", "value": 'a\n"b" \\'}]}
    assert await get(fake, f"/{job.job_id}/parameters") == expected == told["parameters"]
    assert await get(fake, f"/result/{job.job_id}/0") == [1]


async def test_jobs_of_uws_are_listed_by_the_phases_of_the_dialect(fake: FakeService) -> None:
    pending = await fake.calls.create("work")
    executing = await fake.calls.create("single", PHASE="RUN")
    await fake.calls.executing(executing)
    waiting = await fake.calls.create("single", PHASE="RUN")
    assert [job["jobId"] for job in await get(fake, "")] == [
        id_of(path) for path in (waiting, executing, pending)
    ]
    for phase, paths in [("pending", (waiting, pending)), ("executing", (executing,)), ("queued", ())]:
        assert [job["jobId"] for job in await get(fake, f"?phase={phase}")] == [id_of(path) for path in paths]
    assert len(await get(fake, "?phase=")) == 3
    assert (await fake.calls.http.get(f"{BASE}?phase=PENDING")).status_code == 400


async def test_a_failure_is_told(fake: FakeService) -> None:
    job_id = (await put(fake, command="work")).json()["jobId"]
    await fake.calls.executing(f"/work/async/{job_id}")
    fake.cluster.finish(job_id, 3)
    await fake.calls.end(f"/work/async/{job_id}")
    told = await get(fake, f"/{job_id}")
    assert (told["phase"], told["runId"]) == ("error", job_id)
    assert "exit code 3" in told["errorSummary"]["message"]


async def test_deleting_stops_a_job_and_it_is_gone(fake: FakeService) -> None:
    job_id = (await put(fake, command="work")).json()["jobId"]
    await fake.calls.executing(f"/work/async/{job_id}")
    answer = await fake.calls.http.delete(f"{BASE}/{job_id}")
    assert (answer.status_code, answer.json()["status"]) == (200, "Success")
    assert fake.cluster.status(job_id).state.is_final
    assert (await fake.calls.http.delete(f"{BASE}/{job_id}")).status_code == 404
    for path in (f"/{job_id}", f"/{job_id}/phase"):
        gone = await fake.calls.http.get(f"{BASE}{path}")
        assert (gone.status_code, gone.json()) == (404, "")
    assert await get(fake, "") == []


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({}, "command"),
        ({"command": 5}, "command"),
        ({"command": "work", "run_id": "-x"}, "run_id"),
        ({"command": "work", "run_id": "x" * 64}, "run_id"),
        ({"command": "work", "run_id": 7}, "run_id"),
        ({"command": "work", "url": "https://git.example/x"}, "url"),
        ({"command": "work", "replicas": 2}, "replicas"),
        ({"command": "work", "environment": {"text": "x"}}, "environment"),
        ({"command": "work", "environment": [{"name": "text"}]}, "environment"),
        ({"command": "work", "environment": [{"name": "PATH", "value": "/evil"}]}, "PATH"),
        ({"command": "work", "environment": [{"name": "PHASE", "value": "RUN"}]}, "PHASE"),
        ({"command": "work", "environment": [{"name": "text", "value": 'x", &a "'}]}, "text"),
        ({"command": "work", "environment": [{"name": "text", "value": "\\q"}]}, "text"),
    ],
)
async def test_wrong_requests_are_refused_with_the_reason(
    fake: FakeService, body: dict[str, Any], word: str
) -> None:
    answer = await put(fake, **body)
    assert (answer.status_code, word in answer.text) == (400, True)
    assert await get(fake, "") == []


async def test_no_command_but_the_name_of_a_payload_is_run(fake: FakeService) -> None:
    for command in ("rm -rf /", "bin/pipetask.sh", "elsewhere"):
        assert (await put(fake, command=command)).status_code == 404
    assert (await fake.calls.http.put(BASE, content=b"{")).status_code == 400
    assert await get(fake, "") == []


async def test_what_is_not_there_is_not_found(fake: FakeService) -> None:
    job_id = (await put(fake, command="work")).json()["jobId"]
    for path, status in [
        ("/nothing", 404),
        ("/nothing/phase", 404),
        (f"/{job_id}/owner", 400),
        (f"/result/{job_id}/0", 404),
        (f"/result/{job_id}/-1", 404),
        (f"/result/{job_id}/x", 404),
        ("/result/nothing/0", 404),
    ]:
        assert (await fake.calls.http.get(f"{BASE}{path}")).status_code == status
