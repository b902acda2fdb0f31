"""The pace of fetches on a broker that answers an empty one at once."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.protocol.fetch import FetchRequest

from lsst.ts.ocps.sal.broker import kafka_pacing

pytestmark = pytest.mark.asyncio

MAX_WAIT = 0.1


class Broker:
    """Answers fetches as it is told, on a clock of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []
        self.records = b""
        self.error_code = 0
        self.answer_time = 0.0
        self._client = SimpleNamespace(send=self._send)
        # In the module only: the loop of the test keeps the true time.
        monkeypatch.setattr(kafka_pacing, "time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(kafka_pacing, "asyncio", SimpleNamespace(sleep=self._sleep))
        consumer: Any = self
        kafka_pacing.pace_fetches(consumer, max_wait=MAX_WAIT)

    async def _sleep(self, pause: float) -> None:
        self.pauses.append(pause)
        self.now += pause

    async def _send(self, node_id: int, request: object) -> Any:
        del node_id, request
        self.now += self.answer_time
        return SimpleNamespace(topics=[("topic", [(0, self.error_code, 7, self.records)])])

    async def fetch(self, records: bytes = b"") -> list[float]:
        """Fetch once; returns the pauses that came after the answer."""
        self.records = records
        self.pauses.clear()
        await self._client.send(1, FetchRequest.__new__(FetchRequest))
        return list(self.pauses)


async def test_the_longer_nothing_has_come_the_longer_the_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker(monkeypatch)
    assert await broker.fetch(b"record") == []
    # An answer to what has just been written comes soon.
    assert await broker.fetch() == [0]
    pauses: list[float] = []
    for step in (0.02, 0.1, 0.5, 60):
        broker.now += step
        pauses += await broker.fetch()
    assert pauses == sorted(pauses)
    assert 0 < pauses[0] < pauses[-1] <= 0.02
    assert await broker.fetch(b"record") == []
    assert await broker.fetch() == [0]


async def test_a_broker_that_waits_as_it_was_asked_is_asked_again_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker = Broker(monkeypatch)
    broker.answer_time = MAX_WAIT
    assert await broker.fetch() == []


async def test_nothing_but_an_empty_answer_to_a_fetch_is_paused_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker = Broker(monkeypatch)
    broker.error_code = 6
    assert await broker.fetch() == []
    await broker._client.send(1, object())
    assert broker.pauses == []
