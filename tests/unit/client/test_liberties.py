"""The liberties that real UWS servers take (uws-1.1.md), one by one, on a server that is otherwise true."""

import json
import re
from dataclasses import replace

import pytest

from lsst.ts.ocps.client.errors import RequestRefusedError
from lsst.ts.ocps.uws.jobs import ErrorSummary
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.backend_bench import VALUE, finished
from support.uws_bench import ServerBench
from support.uws_server import Reply, Request, redirect, status, text

pytestmark = pytest.mark.asyncio

P = ExecutionPhase


async def live(bench: ServerBench) -> None:
    """Everything that is ever asked of a server."""
    assert (await bench.backend.probe()).version == "1.1"
    created = await bench.run(execution_duration=77)
    job = await finished(bench.backend, created.url)
    assert (job.phase, job.execution_duration) == (P.COMPLETED, 77)
    (result,) = job.results
    data = await bench.backend.fetch(created.url, result.result_id, result.url, max_bytes=1000)
    assert json.loads(data) == json.loads(VALUE)
    failed = await bench.run(fail="broken")
    assert (await finished(bench.backend, failed.url)).error is not None
    assert await bench.backend.error_detail(failed.url) == "broken\n\nmore"
    await bench.backend.abort(failed.url)
    assert len(await bench.backend.list_jobs("sleep", last=9)) == 2
    await bench.backend.delete(created.url)


@pytest.mark.parametrize("kind", ["*/*", "text/html", "text/html; charset=utf-8", "image/png", ""])
async def test_what_a_document_is_does_not_depend_on_its_media_type(bench: ServerBench, kind: str) -> None:
    async def rename(request: Request) -> Reply:
        return replace(await bench.server.answer(request), kind=kind)

    bench.server.habit = rename
    await live(bench)


async def test_every_request_takes_anything_and_likes_xml_best(bench: ServerBench) -> None:
    async def insist(request: Request) -> Reply | None:
        ranges = [one.partition(";")[0].strip() for one in request.headers.get("accept", "").split(",")]
        return None if ranges[0] == "application/xml" and "*/*" in ranges else Reply(406)

    bench.server.habit = insist
    await live(bench)
    assert {one.method for one in bench.server.requests} == {"GET", "POST", "DELETE"}


@pytest.mark.parametrize("code", [302, 303, 307])
async def test_details_and_results_may_be_elsewhere_at_the_server(bench: ServerBench, code: int) -> None:
    failed = await bench.run(fail="broken")
    await finished(bench.backend, failed.url)
    bench.server.misbehave("GET", "/error", redirect("/files/17", code))
    bench.server.misbehave("GET", "/files/17", text("Error: all of it", "text/plain"))
    assert await bench.backend.error_detail(failed.url) == "all of it"
    created = await bench.run()
    await finished(bench.backend, created.url)
    bench.server.misbehave("GET", "/results/result.json", redirect("/files/18", code))
    bench.server.misbehave("GET", "/files/18", text("{}", "application/json"))
    assert await bench.backend.fetch(created.url, "result.json", None, max_bytes=10) == b"{}"


async def test_details_on_a_host_that_nobody_named_are_not_asked_for(bench: ServerBench) -> None:
    failed = await bench.run(fail="broken")
    await finished(bench.backend, failed.url)
    bench.server.misbehave("GET", "/error", redirect("https://elsewhere.invalid/17", 303))
    with pytest.raises(RequestRefusedError, match=r"elsewhere\.invalid is not among the result_hosts"):
        await bench.backend.error_detail(failed.url)


@pytest.mark.parametrize("summary", [b"", b"<uws:errorSummary xsi:nil='true'/>"])
async def test_a_failed_job_whose_document_does_not_say_why_is_asked_for_its_error(
    bench: ServerBench, summary: bytes
) -> None:
    async def keep_quiet(request: Request) -> Reply:
        reply = await bench.server.answer(request)
        return replace(reply, body=re.sub(rb"<uws:errorSummary.*</uws:errorSummary>", summary, reply.body))

    bench.server.habit = keep_quiet
    failed = await bench.run(fail="broken")
    job = await finished(bench.backend, failed.url)
    assert (job.phase, job.error) == (P.ERROR, ErrorSummary("broken\n\nmore", has_detail=True))
    # It is asked once, and what goes wrong with that does not hide the end of the job.
    assert len(bench.server.sent("GET", "/error")) == 1
    for reply in (status(500), status(404)):
        bench.server.misbehave("GET", "/error", reply)
        assert (await bench.backend.read(failed.url)).phase is P.ERROR


async def test_a_server_that_silently_keeps_its_limits_is_asked_once_and_believed(bench: ServerBench) -> None:
    bench.server.takes_limits = False
    keep = redirect("/sleep/async/1", 303)
    bench.server.misbehave("POST", "/executionduration", keep)
    bench.server.misbehave("POST", "/destruction", keep)
    submission = replace(bench.submission(execution_duration=9999), destruction="2099-01-02T03:04:05Z")
    created = await bench.backend.create(submission)
    kept = bench.server.jobs["1"]
    assert (created.job.execution_duration, kept.duration) == (600, 600)
    assert created.job.destruction == kept.destruction
    assert [len(bench.server.sent("POST", end)) for end in ("/executionduration", "/destruction")] == [1, 1]
    await bench.backend.start(created.url)
    assert (await finished(bench.backend, created.url)).phase is P.COMPLETED
