"""What UWS 1.1, DALI 1.1 and VOSI ask of a service, where no other test has a reason to look."""

from pathlib import Path

import pytest
from lxml import html
from structlog.testing import capture_logs

from lsst.ts.ocps.executors.base import ExecutorError
from lsst.ts.ocps.service.errors import StoreError
from lsst.ts.ocps.service.store import Store
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.document_rules import document_problems
from support.service_process import FakeService, create_running, fake_service, id_of

pytestmark = pytest.mark.asyncio
P = ExecutionPhase


@pytest.mark.parametrize(
    "accept", ["text/html", "text/html,application/xml;q=0.9", "application/json", "*/*", ""]
)
async def test_documents_are_xml_and_values_text_whatever_is_accepted(fake: FakeService, accept: str) -> None:
    path = await fake.calls.create("work")
    for part, kind in (("", "application/xml"), ("/results", "application/xml"), ("/phase", "text/plain")):
        answer = await fake.calls.http.get(path + part, headers={"Accept": accept})
        assert answer.headers["content-type"].partition(";")[0] == kind


@pytest.mark.parametrize("phase", [P.HELD, P.SUSPENDED, P.UNKNOWN])
async def test_nobody_waits_in_phases_in_which_a_job_stays(fake: FakeService, phase: ExecutionPhase) -> None:
    path = await create_running(fake)
    await fake.context.store._change_phase(id_of(path), P.EXECUTING, phase)
    # Were it to wait, it would for longer than a test may take.
    assert (await fake.calls.job(path, WAIT="-1", PHASE=phase.value)).phase is phase


async def test_a_wait_of_no_time_is_an_ordinary_request(fake: FakeService) -> None:
    path = await fake.calls.create("work")
    assert (await fake.calls.job(path, WAIT="0", PHASE="PENDING")).phase is P.PENDING


async def test_what_dali_took_out_or_leaves_to_services_is_accepted_and_is_no_parameter(
    fake: FakeService,
) -> None:
    form = {"VERSION": "1.0", "request": "doIt", "MAXREC": "5", "RESPONSEFORMAT": "csv", "text": "x"}
    job = await fake.calls.job(await fake.calls.create("work", form))
    assert [(one.name, one.value) for one in job.parameters] == [("text", "x")]


async def test_an_error_tells_that_it_lasts_and_keeps_the_promise_of_a_detail(fake: FakeService) -> None:
    fake.cluster.refuse_next(ExecutorError("no such partition"))
    path = await fake.calls.create("work", PHASE="RUN")
    job = await fake.calls.end(path)
    assert job.error is not None
    assert (job.phase, job.error.is_transient) == (P.ERROR, False)
    # There is one always: DALI asks for it, whatever hasDetail says.
    assert (await fake.calls.text(f"{path}/error")).startswith("Error: ")


async def test_a_refused_method_is_told_those_there_are(fake: FakeService) -> None:
    path = await fake.calls.create("work")
    for method, url, allowed in (
        ("PUT", "/work/async", "GET, HEAD, OPTIONS, POST"),
        ("DELETE", "/jobs", "GET, HEAD, OPTIONS"),
        ("PUT", path, "DELETE, GET, HEAD, OPTIONS, POST"),
        ("POST", f"{path}/parameters/text", "GET, HEAD, OPTIONS, PUT"),
        ("DELETE", f"{path}/results/x", "GET, HEAD, OPTIONS"),
        ("BREW", "/work/sync", "GET, OPTIONS, POST"),
    ):
        answer = await fake.calls.http.request(method, url)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert (await fake.calls.job(path)).phase is P.PENDING


async def test_no_answer_leads_to_where_the_process_sees_itself(tmp_path: Path) -> None:
    async with fake_service(tmp_path, public_url="https://proxy.example/uws/") as fake:
        http = fake.calls.http
        created = await http.post("/work/async")
        job = created.headers["Location"].removeprefix("https://proxy.example/uws")
        answers = [
            created,
            *[await http.get(url) for url in ("/", "/docs", "/jobs", "/work/async", "/capabilities", job)],
            await http.get("/openapi.json"),
            await http.get("/work/async/"),
            await http.post(f"{job}/phase", data={"PHASE": "RUN"}),
            await http.post("/work/async/", data={"PHASE": "RUN"}),
            await http.delete(job),
        ]
        for answer in answers:
            assert answer.status_code in {200, 303, 404}
            assert "uws.example" not in f"{answer.headers}{answer.text}"
        assert len(await fake.calls.jobs("")) == 0


