"""Keep a pace with brokers that answer an empty fetch at once instead of waiting for records.

Apache Kafka holds a fetch until a record arrives or ``max_wait`` is over. noida-db answers at once, and a
consumer that asks again at once keeps a processor busy, the broker's too.
"""

import asyncio
import math
import time
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.protocol.fetch import FetchRequest

__all__ = ["pace_fetches"]

_PAUSES = ((0.01, 0.0), (0.05, 0.001), (0.25, 0.004))
"""Time since the last record (s), and up to it the pause after an empty answer that came early (s): an answer
to what has just been written comes soon, and in a conversation the next record does."""

_IDLE_PAUSE = 0.012
"""That pause when nothing has come for longer (s)."""


def pace_fetches(consumer: AIOKafkaConsumer, *, max_wait: float) -> None:
    """Make a consumer pause after each empty answer that came much earlier than it may.

    Parameters
    ----------
    consumer
        A consumer that is not started yet.
    max_wait
        How long the broker was asked to wait (s).
    """
    client = consumer._client  # noqa: SLF001 (aiokafka has no setting for it; its version is pinned)
    send = client.send
    last_record = -math.inf

    async def send_and_pause(node_id: int, request: Any, **options: Any) -> Any:
        nonlocal last_record
        begin = time.monotonic()
        response = await send(node_id, request, **options)
        if isinstance(request, FetchRequest):
            now = time.monotonic()
            if not _is_empty(response):
                last_record = now
            elif now - begin < max_wait / 2:
                await asyncio.sleep(_choose_pause(now - last_record))
        return response

    client.send = send_and_pause


def _choose_pause(since_record: float) -> float:
    return next((pause for limit, pause in _PAUSES if since_record < limit), _IDLE_PAUSE)


def _is_empty(response: Any) -> bool:
    """Whether a fetch brought neither records nor errors."""
    return all(
        not error_code and not records
        for _, partitions in response.topics
        for _, error_code, *_, records in partitions
    )
