"""The liberties that servers take (and the schema refuses) lose nothing."""

from datetime import UTC, datetime

import pytest
from lxml import etree

from lsst.ts.ocps.uws.codec import parse_job, parse_job_list, parse_parameters, parse_progress, parse_results
from lsst.ts.ocps.uws.jobs import ErrorSummary, Job, Parameter, Result
from lsst.ts.ocps.uws.phases import ExecutionPhase
from lsst.ts.ocps.uws.progress import Progress

URL = "https://host/svc/async/17"
UWS = "http://www.ivoa.net/xml/UWS/v1.0"
HEAD = (
    f'xmlns:uws="{UWS}" xmlns:xlink="http://www.w3.org/1999/xlink" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
)


def job(content: str = "", *, phase: str = "COMPLETED", head: str = HEAD, version: str = "1.1") -> Job:
    claim = f' version="{version}"' if version else ""
    body = f"<uws:jobId>17</uws:jobId><uws:phase>{phase}</uws:phase>{content}"
    return parse_job(f"<uws:job {head}{claim}>{body}</uws:job>".encode(), URL)


def test_the_order_of_daiquiri_loses_nothing() -> None:
    read = job(
        '<uws:destruction xsi:nil="true"/><uws:errorSummary>it went wrong</uws:errorSummary>'
        '<uws:results><uws:result id="t" xlink:type="result" xlink:href="/files/t.csv"/></uws:results>'
        '<uws:parameters><uws:parameter id="query">SELECT 1</uws:parameter></uws:parameters>'
        "<uws:runId>mine</uws:runId>",
        phase="ERROR",
    )
    assert read.error == ErrorSummary("it went wrong")
    assert read.results == (Result("t", "https://host/files/t.csv"),)
    assert read.parameters == (Parameter("query", "SELECT 1"),)
    assert read.run_id == "mine"


@pytest.mark.parametrize(
    "summary",
    [
        '<uws:errorSummary xsi:nil="true"/>',
        "<uws:errorSummary/>",
        "<uws:errorSummary>\n</uws:errorSummary>",
        "",
    ],
)
def test_an_empty_error_summary_is_no_error(summary: str) -> None:
    assert job(summary).error is None


def test_an_error_without_words_is_still_an_error() -> None:
    summary = '<uws:errorSummary type="transient" hasDetail="true"><uws:message/></uws:errorSummary>'
    assert job(summary, phase="ERROR").error == ErrorSummary("", is_transient=True, has_detail=True)


@pytest.mark.parametrize(
    ("attributes", "transient", "detail"),
    [
        ('type="fatal" hasDetail="false"', False, False),
        ('type="FATAL" hasDetail="1"', False, True),
        ('type="TRANSIENT" hasDetail="TRUE"', True, True),
        ("", False, False),
    ],
)
def test_error_attributes_in_any_spelling(attributes: str, transient: bool, detail: bool) -> None:
    read = job(f"<uws:errorSummary {attributes}><uws:message>m</uws:message></uws:errorSummary>")
    assert read.error == ErrorSummary("m", is_transient=transient, has_detail=detail)


def test_vendor_elements_between_the_known_ones_are_skipped() -> None:
    read = job(
        '<v:phase xmlns:v="urn:vendor">PENDING</v:phase><v:runId xmlns:v="urn:vendor">theirs</v:runId>'
        '<uws:queue>fast</uws:queue><uws:parameters><v:hint xmlns:v="urn:vendor"/>'
        '<uws:parameter id="a">1</uws:parameter><v:hint xmlns:v="urn:vendor"/>'
        '<uws:parameter id="a">2</uws:parameter></uws:parameters>'
    )
    assert read.phase == ExecutionPhase.COMPLETED
    assert read.run_id is None
    assert read.parameters == (Parameter("a", "1"), Parameter("a", "2"))


@pytest.mark.parametrize("space", [UWS, "http://www.ivoa.net/xml/UWS/v0.9.2", ""])
def test_any_prefix_and_the_namespaces_of_old_drafts(space: str) -> None:
    document = f'<job xmlns="{space}"><jobId>17</jobId><phase>QUEUED</phase><runId>r</runId></job>'
    read = parse_job(document.encode(), URL)
    assert (read.job_id, read.phase, read.run_id, read.version) == ("17", "QUEUED", "r", None)


