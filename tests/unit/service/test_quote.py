"""The expected time of completion."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from lsst.ts.ocps.uws.phases import ExecutionPhase
from lsst.ts.ocps.uws.times import parse_time
from support.service_process import FakeService, create_running, id_of

pytestmark = pytest.mark.asyncio
P = ExecutionPhase
EXPECTED = timedelta(seconds=1000)


async def test_it_is_counted_from_the_creation_and_then_from_the_start(fake: FakeService) -> None:
    path = await fake.calls.create("quoted")
    job = await fake.calls.job(path)
    assert job.creation_time is not None
    assert job.quote == job.creation_time + EXPECTED
    assert parse_time(await fake.calls.text(f"{path}/quote")) == job.quote
    answer = await fake.calls.post(f"{path}/phase", PHASE="RUN")
    assert b"<uws:quote>2" in answer.content
    job = await fake.calls.executing(path)
    assert job.start_time is not None
    assert job.quote == job.start_time + EXPECTED


async def test_what_has_ended_and_what_nobody_knows_has_none(fake: FakeService) -> None:
    ended = await create_running(fake, "quoted")
    fake.cluster.finish(id_of(ended))
    await fake.calls.end(ended)
    for path in (ended, await fake.calls.create("work")):
        assert (await fake.calls.job(path)).quote is None
        assert await fake.calls.text(f"{path}/quote") == ""


async def test_it_is_withdrawn_when_its_time_has_passed(fake: FakeService) -> None:
    path = await fake.calls.create("quoted")
    stored = await fake.context.store.find(id_of(path))
    assert stored is not None
    for age, is_known in ((EXPECTED / 2, True), (EXPECTED * 2, False)):
        old = replace(stored, job=replace(stored.job, creation_time=datetime.now(UTC) - age))
        assert (fake.context.jobs.quote(old) is not None) == is_known
