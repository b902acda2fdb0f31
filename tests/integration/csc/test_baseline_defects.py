"""Defects of the deployed system (baseline section 6), by number: what must not come back.

Others stand where their subject is tested: 2, 3, 20, 21, 25 in ``test_bad_back_ends``, 4 in ``test_life``,
18 and 19 in ``test_acks``, 9, 15, 16, 17 in ``test_create_is_run``, 21 in ``test_states``, 24 in
``test_rapid_analysis``, 6 in ``test_config_v4`` and the unit tests of the JSON dialect.
"""

import asyncio
import json
import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest

from lsst.ts.ocps.sal.broker.base import Record
from lsst.ts.ocps.sal.broker.memory import _CLUSTERS, MemoryBroker, MemoryReader
from lsst.ts.ocps.sal.errors import BrokerError
from lsst.ts.ocps.salobj import AckError, SalRetCode
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.api_server_double import ApiServerDouble
from support.brokers import BrokerBench
from support.csc import TIMEOUT, CscBench, Spy, eventually, final_ack, write_configuration
from support.http_server import Reply, Request
from support.served_csc import KINDS, SOME_KINDS, ServedBench, start
from support.uws_server import UwsServer

pytestmark = pytest.mark.asyncio
P = ExecutionPhase
COMPLETE = SalRetCode.CMD_COMPLETE
POLL_INTERVAL = 0.5
"""As deployed (s)."""


@pytest.mark.parametrize("kind", KINDS)
async def test_defect_01_job_result_holds_the_final_job_and_not_the_answer_to_its_creation(
    served_bench: ServedBench, kind: str
) -> None:
    async with served_bench.serve(kind), served_bench.running() as served:
        # The JSON dialect cannot carry quotes.
        ack = await served.sleep(duration=0.2, value="{}")
        assert (await served.end(ack)).ack == COMPLETE
        (result,) = await served.spy.wait_for("job_result")
        document = json.loads(result.result)
        assert document["phase"] == "COMPLETED"
        assert document["startTime"] <= document["endTime"]
        assert "result.json" in {one["id"] for one in document["results"]}
        assert document["value"] == {}


@pytest.mark.parametrize("kind", KINDS)
async def test_defect_02_one_answer_that_never_comes_holds_up_nobody_and_not_the_end(
    served_bench: ServedBench, kind: str
) -> None:
    async def hang(_request: Request) -> Reply:
        await asyncio.Event().wait()
        raise AssertionError

    async with served_bench.serve(kind) as server, served_bench.running() as served:
        first = await served.sleep(duration=60)
        job_id = json.loads(first.result)["job_id"]
        ending = job_id if isinstance(server, UwsServer) else f"{job_id}/phase"
        server.misbehave("GET", ending, *[hang] * 9)
        server.break_connections()
        await eventually(lambda: len(server._behaviours) < 9)
        second = await served.sleep()
        assert (await served.end(second)).ack == COMPLETE
        await served.pulse.goes_on(2)
        async with asyncio.timeout(TIMEOUT):
            await served.csc.close()


async def test_defect_05_a_failed_job_fails_its_execute_where_the_site_wants_it(memory_csc: CscBench) -> None:
    memory_csc.on_end(P.ERROR, error="no flats")
    for wanted, told in ((True, (SalRetCode.CMD_FAILED, "Failed: no flats")), (False, (COMPLETE, "Done"))):
        write_configuration(memory_csc.config_dir.parents[1], execute_reports_failure=wanted)
        async with memory_csc.csc(), memory_csc.remote() as remote:
            ack = await remote.cmd_execute.set_start(wait_done=False, timeout=TIMEOUT)
            final = await final_ack(remote, "execute", ack)
            assert (final.ack, final.result) == told
            assert (await remote.evt_job_result.next(flush=False, timeout=TIMEOUT)).exit_code == 1