def test_white_space_of_pretty_printers_is_cut_where_it_means_nothing() -> None:
    read = job(
        "\n  <uws:runId>\n  </uws:runId>\n<uws:ownerId>\n  me\n</uws:ownerId>"
        "<uws:creationTime>\n 2026-01-02T03:04:05Z\n</uws:creationTime>"
        '<uws:parameters><uws:parameter id="ref" byReference="true">\n https://x/y \n</uws:parameter>'
        '<uws:parameter id="text">  kept as it is\n</uws:parameter></uws:parameters>',
        phase="\n  Completed \n",
    )
    assert read.run_id is None
    assert read.owner_id == "me"
    assert read.phase == ExecutionPhase.COMPLETED
    assert read.phase_text == "Completed"
    assert read.creation_time == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert read.parameters == (
        Parameter("ref", "https://x/y", by_reference=True),
        Parameter("text", "  kept as it is\n"),
    )


def test_an_unknown_phase_is_unknown_and_its_word_is_kept() -> None:
    read = job(phase="RUN")
    assert read.phase == ExecutionPhase.UNKNOWN
    assert read.phase_text == "RUN"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("600", 600), ("600.0", 600), ("600.5", 600), ("-1", 0), ("", 0), ("never", 0), ("INF", 0), ("NaN", 0)],
)
def test_execution_durations_as_servers_write_them(text: str, seconds: int) -> None:
    assert job(f"<uws:executionDuration>{text}</uws:executionDuration>").execution_duration == seconds


@pytest.mark.parametrize(
    "element", ['<uws:{0} xsi:nil="true"/>', "<uws:{0}></uws:{0}>", "<uws:{0}>soon</uws:{0}>", ""]
)
def test_a_time_that_is_not_told_is_none(element: str) -> None:
    names = ("quote", "creationTime", "startTime", "endTime", "destruction")
    read = job("".join(element.format(name) for name in names))
    assert (read.quote, read.creation_time, read.start_time, read.end_time, read.destruction) == (None,) * 5


def test_elements_that_safir_leaves_out_are_not_needed() -> None:
    assert job() == Job("17", ExecutionPhase.COMPLETED, version="1.1")


def test_a_document_of_uws_1_0_has_no_version() -> None:
    assert job(version="").version is None
    assert job(version="1.2").version == "1.2"


@pytest.mark.parametrize(
    ("href", "url"),
    [
        ("https://elsewhere/x?y=1", "https://elsewhere/x?y=1"),
        ("/files/x", "https://host/files/x"),
        ("results/x", "https://host/svc/async/17/results/x"),
        ("../x", "https://host/svc/async/x"),
        ("?id=3", "https://host/svc/async/17/?id=3"),
        ("", None),
        ("http://[broken", None),
    ],
)
def test_links_become_absolute(href: str, url: str | None) -> None:
    read = job(f'<uws:results><uws:result id="r" xlink:href="{href}"/></uws:results>')
    assert read.results == (Result("r", url),)


def test_results_tell_size_and_type_if_they_can() -> None:
    read = job(
        '<uws:results><uws:result id="a" size="12" mime-type="text/plain"/><uws:result id="b" size="big"/>'
        '<uws:result id="c" href="x"/></uws:results>'
    )
    assert read.results == (
        Result("a", None, 12, "text/plain"),
        Result("b"),
        Result("c", "https://host/svc/async/17/x"),
    )


def test_a_job_description_in_xml_is_kept_as_it_was_written() -> None:
    inner = '<j:task xmlns:j="urn:j" a="1 &lt; 2"><!-- why --><j:step>x &amp; y</j:step></j:task>'
    read = job(
        f'<uws:parameters><uws:parameter id="jdl" isPost="true">{inner}</uws:parameter></uws:parameters>'
    )
    assert read.parameters == (Parameter("jdl", inner, is_post=True),)


