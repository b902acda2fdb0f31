"""Creation of jobs by every form that UWS 1.1 and DALI 1.1 allow, and those that they do not."""

import httpx
import pytest

from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.service_process import FakeService

pytestmark = pytest.mark.asyncio
P = ExecutionPhase


async def post(fake: FakeService, query: str, form: list[tuple[str, str]], kind: str) -> httpx.Response:
    if kind == "multipart":
        files = [(name, (None, value)) for name, value in form]
        return await fake.calls.http.post(f"/work/async?{query}", files=files)
    return await fake.calls.post(f"/work/async?{query}", form)


@pytest.mark.parametrize("kind", ["urlencoded", "multipart"])
class TestForms:
    @pytest.mark.parametrize(
        ("query", "form"),
        [
            ("", [("PHASE", "RUN"), ("TEXT", "x"), ("RUNID", "r")]),
            ("PHASE=RUN", [("text", "x"), ("runid", "r")]),
            ("phase=RUN&RunId=r&Text=x", [("ExecutionDuration", "9")]),
        ],
    )
    async def test_parameters_are_taken_from_body_and_query_in_any_case(
        self, fake: FakeService, query: str, form: list[tuple[str, str]], kind: str
    ) -> None:
        answer = await post(fake, query, form, kind)
        assert answer.status_code == 303
        assert "?" not in answer.headers["Location"]
        job = await fake.calls.executing(answer.headers["Location"])
        assert (job.phase, job.run_id) == (P.EXECUTING, "r")
        assert [(one.name, one.value) for one in job.parameters] == [("text", "x")]

    @pytest.mark.parametrize(
        ("query", "form", "name"),
        [
            ("", [("text", "a"), ("TEXT", "b")], "text"),
            ("text=a", [("Text", "a")], "text"),
            ("PHASE=RUN", [("PHASE", "RUN")], "PHASE"),
            ("", [("RUNID", "a"), ("runid", "b")], "RUNID"),
            ("DESTRUCTION=2199-01-01", [("destruction", "2199-01-02")], "DESTRUCTION"),
            ("", [("EXECUTIONDURATION", "1"), ("EXECUTIONDURATION", "2")], "EXECUTIONDURATION"),
        ],
    )
    async def test_what_takes_one_value_is_not_given_two(
        self, fake: FakeService, query: str, form: list[tuple[str, str]], name: str, kind: str
    ) -> None:
        answer = await post(fake, query, form, kind)
        assert answer.status_code == 400
        assert answer.text.startswith("UsageError: ")
        assert name in answer.text
        assert await fake.calls.jobs("") == ()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"--x\r\nno headers", "multipart/form-data; boundary=x"),
        (b"anything", "multipart/form-data"),
        (b"text=%ff", "application/x-www-form-urlencoded"),
        ("text=\N{SNOWMAN}".encode(), "application/x-www-form-urlencoded"),
        (b"&".join([b"a=1"] * 1001), "application/x-www-form-urlencoded"),
    ],
)
async def test_broken_forms_are_usage_errors(fake: FakeService, content: bytes, kind: str) -> None:
    answer = await fake.calls.http.post("/work/async", content=content, headers={"Content-Type": kind})
    assert (answer.status_code, answer.text[:12]) == (400, "UsageError: ")
    assert await fake.calls.jobs("") == ()
