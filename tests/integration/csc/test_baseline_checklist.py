"""What the nightly calibration automation relies on (baseline section 7), box by box.

The client as a whole runs in ``test_calibration_client``; texts that a server must get unchanged are there
and in ``test_create_is_run``; that pairs are never interleaved is rule 2 in ``test_acks``; the client of
rapid analysis is in ``test_rapid_analysis``.
"""

import asyncio
import json
import math
import re
from typing import Any

import pytest

from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.salobj import AckError, SalRetCode, State
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.calibration_client import CONFIG, DATA_QUERY, PIPELINE, CalibrationClient
from support.csc import TIMEOUT, CscBench, eventually, final_ack, write_configuration
from support.golden import load_golden

pytestmark = pytest.mark.asyncio
P = ExecutionPhase


class AckSpy:
    """Every acknowledgement that the CSC writes, the first ones of the SAL layer included."""

    def __init__(self, csc: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.codes: list[SalRetCode] = []
        write = type(csc.cmd_execute).ack

        async def ack(topic: Any, data: Any, ackcmd: Any) -> None:
            self.codes.append(SalRetCode(ackcmd.ack))
            await write(topic, data, ackcmd)

        monkeypatch.setattr(type(csc.cmd_execute), "ack", ack)


async def send(remote: Remote, **fields: Any) -> Any:
    """``execute`` as the script sends it: four fields, the default patience."""
    values = {"pipeline": PIPELINE, "version": "", "config": CONFIG, "data_query": DATA_QUERY} | fields
    return await remote.cmd_execute.set_start(wait_done=False, **values)


async def test_a_remote_of_all_topics_finds_every_topic_of_the_deployed_interface(
    csc_bench: CscBench,
) -> None:
    async with csc_bench.csc(), csc_bench.remote() as remote:
        for name, topic in load_golden("OCPS")["topics"].items():
            if name != "ack_ackcmd":
                assert topic["sal_types"].keys() <= vars(getattr(remote, name).DataType()).keys()


async def test_summary_state_is_there_for_a_remote_that_starts_late(csc_bench: CscBench) -> None:
    async with csc_bench.csc(), csc_bench.remote() as remote:
        assert (await remote.evt_summaryState.aget(timeout=5)).summaryState == State.ENABLED
        # Nobody has to wait for it.
        assert remote.evt_summaryState.get().summaryState == State.ENABLED


async def test_the_first_ack_of_any_kind_is_in_progress_with_a_job_id_and_nothing_comes_before_it(
    csc_bench: CscBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    csc_bench.on_end(duration=0.2)
    async with csc_bench.csc() as csc, csc_bench.remote() as remote:
        spy = AckSpy(csc, monkeypatch)
        ack = await send(remote)
        assert ack.ack == SalRetCode.CMD_INPROGRESS
        assert json.loads(ack.result).keys() == {"job_id"}
        await remote.cmd_execute.next_ackcmd(ack)
        assert spy.codes[0] is SalRetCode.CMD_INPROGRESS
        assert spy.codes.count(SalRetCode.CMD_COMPLETE) == 1
        assert set(spy.codes) == {SalRetCode.CMD_INPROGRESS, SalRetCode.CMD_COMPLETE}


async def test_a_failure_before_the_job_id_is_one_failed_ack(
    csc_bench: CscBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_configuration(csc_bench.config_dir.parents[1], create_timeout=0.3)
    async with csc_bench.csc() as csc, csc_bench.remote() as remote:
        spy = AckSpy(csc, monkeypatch)
        csc_bench.service.is_available = False
        with pytest.raises(AckError):
            await send(remote)
        assert spy.codes == [SalRetCode.CMD_FAILED]
        assert remote.evt_job_result.nqueued == 0


async def test_the_job_id_names_a_collection_and_is_that_of_the_back_end(csc_bench: CscBench) -> None:
    async with csc_bench.csc(), csc_bench.remote() as remote:
        ack = await send(remote)
        job_id = json.loads(ack.result)["job_id"]
        assert re.fullmatch(r"[A-Za-z0-9_-]+", job_id)
        (job,) = csc_bench.service.jobs().values()
        assert job.job_id == job_id


async def test_the_final_ack_comes_to_next_ackcmd_with_its_defaults(csc_bench: CscBench) -> None:
    csc_bench.on_end(duration=0.2)
    async with csc_bench.csc(), csc_bench.remote() as remote:
        ack = await send(remote)
        async with asyncio.timeout(TIMEOUT):
            final = await remote.cmd_execute.next_ackcmd(ack)
        assert (final.ack, final.result) == (SalRetCode.CMD_COMPLETE, "Done")


async def test_a_failed_job_is_complete_and_its_result_tells(csc_bench: CscBench) -> None:
    csc_bench.on_end(P.ERROR, error="no flats")
    async with csc_bench.csc(), csc_bench.remote() as remote:
        final = await remote.cmd_execute.next_ackcmd(await send(remote))
        assert final.ack == SalRetCode.CMD_COMPLETE
        result = await remote.evt_job_result.next(flush=False, timeout=TIMEOUT)
        document = json.loads(result.result)
        assert (result.exit_code, document["phase"]) == (1, "ERROR")
        assert document["errorSummary"] == {"message": "no flats"}


async def test_the_event_is_there_when_the_final_ack_is_and_exactly_once(csc_bench: CscBench) -> None:
    async with csc_bench.csc() as csc, csc_bench.remote() as remote:
        final = await remote.cmd_execute.next_ackcmd(await send(remote))
        result = await remote.evt_job_result.next(flush=False, timeout=TIMEOUT)
        # Promptly: what comes in between is lost to a client that flushes the events after its next images.
        assert 0 < final.private_sndStamp - result.private_sndStamp < 5.0
        await eventually(lambda: not csc.context.tracker._followers)
        assert remote.evt_job_result.nqueued == 0


async def test_an_event_that_was_not_waited_for_can_be_flushed_away(csc_bench: CscBench) -> None:
    async with csc_bench.csc(), csc_bench.remote() as remote:
        client = CalibrationClient(remote)
        async with asyncio.timeout(TIMEOUT):
            await remote.cmd_execute.next_ackcmd(await send(remote))
            # Another topic may come a moment later than the acknowledgements.
            await eventually(lambda: remote.evt_job_result.nqueued)
            # After every set of images the script does this; what was acknowledged by then is old.
            remote.evt_job_result.flush()
            document = await client.run_job()
        assert document["jobId"] == "2"
        assert client.discarded == []


async def test_five_branches_share_a_remote_and_each_finds_its_results(csc_bench: CscBench) -> None:
    csc_bench.on_end(duration=0.1)
    async with csc_bench.csc(), csc_bench.remote() as remote:
        client = CalibrationClient(remote)
        async with asyncio.timeout(2 * TIMEOUT):
            chains = await client.run_branches([2] * 5)
        assert not [chain for chain in chains if isinstance(chain, BaseException)]
        assert client.findings == []
        assert len(csc_bench.service.jobs()) == 10


async def test_a_client_that_gives_up_leaves_its_jobs_running_and_disturbs_no_later_client(
    csc_bench: CscBench,
) -> None:
    csc_bench.on_end(duration=1.0)
    async with csc_bench.csc() as csc:
        async with csc_bench.remote() as remote:
            branches = asyncio.create_task(CalibrationClient(remote).run_branches([3, 3]))
            await eventually(lambda: len(csc_bench.service.jobs()) == 2)
            branches.cancel()
            await asyncio.gather(branches, return_exceptions=True)
        csc_bench.on_end(duration=0.1)
        async with csc_bench.remote() as remote:
            client = CalibrationClient(remote)
            async with asyncio.timeout(TIMEOUT):
                await client.run_chain(2)
            await eventually(lambda: not csc.context.tracker._followers)
            assert client.findings == []
    assert {job.phase for job in csc_bench.service.jobs().values()} == {P.COMPLETED}
    assert csc_bench.service.calls["abort"] == 0


async def test_five_commands_may_be_outstanding_at_once(csc_bench: CscBench) -> None:
    csc_bench.on_end(duration=math.inf)
    async with csc_bench.csc(), csc_bench.remote() as remote:
        acks = await asyncio.gather(*(send(remote) for _ in range(5)))
        assert {ack.ack for ack in acks} == {SalRetCode.CMD_INPROGRESS}
        jobs = csc_bench.service.jobs
        await eventually(lambda: [job.phase for job in jobs().values()] == [P.EXECUTING] * 5)


async def test_texts_arrive_as_they_were_sent_and_nothing_is_expanded(csc_bench: CscBench) -> None:
    odd = "`id`; $(id) * ~ \\n 'it''s' \"q\" {x} %s é\n\ttabs  and   blanks "
    async with csc_bench.csc(), csc_bench.remote() as remote:
        for query in (DATA_QUERY, odd):
            ack = await send(remote, data_query=query)
            await final_ack(remote, "execute", ack)
        sent = [
            {parameter.name: parameter.value for parameter in job.parameters}
            for job in csc_bench.service.jobs().values()
        ]
        assert [one["data_query"] for one in sent] == [DATA_QUERY, odd]
        assert {one["pipeline"] for one in sent} == {PIPELINE}
        assert {one["config"] for one in sent} == {CONFIG}
        assert {one["version"] for one in sent} == {""}
