"""Programs that the benchmarks of the SAL runtime run as processes of their own.

``python -m benchmarks.sal_programs csc INDEX …``, ``csc-with-remote INDEX …``, ``flood TOPIC COUNT`` and
``soak SECONDS``; the environment says which broker.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import psutil
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from lsst.ts.ocps.salobj import Controller, Remote
from support.sal_csc import SalTestCsc

__all__ = ["SOAK_RATE"]

SOAK_RATE = 200
"""Events written and read while the memory is watched (1/s)."""

_SOAK_STEP = 0.05
_SOAK_INDEX = 77
_SAMPLE_INTERVAL = 1.0
_CATCH_UP_TIME = 20.0
"""So long may the last events take to be read (s)."""


class CscWithRemote(SalTestCsc):
    """A CSC that listens to another component, as most do."""

    def __init__(self, index: int, config_dir: str | Path | None = None, **kwargs: Any) -> None:
        super().__init__(index, config_dir, **kwargs)
        self.remote = Remote(self.domain, "OCPS", 1)


async def flood(topic: str, count: int) -> None:
    """Write a topic's last record again, ``count`` times, as fast as the broker takes it."""
    address = os.environ["LSST_KAFKA_BROKER_ADDR"]  # noqa: TID251 (this program has no settings module)
    partition = TopicPartition(topic, 0)
    consumer = AIOKafkaConsumer(bootstrap_servers=address)
    producer = AIOKafkaProducer(bootstrap_servers=address, acks="all", max_batch_size=200_000)
    async with consumer, producer:
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        consumer.seek(partition, end - 1)
        record = await consumer.getone()
        left = count
        while left > 0:
            batch = producer.create_batch()
            while left > 0 and batch.append(key=record.key, value=record.value, timestamp=None) is not None:
                left -= 1
            await producer.send_batch(batch, topic, partition=0)
        await producer.flush()


async def soak(seconds: float) -> None:
    """Write and read events at a steady rate; print the resident memory (MB) every second as JSON."""
    process = psutil.Process()
    samples: list[float] = []
    num_read = 0

    async def count(_data: Any) -> None:
        nonlocal num_read
        num_read += 1

    async with (
        Controller("Test", _SOAK_INDEX) as controller,
        Remote(controller.domain, "Test", _SOAK_INDEX) as remote,
    ):
        remote.evt_scalars.callback = count
        loop = asyncio.get_running_loop()
        begin = loop.time()
        num_written = 0
        while (now := loop.time() - begin) < seconds:
            due = int(now * SOAK_RATE)
            await asyncio.gather(
                *(
                    controller.evt_scalars.set_write(int0=n, string0=f"number {n}")
                    for n in range(num_written, due)
                )
            )
            num_written = due
            if now >= len(samples) * _SAMPLE_INTERVAL:
                samples.append(process.memory_info().rss / 1e6)
            await asyncio.sleep(_SOAK_STEP)
        end = loop.time() + _CATCH_UP_TIME
        while num_read < num_written and loop.time() < end:  # noqa: ASYNC110 (a callback counts)
            await asyncio.sleep(_SOAK_STEP)
        if num_read < num_written:
            newest = remote.evt_scalars.get()
            skipped = remote.salinfo.reader.skipped if remote.salinfo.reader else None
            print(
                f"dropped {remote.evt_scalars.num_dropped}, skipped {skipped}, newest {newest}",
                file=sys.stderr,
            )
    print(json.dumps({"written": num_written, "read": num_read, "resident": samples}))


def main() -> None:
    """Run the program that the first argument names."""
    name = sys.argv.pop(1)
    if name == "csc":
        asyncio.run(SalTestCsc.amain(index=True))
    elif name == "csc-with-remote":
        asyncio.run(CscWithRemote.amain(index=True))
    elif name == "flood":
        asyncio.run(flood(sys.argv[1], int(sys.argv[2])))
    elif name == "soak":
        asyncio.run(soak(float(sys.argv[1])))
    else:
        raise SystemExit(f"no program {name}")


if __name__ == "__main__":
    main()
