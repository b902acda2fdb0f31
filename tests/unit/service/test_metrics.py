"""The figures for Prometheus: counted as things happen, and read by its own parser."""

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.exc import OperationalError

from lsst.ts.ocps import __version__
from lsst.ts.ocps.service.errors import StoreError
from lsst.ts.ocps.service.metrics import Metrics, Present
from lsst.ts.ocps.service.store import Store
from support.service_process import FakeService, create_running, id_of

pytestmark = pytest.mark.asyncio

Figures = dict[tuple[str, ...], float]


async def read(fake: FakeService) -> Figures:
    """All samples: name, then the values of the labels in the order of their names."""
    answer = await fake.calls.http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_jobs_are_told_by_payload_and_phase(fake: FakeService) -> None:
    await fake.calls.create("work")
    first, second = await create_running(fake), await create_running(fake)
    fake.cluster.finish(id_of(first))
    await fake.calls.end(first)
    running = await create_running(fake, "single")
    queued = await fake.calls.create("single", PHASE="RUN")
    figures = await read(fake)
    jobs = {labels[1:]: value for labels, value in figures.items() if labels[0] == "ocps_jobs"}
    assert jobs == {
        ("work", "PENDING"): 1,
        ("work", "EXECUTING"): 1,
        ("work", "COMPLETED"): 1,
        ("single", "EXECUTING"): 1,
        ("single", "QUEUED"): 1,
    }
    assert (figures["ocps_jobs_waiting_for_slot",], figures["ocps_jobs_in_slot",]) == (1, 2)
    assert figures["ocps_job_phases_total", "work", "EXECUTING"] == 2
    assert figures["ocps_job_phases_total", "work", "PENDING"] == 1
    assert figures["ocps_job_seconds_count", "work", "COMPLETED"] == 1
    for path in (second, running, queued):
        await fake.calls.http.delete(path)
    figures = await read(fake)
    assert ("ocps_jobs", "single", "QUEUED") not in figures
    assert figures["ocps_job_phases_total", "single", "ABORTED"] == 2
    # The one that never started took no time.
    assert figures["ocps_job_seconds_count", "single", "ABORTED"] == 1


async def test_requests_are_told_by_route_and_never_by_what_strangers_ask_for(fake: FakeService) -> None:
    path = await fake.calls.create("work")
    for url in (path, path, "/work/async/nothing"):
        await fake.calls.http.get(url)
    for url in ("/a/b/c/d", "/e/f/g/h"):
        await fake.calls.http.get(url)
    await fake.calls.http.request("BREW", "/jobs")
    figures = await read(fake)
    route = "/{payload}/async/{job_id}"
    requests = "ocps_http_requests_total"
    assert figures[requests, "GET", route, "200"] == 2
    assert figures[requests, "GET", route, "404"] == 1
    assert figures[requests, "POST", "/{payload}/async", "303"] == 1
    assert figures[requests, "GET", "", "404"] == 2
    assert sum(value for key, value in figures.items() if key[:2] == (requests, "other")) == 1
    assert figures["ocps_http_request_seconds_count", "GET", route] == 3


async def test_the_service_tells_of_itself_and_of_its_process(fake: FakeService) -> None:
    figures = await read(fake)
    assert figures["ocps_service_info", __version__] == 1
    assert figures["ocps_database_up",] == 1
    assert figures["ocps_waiting_requests",] == 0
    assert figures["process_resident_memory_bytes",] > 0


async def test_a_database_that_is_away_is_told_with_all_the_rest(
    fake: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fake.calls.create("work")

    async def fail(_store: Store) -> None:
        raise StoreError("away") from OperationalError("SELECT", {}, Exception())

    monkeypatch.setattr(Store, "count", fail)
    figures = await read(fake)
    assert figures["ocps_database_up",] == 0
    assert not [key for key in figures if key[0] == "ocps_jobs"]
    assert figures["ocps_job_phases_total", "work", "PENDING"] == 1


async def test_a_failure_of_the_service_is_counted_as_500(
    fake: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("ours")

    monkeypatch.setattr(Store, "find", fail)
    with pytest.raises(RuntimeError):
        await fake.calls.http.get("/work/async/1")
    figures = await read(fake)
    assert figures["ocps_http_requests_total", "GET", "/{payload}/async/{job_id}", "500"] == 1


async def test_two_services_in_a_process_count_apart() -> None:
    one, other = Metrics("1"), Metrics("2")
    one.note_request("GET", "/jobs", 200, 0.1)
    present = Present({}, 0, 0, 0)
    assert b'ocps_http_requests_total{method="GET"' in one.to_text(present)
    assert b'ocps_http_requests_total{method="GET"' not in other.to_text(present)
