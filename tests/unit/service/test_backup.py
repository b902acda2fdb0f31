"""A copy of database and folders, made while the service runs, is a service again elsewhere."""

import asyncio
import shutil
import sqlite3
from pathlib import Path

import pytest

from lsst.ts.ocps.executors.testing import FakeCluster
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.service_process import create_running, fake_service, id_of

P = ExecutionPhase


def back_up(data: Path, copy: Path) -> None:
    """Do what the operators' page says; blocks."""
    copy.mkdir(parents=True)
    source, target = sqlite3.connect(data / "jobs.sqlite"), sqlite3.connect(copy / "jobs.sqlite")
    with target:
        source.backup(target)
    source.close()
    target.close()
    shutil.copytree(data / "jobs", copy / "jobs")


@pytest.mark.asyncio
async def test_a_restored_backup_has_all_jobs_with_their_results(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    async with fake_service(tmp_path / "old") as old:
        ended = await create_running(old)
        (old.config.jobs_directory / id_of(ended) / "out" / "a.txt").write_text("kept")
        old.cluster.finish(id_of(ended))
        await old.calls.end(ended)
        pending = await old.calls.create("work", text="x", RUNID="r")
        running = await create_running(old, "single")
        queued = await old.calls.create("single", PHASE="RUN")
        await asyncio.to_thread(back_up, old.config.data_directory, tmp_path / "new" / "data")
    async with fake_service(tmp_path / "new", cluster=FakeCluster()) as new:
        assert (await new.calls.http.get(f"{ended}/results/a.txt")).text == "kept"
        job = await new.calls.job(pending)
        assert (job.phase, job.run_id, job.parameters[0].value) == (P.PENDING, "r", "x")
        # Nobody knows what became of its command here; the one that waited goes on.
        assert (await new.calls.end(running)).phase is P.ERROR
        assert (await new.calls.executing(queued)).phase is P.EXECUTING
