"""A CSC and a Remote while their broker is away."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lsst.ts.ocps.sal.domain import Domain
from lsst.ts.ocps.sal.enums import SalRetCode, State
from lsst.ts.ocps.sal.remote import Remote
from support.brokers import NoidaProcess, make_settings
from support.sal_fixtures import WAIT, CscCase, make_environment, until

pytestmark = pytest.mark.asyncio

OUTAGE = 4.0
"""How long the broker is away (s): longer than the time for which a heartbeat is worth sending."""


@pytest.fixture
def own_noida(tmp_path: Path) -> Iterator[NoidaProcess]:
    """A broker that may be stopped."""
    process = NoidaProcess(tmp_path / "noida")
    process.start()
    yield process
    process.stop()


@asynccontextmanager
async def watch_loop() -> AsyncIterator[list[float]]:
    """Gaps between the turns of a task that wants a turn every 10 ms (s)."""
    gaps: list[float] = []

    async def turn() -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(0.01)
            now = time.monotonic()
            gaps.append(now - last)
            last = now

    task = asyncio.create_task(turn())
    try:
        yield gaps
    finally:
        task.cancel()


async def test_after_an_outage_commands_and_heartbeats_go_on_and_the_loop_was_never_blocked(
    own_noida: NoidaProcess, registry_url: str, csc_config_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(broker_address=own_noida.address, registry_url=registry_url)
    for name, value in make_environment(settings).items():
        monkeypatch.setenv(name, value)
    csc = CscCase(csc_config_dir).basic_make_csc(State.ENABLED, None, 0, index=1)
    async with csc, Domain() as domain, Remote(domain, "Test", 1) as remote:
        await remote.cmd_setScalars.set_start(int0=1, timeout=WAIT)
        async with watch_loop() as gaps:
            await asyncio.to_thread(own_noida.stop)
            sending = asyncio.create_task(remote.cmd_setScalars.set_start(int0=2, timeout=60))
            await asyncio.sleep(OUTAGE)
            assert not sending.done()
            await asyncio.to_thread(own_noida.start)
            assert (await sending).ack == SalRetCode.CMD_COMPLETE
        # A blocking flush would show as a gap as long as the outage.
        assert max(gaps) < OUTAGE / 2
        assert csc.summary_state is State.ENABLED
        await until(lambda: remote.evt_scalars.get().int0 == 2)
        remote.evt_heartbeat.flush()
        for _ in range(2):
            await remote.evt_heartbeat.next(flush=False, timeout=WAIT)
