"""Sal-on-kafka section 20, point 2: a CSC and a Remote while their broker is silent, or starts again."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from lsst.ts.ocps.sal.data_type import BaseMsgType
from lsst.ts.ocps.sal.domain import Domain
from lsst.ts.ocps.sal.enums import SalRetCode, State
from lsst.ts.ocps.sal.remote import Remote
from support.apache_kafka import ApacheKafka
from support.brokers import NoidaProcess, make_settings
from support.loop_watch import watch_loop
from support.ports import free_port
from support.processes import suspended
from support.sal_fixtures import WAIT, CscCase, make_environment, until

pytestmark = pytest.mark.asyncio

OUTAGE = 4.0
"""How long the broker is away (s): longer than the time for which a heartbeat is worth sending."""

NUM_COMMANDS = 10


@pytest.fixture(params=["noida", pytest.param("apache", marks=pytest.mark.system)])
def own_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NoidaProcess | ApacheKafka]:
    """A broker that may be stopped."""
    broker: NoidaProcess | ApacheKafka
    if request.param == "noida":
        broker = NoidaProcess(tmp_path / "noida")
    else:
        broker = ApacheKafka(tmp_path / "apache", port=free_port(), controller_port=free_port())
        broker.format()
    broker.start()
    yield broker
    broker.stop()


@asynccontextmanager
async def restarted(broker: NoidaProcess | ApacheKafka) -> AsyncIterator[None]:
    """The broker is gone, and comes back on the same data."""
    await asyncio.to_thread(broker.stop)
    yield
    await asyncio.to_thread(broker.start)


@asynccontextmanager
async def silenced(broker: NoidaProcess | ApacheKafka) -> AsyncIterator[None]:
    """The broker neither answers nor closes connections."""
    process = broker.process if isinstance(broker, NoidaProcess) else broker._process
    assert process is not None
    async with suspended(process.pid):
        yield


@pytest.mark.parametrize("outage", [restarted, pytest.param(silenced, marks=pytest.mark.system)])
async def test_weakness_02_a_broker_that_is_away_blocks_nothing_and_loses_nothing(
    own_broker: NoidaProcess | ApacheKafka,
    outage: Callable[[NoidaProcess | ApacheKafka], AbstractAsyncContextManager[None]],
    registry_url: str,
    csc_config_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = make_settings(
        broker_address=own_broker.address, registry_url=registry_url, connect_timeout=90.0
    )
    for name, value in make_environment(settings).items():
        monkeypatch.setenv(name, value)
    csc = CscCase(csc_config_dir).basic_make_csc(State.ENABLED, None, 0, index=1)
    async with csc, Domain() as domain, Remote(domain, "Test", 1) as remote:
        events: list[int] = []

        async def note(data: BaseMsgType) -> None:
            events.append(data.int0)

        await remote.cmd_setScalars.set_start(int0=1, timeout=WAIT)
        remote.evt_scalars.callback = note
        async with watch_loop() as gaps:
            async with outage(own_broker):
                commands = [
                    asyncio.create_task(remote.cmd_setScalars.set_start(int0=n, timeout=90))
                    for n in range(100, 100 + NUM_COMMANDS)
                ]
                own_events = [
                    asyncio.create_task(csc.evt_arrays.set_write(int0=[n] * 5)) for n in range(NUM_COMMANDS)
                ]
                await asyncio.sleep(OUTAGE)
                assert not any(task.done() for task in (*commands, *own_events))
            acks = await asyncio.gather(*commands)
            await asyncio.gather(*own_events)
        # A blocking flush would show as a gap as long as the outage; a busy machine makes shorter ones.
        assert max(gaps) < 0.9 * OUTAGE
        assert {ackcmd.ack for ackcmd in acks} == {SalRetCode.CMD_COMPLETE}
        assert csc.summary_state is State.ENABLED
        await until(lambda: len(events) >= NUM_COMMANDS and remote.evt_arrays.nqueued >= NUM_COMMANDS)
        remote.evt_heartbeat.flush()
        for _ in range(2):
            await remote.evt_heartbeat.next(flush=False, timeout=WAIT)
        # What came after the outage came in order, and once.
        assert events == list(range(100, 100 + NUM_COMMANDS))
        arrays = [await remote.evt_arrays.next(flush=False, timeout=WAIT) for _ in range(NUM_COMMANDS)]
        assert [data.int0[0] for data in arrays] == list(range(NUM_COMMANDS))
        assert remote.evt_arrays.nqueued == 0
