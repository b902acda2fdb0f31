"""The REST binding: what each URL answers to each method, on a service without network and processes."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from lsst.ts.ocps.service.errors import StoreError
from lsst.ts.ocps.service.store import Store
from lsst.ts.ocps.uws.codec import parse_parameters, parse_results
from lsst.ts.ocps.uws.phases import ExecutionPhase
from lsst.ts.ocps.uws.times import parse_time
from support.service_process import FakeService
from support.uws_samples import schema_problems

pytestmark = pytest.mark.asyncio
P = ExecutionPhase


async def running(fake: FakeService, payload: str = "work") -> str:
    path = await fake.calls.create(payload, PHASE="RUN")
    await fake.calls.executing(path)
    return path


async def ended(fake: FakeService, exit_code: int = 0) -> str:
    path = await running(fake)
    fake.cluster.finish(path.rpartition("/")[2], exit_code)
    await fake.calls.end(path)
    return path


def assert_refused(answer: httpx.Response, status: int, *words: str, code: str = "UsageError") -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text.startswith(f"{code}: ")
    for word in words:
        assert word in answer.text


class TestCreate:
    async def test_a_new_job_is_pending_and_its_location_absolute(self, fake: FakeService) -> None:
        answer = await fake.calls.post("/work/async", text="hello", RUNID="run 7")
        assert answer.status_code == 303
        location = answer.headers["Location"]
        assert location.startswith("http://uws.example/work/async/")
        job = await fake.calls.job(location)
        assert location.endswith(job.job_id)
        assert job.job_id[0].isdigit()
        assert (job.phase, job.run_id, job.version) == (P.PENDING, "run 7", "1.1")
        assert [(parameter.name, parameter.value) for parameter in job.parameters] == [("text", "hello")]
        assert job.creation_time is not None
        assert job.destruction == job.creation_time + timedelta(days=7)
        assert job.execution_duration == 3600
        assert (job.owner_id, job.quote, job.start_time, job.end_time) == (None, None, None, None)

    async def test_the_redirect_brings_the_document_that_a_get_would(self, fake: FakeService) -> None:
        answer = await fake.calls.post("/work/async", text="hello", RUNID="run 7")
        location = answer.headers["Location"]
        assert answer.headers["Content-Location"] == location
        assert answer.content == (await fake.calls.http.get(location)).content

    async def test_phase_run_at_creation_is_honoured_in_body_and_in_query(self, fake: FakeService) -> None:
        for path, form in [("/work/async", {"phase": "RUN"}), ("/work/async?PHASE=RUN", {})]:
            answer = await fake.calls.post(path, form)
            job = await fake.calls.executing(answer.headers["Location"])
            assert job.phase is P.EXECUTING

    async def test_multipart_forms_are_taken(self, fake: FakeService) -> None:
        files = {"TEXT": (None, "a & b\n"), "RunId": (None, "m"), "PHASE": (None, "RUN")}
        answer = await fake.calls.http.post("/work/async", files=files)
        job = await fake.calls.job(answer.headers["Location"])
        assert job.run_id == "m"
        assert job.parameters[0].value == "a & b\n"
        assert job.phase is not P.PENDING

    async def test_limits_are_bounded_by_the_payload(self, fake: FakeService) -> None:
        path = await fake.calls.create("bounded", EXECUTIONDURATION="1000", DESTRUCTION="2199-01-01")
        job = await fake.calls.job(path)
        assert job.execution_duration == 100
        assert job.creation_time is not None
        assert job.destruction == job.creation_time + timedelta(days=365)

    @pytest.mark.parametrize(
        ("form", "words"),
        [
            ({"txt": "x"}, ("txt", "did you mean 'text'")),
            ({"text": "nul\0"}, ("text", "U+0000")),
            ({"PHASE": "ABORT"}, ("PHASE",)),
            ({"DESTRUCTION": "never"}, ("DESTRUCTION", "never")),
            ({"RUNID": "x" * 65}, ("RUNID",)),
        ],
    )
    async def test_a_wrong_form_is_refused_and_creates_nothing(
        self, fake: FakeService, form: dict[str, str], words: tuple[str, ...]
    ) -> None:
        assert_refused(await fake.calls.post("/work/async", form), 400, *words)
        assert await fake.calls.jobs("") == ()

    async def test_every_problem_is_named_at_once(self, fake: FakeService) -> None:
        answer = await fake.calls.post("/work/async", [("a", "1"), ("b", "2"), ("text", "1"), ("TEXT", "2")])
        assert_refused(answer, 400, "parameters.a", "parameters.b", "parameters.text")

    async def test_parameters_of_any_length_are_checked(self, fake: FakeService) -> None:
        long = "é " * 5000
        answer = await fake.calls.post("/work/async", text=long)
        job = await fake.calls.job(answer.headers["Location"])
        assert [parameter.value for parameter in job.parameters] == [long]
        assert_refused(await fake.calls.post("/work/async", text=long, wrong="1"), 400, "wrong")

    async def test_a_body_that_is_no_form_or_too_large_is_refused(self, fake: FakeService) -> None:
        assert_refused(await fake.calls.http.post("/work/async", json={}), 415, "application/json")
        assert_refused(await fake.calls.post("/work/async", text="x" * 2**20), 413, "1048576")

    async def test_unknown_payloads_and_those_run_elsewhere_have_no_jobs(self, fake: FakeService) -> None:
        for payload in ("nothing", "elsewhere"):
            assert_refused(await fake.calls.post(f"/{payload}/async"), 404, payload, "work")
            assert_refused(await fake.calls.http.get(f"/{payload}/async"), 404, payload)

    async def test_empty_credentials_are_tolerated(self, fake: FakeService) -> None:
        headers = {"Authorization": "Basic Og=="}
        assert (await fake.calls.http.post("/work/async", headers=headers)).status_code == 303
        assert (await fake.calls.http.get("/work/async", headers=headers)).status_code == 200


class TestList:
    async def test_a_list_has_the_jobs_of_its_payload_and_the_overall_list_all(
        self, fake: FakeService
    ) -> None:
        work = await fake.calls.create("work", RUNID="r")
        single = await fake.calls.create("single")
        (listed,) = await fake.calls.jobs("work")
        assert listed.url == f"http://uws.example{work}"
        assert (listed.phase, listed.run_id, listed.owner_id) == (P.PENDING, "r", None)
        assert [ref.url for ref in await fake.calls.jobs("")] == [
            f"http://uws.example{path}" for path in (work, single)
        ]

    async def test_filters_are_taken_from_the_query(self, fake: FakeService) -> None:
        pending = await fake.calls.create("work")
        executing = await running(fake)
        await ended(fake)
        found = await fake.calls.jobs("work", [("phase", "PENDING"), ("PHASE", "EXECUTING"), ("last", "9")])
        assert [ref.job_id for ref in found] == [path.rpartition("/")[2] for path in (executing, pending)]

    async def test_after_the_shown_time_of_a_job_lists_only_later_ones(self, fake: FakeService) -> None:
        await fake.calls.create("work")
        (first,) = await fake.calls.jobs("work")
        assert first.creation_time is not None
        shown = first.creation_time.isoformat()
        assert await fake.calls.jobs("work", {"AFTER": shown}) == ()

    @pytest.mark.parametrize("query", ["LAST=0", "LAST=x", "AFTER=x", "PHASE=x", "LAST=1&last=2"])
    async def test_a_wrong_filter_is_refused(self, fake: FakeService, query: str) -> None:
        assert_refused(await fake.calls.http.get(f"/work/async?{query}"), 400)


class TestParts:
    async def test_every_part_of_a_new_job_is_there(self, fake: FakeService) -> None:
        path = await fake.calls.create("bounded", RUNID="r")
        job = await fake.calls.job(path)
        assert await fake.calls.text(f"{path}/phase") == "PENDING"
        assert await fake.calls.text(f"{path}/executionduration") == "100"
        assert parse_time(await fake.calls.text(f"{path}/destruction")) == job.destruction
        assert await fake.calls.text(f"{path}/quote") == ""
        assert await fake.calls.text(f"{path}/owner") == ""
        for part in ("results", "parameters"):
            answer = await fake.calls.http.get(f"{path}/{part}")
            assert answer.headers["content-type"].startswith("application/xml")
            assert schema_problems(answer.content) == []
        assert parse_results((await fake.calls.http.get(f"{path}/results")).content, path) == ()
        assert_refused(await fake.calls.http.get(f"{path}/error"), 404, "PENDING")
        assert_refused(await fake.calls.http.get(f"{path}/results/x"), 404, "x")
        assert_refused(await fake.calls.http.get(f"{path}/nothing"), 404)

    async def test_a_job_is_not_found_under_another_payload(self, fake: FakeService) -> None:
        path = (await fake.calls.create("work")).replace("/work/", "/single/")
        for part in ("", "/phase", "/results", "/parameters", "/error", "/destruction"):
            assert_refused(await fake.calls.http.get(path + part), 404)
        assert_refused(await fake.calls.post(f"{path}/phase", PHASE="RUN"), 404)
        assert_refused(await fake.calls.http.delete(path), 404)

    async def test_what_is_set_is_answered_by_the_job_and_shown_there(self, fake: FakeService) -> None:
        path = await fake.calls.create("bounded")
        time = datetime.now(UTC).replace(microsecond=0) + timedelta(days=100)
        for part, form in [
            ("destruction", {"DESTRUCTION": f"{time:%Y-%m-%dT%H:%M:%S}.000000Z"}),
            ("executionduration", {"executionduration": "7"}),
        ]:
            answer = await fake.calls.post(f"{path}/{part}", form)
            assert answer.status_code == 303
            assert answer.headers["Location"] == f"http://uws.example{path}"
        job = await fake.calls.job(path)
        assert job.destruction == time
        assert job.execution_duration == 7

    async def test_the_execution_duration_of_a_running_job_is_fixed(self, fake: FakeService) -> None:
        path = await running(fake)
        answer = await fake.calls.post(f"{path}/executionduration", EXECUTIONDURATION="7")
        assert_refused(answer, 403, "EXECUTING")

    async def test_methods_that_are_not_there_are_refused(self, fake: FakeService) -> None:
        path = await fake.calls.create("work")
        for part in ("/phase", "/results", "/parameters", "/destruction"):
            assert_refused(await fake.calls.http.delete(path + part), 405)
        assert_refused(await fake.calls.http.put("/work/async"), 405)
        assert (await fake.calls.job(path)).phase is P.PENDING


class TestParameters:
    async def test_parameters_of_a_pending_job_can_be_replaced(self, fake: FakeService) -> None:
        path = await fake.calls.create("work", text="old")
        assert (await fake.calls.post(f"{path}/parameters", TEXT="new")).status_code == 303
        document = (await fake.calls.http.get(f"{path}/parameters")).content
        assert [(found.name, found.value) for found in parse_parameters(document)] == [("text", "new")]

    async def test_one_parameter_can_be_put_and_read_verbatim(self, fake: FakeService) -> None:
        path = await fake.calls.create("work")
        value = "ü=&\r\n\t "
        answer = await fake.calls.http.put(f"{path}/parameters/Text", content=value.encode())
        assert answer.status_code == 303
        assert await fake.calls.text(f"{path}/parameters/text") == value
        assert_refused(await fake.calls.http.get(f"{path}/parameters/other"), 404, "other")

    async def test_wrong_values_are_refused_and_change_nothing(self, fake: FakeService) -> None:
        path = await fake.calls.create("work", text="old")
        assert_refused(await fake.calls.post(f"{path}/parameters", nothing="x"), 400, "nothing")
        assert_refused(await fake.calls.post(f"{path}/parameters"), 400)
        assert_refused(await fake.calls.post(f"{path}/parameters", PHASE="RUN", text="x"), 400, "PHASE")
        assert_refused(await fake.calls.http.put(f"{path}/parameters/text", content=b"\xff"), 400, "UTF-8")
        assert await fake.calls.text(f"{path}/parameters/text") == "old"

    async def test_parameters_are_fixed_once_the_job_is_committed(self, fake: FakeService) -> None:
        path = await running(fake)
        assert_refused(await fake.calls.post(f"{path}/parameters", text="new"), 403, "EXECUTING")
        assert_refused(await fake.calls.http.put(f"{path}/parameters/text", content=b"new"), 403)

    async def test_the_job_itself_takes_no_parameters(self, fake: FakeService) -> None:
        path = await fake.calls.create("work", text="old")
        for form in ({"text": "new"}, {"PHASE": "RUN"}, {}, {"ACTION": "DELETE", "text": "x"}):
            assert_refused(await fake.calls.post(path, form), 400, "ACTION=DELETE")
        job = await fake.calls.job(path)
        assert (job.phase, job.parameters[0].value) == (P.PENDING, "old")


class TestPhase:
    async def test_run_is_accepted_once(self, fake: FakeService) -> None:
        path = await fake.calls.create("work")
        answer = await fake.calls.post(f"{path}/phase", phase="RUN")
        assert (answer.status_code, answer.headers["Location"]) == (303, f"http://uws.example{path}")
        assert_refused(await fake.calls.post(f"{path}/phase", PHASE="RUN"), 403, "PENDING and HELD")
        await fake.calls.executing(path)
        assert fake.cluster.keys == (path.rpartition("/")[2],)

    async def test_run_of_an_ended_job_is_refused(self, fake: FakeService) -> None:
        path = await ended(fake)
        assert_refused(await fake.calls.post(f"{path}/phase", PHASE="RUN"), 403, "COMPLETED")

    @pytest.mark.parametrize("form", [{}, {"PHASE": "HELD"}, {"PHASE": ""}, {"phase": "run"}])
    async def test_other_requests_are_refused(self, fake: FakeService, form: dict[str, str]) -> None:
        path = await fake.calls.create("work")
        assert_refused(await fake.calls.post(f"{path}/phase", form), 400, "PHASE")

    async def test_abort_is_seen_in_the_document_that_the_answer_leads_to(self, fake: FakeService) -> None:
        for path in (await fake.calls.create("work"), await running(fake)):
            answer = await fake.calls.post(f"{path}/phase", PHASE="ABORT")
            assert answer.status_code == 303
            job = await fake.calls.job(answer.headers["Location"])
            assert job.phase is P.ABORTED
            assert job.end_time is not None
            assert job.error is None

    async def test_abort_of_an_ended_job_changes_nothing(self, fake: FakeService) -> None:
        path = await ended(fake)
        before = await fake.calls.job(path)
        assert (await fake.calls.post(f"{path}/phase", PHASE="ABORT")).status_code == 303
        assert await fake.calls.job(path) == before

    async def test_a_failed_job_has_an_error_and_answers_200(self, fake: FakeService) -> None:
        path = await ended(fake, exit_code=3)
        job = await fake.calls.job(path)
        assert job.phase is P.ERROR
        assert job.error is not None
        assert "3" in job.error.message
        assert (await fake.calls.text(f"{path}/error")).startswith("Error: ")


class TestDelete:
    async def test_delete_and_action_delete_lead_to_the_list_and_then_the_job_is_gone(
        self, fake: FakeService
    ) -> None:
        for action in (None, {"action": "DELETE"}):
            path = await running(fake)
            answer = await (fake.calls.post(path, action) if action else fake.calls.http.delete(path))
            assert answer.status_code == 303
            assert answer.headers["Location"] == "http://uws.example/work/async"
            for part in ("", "/phase", "/results", "/error"):
                assert_refused(await fake.calls.http.get(path + part), 404)
            assert_refused(await fake.calls.http.delete(path), 404)
        assert await fake.calls.jobs("work") == ()

    async def test_delete_stops_the_command(self, fake: FakeService) -> None:
        path = await running(fake)
        await fake.calls.http.delete(path)
        assert fake.cluster.status(path.rpartition("/")[2]).state.is_final


class TestWait:
    async def test_wait_with_another_phase_than_the_present_answers_at_once(self, fake: FakeService) -> None:
        path = await fake.calls.create("work")
        job = await fake.calls.job(path, WAIT="30", PHASE="QUEUED")
        assert job.phase is P.PENDING

    async def test_wait_on_an_ended_job_answers_at_once(self, fake: FakeService) -> None:
        path = await ended(fake)
        assert (await fake.calls.job(path, wait="-1")).phase is P.COMPLETED

    async def test_wait_is_over_after_its_time(self, fake: FakeService) -> None:
        path = await fake.calls.create("work")
        assert (await fake.calls.job(path, WAIT="1")).phase is P.PENDING

    @pytest.mark.parametrize("query", ["WAIT=x", "WAIT=-2", "WAIT=1&PHASE=DONE", "WAIT=1&WAIT=2"])
    async def test_a_wrong_wait_is_refused(self, fake: FakeService, query: str) -> None:
        path = await fake.calls.create("work")
        assert_refused(await fake.calls.http.get(f"{path}?{query}"), 400)


class TestService:
    async def test_availability_capabilities_and_page_are_beside_the_lists(self, fake: FakeService) -> None:
        availability = await fake.calls.http.get("/availability")
        assert schema_problems(availability.content, "VOSIAvailability-v1.0.xsd") == []
        assert b">true<" in availability.content
        capabilities = await fake.calls.http.get("/capabilities")
        assert b"http://uws.example/work/async" in capabilities.content
        assert b"elsewhere" not in capabilities.content
        page = await fake.calls.http.get("/")
        assert "http://uws.example/work/async" in page.text
        assert (await fake.calls.http.get("/openapi.json")).json()["paths"]["/{payload}/async"]

    async def test_unknown_urls_are_told_as_text(self, fake: FakeService) -> None:
        assert_refused(await fake.calls.http.get("/nothing/at/all"), 404)


async def test_a_failing_database_is_answered_by_503_and_when_to_ask_again(
    fake: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise StoreError("database /secret/place: away")

    monkeypatch.setattr(Store, "find", fail)
    answer = await fake.calls.http.get("/work/async/1")
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.text == "ServiceUnavailable: the database fails; try again later\n"
