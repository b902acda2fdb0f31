"""What a command left: digests above all; the other rules are those of folders and of whole jobs."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from lsst.ts.ocps.executors.base import ExecutionStatus, ExecutorState
from lsst.ts.ocps.service import outcome_reader
from lsst.ts.ocps.service.outcome_reader import OutcomeReader
from lsst.ts.ocps.service.results import JobFolder
from lsst.ts.ocps.service.schema import StoredJob, StoredResult, now
from lsst.ts.ocps.uws.jobs import Job
from lsst.ts.ocps.uws.phases import ExecutionPhase

pytestmark = pytest.mark.asyncio


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    made = JobFolder(tmp_path / "1a", "out")
    made.make()
    return made


async def read(folder: JobFolder) -> tuple[StoredResult, ...]:
    job = Job("1a", ExecutionPhase.EXECUTING, creation_time=now())
    status = ExecutionStatus(ExecutorState.SUCCEEDED, 0)
    outcome = await OutcomeReader(100).read(StoredJob(job, "p", "local", "out"), status, folder, ())
    return outcome.files


@pytest.mark.parametrize("small", [16 * 2**20, 0], ids=["at once", "in pieces"])
async def test_results_have_the_digests_of_what_they_hold(
    folder: JobFolder, monkeypatch: pytest.MonkeyPatch, small: int
) -> None:
    monkeypatch.setattr(outcome_reader, "_SMALL", small)
    monkeypatch.setattr(outcome_reader, "_PIECE", 10)
    monkeypatch.setattr(outcome_reader, "_BLOCK", 5)
    contents = {"a": b"", "b": b"12345", "c": b"0123456789", "d": bytes(range(33))}
    for name, content in contents.items():
        (folder.output_path / name).write_bytes(content)
    files = await read(folder)
    assert {file.path: (file.size, file.sha256) for file in files} == {
        name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in contents.items()
    }


async def test_a_stop_of_the_service_does_not_wait_for_a_large_result(
    folder: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcome_reader, "_SMALL", 0)
    monkeypatch.setattr(outcome_reader, "_PIECE", 1)
    monkeypatch.setattr(outcome_reader, "_BLOCK", 1)
    (folder.output_path / "endless").write_bytes(bytes(10_000_000))
    reading = asyncio.create_task(read(folder))
    await asyncio.wait({reading}, timeout=0.05)
    assert not reading.done()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


async def test_a_result_that_cannot_be_read_has_no_digest(
    folder: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_folder: JobFolder, result: StoredResult) -> None:
        raise OSError(5, f"Input/output error: {result.path}")

    monkeypatch.setattr(JobFolder, "open_result", refuse)
    (folder.output_path / "broken").write_bytes(b"123")
    (file,) = await read(folder)
    assert (file.path, file.size, file.sha256) == ("broken", 3, None)


async def test_why_a_job_failed_is_told_in_its_own_words_though_it_left_too_many_files(
    folder: JobFolder,
) -> None:
    for name in "ab":
        (folder.output_path / name).touch()
    (folder.path / "stderr.txt").write_text("no such table\n")
    job = StoredJob(Job("1a", ExecutionPhase.EXECUTING, creation_time=now()), "p", "local", "out")
    outcome = await OutcomeReader(1).read(job, ExecutionStatus(ExecutorState.FAILED, 1), folder, ())
    assert [file.path for file in outcome.files] == ["a", "stderr.txt"]
    assert outcome.error is not None
    assert outcome.error.message == "no such table"
    assert "1 of 2 files are no results" in (folder.path / "stderr.txt").read_text()