@pytest.mark.parametrize(
    "info",
    [
        "<uws:jobInfo/>",
        '<uws:jobInfo note="a &gt; b"/>',
        "<uws:jobInfo>text only</uws:jobInfo>",
        '<uws:jobInfo><v:a xmlns:v="urn:v" xsi:type="v:T">1<v:b/>2</v:a><!-- c --><?pi x?></uws:jobInfo>',
        "<uws:jobInfo><![CDATA[<not & parsed>]]>&#233;é</uws:jobInfo>",
        '<i:jobInfo xmlns:i="http://www.ivoa.net/xml/UWS/v1.0" xmlns="urn:d"><d/></i:jobInfo>',
    ],
)
def test_job_info_is_kept_lossless(info: str) -> None:
    document = f"<uws:job {HEAD}><uws:jobId>1</uws:jobId>{info}<uws:phase>QUEUED</uws:phase></uws:job>"
    read = parse_job(document.encode(), URL)
    assert read.job_info is not None

    # It stands by itself, and another parser finds in it what it finds in the whole document.
    alone = etree.fromstring(read.job_info.encode())
    inside = etree.fromstring(document.encode()).find(f"{{{UWS}}}jobInfo")
    assert inside is not None
    inside.tail = None
    assert etree.tostring(alone, method="c14n") == etree.tostring(inside, method="c14n")


def test_prefixes_used_in_values_of_job_info_stay_bound() -> None:
    head = f'{HEAD} xmlns:t="urn:types"'
    read = job('<uws:jobInfo><x xsi:type="t:Kind"/></uws:jobInfo>', head=head)
    assert read.job_info is not None
    assert etree.fromstring(read.job_info.encode()).nsmap["t"] == "urn:types"


def test_our_progress_is_found_in_job_info() -> None:
    inner = '<ocps:progress xmlns:ocps="urn:ts-ocps:job-info" fraction="0.4">frame 4 of 10</ocps:progress>'
    assert parse_progress(job(f"<uws:jobInfo>{inner}</uws:jobInfo>").job_info) == Progress(
        0.4, "frame 4 of 10"
    )


@pytest.mark.parametrize("fraction", ["", "half", "1.5", "-1", "nan"])
def test_progress_that_makes_no_sense_is_none(fraction: str) -> None:
    inner = f'<p:progress xmlns:p="urn:ts-ocps:job-info" fraction="{fraction}"/>'
    assert parse_progress(job(f"<uws:jobInfo>{inner}</uws:jobInfo>").job_info) is None


def test_job_info_of_others_holds_no_progress() -> None:
    assert parse_progress(None) is None
    assert parse_progress(job("<uws:jobInfo><progress>9</progress></uws:jobInfo>").job_info) is None


LIST = "<jobs><jobref id='é'><phase>HELD</phase></jobref></jobs>"


@pytest.mark.parametrize(
    "encoded",
    [
        b"\xef\xbb\xbf" + LIST.encode(),
        f"\n\n {LIST}\n".encode(),
        f"<?xml version='1.0' encoding='ISO-8859-1'?>{LIST}".encode("latin-1"),
        f"<?xml version='1.0' encoding='UTF-16'?>{LIST}".encode("utf-16"),
        b"\xfe\xff" + LIST.encode("utf-16-be"),
        f"<?xml-stylesheet href='a'?>{LIST}".encode(),
    ],
)
def test_documents_in_any_encoding(encoded: bytes) -> None:
    (ref,) = parse_job_list(encoded, "http://h/async")
    assert (ref.job_id, ref.phase, ref.url) == ("é", ExecutionPhase.HELD, None)


@pytest.mark.parametrize("document", ['<uws:jobs xmlns:uws="u" version="1.1"/>', "<jobs></jobs>"])
def test_an_empty_list_needs_no_namespaces(document: str) -> None:
    assert parse_job_list(document.encode(), "http://h/async") == ()


def test_lists_carry_a_version_that_the_schema_does_not_allow() -> None:
    assert parse_results(b'<results version="1.1"><result id="a"/></results>', URL) == (Result("a"),)
    assert parse_parameters(b'<parameters version="1.1"><parameter id="a"/></parameters>') == (
        Parameter("a", ""),
    )
