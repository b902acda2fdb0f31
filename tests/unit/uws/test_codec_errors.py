"""What is no UWS document is refused, in words that tell what it is."""

import time
from collections.abc import Callable

import pytest

from lsst.ts.ocps.uws.codec import (
    check_job_info,
    html_title,
    is_html,
    parse_dali_fault,
    parse_job,
    parse_job_list,
    parse_parameters,
    parse_results,
)
from lsst.ts.ocps.uws.errors import DaliFault, DaliFaultError, UwsDocumentError

URL = "http://h/async/1"
PAGE = b"<!DOCTYPE html>\n<HTML><head><title>Sign in &amp; go\n on</title></head><body><p>unclosed</body>"
VOTABLE = (
    '<VOTABLE xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE type="results">'
    '<INFO name="QUERY_STATUS" value="{value}">{text}</INFO></RESOURCE></VOTABLE>'
)


def test_an_html_page_is_named_by_its_title() -> None:
    with pytest.raises(
        UwsDocumentError, match=r"instead of the job document .* HTML page: 'Sign in & go on'"
    ) as caught:
        parse_job(PAGE, URL)
    assert caught.value.found == "html"


@pytest.mark.parametrize("parse", [parse_job, parse_job_list, parse_results])
def test_truncated_xml_is_refused_and_quoted(parse: Callable[[bytes, str], object]) -> None:
    with pytest.raises(UwsDocumentError, match=r"not well-formed XML .*'<job><jobId>1</jo'"):
        parse(b"<job><jobId>1</jo", URL)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (b"", "an empty answer"),
        (b"   \n", "an empty answer"),
        (b"EXECUTING", "'EXECUTING'"),
        (b'{"detail": "no"}', "detail"),
        (b"\x89PNG\r\n\x1a\n\x00", "PNG"),
        (b"<jobs version='1.1'/>", "'jobs' element"),
        (b"<job/><job/>", "not well-formed"),
        (b"<!-- nothing -->", "not well-formed"),
        (b"<job><phase>QUEUED</phase></job>", "no jobId"),
        (b"<job><jobId>1</jobId><phase/></job>", "no phase"),
        (b"<job><jobId>1</jobId><phase>QUEUED</phase>\x00</job>", "not well-formed"),
        (b"<job>\xff\xfe</job>", "no utf-8 text"),
        (b"<?xml version='1.0' encoding='klingon'?><job/>", "no klingon text"),
        (b"<job>" + b"<a>" * 300 + b"</a>" * 300 + b"</job>", "deeper than 200"),
    ],
)
def test_what_is_no_job_document_is_said(document: bytes, words: str) -> None:
    with pytest.raises(UwsDocumentError) as caught:
        parse_job(document, URL)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_list_with_a_broken_entry_is_refused() -> None:
    with pytest.raises(UwsDocumentError, match=r"no id or no phase.*jobref"):
        parse_job_list(b"<jobs><jobref><phase>HELD</phase></jobref></jobs>", URL)
    with pytest.raises(UwsDocumentError, match="no id or no phase"):
        parse_job_list(b"<jobs><jobref id='1'/></jobs>", URL)


def test_the_beginning_of_a_long_answer_is_quoted_only() -> None:
    with pytest.raises(UwsDocumentError) as caught:
        parse_parameters(b"x" * 1_000_000)
    assert len(str(caught.value)) < 400


BOMB = (
    '<!DOCTYPE job [<!ENTITY a0 "ha">'
    + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    + "]><job><jobId>&a11;</jobId><phase>QUEUED</phase></job>"
)
ATTRIBUTES = " ".join(f'a{n} CDATA "x"' for n in range(400_000))
"""Their declaration takes minutes."""


@pytest.mark.parametrize(
    "document",
    [
        BOMB,
        '<!DOCTYPE job [<!ENTITY e SYSTEM "file:///etc/passwd">]><job><jobId>&e;</jobId></job>',
        '<!DOCTYPE job [<!ENTITY % e SYSTEM "http://h/x.dtd"> %e;]><job><jobId>1</jobId></job>',
        f"<!DOCTYPE job [<!ATTLIST job {ATTRIBUTES}>]><job><jobId>1</jobId></job>",
    ],
    ids=["billion-laughs", "external", "parameter", "attributes"],
)
def test_declarations_are_refused_at_once(document: str) -> None:
    begin = time.monotonic()
    with pytest.raises(UwsDocumentError, match=r"refused .*DTDForbidden"):
        parse_job(document.encode(), URL)
    assert parse_dali_fault(document.encode()) is None
    assert time.monotonic() - begin < 10


