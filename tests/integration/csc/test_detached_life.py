"""A detached command is complete when there is a job; its sender is told so whichever life made the job."""

import asyncio
import json
import time
from typing import Any

import pytest

from lsst.ts.ocps.client.base import Submission
from lsst.ts.ocps.csc.ledger import Ledger
from lsst.ts.ocps.csc.records import CommandKey, RunRecord
from lsst.ts.ocps.csc.runs import AbortAsked, CreateIntended, JobCreated, JobSeen, News, StartIntended
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.salobj import AckError, SalRetCode, State
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.csc import TIMEOUT, CscBench, eventually
from support.runs import make_job, make_run, with_news

pytestmark = pytest.mark.asyncio


async def send(remote: Remote) -> Any:
    try:
        return await remote.cmd_run.set_start(payload="echo", detach=True, timeout=TIMEOUT)
    except AckError as error:
        return error.ackcmd


async def killed(bench: CscBench, remote: Remote, *news: News) -> "asyncio.Task[Any]":
    """A detached command whose CSC was killed before it said anything, and what it had written down."""
    sending = asyncio.create_task(send(remote))
    await eventually(lambda: remote.cmd_run.data.private_seqNum)
    data = remote.cmd_run.data
    key = CommandKey.of(data)
    run = make_run(
        key=key,
        backend=bench.stored_backend,
        accepted_at=time.time(),
        detach=True,
        run_id="ocps-test-1-killed",
    )
    record = with_news(RunRecord(run), CreateIntended(), *news)
    ledger = await Ledger.open(bench.state_dir, 1)
    assert await ledger.add(record) is None
    await ledger.aclose()
    return sending


async def test_a_command_killed_before_its_job_gets_its_job_and_complete(csc_bench: CscBench) -> None:
    async with csc_bench.remote() as remote:
        sending = await killed(csc_bench, remote)
        async with csc_bench.csc(State.STANDBY):
            ack = await sending
            assert (ack.ack, json.loads(ack.result)["job_id"]) == (SalRetCode.CMD_COMPLETE, "1")
            result = await remote.evt_job_result.next(flush=False, timeout=TIMEOUT)
            assert result.job_id == "1"
    assert csc_bench.service.calls["create"] == 1


async def test_a_command_killed_when_its_job_had_ended_gets_complete(csc_bench: CscBench) -> None:
    backend = await csc_bench.open_backend("fake", None)
    created = await backend.create(Submission("echo", "ocps-test-1-killed"))
    await backend.start(created.url)
    async with csc_bench.remote() as remote:
        sending = await killed(
            csc_bench,
            remote,
            JobCreated(created.url, created.job),
            StartIntended(),
            JobSeen(make_job(ExecutionPhase.COMPLETED, job_id=created.job.job_id)),
        )
        async with csc_bench.csc(State.STANDBY):
            assert (await sending).ack == SalRetCode.CMD_COMPLETE
            result = await remote.evt_job_result.next(flush=False, timeout=TIMEOUT)
            assert (result.job_id, result.exit_code) == (created.job.job_id, 0)


async def test_a_command_that_was_aborted_before_it_had_a_job_is_told_so(csc_bench: CscBench) -> None:
    async with csc_bench.remote() as remote:
        sending = await killed(csc_bench, remote, AbortAsked())
        async with csc_bench.csc(State.STANDBY):
            ack = await sending
            assert ack.ack == SalRetCode.CMD_ABORTED
            assert "aborted before it had a job" in ack.result
    assert csc_bench.service.calls["create"] == 0