async def test_defect_09_a_command_record_that_is_delivered_again_starts_no_further_job(
    memory_csc: CscBench, memory_bench: BrokerBench
) -> None:
    memory_csc.on_end(duration=0.3)
    name = memory_bench.settings.broker_address.removeprefix("memory://")
    async with memory_csc.csc(), memory_csc.remote() as remote:
        spy = Spy(remote)
        ack = await remote.cmd_execute.set_start(wait_done=False, timeout=TIMEOUT)
        topics = _CLUSTERS[name].topics
        (topic,) = (topic for topic in topics if topic.endswith("command_execute"))
        (record,) = (record for log in topics[topic] for record in log.records)
        for _ in range(2):
            await memory_bench.write_raw(topic, key=record.key, value=record.value)
        assert (await final_ack(remote, "execute", ack)).ack == COMPLETE
        await memory_bench.write_raw(topic, key=record.key, value=record.value)
        # A further command, behind the copies: when it has ended they have been dealt with.
        await remote.cmd_execute.set_start(timeout=TIMEOUT)
        results = await spy.wait_for("job_result", 2)
        assert [result.job_id for result in results] == ["1", "2"]
    assert memory_csc.service.calls["create"] == 2


@pytest.mark.parametrize("outcome", [P.COMPLETED, P.ERROR, P.ABORTED, P.ARCHIVED, None])
async def test_defect_10_every_job_result_has_a_job_id_that_other_clients_find(
    memory_csc: CscBench, outcome: ExecutionPhase | None
) -> None:
    memory_csc.on_end(outcome or P.COMPLETED, duration=math.inf if outcome is P.ABORTED else 0)
    async with memory_csc.csc(), memory_csc.remote() as remote:
        if outcome is None:
            memory_csc.service.lose_answers("create", 1)
        ack = await remote.cmd_execute.set_start(wait_done=False, timeout=TIMEOUT)
        if outcome is P.ABORTED:
            await remote.cmd_abort_job.set_start(job_id="1", timeout=TIMEOUT)
        result = await remote.evt_job_result.next(flush=False, timeout=TIMEOUT)
        assert json.loads(result.result)["jobId"] == result.job_id == json.loads(ack.result)["job_id"]