def test_an_undeclared_entity_is_an_error_of_the_document() -> None:
    with pytest.raises(UwsDocumentError, match="undefined entity"):
        parse_job(b"<job><jobId>&nbsp;</jobId></job>", URL)


def test_a_document_type_alone_does_no_harm() -> None:
    doctype = '<!DOCTYPE VOTABLE SYSTEM "http://us-vo.org/xml/VOTable.dtd">'
    document = doctype + VOTABLE.format(value="ERROR", text="no")
    assert parse_dali_fault(document.encode()) == DaliFault("no")


@pytest.mark.parametrize("parse", [parse_job, parse_job_list, parse_results])
def test_an_error_document_is_raised_instead_of_parsed(parse: Callable[[bytes, str], object]) -> None:
    with pytest.raises(DaliFaultError, match="Error: Field phase: bad") as caught:
        parse(VOTABLE.format(value="ERROR", text="\nField phase: bad ").encode(), URL)
    assert caught.value.fault == DaliFault("Field phase: bad", "Error")
    with pytest.raises(DaliFaultError, match="UsageError: no such job"):
        parse(b"UsageError: no such job\n", URL)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Error", DaliFault("Error", "Error")),
        ("Error: it broke\n\nhere", DaliFault("it broke\n\nhere", "Error")),
        ("Error in line 3", DaliFault("Error in line 3", "Error")),
        ("UsageError\n\n[{'type': 'enum'}]", DaliFault("[{'type': 'enum'}]", "UsageError")),
        ("  ServiceUnavailable: later ", DaliFault("later", "ServiceUnavailable")),
        ("AuthenticationError: who?", DaliFault("who?", "AuthenticationError")),
        ("MultiValuedParamNotSupported: POL", DaliFault("POL", "MultiValuedParamNotSupported")),
        ("Errors were found", None),
        ("ERROR", None),
        ("COMPLETED", None),
        ("", None),
        (VOTABLE.format(value="OK", text="fine"), None),
        (VOTABLE.format(value="error", text="UsageError: no"), DaliFault("no", "UsageError")),
        (VOTABLE.format(value="ERROR", text=""), DaliFault("no explanation", "Error")),
        (VOTABLE.format(value="ERROR", text="cut off")[:-12], None),
        (PAGE.decode(), None),
    ],
)
def test_error_documents_as_text_and_as_votable(text: str, fault: DaliFault | None) -> None:
    assert parse_dali_fault(text.encode()) == fault


def test_only_a_service_that_is_unavailable_is_worth_another_try() -> None:
    assert DaliFault("later", "ServiceUnavailable").is_transient
    assert not DaliFault("no", "UsageError").is_transient
    assert DaliFault("who", "AuthorizationError").is_authentication
    assert not DaliFault("no").is_authentication


def test_an_error_at_the_end_of_a_table_is_found() -> None:
    table = VOTABLE.replace(
        "</RESOURCE>", '<TABLE/><INFO name="QUERY_STATUS" value="ERROR">cut</INFO></RESOURCE>'
    )
    assert parse_dali_fault(table.format(value="OK", text="").encode()) == DaliFault("cut")


@pytest.mark.parametrize(
    "page", [PAGE, b"<html lang='en'/>", b"\xef\xbb\xbf \n<!doctype HTML>", b"<?xml version='1.0'?>\n<html/>"]
)
def test_pages_are_recognised(page: bytes) -> None:
    assert is_html(page)


@pytest.mark.parametrize("other", [b"<job/>", b"plain <html>", b"", b"<VOTABLE/>"])
def test_other_answers_are_no_pages(other: bytes) -> None:
    assert not is_html(other)


def test_a_page_without_title_has_none() -> None:
    assert html_title(b"<html><body/></html>") == ""
    assert html_title(PAGE) == "Sign in & go on"


@pytest.mark.parametrize(
    "text", ["", "text", "<jobInfo/>", "<u:results xmlns:u='http://www.ivoa.net/xml/UWS/v1.0'/>"]
)
def test_only_a_job_info_element_passes_for_one(text: str) -> None:
    with pytest.raises(ValueError, match="jobInfo"):
        check_job_info(text)
