"""Design section 4: commands that came while no CSC was running, and those that are too old."""

import asyncio
import re
from typing import Any

import pytest

from lsst.ts.ocps.csc.ledger import Ledger
from lsst.ts.ocps.csc.missed import REASON
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.sal.tai import current_tai
from lsst.ts.ocps.salobj import AckError, SalRetCode, State
from support.brokers import BrokerBench
from support.csc import TIMEOUT, CscBench, Spy, eventually
from support.sal_log import read_log, read_samples

pytestmark = pytest.mark.asyncio


@pytest.fixture
def broker(request: pytest.FixtureRequest, csc_broker: str) -> BrokerBench:
    """The broker of `csc_bench`."""
    bench = request.getfixturevalue(f"{csc_broker}_bench")
    assert isinstance(bench, BrokerBench)
    return bench


async def send(remote: Remote, name: str = "run", **fields: Any) -> Any:
    """The first acknowledgement of a command, or the failed one."""
    values = {"payload": "echo"} if name == "run" else {"pipeline": "p"}
    try:
        return await getattr(remote, f"cmd_{name}").set_start(
            wait_done=False, timeout=TIMEOUT, **(values | fields)
        )
    except AckError as error:
        return error.ackcmd


async def send_to_nobody(bench: BrokerBench, remote: Remote, name: str, count: int) -> "asyncio.Task[Any]":
    """Send a command, and return when the broker has so many of them."""
    task = asyncio.create_task(send(remote, name))
    topic = getattr(remote, f"cmd_{name}").topic_info.kafka_name(bench.settings.topic_subname)
    await read_log(bench.settings, topic, count=count)
    return task


async def acks_of(bench: BrokerBench, seq_num: int) -> list[dict[str, Any]]:
    """All acknowledgements of one command."""
    acks = await read_samples(bench.settings, "OCPS", "ack_ackcmd")
    return [ack for ack in acks if ack["private_seqNum"] == seq_num]


@pytest.mark.parametrize("state", [State.STANDBY, State.ENABLED])
async def test_commands_from_between_two_lives_get_one_failed_and_never_run(
    csc_bench: CscBench, broker: BrokerBench, state: State
) -> None:
    async with csc_bench.remote() as remote:
        async with csc_bench.csc():
            assert (await send(remote)).ack == SalRetCode.CMD_INPROGRESS
        missed = [await send_to_nobody(broker, remote, name, n) for name, n in (("run", 2), ("execute", 1))]
        async with csc_bench.csc(state) as csc:
            acks = await asyncio.gather(*missed)
            # One that ends before leaves it to the next to answer them again.
            await eventually(lambda: len(csc.context.missed.caught_up) == 2)
        async with csc_bench.csc(state) as csc:
            await eventually(lambda: len(csc.context.missed.caught_up) == 2)
        for ack in acks:
            assert (ack.ack, ack.error, ack.result) == (SalRetCode.CMD_FAILED, 1, f"Failed: {REASON}")
            assert "OCPS was not running" in ack.result
            assert len(await acks_of(broker, ack.private_seqNum)) == 1
    assert csc_bench.service.calls["create"] == 1


async def test_in_its_first_life_a_csc_answers_nothing_that_came_before(
    csc_bench: CscBench, broker: BrokerBench
) -> None:
    async with csc_bench.csc(), csc_bench.remote() as remote:
        pass
    for file in csc_bench.state_dir.iterdir():
        file.unlink()
    async with csc_bench.remote() as remote:
        old = await send_to_nobody(broker, remote, "run", 1)
        async with csc_bench.csc() as csc:
            await eventually(lambda: len(csc.context.missed.caught_up) == 2)
            assert (await send(remote)).ack == SalRetCode.CMD_INPROGRESS
            assert not old.done()
        old.cancel()
    assert csc_bench.service.calls["create"] == 1


async def test_an_accepted_command_beyond_the_remembered_offset_is_followed_and_not_refused(
    csc_bench: CscBench, broker: BrokerBench
) -> None:
    csc_bench.on_end(duration=1.0)
    async with csc_bench.remote() as remote:
        spy = Spy(remote)
        async with csc_bench.csc() as csc:
            ack = await send(remote)
            topic = csc.cmd_run.kafka_name
        # As after a kill: the ledger is behind the truth.
        ledger = await Ledger.open(csc_bench.state_dir, 1)
        await ledger.save_positions({topic: 0})
        await ledger.aclose()
        async with csc_bench.csc() as csc:
            await eventually(lambda: len(csc.context.missed.caught_up) == 2)
            await spy.wait_for("job_result")
            final = await remote.cmd_run.next_ackcmd(ack, timeout=TIMEOUT)
            assert final.ack == SalRetCode.CMD_COMPLETE
        acks = await acks_of(broker, ack.private_seqNum)
        assert SalRetCode.CMD_FAILED not in {each["ack"] for each in acks}


@pytest.mark.parametrize("name", ["run", "execute", "disable"])
async def test_a_command_that_comes_late_within_a_life_is_refused(
    csc_bench: CscBench, broker: BrokerBench, name: str
) -> None:
    async with csc_bench.csc() as csc, csc_bench.remote() as remote:
        command = getattr(remote, f"cmd_{name}")
        topic = command.topic_info.kafka_name(broker.settings.topic_subname)
        fields = {"salIndex": 1, "private_seqNum": 7, "private_sndStamp": current_tai() - 700}
        value = command.codec.encode(fields, schema_id=command.schema_id)
        await broker.write_raw(topic, key=b"x", value=value)
        await eventually(lambda: getattr(csc, f"cmd_{name}").settled_offset == 1)
        (ack,) = await acks_of(broker, 7)
        assert ack["ack"] == SalRetCode.CMD_FAILED
        # It grows older on its way.
        assert re.fullmatch(r"Failed: the command is 7\d\d s old, and 600 s are allowed", ack["result"])
        assert csc.summary_state is State.ENABLED
    assert csc_bench.service.calls["create"] == 0


async def test_the_age_of_a_command_is_configured(csc_bench: CscBench) -> None:
    init = csc_bench.config_dir / "_init.yaml"
    init.write_text(init.read_text() + "max_command_age: 33\n")
    async with csc_bench.csc() as csc:
        assert csc.cmd_run.max_age == csc.cmd_abort_job.max_age == csc.cmd_enable.max_age == 33


async def test_a_runtime_that_tells_no_positions_is_let_be(
    csc_bench: CscBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ts_salobj: its commands have none of the attributes that our runtime adds."""
    command = "lsst.ts.ocps.sal.topics.controller_command.ControllerCommand"
    async with csc_bench.remote() as remote:
        with monkeypatch.context() as patch:
            for name in ("settled_offset", "read_missed", "refuse", "kafka_name"):
                patch.delattr(f"{command}.{name}")
            async with csc_bench.csc() as csc:
                assert (await send(remote)).ack == SalRetCode.CMD_INPROGRESS
                assert not csc.context.missed.caught_up
