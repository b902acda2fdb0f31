"""What real servers sent is read without loss, counted by another parser."""

import pytest
from lxml import etree

from lsst.ts.ocps.uws.codec import (
    is_html,
    parse_dali_fault,
    parse_job,
    parse_job_list,
    parse_parameters,
    parse_results,
)
from lsst.ts.ocps.uws.phases import ExecutionPhase, parse_phase
from lsst.ts.ocps.uws.times import format_time, parse_time
from support.uws_samples import Sample, all_samples, sample, samples_named

BASE = "http://127.0.0.1:38080/some/async/1"
SERVERS = {"dachs-dlasync", "dachs-tap", "dachs-useruws", "safir-9.3.0"}
XLINK = "{http://www.w3.org/1999/xlink}"


def ids(found: Sample) -> str:
    return found.id


def nodes(document: bytes, name: str) -> list[etree._Element]:
    """Elements by local name, found by a parser that is not ours."""
    root = etree.fromstring(document)
    found = root.xpath("//*[local-name()=$name]", name=name)
    assert isinstance(found, list)
    return [node for node in found if isinstance(node, etree._Element)]


def text_of(document: bytes, name: str) -> str | None:
    found = nodes(document, name)
    return (found[0].text or "").strip() or None if found else None


def documents(*prefixes: str) -> list[Sample]:
    found = [one for one in samples_named(*prefixes) if one.status == 200]
    assert {one.server for one in found} == SERVERS
    return found


@pytest.mark.parametrize("found", documents("job-"), ids=ids)
def test_every_job_document_is_read_whole(found: Sample) -> None:
    job = parse_job(found.body, BASE)

    assert job.job_id == text_of(found.body, "jobId")
    assert job.run_id == text_of(found.body, "runId")
    assert job.owner_id == text_of(found.body, "ownerId")
    assert job.phase == text_of(found.body, "phase")
    assert str(job.execution_duration) == text_of(found.body, "executionDuration")
    for name, time in (
        ("quote", job.quote),
        ("creationTime", job.creation_time),
        ("startTime", job.start_time),
        ("endTime", job.end_time),
        ("destruction", job.destruction),
    ):
        written = text_of(found.body, name)
        assert (time and time.isoformat()) == (written and parse_time(written).isoformat()), name
    assert [(one.name, one.value) for one in job.parameters] == [
        (node.get("id"), node.text or "") for node in nodes(found.body, "parameter")
    ]
    assert [(one.result_id, one.url, one.size, one.mime_type) for one in job.results] == [
        (
            node.get("id"),
            node.get(XLINK + "href"),
            int(size) if (size := node.get("size")) else None,
            node.get("mime-type"),
        )
        for node in nodes(found.body, "result")
    ]
    assert (job.error.message if job.error else None) == text_of(found.body, "message")
    assert (job.job_info is not None) == bool(nodes(found.body, "jobInfo"))
    assert job.version == "1.1"


def test_the_samples_hold_what_the_test_above_looks_for() -> None:
    jobs = [parse_job(found.body, BASE) for found in documents("job-")]
    assert sum(len(job.parameters) for job in jobs) >= 30
    assert sum(len(job.results) for job in jobs) >= 3
    assert sum(job.error is not None for job in jobs) >= 4
    assert {job.phase for job in jobs} >= {"PENDING", "EXECUTING", "COMPLETED", "ERROR", "ABORTED"}


@pytest.mark.parametrize("found", documents("list"), ids=ids)
def test_every_job_list_is_read_whole(found: Sample) -> None:
    refs = parse_job_list(found.body, BASE)
    written = nodes(found.body, "jobref")

    assert [ref.job_id for ref in refs] == [node.get("id") for node in written]
    assert [ref.url for ref in refs] == [node.get(XLINK + "href") for node in written]
    for name, values in (
        ("phase", [ref.phase for ref in refs]),
        ("runId", [ref.run_id for ref in refs if ref.run_id]),
        ("ownerId", [ref.owner_id for ref in refs if ref.owner_id]),
    ):
        assert values == [node.text for node in nodes(found.body, name)], name
    times = [ref.creation_time for ref in refs if ref.creation_time]
    assert [format_time(time) for time in times] == [node.text for node in nodes(found.body, "creationTime")]


@pytest.mark.parametrize("found", documents("results-"), ids=ids)
def test_every_results_list_is_read_whole(found: Sample) -> None:
    written = nodes(found.body, "result")
    assert [(one.result_id, one.url) for one in parse_results(found.body, BASE)] == [
        (node.get("id"), node.get(XLINK + "href")) for node in written
    ]


@pytest.mark.parametrize("found", documents("parameters-"), ids=ids)
def test_every_parameter_list_is_read_whole(found: Sample) -> None:
    written = nodes(found.body, "parameter")
    assert len(written) > 0
    assert [(one.name, one.value) for one in parse_parameters(found.body)] == [
        (node.get("id"), node.text or "") for node in written
    ]


@pytest.mark.parametrize("found", samples_named("phase-"), ids=ids)
def test_every_phase_text_is_understood(found: Sample) -> None:
    phase = parse_phase(found.body.decode())
    assert phase == found.body.decode().strip()
    assert phase != ExecutionPhase.UNKNOWN


@pytest.mark.parametrize(
    "found", [one for one in samples_named("destruction-", "quote-") if one.body.strip()], ids=ids
)
def test_every_time_text_is_understood(found: Sample) -> None:
    assert format_time(parse_time(found.body.decode()))[:19] == found.body.decode().strip()[:19]


@pytest.mark.parametrize(
    "found", [one for one in all_samples() if one.status >= 400 and not is_html(one.body)], ids=ids
)
def test_every_refusal_is_read_as_an_error_document(found: Sample) -> None:
    fault = parse_dali_fault(found.body)
    assert fault is not None
    assert fault.message in found.body.decode()
    assert fault.code == ("UsageError" if found.server.startswith("safir") else "Error")


@pytest.mark.parametrize("server", ["dachs-dlasync", "dachs-tap", "dachs-useruws"])
def test_a_refusal_with_status_200_is_recognised(server: str) -> None:
    found = sample(server, "bad-phase")
    assert found.status == 200
    fault = parse_dali_fault(found.body)
    assert fault is not None
    assert fault.message == "Field phase: Bad phase: NONSENSE"


def test_the_detail_of_an_error_is_found_where_safir_puts_it() -> None:
    fault = parse_dali_fault(sample("safir-9.3.0", "error-error").body)
    assert fault is not None
    assert (fault.code, fault.message) == ("Error", "boom\n\ndetail of boom")


@pytest.mark.parametrize(
    "found", [one for one in all_samples() if one.status == 200 and b"QUERY_STATUS" not in one.body], ids=ids
)
def test_no_good_answer_is_taken_for_an_error_document(found: Sample) -> None:
    assert parse_dali_fault(found.body) is None
