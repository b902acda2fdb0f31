"""The JSON dialect: what is sent, and what becomes of odd answers."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lsst.ts.ocps.client.api_server import ApiServerBackend
from lsst.ts.ocps.client.base import ShellJob, Submission
from lsst.ts.ocps.client.errors import (
    BackendAuthenticationError,
    BackendError,
    BackendFailedError,
    BackendUnavailableError,
    JobNotFoundError,
    RequestRefusedError,
)
from lsst.ts.ocps.client.settings import ApiServerSettings
from lsst.ts.ocps.uws.phases import ExecutionPhase as P
from support.api_server_bench import COMMAND, SHELL, ApiServerBench, api_server_bench
from support.api_server_double import _render, json_reply
from support.backend_bench import finished, reached
from support.http_server import Behaviour, Reply, Request, drop, html, redirect, status, text

pytestmark = pytest.mark.asyncio

DEPLOYED = ShellJob(
    COMMAND,
    url="https://github.com/lsst-dm/uws_scripts",
    commit_ref="main",
    environment=(
        ("IMAGE_TAG", "{version}"),
        ("PIPELINE_URL", "{pipeline}"),
        ("BUTLER_REPO", "LATISS"),
        ("RUN_OPTIONS", "-i LATISS/defaults {config}"),
        ("OUTPUT_GLOB", "{output_dataset_types}"),
        ("DATA_QUERY", "{data_query}"),
    ),
)
"""How the deployed CSC runs ``pipetask`` for one of its instances."""

EXECUTE = (
    ("pipeline", "${CP_PIPE_DIR}/pipelines/LATISS/cpBias.yaml"),
    ("version", ""),
    ("config", "-j 8 -i a,b  --register-dataset-types "),
    ("data_query", "instrument='LATISS' AND exposure IN (2024031300001..2024031300005)"),
    ("output_dataset_types", "*"),
)


def answer_with(reply: Reply) -> Behaviour:
    async def behave(_: Request) -> Reply:
        return reply

    return behave


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[ApiServerBench]:
    async with api_server_bench(escape="none", call_timeout=10) as bench:
        yield bench


def deployed(**changes: str) -> Submission:
    pairs = tuple((name, changes.get(name, value)) for name, value in EXECUTE)
    return Submission("execute", "ocps-test-1-abc", pairs, shell=DEPLOYED)


async def sent_by(bench: ApiServerBench, submission: Submission) -> dict[str, Any]:
    await bench.backend.create(submission)
    (request,) = bench.server.sent("PUT")
    assert request.headers["content-type"] == "application/json"
    body: dict[str, Any] = json.loads(request.body)
    return body


async def test_execute_sends_what_the_deployed_csc_sends(bench: ApiServerBench) -> None:
    assert await sent_by(bench, deployed()) == {
        "run_id": "ocps-test-1-abc",
        "command": "cd $JOB_SOURCE_DIR && bash bin/pipetask.sh",
        "url": "https://github.com/lsst-dm/uws_scripts",
        "commit_ref": "main",
        "environment": [
            {"name": "IMAGE_TAG", "value": ""},
            {"name": "PIPELINE_URL", "value": "${CP_PIPE_DIR}/pipelines/LATISS/cpBias.yaml"},
            {"name": "BUTLER_REPO", "value": "LATISS"},
            {"name": "RUN_OPTIONS", "value": "-i LATISS/defaults -j 8 -i a,b  --register-dataset-types "},
            {"name": "OUTPUT_GLOB", "value": "*"},
            {
                "name": "DATA_QUERY",
                "value": "instrument='LATISS' AND exposure IN (2024031300001..2024031300005)",
            },
        ],
    }
    (job,) = bench.server.jobs.values()
    assert job.variable("RUN_OPTIONS") == "-i LATISS/defaults -j 8 -i a,b  --register-dataset-types "


async def test_defect_06_a_version_reaches_the_scripts(bench: ApiServerBench) -> None:
    body = await sent_by(bench, deployed(version="w_2026_40"))
    variables = {one["name"]: one["value"] for one in body["environment"]}
    assert (variables["IMAGE_TAG"], variables["EUPS_TAG"]) == ("w_2026_40", "w_2026_40")


async def test_parameters_that_no_variable_names_travel_under_their_own_names(bench: ApiServerBench) -> None:
    shell = ShellJob("run", text_lists=frozenset({"names"}), json_lists=frozenset({"numbers", "none"}))
    pairs = (("a", "x"), ("numbers", "1"), ("numbers", "2.5"), ("none", ""), ("b", ""))
    body = await sent_by(bench, Submission("p", "r1", pairs, shell=shell))
    assert [(one["name"], one["value"]) for one in body["environment"]] == [
        ("a", "x"),
        ("numbers", "[1, 2.5]"),
        ("none", "[]"),
        ("b", ""),
    ]
    # JSON null, or "", would mean something to the server; what is not wanted is not there.
    assert "url" not in body
    assert "commit_ref" not in body


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ('a "quoted" name', "DATA_QUERY: holds a double quote"),
        ("a\\b", "DATA_QUERY: holds a backslash"),
        ("a\nb", "DATA_QUERY: holds a line break"),
        ("a\tb", r"DATA_QUERY: holds the control character U\+0009"),
        ("a\x85b", r"U\+0085"),
        ("a\u2028b", r"U\+2028"),
        ("a\0b", r"U\+0000, which no environment variable can"),
        ("a" * 131_072, "is 131083 bytes long; an environment variable ends at 131071"),
    ],
)
async def test_defect_08_values_that_the_server_would_change_are_refused_by_name(
    bench: ApiServerBench, value: str, words: str
) -> None:
    with pytest.raises(RequestRefusedError, match=words) as caught:
        bench.backend.check(deployed(data_query=value))
    assert "back end json-server: cannot be sent" in str(caught.value)
    assert value not in str(caught.value)
    with pytest.raises(RequestRefusedError, match=words):
        await bench.backend.create(deployed(data_query=value))
    assert bench.server.requests == []


async def test_every_value_that_cannot_be_sent_is_named(bench: ApiServerBench) -> None:
    with pytest.raises(RequestRefusedError) as caught:
        bench.backend.check(deployed(data_query='"', pipeline="\\"))
    assert "PIPELINE_URL: " in str(caught.value)
    assert "DATA_QUERY: " in str(caught.value)


@given(value=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_an_escaped_value_is_read_from_yaml_as_it_was_meant(value: str) -> None:
    given_settings = ApiServerSettings(url="http://127.0.0.1:9/api/v1", escape="yaml")
    backend = ApiServerBackend("x", given_settings)
    submission = Submission("p", "r1", (("text", value),), shell=ShellJob("run"))
    _, environment = _render(backend._body(submission), "1")
    assert environment[-1] == {"name": "text", "value": value}


@given(value=st.text(max_size=60))
@settings(max_examples=200)
async def test_a_value_that_is_not_refused_is_read_from_yaml_as_it_was_meant(value: str) -> None:
    backend = ApiServerBackend("x", ApiServerSettings(url="http://127.0.0.1:9/api/v1"))
    submission = Submission("p", "r1", (("text", value),), shell=ShellJob("run"))
    try:
        body = backend._body(submission)
    except RequestRefusedError:
        return
    _, environment = _render(body, "1")
    assert environment[-1] == {"name": "text", "value": value}


async def test_a_payload_without_a_section_for_this_kind_is_refused(bench: ApiServerBench) -> None:
    with pytest.raises(RequestRefusedError, match="payload p has no section api_server"):
        bench.backend.check(Submission("p", "r1"))


async def test_a_run_id_that_the_server_refuses_is_said(bench: ApiServerBench) -> None:
    with pytest.raises(RequestRefusedError, match="400 Bad Request: 'Invalid run_id"):
        await bench.create(refuse=True)


@pytest.mark.parametrize(
    ("behaviour", "kind", "words"),
    [
        (status(500, "Job creation timed out."), BackendFailedError, "500 .*'Job creation timed out.'"),
        (status(500, "'command''command'"), BackendFailedError, "'command''command'"),
        (status(502, "bad gateway"), BackendUnavailableError, "502 Bad Gateway"),
        (status(404), RequestRefusedError, "no server of the JSON dialect"),
        (text("{}", "application/json"), BackendFailedError, "an empty object"),
        (text("[]", "application/json"), BackendFailedError, "no job object"),
        (text('{"phase": "pending"}', "application/json"), BackendFailedError, "without jobId"),
        (text('{"jobId": "../x", "phase": "q"}'), BackendFailedError, "without jobId"),
        (text('{"jobId": "1", "phase"'), BackendFailedError, "no JSON: "),
        (html("It works!"), BackendFailedError, "an HTML page titled 'It works!'"),
        (html("Please log in"), BackendAuthenticationError, "Please log in"),
        (redirect("/login?next=x"), BackendAuthenticationError, "login page"),
        (redirect("https://elsewhere.example/x"), BackendAuthenticationError, "another host"),
        (redirect("/api/v2/job", 308), RequestRefusedError, "nothing was done.*api/v2/job"),
        (drop(), BackendUnavailableError, "the connection broke"),
    ],
)
async def test_a_bad_answer_to_a_creation_says_what_was_answered(
    bench: ApiServerBench, behaviour: Behaviour, kind: type[BackendError], words: str
) -> None:
    bench.server.misbehave("PUT", "/job", behaviour)
    with pytest.raises(kind, match=words) as caught:
        await bench.create()
    assert caught.value.was_sent
    assert "back end json-server: PUT http://" in str(caught.value)
    assert len(bench.server.sent("PUT")) == 1


async def test_a_server_that_is_not_there_was_sent_nothing() -> None:
    backend = ApiServerBackend("x", ApiServerSettings(url="http://127.0.0.1:1/api/v1"))
    with pytest.raises(BackendUnavailableError, match="no connection") as caught:
        await backend.create(Submission("p", "r1", shell=SHELL))
    assert not caught.value.was_sent
    await backend.aclose()


@pytest.mark.parametrize(
    ("behaviour", "kind", "words"),
    [
        (status(500, "Traceback (most recent call last):\n  File"), BackendFailedError, "Traceback"),
        (html("Proxy"), BackendFailedError, "an HTML page titled 'Proxy'"),
        (text('{"jobId": '), BackendFailedError, "no JSON"),
        (text("{}"), BackendFailedError, "an empty object: the server could not describe the job"),
        (text('{"jobId": "other", "phase": "error"}'), BackendFailedError, "about job 'other'"),
        (answer_with(json_reply("", 404)), JobNotFoundError, "404 Not Found: no explanation"),
        (redirect("https://idp.example/login"), BackendAuthenticationError, "login"),
        (status(401), BackendAuthenticationError, "401"),
    ],
)
async def test_a_bad_answer_to_a_reading_says_what_was_answered(
    bench: ApiServerBench, behaviour: Behaviour, kind: type[BackendError], words: str
) -> None:
    created = await bench.create(duration=30)
    bench.server.misbehave("GET", f"/job/{created.job.job_id}", behaviour)
    with pytest.raises(kind, match=words) as caught:
        await bench.backend.read(created.url)
    assert "back end json-server: GET http://" in str(caught.value)
    assert (await bench.backend.read(created.url)).job_id == created.job.job_id


async def test_an_unknown_phase_is_no_end(bench: ApiServerBench) -> None:
    created = await bench.create(duration=30)
    # Later, the server changes the phase no more.
    await reached(bench.backend, created.url, P.EXECUTING)
    bench.server.jobs[created.job.job_id].phase = "weird"
    job = await bench.backend.read(created.url)
    assert (job.phase, job.phase_text) == (P.UNKNOWN, "weird")


async def test_times_and_durations_are_read_as_they_are_meant(bench: ApiServerBench) -> None:
    job = await finished(bench.backend, (await bench.create()).url)
    assert job.creation_time is not None
    assert job.creation_time.microsecond == 0
    assert str(job.creation_time.tzinfo) == "UTC"
    # The server tells how long the job ran, not how long it may.
    assert job.execution_duration == 0


async def test_a_failed_job_tells_neither_why_nor_when(bench: ApiServerBench) -> None:
    job = await finished(bench.backend, (await bench.create(fail="yes")).url)
    assert (job.phase, job.error, job.end_time) == (P.ERROR, None, None)


async def test_the_number_of_a_result_is_never_remembered(bench: ApiServerBench) -> None:
    created = await bench.create()
    job = await finished(bench.backend, created.url)
    names = {result.result_id: result.url for result in job.results}
    assert set(names) == {"result.json", "log.txt"}
    bench.server.jobs[created.job.job_id].files.insert(0, "new.txt")
    data = await bench.backend.fetch(created.url, "log.txt", names["log.txt"], max_bytes=100)
    assert data == b"some log"


async def test_results_of_one_name_are_told_apart(bench: ApiServerBench) -> None:
    created = await bench.create()
    await finished(bench.backend, created.url)
    bench.server.jobs[created.job.job_id].files[:] = ["a/x.fits", "b/x.fits"]
    job = await bench.backend.read(created.url)
    assert [result.result_id for result in job.results] == ["a/x.fits", "b/x.fits"]


@pytest.mark.parametrize(
    "url",
    ["", "/", "/../x", "/a/b", "/a?x=1", "/%2e%2e", "http://other/api/v1/job/1"],
)
async def test_defect_07_nothing_that_is_no_job_of_the_server_is_ever_deleted(
    bench: ApiServerBench, url: str
) -> None:
    target = url if url.startswith("http") else f"{bench.server.base}/job{url}"
    for call in (bench.backend.delete, bench.backend.abort, bench.backend.read):
        with pytest.raises(RequestRefusedError, match="is no job of"):
            await call(target)
    assert bench.server.requests == []


async def test_defect_15_a_job_that_has_ended_is_not_deleted_by_an_abort(bench: ApiServerBench) -> None:
    created = await bench.create()
    await finished(bench.backend, created.url)
    await bench.backend.abort(created.url)
    assert bench.server.sent("DELETE") == []


async def test_waiting_looks_at_the_phase_only(bench: ApiServerBench) -> None:
    created = await bench.create(duration=0.5)
    await reached(bench.backend, created.url, P.EXECUTING)
    reads = len(bench.server.sent("GET", f"/job/{created.job.job_id}"))
    job = await bench.backend.wait(created.url, phase=P.EXECUTING, seconds=30)
    assert job.phase is P.COMPLETED
    assert len(bench.server.sent("GET", "/phase")) >= 2
    assert len(bench.server.sent("GET", f"/job/{created.job.job_id}")) == reads + 1


async def test_a_job_that_cannot_be_described_does_not_hide_the_others(bench: ApiServerBench) -> None:
    first, second = await bench.create(duration=30), await bench.create(duration=30)
    bench.server.undescribed.add(first.job.job_id)
    assert [ref.job_id for ref in await bench.backend.list_jobs("any")] == [second.job.job_id]


async def test_a_probe_asks_for_the_shortest_list(bench: ApiServerBench) -> None:
    await bench.create(duration=30)
    await bench.backend.probe()
    assert bench.server.requests[-1].query == {"phase": "held"}
    bench.server.misbehave("GET", "/job", html("Some other site"))
    with pytest.raises(BackendFailedError, match="Some other site"):
        await bench.backend.probe()


async def test_a_get_never_says_that_it_brings_json(bench: ApiServerBench) -> None:
    created = await bench.create()
    await finished(bench.backend, created.url)
    assert all("content-type" not in request.headers for request in bench.server.sent("GET"))
