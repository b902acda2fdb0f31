import json
import logging
from collections.abc import Mapping

import pytest

from lsst.ts.ocps.client.base import Backend, Submission
from lsst.ts.ocps.client.errors import BackendUnavailableError
from lsst.ts.ocps.client.testing import FakeBackend, FakeService, Script
from lsst.ts.ocps.csc.logs import get_logger
from lsst.ts.ocps.csc.results import Metric, RunResults, fetch_results, parse_metrics, parse_value
from lsst.ts.ocps.uws.phases import ExecutionPhase


def test_metrics_are_read() -> None:
    text = (
        b'[{"name": "noise", "value": 3, "units": "adu", "tags": {"amp": 1}}, {"name": "gain", "value": 1.5}]'
    )
    assert parse_metrics(text) == (Metric("noise", 3.0, "adu", {"amp": 1}), Metric("gain", 1.5))
    assert parse_metrics(text)[0].tags_text == '{"amp":1}'


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '[{"value": 1}]',
        '[{"name": "a"}]',
        '[{"name": "a", "value": "1"}]',
        '[{"name": "a", "value": true}]',
        '[{"name": "a", "value": NaN}]',
        f'[{{"name": "a", "value": 1{"0" * 400}}}]',
        '[{"name": "a", "value": 1, "units": 3}]',
        '[{"name": "a", "value": 1, "tags": []}]',
        json.dumps([{"name": "a", "value": 1}] * 501),
        "[" * 200_000,
        "[",
    ],
)
def test_broken_metrics_are_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        parse_metrics(text.encode())


@pytest.mark.parametrize("data", [b"[]", b"1", b"{", b'{"a": Infinity}', b"\xff{}", b""])
def test_a_value_is_an_object(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        parse_value(data)


async def results_of(results: Mapping[str, bytes], *errors: BackendUnavailableError) -> RunResults:
    service = FakeService(Script(results=results))
    backend = FakeBackend("fake", service)
    created = await backend.create(Submission("echo", "ocps-test-1-1"))
    await backend.start(created.url)
    job = created.job
    while job.phase is not ExecutionPhase.COMPLETED:
        job = await backend.wait(created.url, phase=job.phase, seconds=5)
    service.fail("fetch", *errors)

    async def open_backend() -> Backend:
        return backend

    try:
        return await fetch_results(open_backend, created.url, job, get_logger("test"))
    finally:
        await backend.aclose()
        await service.aclose()


@pytest.mark.asyncio
async def test_value_and_metrics_are_fetched() -> None:
    found = await results_of({"result.json": b'{"a": 1}', "metrics.json": b'[{"name": "m", "value": 2}]'})
    assert found == RunResults({"a": 1}, (Metric("m", 2.0),))


@pytest.mark.asyncio
async def test_a_job_without_them_is_not_asked_for_them() -> None:
    assert await results_of({"other.fits": b"x"}) == RunResults()


@pytest.mark.asyncio
async def test_a_failure_that_passes_is_tried_again() -> None:
    error = BackendUnavailableError("fake", "not now")
    assert (await results_of({"result.json": b'{"a": 1}'}, error)).value == {"a": 1}


@pytest.mark.asyncio
@pytest.mark.parametrize("data", [b"no json", b'{"a": "' + b"x" * 70_000 + b'"}'])
async def test_what_cannot_be_used_is_missing_with_a_warning(
    data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        found = await results_of({"result.json": data, "metrics.json": b'[{"name": "m", "value": 2}]'})
    assert found == RunResults(None, (Metric("m", 2.0),))
    assert "not reported" in caplog.text
    assert "result.json" in caplog.text
