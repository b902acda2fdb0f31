"""Synchronous requests: a job, and its result or error as the answer."""

import asyncio
from pathlib import Path

import httpx
import pytest

from lsst.ts.ocps.executors.base import ExecutorError, ExecutorState
from lsst.ts.ocps.service.schema import StoredResult
from lsst.ts.ocps.service.sync import primary_result
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.processes import until
from support.service_process import FakeService, fake_service

P = ExecutionPhase


async def end_next(fake: FakeService, exit_code: int = 0, **files: str) -> str:
    """Wait for the next job to run, and let it end; its id."""
    await until(lambda: fake.cluster.keys, "a job runs")
    (job_id,) = fake.cluster.keys
    await fake.calls.executing(f"/work/async/{job_id}")
    for name, content in files.items():
        output = fake.config.jobs_directory / job_id / "out" / name.replace("_", ".")
        output.write_text(content)
    fake.cluster.finish(job_id, exit_code)
    return job_id


async def ask(fake: FakeService, method: str = "GET", **parameters: str) -> httpx.Response:
    place = {"params": parameters} if method == "GET" else {"data": parameters}
    return await fake.calls.http.request(method, "/work/sync", **place, follow_redirects=True)  # type: ignore[arg-type]


@pytest.mark.asyncio
class TestSync:
    @pytest.mark.parametrize("method", ["GET", "POST"])
    async def test_the_answer_leads_to_the_result_and_the_job_is_listed(
        self, fake: FakeService, method: str
    ) -> None:
        asked = asyncio.create_task(ask(fake, method, text="hello", RUNID="r"))
        job_id = await end_next(fake, log_txt="no", result_json="42", zzz_txt="no")
        answer = await asked
        assert (answer.status_code, answer.text) == (200, "42")
        assert answer.headers["content-type"] == "application/json"
        (redirect,) = answer.history
        assert redirect.status_code == 303
        assert redirect.headers["Location"].endswith(f"/work/async/{job_id}/results/result.json")
        (listed,) = await fake.calls.jobs("work")
        assert (listed.job_id, listed.phase, listed.run_id) == (job_id, P.COMPLETED, "r")
        job = await fake.calls.job(f"/work/async/{job_id}")
        assert job.parameters[0].value == "hello"

    async def test_a_job_without_results_has_no_content(self, fake: FakeService) -> None:
        asked = asyncio.create_task(ask(fake))
        await end_next(fake)
        assert ((await asked).status_code, (await asked).content) == (204, b"")

    async def test_a_failure_is_told_as_an_error_document(self, fake: FakeService) -> None:
        asked = asyncio.create_task(ask(fake))
        job_id = await end_next(fake, exit_code=3)
        answer = await asked
        assert answer.status_code == 422
        assert answer.headers["content-type"].startswith("text/plain")
        assert answer.text.startswith("Error: ")
        assert "exit code 3" in answer.text
        assert job_id in answer.text

    async def test_a_refusal_by_the_executor_is_an_error_too(self, fake: FakeService) -> None:
        fake.cluster.refuse_next(ExecutorError("no such partition"))
        answer = await ask(fake)
        assert (answer.status_code, "no such partition" in answer.text) == (422, True)

    async def test_an_abort_by_somebody_else_is_an_error(self, fake: FakeService) -> None:
        asked = asyncio.create_task(ask(fake))
        await until(lambda: fake.cluster.keys, "a job runs")
        await fake.calls.post(f"/work/async/{fake.cluster.keys[0]}/phase", PHASE="ABORT")
        answer = await asked
        assert (answer.status_code, "ABORTED" in answer.text) == (422, True)

    async def test_wrong_requests_make_no_job(self, fake: FakeService) -> None:
        for method, form in [
            ("GET", {"txt": "x"}),
            ("POST", {"txt": "x"}),
            ("POST", {"PHASE": "ABORT"}),
            ("GET", {"WAIT": "1"}),
        ]:
            answer = await ask(fake, method, **form)
            assert answer.status_code == 400
            assert answer.text.startswith("UsageError: ")
        assert (await fake.calls.http.get("/nothing/sync")).status_code == 404
        assert (await fake.calls.http.head("/work/sync")).status_code == 405
        assert await fake.calls.jobs("") == ()

    async def test_the_time_is_bounded_and_the_job_aborted(self, tmp_path: Path) -> None:
        async with fake_service(tmp_path, max_sync=0.5) as short:
            answer = await ask(short)
            assert answer.status_code == 503
            assert answer.text.startswith("ServiceUnavailable: ")
            assert "0.5 s" in answer.text
            assert "work/async" in answer.text
            (listed,) = await short.calls.jobs("work")
            assert listed.phase is P.ABORTED
            await until(
                lambda: all(
                    short.cluster.status(key).state is ExecutorState.CANCELLED for key in short.cluster.keys
                ),
                "the command is cancelled",
            )

    async def test_a_stop_of_the_service_answers_and_leaves_the_job(self, fake: FakeService) -> None:
        asked = asyncio.create_task(ask(fake))
        await until(lambda: fake.cluster.keys, "a job runs")
        await fake.calls.executing(f"/work/async/{fake.cluster.keys[0]}")
        fake.context.watch.close()
        answer = await asked
        assert (answer.status_code, "EXECUTING" in answer.text) == (503, True)
        assert fake.cluster.status(fake.cluster.keys[0]).state is ExecutorState.RUNNING

    async def test_the_result_is_one_of_the_format_that_was_asked_for(self, fake: FakeService) -> None:
        asked = asyncio.create_task(ask(fake, responseformat="csv"))
        job_id = await end_next(fake, result_json="42", zzz_csv="a,b")
        answer = await asked
        assert (answer.text, answer.headers["content-type"]) == ("a,b", "text/csv; charset=utf-8")
        job = await fake.calls.job(f"/work/async/{job_id}")
        assert "RESPONSEFORMAT" not in {parameter.name.upper() for parameter in job.parameters}

    async def test_a_format_that_no_result_has_is_a_usage_error(self, fake: FakeService) -> None:
        asked = asyncio.create_task(ask(fake, "POST", RESPONSEFORMAT="image/fits"))
        await end_next(fake, result_json="42")
        answer = await asked
        assert answer.status_code == 400
        assert answer.text.startswith("UsageError: RESPONSEFORMAT: ")
        assert "image/fits" in answer.text
        assert "application/json" in answer.text


@pytest.mark.parametrize(
    ("paths", "primary"),
    [
        ([], None),
        (["a.txt", "b.txt"], "a.txt"),
        (["a.txt", "result"], "result"),
        (["a.txt", "maps/result.fits.gz"], "maps/result.fits.gz"),
        (["results.txt", "a.txt"], "results.txt"),
    ],
)
def test_the_primary_result_is_called_result_or_is_the_first(paths: list[str], primary: str | None) -> None:
    logs = [StoredResult(name, name, 1, "text/plain", is_log=True) for name in ("stdout.txt", "result")]
    found = primary_result([*logs, *(StoredResult(path, path, 1, "text/plain") for path in paths)])
    assert (found.path if found else None) == primary
