"""The log says who did what to whose jobs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from support.owners import fake_with_owners
from support.service_process import FakeService, create_running, id_of

pytestmark = pytest.mark.asyncio

Records = list[Any]


@pytest.fixture
def records() -> Iterator[Records]:
    with capture_logs(processors=[merge_contextvars]) as captured:
        yield captured


def told(records: Records, event: str, job_id: str) -> dict[str, Any]:
    """The only record of something that happened to a job."""
    (record,) = [one for one in records if one["event"] == event and one.get("job_id") == job_id]
    return dict(record)


async def test_what_an_operator_does_to_the_job_of_another_is_told_with_the_name(
    tmp_path: Path, records: Records
) -> None:
    async with fake_with_owners(tmp_path, max_running=1) as owners:
        path = await owners.alice.create("work", PHASE="RUN")
        await owners.alice.executing(path)
        theirs = await owners.bob.create("work", PHASE="RUN")
        await owners.operator.post(f"{path}/phase", PHASE="ABORT")
        await owners.operator.http.delete(path)
        await owners.bob.executing(theirs)
        assert told(records, "created", id_of(path))["caller"] == "alice"
        for event in ("aborted", "destroyed"):
            record = told(records, event, id_of(path))
            assert (record["caller"], record["address"]) == ("night", "127.0.0.1")
        # That made room for another job, which nobody but its owner has asked for.
        for event in ("handed over", "executing"):
            assert "caller" not in told(records, event, id_of(theirs))


async def test_every_change_is_told_with_who_made_it(tmp_path: Path, records: Records) -> None:
    async with fake_with_owners(tmp_path) as owners:
        path = await owners.alice.create("work", text="one")
        for method, part, form in (
            ("POST", "/parameters", {"text": "two"}),
            ("PUT", "/parameters/text", {}),
            ("POST", "/executionduration", {"EXECUTIONDURATION": "7"}),
            ("POST", "/destruction", {"DESTRUCTION": "2199-01-01T00:00:00Z"}),
            ("DELETE", "", {}),
        ):
            records.clear()
            answer = await owners.operator.http.request(method, path + part, data=form)
            assert answer.status_code == 303, part
            (record,) = [one for one in records if one["event"] == "request"]
            assert record["caller"] == "night"
            assert (record["method"], record["path"], record["status"]) == (method, path + part, 303)
        # What was refused has changed nothing, and reading does neither.
        records.clear()
        assert (await owners.bob.post(f"{path}/phase", PHASE="ABORT")).status_code == 404
        assert (await owners.stranger.post("/work/async")).status_code == 401
        assert (await owners.alice.http.get("/jobs")).status_code == 200
        assert records == []


async def test_whoever_has_no_name_has_an_address(fake: FakeService, records: Records) -> None:
    path = await create_running(fake)
    await fake.calls.post(f"{path}/phase", PHASE="ABORT")
    record = told(records, "aborted", id_of(path))
    assert (record["caller"], record["address"]) == (None, "127.0.0.1")
