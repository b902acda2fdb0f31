"""What we write is valid, holds everything, and is understood by others."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from pydantic_xml import BaseXmlModel, element
from vo_models.uws import Jobs, JobSummary
from vo_models.uws.models import NSMAP
from vo_models.uws.models import Parameter as ForeignParameter

from lsst.ts.ocps.uws.codec import parse_job, parse_job_list, parse_parameters, parse_progress, parse_results
from lsst.ts.ocps.uws.documents import (
    job_list_to_xml,
    job_to_xml,
    parameters_to_xml,
    results_to_xml,
)
from lsst.ts.ocps.uws.jobs import ErrorSummary, Job, JobRef, Parameter, Result
from lsst.ts.ocps.uws.phases import FINAL, ExecutionPhase
from lsst.ts.ocps.uws.progress import Progress
from support.uws_samples import Sample, samples_named, schema_problems

URL = "https://host/sleep/async/17"
NOW = datetime(2031, 2, 3, 4, 5, 6, 789_000, tzinfo=UTC)
FULL = Job(
    job_id="17",
    phase=ExecutionPhase.ERROR,
    run_id="ocps-summit-1-x",
    owner_id="observer",
    quote=NOW,
    creation_time=NOW,
    start_time=NOW + timedelta(milliseconds=1),
    end_time=NOW + timedelta(days=1),
    execution_duration=600,
    destruction=NOW + timedelta(days=7),
    parameters=(
        Parameter("a", "1"),
        Parameter("a", ""),
        Parameter("A", " two\r\nlines\t<&> "),
        Parameter("upload", "https://host/x?a=1&b=2", by_reference=True),
        Parameter("jdl", "text", is_post=True),
    ),
    results=(Result("main", "https://host/files/1", 0, "text/plain"), Result("out_x y.fits", f"{URL}/r")),
    error=ErrorSummary("it broke: 1 < 2", is_transient=True, has_detail=True),
    version="1.1",
)

# XML 1.0 holds these and no others.
characters = st.characters(
    exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff"
) | st.sampled_from("\t\n\r")
texts = st.text(characters, max_size=30)
names = texts.filter(lambda text: text.strip() == text != "")
moments = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)).map(  # noqa: DTZ001 (made aware below)
    lambda time: time.replace(microsecond=time.microsecond // 1000 * 1000, tzinfo=UTC)
)
maybe_moments = st.none() | moments
urls = st.integers(0, 10**6).map(lambda number: f"https://host/files/{number}?x=1&y=%20")
infos = st.sampled_from(
    [
        None,
        '<u:jobInfo xmlns:u="http://www.ivoa.net/xml/UWS/v1.0"><a xmlns="urn:a">x<b/>&amp;</a></u:jobInfo>',
        '<jobInfo xmlns="http://www.ivoa.net/xml/UWS/v1.0"/>',
    ]
)
jobs = st.builds(
    Job,
    job_id=names,
    phase=st.sampled_from(ExecutionPhase),
    run_id=st.none() | names,
    owner_id=st.none() | names,
    quote=maybe_moments,
    creation_time=maybe_moments,
    start_time=maybe_moments,
    end_time=maybe_moments,
    execution_duration=st.integers(0, 2**31 - 1),
    destruction=maybe_moments,
    parameters=st.lists(st.builds(Parameter, texts, texts, is_post=st.booleans()), max_size=5).map(tuple),
    results=st.lists(
        st.builds(Result, texts, urls, st.none() | st.integers(0, 2**63 - 1), st.none() | names), max_size=5
    ).map(tuple),
    error=st.none() | st.builds(ErrorSummary, names, st.booleans(), st.booleans()),
    job_info=infos,
    version=st.just("1.1"),
)


def same(job: Job) -> Job:
    """A job as it is read again: information on the job gains the prefixes of its surroundings."""
    return replace(job, job_info=None)


@given(jobs)
def test_a_job_is_read_as_it_was_written(job: Job) -> None:
    document = job_to_xml(job, job_url=URL)
    read = parse_job(document, URL)
    assert same(read) == same(job)
    assert (read.job_info is None) == (job.job_info is None)
    if read.job_info is not None and job.job_info is not None:
        assert _canonical(read.job_info) == _canonical(job.job_info)
    assert parse_job(job_to_xml(read, job_url=URL), URL) == read


def _canonical(text: str) -> bytes:
    return etree.tostring(etree.fromstring(text), method="c14n", exclusive=True)


@given(jobs)
def test_every_job_document_is_valid(job: Job) -> None:
    assert schema_problems(job_to_xml(job, job_url=URL)) == []


@pytest.mark.parametrize("phase", list(ExecutionPhase))
@pytest.mark.parametrize("is_full", [False, True])
def test_documents_of_every_phase_are_valid(phase: ExecutionPhase, is_full: bool) -> None:
    job = replace(FULL if is_full else Job("17", phase), phase=phase)
    ref = JobRef(job.job_id, phase, URL, job.run_id, job.owner_id, job.creation_time)
    for document in (
        job_to_xml(job, job_url=URL),
        job_to_xml(job, job_url=URL, progress=Progress(0.4, "frame 4 & 5")),
        job_list_to_xml([ref, ref]),
        job_list_to_xml([]),
        results_to_xml(job.results, job_url=URL),
        parameters_to_xml(job.parameters),
    ):
        assert schema_problems(document) == []
        assert schema_problems(document, "UWS-v1.1-cadc.xsd") == []


def test_the_schema_check_notices_wrong_documents() -> None:
    document = job_to_xml(FULL, job_url=URL)
    for wrong in (
        document.replace(b"<uws:quote>", b"<uws:quota>").replace(b"</uws:quote>", b"</uws:quota>"),
        document.replace(b">ERROR<", b">FAILED<"),
        document.replace(b"uws:results>", b"uws:Results>"),
        document.replace(b">600<", b">600.5<"),
    ):
        assert wrong != document
        assert schema_problems(wrong)


def test_what_is_unknown_is_there_and_nil() -> None:
    root = etree.fromstring(job_to_xml(Job("17", ExecutionPhase.PENDING), job_url=URL))
    nil = "{http://www.w3.org/2001/XMLSchema-instance}nil"
    found = {etree.QName(node).localname for node in root if node.get(nil) == "true"}
    assert found == {"ownerId", "quote", "startTime", "endTime", "destruction"}
    assert root.get("version") == "1.1"


@pytest.mark.parametrize(
    "document",
    [
        job_to_xml(FULL, job_url=URL),
        job_list_to_xml([]),
        results_to_xml([], job_url=URL),
        parameters_to_xml([]),
    ],
)
def test_roots_declare_the_prefixes_that_old_clients_want(document: bytes) -> None:
    root = etree.fromstring(document)
    assert root.nsmap.keys() >= {"uws", "xlink", "xsi"}
    assert document.startswith(b'<?xml version="1.0" encoding="UTF-8"?>')
    assert ("version" in root.attrib) == (etree.QName(root).localname in {"job", "jobs"})


@given(st.text(), st.text(min_size=1))
def test_characters_that_xml_cannot_hold_break_nothing(value: str, name: str) -> None:
    job = replace(
        FULL,
        job_id=f"1{name}",
        run_id=value,
        owner_id=value,
        parameters=(Parameter(name, value),),
        results=(Result(name, None, None, value), Result(value)),
        error=ErrorSummary(value),
    )
    document = job_to_xml(job, job_url=URL, progress=Progress(1, value))
    assert schema_problems(document) == []
    assert len(parse_job(document, URL).parameters) == 1
    assert schema_problems(job_list_to_xml([JobRef(name, job.phase, URL, value, value)])) == []


@pytest.mark.parametrize("bad", ["\x00", "\x0b", "\x1b", "\ud800", "\ufffe", "\uffff"])
def test_a_character_that_xml_cannot_hold_is_replaced(bad: str) -> None:
    document = parameters_to_xml([Parameter("p", f"a{bad}b")])
    assert parse_parameters(document) == (Parameter("p", "a\ufffdb"),)


def test_text_looks_like_markup_and_stays_text() -> None:
    value = '</uws:parameter><uws:parameter id="x">]]>&amp;<![CDATA[ &#0; "\''
    assert parse_parameters(parameters_to_xml([Parameter(value, value)])) == (Parameter(value, value),)


def test_line_ends_and_blanks_arrive_as_they_were_sent() -> None:
    value = "\r\n a\rb\tc \n"
    (read,) = parse_parameters(parameters_to_xml([Parameter(value, value)]))
    assert (read.name, read.value) == (value, value)


@pytest.mark.parametrize(
    ("duration", "written"), [(0, 0), (-5, 0), (600, 600), (2**31 - 1, 2**31 - 1), (2**40, 2**31 - 1)]
)
def test_execution_durations_fit_the_schema(duration: int, written: int) -> None:
    document = job_to_xml(replace(FULL, execution_duration=duration), job_url=URL)
    assert schema_problems(document) == []
    assert parse_job(document, URL).execution_duration == written


def test_milliseconds_are_kept_and_nothing_is_rounded_up() -> None:
    job = replace(
        FULL, creation_time=NOW.replace(microsecond=123_999), start_time=NOW.replace(microsecond=999_999)
    )
    document = job_to_xml(job, job_url=URL)
    assert b"<uws:creationTime>2031-02-03T04:05:06.123Z<" in document
    assert b"<uws:startTime>2031-02-03T04:05:06.999Z<" in document


def test_the_digest_of_a_result_is_valid_and_read_again() -> None:
    results = (Result("a", f"{URL}/results/a", 1, "text/plain", "0f" * 32), Result("b", f"{URL}/results/b"))
    document = job_to_xml(Job("1", ExecutionPhase.COMPLETED, results=results), job_url=URL)
    assert schema_problems(document) == []
    assert parse_job(document, URL).results == results
    strange = document.replace(b"0f" * 32, b"no digest")
    assert parse_job(strange, URL).results[0].sha256 is None


def test_a_result_without_link_is_linked_below_its_job() -> None:
    document = results_to_xml([Result("a b/c?.fits"), Result("é\x01")], job_url=URL)
    links = [result.url for result in parse_results(document, URL)]
    assert links == [f"{URL}/results/a%20b%2Fc%3F.fits", f"{URL}/results/%C3%A9%EF%BF%BD"]


def test_a_list_is_read_as_it_was_written() -> None:
    refs = (
        JobRef("1", ExecutionPhase.EXECUTING, URL, "run", "me", NOW),
        JobRef('2"<', ExecutionPhase.ARCHIVED, None, None, None, None),
    )
    assert parse_job_list(job_list_to_xml(iter(refs)), "http://h") == refs


@pytest.mark.parametrize(
    ("progress", "fraction"),
    [
        (Progress(0), "0"),
        (Progress(1, "é <done>"), "1"),
        (Progress(1 / 3, "x"), "0.333333"),
        (Progress(1e-9), "1e-09"),
    ],
)
def test_progress_is_shown_in_job_info(progress: Progress, fraction: str) -> None:
    document = job_to_xml(replace(FULL, phase=ExecutionPhase.EXECUTING), job_url=URL, progress=progress)
    (node,) = etree.fromstring(document).iter("{urn:ts-ocps:job-info}progress")
    assert (node.get("fraction"), node.text or "", node.prefix) == (fraction, progress.message, "ocps")
    read = parse_progress(parse_job(document, URL).job_info)
    assert read is not None
    assert read.message == progress.message
    assert abs(read.fraction - progress.fraction) < 1e-6


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan"), float("inf")])
def test_progress_is_between_0_and_1(fraction: float) -> None:
    with pytest.raises(ValueError, match="not between 0 and 1"):
        Progress(fraction)


@pytest.mark.parametrize("info", ["text", "<a/>", "<uws:jobInfo>", "<jobInfo/><jobInfo/>"])
def test_job_info_that_is_none_is_refused(info: str) -> None:
    with pytest.raises(ValueError, match="jobInfo"):
        job_to_xml(replace(FULL, job_info=info), job_url=URL)


def test_job_info_and_progress_exclude_each_other() -> None:
    info = '<jobInfo xmlns="http://www.ivoa.net/xml/UWS/v1.0"/>'
    with pytest.raises(ValueError, match="not both"):
        job_to_xml(replace(FULL, job_info=info), job_url=URL, progress=Progress(0))


@pytest.mark.parametrize("found", [one for one in samples_named("job-") if one.status == 200])
def test_jobs_of_other_servers_are_written_valid_and_whole(found: Sample) -> None:
    job = parse_job(found.body, URL)
    document = job_to_xml(job, job_url=URL)
    assert schema_problems(document) == []
    assert parse_job(document, URL) == job


class ForeignParameters(BaseXmlModel, tag="parameters", ns="uws", nsmap=NSMAP):
    """The community's models want a class for each service's parameters; this one takes any."""

    parameter: list[ForeignParameter] = element(tag="parameter", default_factory=list)


@pytest.mark.parametrize(("phase", "is_full"), list(product(ExecutionPhase, [False, True])))
def test_the_models_of_the_community_read_our_documents(phase: ExecutionPhase, is_full: bool) -> None:
    job = replace(FULL if is_full else Job("17", phase, creation_time=NOW), phase=phase)
    read = JobSummary[ForeignParameters].from_xml(job_to_xml(job, job_url=URL))
    assert (read.job_id, read.run_id, read.owner_id, read.phase.value) == (
        job.job_id,
        job.run_id,
        job.owner_id,
        phase,
    )
    assert read.creation_time == job.creation_time
    assert (read.end_time, read.destruction) == (job.end_time, job.destruction)
    assert read.execution_duration == job.execution_duration
    assert read.parameters is not None
    assert [(one.id, one.by_reference) for one in read.parameters.parameter] == [
        (one.name, one.by_reference) for one in job.parameters
    ]
    assert read.results is not None
    assert [(one.id, one.href) for one in read.results.results or ()] == [
        (one.result_id, one.url) for one in job.results
    ]
    assert (read.error_summary and read.error_summary.message) == (job.error and job.error.message)


def test_the_models_of_the_community_read_our_lists() -> None:
    refs = [JobRef(str(number), phase, URL, "run", None, NOW) for number, phase in enumerate(ExecutionPhase)]
    read = Jobs.from_xml(job_list_to_xml(refs))
    assert [(one.job_id, one.phase.value, one.href) for one in read.jobref or ()] == [
        (ref.job_id, ref.phase, ref.url) for ref in refs
    ]
    assert {ref.phase for ref in refs} >= FINAL