async def test_a_service_without_database_says_that_it_is_not_available_and_no_more(
    fake: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_store: Store) -> None:
        raise StoreError("postgresql://planted-user@planted-host/planted-name: the disk is gone")

    monkeypatch.setattr(Store, "ping", fail)
    for path in ("/availability", "/work/availability"):
        with capture_logs() as records:
            answer = await fake.calls.http.get(path)
        assert answer.status_code == 200
        assert document_problems(answer.content) == []
        assert b"available>false<" in answer.content
        assert b"<vosi:note>the database does not answer</vosi:note>" in answer.content
        assert b"planted" not in answer.content
        # Those who run it find the rest there.
        assert ["planted-host" in record["reason"] for record in records] == [True]


async def test_a_service_with_a_dead_task_says_that_it_is_not_available_and_no_more(
    fake: FakeService,
) -> None:
    fake.context.failure.set_exception(OSError("/planted/path"))
    answer = await fake.calls.http.get("/availability")
    assert b"available>false<" in answer.content
    assert b"a part of the service has ended" in answer.content
    assert b"planted" not in answer.content
    assert fake.context.failure.exception() is not None


async def test_a_payload_is_a_service_with_its_documents_beside_its_lists(fake: FakeService) -> None:
    for name in ("availability", "capabilities"):
        answer = await fake.calls.http.get(f"/work/{name}")
        assert answer.status_code == 200
        assert document_problems(answer.content) == []
        assert (await fake.calls.http.get(f"/nothing/{name}")).status_code == 404
    assert b"http://uws.example/work/async" in answer.content
    assert b"single" not in answer.content


async def test_pages_for_people_lead_to_what_is_there_and_load_nothing_from_elsewhere(
    fake: FakeService,
) -> None:
    await fake.calls.create("work")
    for url in ("/", "/docs"):
        page = await fake.calls.http.get(url)
        links = [link for _, _, link, _ in html.document_fromstring(page.text).iterlinks()]
        assert links
        for link in links:
            assert link.startswith("http://uws.example/")
            assert (await fake.calls.http.get(link)).status_code == 200
    root = (await fake.calls.http.get("/")).text
    for definition in fake.context.jobs.definitions:
        assert f"http://uws.example/{definition.name}/async?LAST=100" in root


async def test_the_page_of_the_interface_has_every_operation(fake: FakeService) -> None:
    document = (await fake.calls.http.get("/openapi.json")).json()
    page = html.document_fromstring((await fake.calls.http.get("/docs")).text)
    rows = [[cell.text_content() for cell in row] for row in page.iter("tr")][1:]
    assert [(row[1], row[0].lower()) for row in rows] == [
        (path, method) for path, methods in document["paths"].items() for method in methods
    ]
    assert [
        "GET",
        "/{payload}/async",
        "The jobs of a payload; PHASE, AFTER, LAST",
        "PHASE, AFTER, LAST",
        "",
    ] in rows
    (creation,) = [row for row in rows if row[:2] == ["POST", "/{payload}/async"]]
    assert creation[4].split(", ")[:2] == ["PHASE", "RUNID"]
    assert creation[4].endswith("…")


async def test_every_operation_tells_how_errors_look(fake: FakeService) -> None:
    document = (await fake.calls.http.get("/openapi.json")).json()
    for methods in document["paths"].values():
        for operation in methods.values():
            assert set(operation["responses"]["4XX"]["content"]) == {
                "text/plain",
                "application/x-votable+xml",
            }
            assert "422" not in operation["responses"]


async def test_a_held_job_is_run_again(fake: FakeService) -> None:
    path = await fake.calls.create("work")
    store = fake.context.store
    await store.queue(id_of(path), P.PENDING)
    # It was taken, and is held before its command has begun.
    assert await store.claim(id_of(path))
    await store._change_phase(id_of(path), P.QUEUED, P.HELD)
    answer = await fake.calls.post(f"{path}/phase", PHASE="RUN")
    assert answer.status_code == 303
    assert (await fake.calls.executing(path)).phase is P.EXECUTING
    assert fake.cluster.keys == (id_of(path),)


async def test_answers_are_of_the_types_that_the_openapi_document_tells(fake: FakeService) -> None:
    path = await fake.calls.create("work", text="x", PHASE="RUN")
    await fake.calls.executing(path)
    output = fake.config.jobs_directory / id_of(path) / "out"
    (output / "a.json").write_text("1")
    fake.cluster.finish(id_of(path), 3)
    await fake.calls.end(path)
    document = (await fake.calls.http.get("/openapi.json")).json()
    told = {
        pattern: next(iter(methods["get"]["responses"]["200"]["content"]), "")
        for pattern, methods in document["paths"].items()
        if "get" in methods and not pattern.startswith("/api/") and not pattern.endswith("/sync")
    }
    assert len(told) >= 20
    names = {"payload": "work", "job_id": id_of(path), "result_id": "a.json", "name": "text"}
    for pattern, kind in told.items():
        answer = await fake.calls.http.get(pattern.format(**names))
        assert answer.status_code == 200, pattern
        found = answer.headers["content-type"].partition(";")[0]
        assert (found, kind) in {(kind, kind), ("application/json", "*/*")}, pattern
