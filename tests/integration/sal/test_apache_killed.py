"""Apache Kafka is killed with SIGKILL and started again while CSC, Controller and Remotes are busy."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lsst.ts.ocps.sal.controller import Controller
from lsst.ts.ocps.sal.domain import Domain
from lsst.ts.ocps.sal.enums import SalRetCode, State
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.sal.settings import SalSettings
from support.apache_kafka import ApacheKafka
from support.loop_watch import watch_loop
from support.sal_csc import SalTestCsc
from support.sal_fixtures import CscCase
from support.sal_log import read_samples

pytestmark = [pytest.mark.asyncio, pytest.mark.system, pytest.mark.timeout(300)]

LIMIT = 90.0
"""Longest wait for what has been held up by the outage (s)."""

BEFORE, AFTER = 50, 50
"""So many events are out before the broker is killed, and at least so many are written after it is back."""


class Traffic:
    """Events of index 2 and commands to index 1, without a pause."""

    def __init__(self, controller: Controller, commanded: Remote) -> None:
        self.events = 0
        self.commands = 0
        self.acks: list[int] = []
        self._controller = controller
        self._remote = commanded
        self._is_over = False

    async def _write_events(self) -> None:
        while not self._is_over:
            self.events += 1
            await self._controller.evt_scalars.set_write(int0=self.events)

    async def _send_commands(self) -> None:
        while not self._is_over:
            self.commands += 1
            ackcmd = await self._remote.cmd_setScalars.set_start(int0=self.commands, timeout=LIMIT)
            self.acks.append(ackcmd.ack)

    @asynccontextmanager
    async def flow(self) -> AsyncIterator[None]:
        """Run it; at the end everything that was begun has come through, or the error is raised."""
        async with asyncio.TaskGroup() as group:
            for run in (self._write_events, self._send_commands):
                group.create_task(run())
            try:
                yield
            finally:
                self._is_over = True


async def wait_for(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(LIMIT):
        while not condition():  # noqa: ASYNC110 (nobody sets an event for it)
            await asyncio.sleep(0.01)


def collect(topic: Any) -> list[int]:
    """Make a callback that notes each ``int0``; the list that it fills."""
    seen: list[int] = []

    async def note(data: Any) -> None:
        seen.append(data.int0)

    topic.callback = note
    return seen


async def test_nothing_is_lost_doubled_or_reordered_and_the_loop_goes_on(
    rough_kafka: ApacheKafka,
    rough_settings: SalSettings,
    csc_config_dir: Path,
    record_property: Callable[[str, object], None],
) -> None:
    csc: SalTestCsc = CscCase(csc_config_dir).basic_make_csc(State.ENABLED, None, 0, index=1)
    async with (
        csc,
        Controller("Test", 2) as controller,
        Domain() as domain,
        Remote(domain, "Test", 1) as commanded,
        Remote(domain, "Test", 2) as watching,
    ):
        traffic = Traffic(controller, commanded)
        seen, executed = collect(watching.evt_scalars), collect(commanded.evt_scalars)
        async with watch_loop() as gaps:
            async with traffic.flow():
                await wait_for(lambda: len(seen) >= BEFORE and traffic.commands > 1)
                killed = time.monotonic()
                await asyncio.to_thread(rough_kafka.kill)
                held_up = traffic.events
                # Long enough for the loss of some heartbeats.
                await asyncio.sleep(3.0)
                await asyncio.to_thread(rough_kafka.start)
                outage = time.monotonic() - killed
                await wait_for(lambda: len(seen) >= held_up + AFTER)
            await wait_for(lambda: len(seen) >= traffic.events and len(executed) >= traffic.commands)
            commanded.evt_heartbeat.flush()
            for _ in range(2):
                await commanded.evt_heartbeat.next(flush=False, timeout=LIMIT)
    assert seen == list(range(1, traffic.events + 1))
    assert executed == list(range(1, traffic.commands + 1))
    assert traffic.acks == [SalRetCode.CMD_COMPLETE] * traffic.commands
    answers = Counter(
        ack["private_seqNum"] for ack in await read_samples(rough_settings, "Test", "ack_ackcmd")
    )
    assert len(answers) == traffic.commands
    assert set(answers.values()) == {1}
    record_property("outage_s", outage)
    record_property("longest_gap_of_the_loop_s", max(gaps))
    # A loop that waits for the broker would stand still for the whole outage.
    assert max(gaps) < outage / 2
