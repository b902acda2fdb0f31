"""Every document of the service, in every phase, against the official schemas and the text of UWS 1.1."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from lxml import etree

from lsst.ts.ocps.executors.base import ExecutorError
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.document_rules import UWS, document_problems
from support.service_process import FakeService, id_of

P = ExecutionPhase
NASTY = "<&>\"' ]]> \r\n\t ünïcode \N{SNOWMAN}"
LISTS = ("/jobs", "/work/async", "/single/async")
FILTERS = ("", "LAST=2", "LAST=1&PHASE=ABORTED", "AFTER=2020-01-01", "AFTER=2199-01-01", "phase=ERROR&last=9")


async def read(fake: FakeService, url: str) -> etree._Element:
    answer = await fake.calls.http.get(url)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/xml"
    assert document_problems(answer.content) == [], url
    return etree.fromstring(answer.content)


async def read_lists(fake: FakeService) -> dict[str, int]:
    """Read all lists with all filters; how many entries there are of each phase."""
    counts = {}
    for place in LISTS:
        for query in FILTERS:
            await read(fake, f"{place}?{query}")
        for phase in P:
            entries = await read(fake, f"{place}?PHASE={phase}&PHASE=HELD")
            if place == "/jobs":
                counts[phase.value] = len(entries)
    return counts


async def walk_job(fake: FakeService, path: str, phase: ExecutionPhase) -> etree._Element:
    """Read all documents of a job, which is in some phase."""
    root = await read(fake, path)
    assert root.findtext(f"{UWS}phase") == phase.value
    for part in ("results", "parameters"):
        await read(fake, f"{path}/{part}")
    return root


def folder_of(fake: FakeService, path: str) -> Path:
    return fake.config.jobs_directory / id_of(path)


@pytest.mark.asyncio
async def test_every_document_of_every_phase_is_valid(fake: FakeService) -> None:
    for place in (*LISTS, "/availability", "/capabilities"):
        await read(fake, place)
    assert set((await read_lists(fake)).values()) == {0}

    nasty = {"text": NASTY, "RUNID": "<&>\"'"}
    pending = await fake.calls.create("work", nasty)
    await walk_job(fake, pending, P.PENDING)

    executing = await fake.calls.create("single", PHASE="RUN")
    await fake.calls.executing(executing)
    await walk_job(fake, executing, P.EXECUTING)
    progress = folder_of(fake, executing) / "out" / "progress.json"
    progress.write_text(json.dumps({"fraction": 0.5, "message": NASTY}))
    assert (await walk_job(fake, executing, P.EXECUTING)).find(f"{UWS}jobInfo") is not None

    queued = await fake.calls.create("single", RUNID=nasty["RUNID"], PHASE="RUN")
    await walk_job(fake, queued, P.QUEUED)

    completed, failed, archived = [
        await fake.calls.create("work", nasty | {"PHASE": "RUN"}) for _ in range(3)
    ]
    for path, exit_code in ((completed, 0), (failed, 3), (archived, 0)):
        await fake.calls.executing(path)
        output = folder_of(fake, path) / "out"
        (output / "maps").mkdir()
        for name in ("maps/a.fits", "maps_a.fits", "<&>'\" é#?.txt"):
            (output / name).write_text("x")
        (output.parent / "stderr.txt").write_text(f"{NASTY} \x01\n")
        fake.cluster.finish(id_of(path), exit_code)
        await fake.calls.end(path)
    root = await walk_job(fake, completed, P.COMPLETED)
    # What it said on standard error is one of them.
    assert len(root.findall(f"{UWS}results/{UWS}result")) == 4
    assert (await walk_job(fake, failed, P.ERROR)).find(f"{UWS}errorSummary") is not None

    fake.cluster.refuse_next(ExecutorError(NASTY))
    refused = await fake.calls.create("work", PHASE="RUN")
    await fake.calls.end(refused)
    await walk_job(fake, refused, P.ERROR)

    aborted = await fake.calls.create("work")
    await fake.calls.post(f"{aborted}/phase", PHASE="ABORT")
    await walk_job(fake, aborted, P.ABORTED)

    soon = datetime.now(UTC) + timedelta(seconds=2)
    await fake.calls.post(f"{archived}/destruction", DESTRUCTION=soon.isoformat())
    await fake.calls.until(archived, lambda job: job.phase is P.ARCHIVED)
    await walk_job(fake, archived, P.ARCHIVED)

    assert await read_lists(fake) == dict.fromkeys(P, 0) | {
        "PENDING": 1,
        "QUEUED": 1,
        "EXECUTING": 1,
        "COMPLETED": 1,
        "ERROR": 2,
        "ABORTED": 1,
        "ARCHIVED": 1,
    }


@pytest.mark.asyncio
@pytest.mark.parametrize("phase", [P.HELD, P.SUSPENDED, P.UNKNOWN])
async def test_phases_that_only_other_executors_bring_about_are_valid_too(
    fake: FakeService, phase: ExecutionPhase
) -> None:
    path = await fake.calls.create("work", PHASE="RUN")
    await fake.calls.executing(path)
    await fake.context.store._change_phase(id_of(path), P.EXECUTING, phase)
    await walk_job(fake, path, phase)
    assert len(await read(fake, f"/jobs?PHASE={phase}")) == 1


def test_the_rules_find_what_is_wrong() -> None:
    job = (
        f'<u:job xmlns:u="{UWS[1:-1]}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        "<u:jobId>1</u:jobId><u:ownerId/><u:phase>ERROR</u:phase><u:startTime xsi:nil='true'/>"
        "<u:endTime>2026-01-01T00:00:00</u:endTime><u:executionDuration>0</u:executionDuration>"
        "<u:destruction xsi:nil='true'/><u:results/></u:job>"
    )
    found = " ".join(document_problems(job.encode()))
    for word in ("version None", "xlink", "endTime '2026-01-01T00:00:00'", "no creationTime", "errorSummary"):
        assert word in found
    assert document_problems(f'<jobs xmlns="{UWS[1:-1]}" version="1.1"><jobref/></jobs>'.encode())
