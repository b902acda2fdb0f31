"""Formats that are asked for, and error documents in them."""

import io
import warnings

import httpx
import pytest
from astropy.io.votable import parse
from lxml import etree

from lsst.ts.ocps.payloads.schema import PayloadDefinition
from lsst.ts.ocps.service.dali import VOTABLE, is_declared, read_format, wants_votable
from lsst.ts.ocps.service.errors import UsageError
from lsst.ts.ocps.service.forms import Form
from lsst.ts.ocps.uws.codec import parse_dali_fault
from lsst.ts.ocps.uws.documents import error_to_votable
from support.service_process import FakeService, create_running, id_of

NASTY = 'UsageError: <b> & "q" ]]> \x01 é\r\n'


def status_of(document: bytes) -> tuple[str | None, str]:
    """The status that a VOTable tells in its resource of results, and its words."""
    space = "{http://www.ivoa.net/xml/VOTable/v1.3}"
    root = etree.fromstring(document)
    (resource,) = root.findall(f"{space}RESOURCE")
    (info,) = resource.findall(f"{space}INFO")
    assert (resource.get("type"), info.get("name")) == ("results", "QUERY_STATUS")
    return info.get("value"), info.text or ""


def test_an_error_as_a_votable_is_read_by_others() -> None:
    document = error_to_votable(NASTY)
    assert status_of(document) == ("ERROR", NASTY.replace("\x01", "\ufffd"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (info,) = parse(io.BytesIO(document)).resources[0].infos
    assert (info.name, info.value) == ("QUERY_STATUS", "ERROR")
    fault = parse_dali_fault(error_to_votable("UsageError: text: is missing"))
    assert fault is not None
    assert (fault.code, fault.message) == ("UsageError", "text: is missing")


@pytest.mark.parametrize(
    ("accept", "asked", "wanted"),
    [
        ("", [], False),
        ("*/*", [], False),
        ("application/xml, text/plain", [], False),
        ("application/x-votable+xml", [], True),
        ("APPLICATION/X-VOTable+XML;q=0.5, text/html", [], True),
        ("application/x-votable+xml;serialization=binary2, */*", [], True),
        ("application/x-votable+xml, text/plain", [], False),
        ("application/x-votable+xml, text/plain;q=0", [], True),
        ("application/x-votable+xml;q=0.0", [], False),
        ("", ["votable"], True),
        ("text/plain", [" VOTable "], True),
        ("", ["application/x-votable+xml;serialization=tabledata"], True),
        ("application/x-votable+xml", ["csv"], False),
        ("application/x-votable+xml", [""], True),
        ("", ["votable", "csv"], True),
        ("", ["no such"], False),
    ],
)
def test_a_votable_is_told_to_those_who_want_one(accept: str, asked: list[str], wanted: bool) -> None:
    form = Form(tuple(("ResponseFormat", value) for value in asked))
    assert wants_votable(accept, form) is wanted


@pytest.mark.parametrize(
    ("text", "media_type"),
    [
        ("", None),
        ("votable", VOTABLE),
        ("FITS", "application/fits"),
        ("Image/PNG", "image/png"),
        ("text/csv; header=present", "text/csv"),
    ],
)
def test_formats_are_media_types_or_their_short_names(text: str, media_type: str | None) -> None:
    assert read_format(Form((("responseformat", text),))) == media_type


@pytest.mark.parametrize("values", [["xls"], ["text/"], ["a b/c"], ["csv", "csv"]])
def test_other_formats_are_refused(values: list[str]) -> None:
    with pytest.raises(UsageError, match="RESPONSEFORMAT"):
        read_format(Form(tuple(("RESPONSEFORMAT", value) for value in values)))


def test_a_payload_may_know_better_what_a_format_is() -> None:
    parameters = {"type": "object", "properties": {"responseFormat": {"type": "string", "default": "x"}}}
    content = {"name": "p", "description": "", "run": {"command": ["true"]}}
    assert not is_declared(PayloadDefinition.model_validate(content))
    assert is_declared(PayloadDefinition.model_validate(content | {"parameters": parameters}))


@pytest.mark.asyncio
class TestErrorDocuments:
    async def test_errors_are_votables_where_the_header_wants_them(self, fake: FakeService) -> None:
        headers = {"Accept": VOTABLE}
        http = fake.calls.http
        for answer, status in (
            (await http.get("/nothing/async", headers=headers), 404),
            (await http.get("/nothing/at/all", headers=headers), 404),
            (await http.delete("/jobs", headers=headers), 405),
            (await http.post("/work/async", data={"PHASE": "STOP"}, headers=headers), 400),
            (await http.get("/work/async?a=%ff&LAST=x", headers=headers), 400),
        ):
            self.check(answer, status)

    async def test_errors_are_votables_where_the_form_wants_them(self, fake: FakeService) -> None:
        form = {"responseformat": "votable", "txt": "x"}
        self.check(await fake.calls.http.get("/work/sync", params=form), 400)
        self.check(await fake.calls.http.post("/work/sync", data=form), 400)
        self.check(await fake.calls.http.post("/work/async", data=form), 400)
        self.check(
            await fake.calls.http.post(
                "/work/async", files={"RESPONSEFORMAT": (None, VOTABLE), "a": (None, "b")}
            ),
            400,
        )

    async def test_all_others_are_text(self, fake: FakeService) -> None:
        answer = await fake.calls.http.get("/nothing/async")
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.text.startswith("UsageError: ")

    async def test_why_a_job_failed_is_told_with_status_200_in_both_ways(self, fake: FakeService) -> None:
        path = await create_running(fake)
        fake.cluster.finish(id_of(path), 3)
        await fake.calls.end(path)
        text = await fake.calls.http.get(f"{path}/error")
        assert text.text.startswith("Error: ")
        document = await fake.calls.http.get(f"{path}/error?RESPONSEFORMAT=votable")
        self.check(document, 200, code="Error")

    async def test_a_format_that_is_none_creates_no_job(self, fake: FakeService) -> None:
        for form in ([("RESPONSEFORMAT", "xls")], [("RESPONSEFORMAT", "csv"), ("responseformat", "csv")]):
            answer = await fake.calls.post("/work/async", form)
            assert (answer.status_code, "RESPONSEFORMAT" in answer.text) == (400, True)
        assert await fake.calls.jobs("") == ()

    @staticmethod
    def check(answer: httpx.Response, status: int, code: str = "UsageError") -> None:
        assert (answer.status_code, answer.headers["content-type"]) == (status, VOTABLE)
        value, words = status_of(answer.content)
        assert (value, words.startswith(f"{code}: ")) == ("ERROR", True)