async def test_defect_11_a_broker_that_is_away_stops_neither_the_loop_nor_the_following_of_jobs(
    memory_csc: CscBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory_csc.on_end(duration=math.inf)
    is_back = asyncio.Event()
    is_back.set()
    send = MemoryBroker.send

    async def send_late(self: MemoryBroker, *args: Any, **kwargs: Any) -> Any:
        await is_back.wait()
        return await send(self, *args, **kwargs)

    monkeypatch.setattr(MemoryBroker, "send", send_late)
    async with memory_csc.csc() as csc, memory_csc.remote() as remote:
        spy = Spy(remote)
        ack = await remote.cmd_execute.set_start(wait_done=False, timeout=TIMEOUT)
        await spy.wait_for("job_phase", 2)
        is_back.clear()
        (url,) = memory_csc.service.jobs()
        memory_csc.service.force(url, P.COMPLETED)
        (follower,) = csc.context.tracker._followers.values()
        await eventually(lambda: follower.record.has_ended)
        assert spy.of("job_result") == []
        is_back.set()
        assert (await final_ack(remote, "execute", ack)).ack == COMPLETE
        assert len(await spy.wait_for("job_result")) == 1


@dataclass
class Trouble:
    """What the readers of a broker do instead of reading, while it is set."""

    error: Exception | None = None
    count: int = 0

    async def wait_for(self, count: int) -> None:
        """Wait until so many reads have failed."""
        await eventually(lambda: self.count >= count)


@pytest.fixture
def trouble(monkeypatch: pytest.MonkeyPatch) -> Trouble:
    trouble, take = Trouble(), MemoryReader._take

    def take_or_fail(self: MemoryReader, max_records: int) -> list[Record]:
        if trouble.error is not None:
            trouble.count += 1
            raise trouble.error
        return take(self, max_records)

    monkeypatch.setattr(MemoryReader, "_take", take_or_fail)
    return trouble


async def test_defect_12_a_command_that_is_sent_while_nobody_can_read_is_obeyed_afterwards(
    memory_csc: CscBench, trouble: Trouble
) -> None:
    async with memory_csc.csc(), memory_csc.remote() as remote:
        trouble.error = BrokerError("the broker is away")
        sending = asyncio.create_task(remote.cmd_execute.set_start(wait_done=False, timeout=TIMEOUT))
        await trouble.wait_for(2)
        trouble.error = None
        ack = await sending
        assert ack.ack == SalRetCode.CMD_INPROGRESS
        assert (await final_ack(remote, "execute", ack)).ack == COMPLETE
    assert memory_csc.service.calls["create"] == 1


async def test_defect_13_a_csc_whose_reader_has_died_ends_and_is_not_alive_and_mute(
    memory_csc: CscBench, trouble: Trouble
) -> None:
    async with memory_csc.csc() as csc:
        trouble.error = SystemError("out of the client library")
        # Whatever comes wakes the reader.
        await csc.evt_errorCode.set_write(errorCode=0, force_output=True)
        with pytest.raises(Exception, match="out of the client library"):
            await asyncio.wait_for(csc.done_task, TIMEOUT)


async def test_defect_22_a_client_that_comes_back_learns_how_its_job_has_ended(memory_csc: CscBench) -> None:
    async with memory_csc.csc(), memory_csc.remote() as remote:
        phases = Spy(remote)
        for _ in range(2):
            await remote.cmd_execute.set_start(timeout=TIMEOUT)
        await phases.wait_for("job_result", 2)
        async with memory_csc.remote() as back:
            # One value an index is kept in Kafka, as ever.
            assert back.evt_job_result.get().job_id == "2"
            with pytest.raises(AckError) as refused:
                await back.cmd_abort_job.set_start(job_id="1", timeout=TIMEOUT)
            assert "job 1 has ended as COMPLETED" in refused.value.ackcmd.result
        # The back end knows the job by the run_id, which was told in every event.
        backend = await memory_csc.open_backend("fake", None)
        run_ids = [ref.run_id for ref in await backend.list_jobs("execute")]
        assert phases.of("job_phase")[0].run_id == run_ids[-1]


@pytest.mark.parametrize("kind", SOME_KINDS)
async def test_defect_23_a_job_costs_few_requests_and_few_messages(
    served_bench: ServedBench, kind: str
) -> None:
    async with served_bench.serve(kind) as server:
        if isinstance(server, ApiServerDouble):
            served_bench.configure(kind, server.base, poll_interval=POLL_INTERVAL)
        async with served_bench.running() as served:
            published: list[Any] = []

            async def hear(data: Any) -> None:
                published.append(data)

            served.remote.evt_logMessage.callback = hear
            ack = await served.sleep(duration=3, value="{}")
            job_id = json.loads(ack.result)["job_id"]
            assert (await served.end(ack)).ack == COMPLETE
            check_requests(server, job_id)
            await eventually(lambda: any("COMPLETED" in data.message for data in published))
            assert len([data for data in published if f"job_id={job_id}" in data.message]) <= 2


def check_requests(server: UwsServer | ApiServerDouble, job_id: str) -> None:
    """What a job of 3 s has cost its server; the deployed CSC reads the whole job twice a second."""
    if isinstance(server, UwsServer):
        about = [one for one in server.requests if "/sleep/async" in one.path and "LAST" not in one.query]
        # Design section 10: 6 + duration / WAIT.
        assert len(about) <= 7
        return
    asked = Counter(one.path.rpartition(job_id)[2] for one in server.sent("GET") if job_id in one.path)
    # Each of three changes begins the watch anew, and a slow machine makes the job longer.
    assert asked.pop("/phase") <= 3 / POLL_INTERVAL + 5
    # The whole job is read at each of them, and the small result once.
    assert asked.pop("") <= 3
    assert asked == {"/results": 1, "/0": 1}


async def test_defect_26_run_ids_differ_though_two_clients_count_alike(memory_csc: CscBench) -> None:
    memory_csc.on_end(duration=math.inf)
    async with memory_csc.csc() as csc, memory_csc.remote() as remote:
        spy = Spy(remote)
        for identity in ("script@one", "script@two"):
            data = csc.cmd_execute.DataType()
            data.private_seqNum, data.private_identity = 7, identity
            await csc.do_execute(data)
        events = await spy.wait_for("job_id", 2)
        assert [(event.event_name, event.seq_num, event.job_id) for event in events] == [
            ("cmd_execute", 7, "1"),
            ("cmd_execute", 7, "2"),
        ]
        await eventually(lambda: len({phase.run_id for phase in spy.of("job_phase")}) == 2)
        assert {phase.requester for phase in spy.of("job_phase")} == {"script@one", "script@two"}
        await start(remote, "abort_job", job_id="1")
