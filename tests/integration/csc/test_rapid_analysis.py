"""Rapid analysis (design section 5, acks, rule 1): no job, one final acknowledgement, no events."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
import yaml
from typing_extensions import override

from lsst.ts.ocps.client.base import Backend
from lsst.ts.ocps.client.errors import BackendUnavailableError
from lsst.ts.ocps.client.rapid_analysis import RapidAnalysisBackend
from lsst.ts.ocps.client.settings import AnyBackendSettings, RapidAnalysisSettings
from lsst.ts.ocps.csc.backends import to_stored_settings
from lsst.ts.ocps.csc.ledger import Ledger
from lsst.ts.ocps.csc.records import CommandKey, Reported, RunRecord
from lsst.ts.ocps.csc.runs import CreateIntended, observe
from lsst.ts.ocps.salobj import SalRetCode, State
from support.csc import TIMEOUT, eventually
from support.redis_server import PASSWORD, RedisServer, RememberedLists
from support.runs import make_run
from support.served_csc import Served, ServedBench, start
from support.serving import serving

pytestmark = pytest.mark.asyncio

COMPLETE, FAILED = SalRetCode.CMD_COMPLETE, SalRetCode.CMD_FAILED
URL = "redis://redis.invalid"
BOUND = 6.0
"""What 2 s become on a machine that is busy (s); the deployed component waited for as long as Redis did."""

RAPID = {
    "name": "rapid",
    "description": "Hands key-value pairs to rapid analysis.",
    "parameters": {"type": "object", "properties": {"config": {"type": "string"}}},
}


class RapidBench(ServedBench):
    """A bench whose lists only remember."""

    lists: RememberedLists

    @override
    async def open_backend(self, name: str, settings: AnyBackendSettings | None) -> Backend:
        if isinstance(settings, RapidAnalysisSettings) and settings.url == URL:
            return RapidAnalysisBackend(name, self.lists)
        return await super().open_backend(name, settings)


@pytest.fixture
def bench(served_bench: ServedBench) -> RapidBench:
    bench = RapidBench(served_bench.config_dir, served_bench.state_dir, patience=served_bench.patience)
    bench.lists = RememberedLists()
    configure(bench, URL)
    return bench


def configure(bench: ServedBench, url: str, **settings: Any) -> None:
    bench.configure("uws", "http://unused.invalid")
    file = bench.config_dir / "_init.yaml"
    config = yaml.safe_load(file.read_text())
    config["backends"] = {"ra": {"kind": "rapid_analysis", "url": url, **settings}}
    config |= {"default_backend": "ra", "execute_payload": "rapid"}
    file.write_text(yaml.safe_dump(config))
    (bench.config_dir / "../../payloads/rapid.yaml").resolve().write_text(yaml.safe_dump(RAPID))


def seconds_to(ack: Any, served: Served) -> float:
    """How long after the last command its acknowledgement was written (s)."""
    return float(ack.private_sndStamp - served.remote.cmd_execute.data.private_sndStamp)


async def push(served: Served, config: str, **fields: str) -> Any:
    return await start(served.remote, "execute", config=config, **fields)


async def test_rule_1_a_push_gets_one_final_ack_no_in_progress_and_no_events(bench: RapidBench) -> None:
    async with bench.running() as served:
        ack = await push(served, '{"LATISS": "x", "other": "y"}')
        assert (ack.ack, ack.result) == (COMPLETE, "Done")
        assert bench.lists.pushed == [[("LATISS", "x"), ("other", "y")]]
        await eventually(lambda: not served.csc.context.tracker._handovers.run_ids)
        assert await served.csc.context.ledger.unfinished() == []
        assert served.spy.names() == []
        status = await served.remote.evt_backend_status.aget(timeout=TIMEOUT)
        assert json.loads(status.backends)["ra"]["kind"] == "rapid_analysis"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"config": '{"A1": "ok", "A2": [1, 2]}'}, "back end ra: config: the value of 'A2' is no text"),
        ({"config": ""}, "back end ra: config: is not JSON"),
        ({"config": '{"A": "x"}', "prereq_jobs": "7"}, "prereq_jobs: back end ra waits for no jobs"),
    ],
)
async def test_what_cannot_be_pushed_whole_is_refused(
    bench: RapidBench, fields: dict[str, str], words: str
) -> None:
    async with bench.running() as served:
        ack = await push(served, **fields)
        assert ack.ack == FAILED
        assert words in ack.result
        assert bench.lists.pushed == []


async def test_a_push_that_fails_says_so(bench: RapidBench) -> None:
    async with bench.running() as served:
        text = "no answer; whether the values were pushed is not known"
        bench.lists.error = BackendUnavailableError("ra", text)
        ack = await push(served, '{"A": "x"}')
        assert (ack.ack, ack.result) == (FAILED, f"Failed: back end ra: {text}")
        bench.lists.error = None
        assert (await push(served, '{"A": "x"}')).ack == COMPLETE
        assert served.spy.of("job_result") == []


async def test_defect_09_a_command_record_that_is_delivered_twice_pushes_once(bench: RapidBench) -> None:
    async with bench.running() as served:
        csc = served.csc
        data = csc.cmd_execute.DataType()
        data.config, data.private_seqNum, data.private_identity = '{"A": "x"}', 77, "somebody@host"
        data.private_origin, data.private_sndStamp = 5, 1e9
        first, second = await asyncio.gather(csc.do_execute(data), csc.do_execute(data))
        await eventually(lambda: not csc.context.tracker._handovers.run_ids)
        third = await csc.do_execute(data)
        assert [ack.ack for ack in (first, second, third)] == [COMPLETE] * 3
    assert len(bench.lists.pushed) == 1


async def test_a_csc_that_died_while_it_pushed_says_that_it_does_not_know(bench: RapidBench) -> None:
    settings = RapidAnalysisSettings(url=URL)
    run = make_run(
        command="execute",
        key=CommandKey("somebody", 1, 1, 1.0),
        payload="rapid",
        backend=to_stored_settings("ra", settings),
        creates_pending=False,
    )
    ledger = await Ledger.open(bench.state_dir, 1)
    assert await ledger.add(observe(RunRecord(run), CreateIntended())) is None
    await ledger.aclose()
    async with bench.csc(State.STANDBY) as csc:
        async with asyncio.timeout(TIMEOUT):
            while await csc.context.ledger.unfinished():  # noqa: ASYNC110 (the ledger tells nobody)
                await asyncio.sleep(0.02)
        record = await csc.context.ledger.find(run.run_id)
        assert record is not None
        assert isinstance(record.state, Reported)
        assert record.state.report.ack == "failed"
        assert "what was pushed, or was about to be, cannot be looked up" in record.state.report.ack_result
    assert bench.lists.pushed == []


@pytest.mark.parametrize("named_by", ["a job id", "its run_id"])
async def test_defect_24_an_abort_fails_in_words_and_touches_nothing(
    bench: RapidBench, named_by: str
) -> None:
    async with bench.running() as served:
        assert (await push(served, '{"A": "x"}')).ack == COMPLETE
        name = "7"
        if named_by == "its run_id":
            with closing(sqlite3.connect(bench.state_dir / "ocps-1.sqlite3")) as ledger:
                ((name,),) = ledger.execute("SELECT run_id FROM runs").fetchall()
        ack = await start(served.remote, "abort_job", job_id=name)
        assert ack.ack == FAILED
        words = "no run and no job 7 is known" if name == "7" else "has ended as COMPLETED: nothing to abort"
        assert words in ack.result
        # And the next one is taken.
        assert (await push(served, '{"B": "y"}')).ack == COMPLETE
    assert bench.lists.pushed == [[("A", "x")], [("B", "y")]]


async def test_defect_24_a_server_that_never_says_anything_fails_the_command_in_bounded_time(
    served_bench: ServedBench,
) -> None:
    async def say_nothing(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(say_nothing) as port:
        configure(served_bench, f"redis://127.0.0.1:{port}", call_timeout=0.3)
        async with served_bench.running() as served:
            ack = await push(served, '{"A": "x"}')
            assert ack.ack == FAILED
            assert seconds_to(ack, served) < BOUND
            assert "no answer in 0.3 s; nothing was pushed" in ack.result
            assert served.csc.summary_state is State.ENABLED


@asynccontextmanager
async def on_redis(bench: ServedBench, folder: Path) -> AsyncIterator[tuple[RedisServer, Served]]:
    (folder / "password").write_text(PASSWORD)
    async with RedisServer(folder) as server:
        configure(bench, server.url, password={"file": str(folder / "password")})
        async with bench.running() as served:
            yield server, served


@pytest.mark.system
async def test_a_real_redis_gets_what_was_sent(served_bench: ServedBench, tmp_path: Path) -> None:
    async with on_redis(served_bench, tmp_path) as (server, served):
        assert (await push(served, '{"LATISS": "x"}')).ack == COMPLETE
        async with redis.asyncio.Redis(port=server.port, password=PASSWORD) as client:
            assert await client.lpop("LATISS") == b"x"


@pytest.mark.system
@pytest.mark.parametrize("how", ["down", "frozen"])
async def test_defect_24_a_redis_that_is_down_or_frozen_fails_the_command_in_bounded_time(
    served_bench: ServedBench, tmp_path: Path, how: str
) -> None:
    async with on_redis(served_bench, tmp_path) as (server, served):
        if how == "down":
            await server.stop()
        else:
            server.freeze()
        sending = asyncio.create_task(push(served, '{"A": "x"}'))
        await served.pulse.goes_on()
        ack = await sending
        assert ack.ack == FAILED
        assert seconds_to(ack, served) < BOUND
        assert f"back end ra: {server.url}: " in ack.result
        assert "nothing was pushed" in ack.result
        await served.pulse.goes_on()
        assert served.csc.summary_state is State.ENABLED
