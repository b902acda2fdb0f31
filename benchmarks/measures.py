"""What is measured, each as a function of a running stack."""

import asyncio
import json
import os
import platform
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import pairwise
from typing import Any

import psutil
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from lsst.ts.ocps.salobj import Domain, Remote, State, set_summary_state
from support.stack import ProcessStack

from .tables import Figures

__all__ = ["BareBroker", "describe_machine", "measure_all"]

LONG_ENOUGH = 0.7
"""Jobs whose end is measured last longer (s) than the half second that lies between first and final ack."""


def describe_machine() -> str:
    """One line about the machine, for the report."""
    with open("/proc/cpuinfo", encoding="utf-8") as info:  # noqa: PTH123 (a device-like file)
        models = [line.partition(":")[2].strip() for line in info if line.startswith("model name")]
    memory = psutil.virtual_memory().total / 2**30
    load = os.getloadavg()[0]
    model = models[0] if models else platform.machine()
    return (
        f"{os.cpu_count()} x {model}, {memory:.0f} GiB, Python {platform.python_version()}, load {load:.1f}"
    )


class BareBroker:
    """One record through the broker and back with bare aiokafka: the floor of everything else.

    Parameters
    ----------
    producer, consumer
        Started; the consumer has been assigned the topic.
    topic
        Name of the topic.
    """

    def __init__(self, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, topic: str) -> None:
        self._producer = producer
        self._consumer = consumer
        self._topic = topic

    @classmethod
    @asynccontextmanager
    async def connect(cls, address: str, topic: str) -> AsyncIterator["BareBroker"]:
        """Create the topic and connect."""
        admin = AIOKafkaAdminClient(bootstrap_servers=address)
        await admin.start()
        await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
        await admin.close()
        producer = AIOKafkaProducer(bootstrap_servers=address, acks="all", enable_idempotence=True)
        consumer = AIOKafkaConsumer(bootstrap_servers=address)
        async with producer, consumer:
            consumer.assign([TopicPartition(topic, 0)])
            await consumer.seek_to_end()
            yield cls(producer, consumer, topic)

    async def send_and_receive(self) -> None:
        """One round trip."""
        await self._producer.send_and_wait(self._topic, b"x" * 500)
        await self._consumer.getone()


async def measure_bare_broker(figures: Figures, address: str, n: int) -> None:
    """Round trips of single records with nothing else going on."""
    async with BareBroker.connect(address, "bench.bare") as bare:
        for _ in range(n):
            begin = time.perf_counter()
            await bare.send_and_receive()
            figures.add("bare produce and consume", 1e3 * (time.perf_counter() - begin))


@asynccontextmanager
async def open_remote() -> AsyncIterator[Remote]:
    """A Remote of its own process-wide domain, as a script has one."""
    async with Domain() as domain, Remote(domain, "OCPS", 1) as remote:
        yield remote


async def measure_start(figures: Figures, stack: ProcessStack, n: int) -> None:
    """Process start to the first summaryState, with no young heartbeat left by a predecessor."""
    async with open_remote() as remote:
        for _ in range(n):
            remote.evt_summaryState.flush()
            begin = time.perf_counter()
            stack.start_csc()
            await remote.evt_summaryState.next(flush=False, timeout=30)
            figures.add("CSC start to first summaryState", 1e3 * (time.perf_counter() - begin))
            await asyncio.sleep(0.5)
            stack.stop_csc()
            await asyncio.sleep(3.5)  # until its last heartbeat is old


async def run_once(remote: Remote, seconds: float) -> tuple[float, float, float]:
    """Run one nap: time to the first ack (s), end of the job to job_result (s), whole time (s)."""
    remote.evt_job_result.flush()
    begin = time.perf_counter()
    ack = await remote.cmd_run.set_start(
        payload="nap", parameters=json.dumps({"seconds": seconds}), wait_done=False, timeout=30
    )
    first = time.perf_counter() - begin
    record = await remote.evt_job_result.next(flush=False, timeout=30)
    seen = time.time()
    await remote.cmd_run.next_ackcmd(ack, timeout=30)
    end = datetime.fromisoformat(json.loads(record.result)["endTime"]).timestamp()
    return first, seen - end, time.perf_counter() - begin


async def measure_runs(figures: Figures, remote: Remote, n: int) -> None:
    """One run after another: first ack, and end of job to job_result."""
    await run_once(remote, 0)  # connections are made and code is warm, as at night
    for _ in range(n):
        first, late, _ = await run_once(remote, LONG_ENOUGH)
        figures.add("command to INPROGRESS with job id", 1e3 * first)
        figures.add("end of job to job_result", 1e3 * late)


async def measure_concurrent(figures: Figures, remote: Remote, count: int) -> None:
    """``count`` runs of 1 s at once: whole time, first acks, and the worst gap between heartbeats."""
    beats: list[float] = []

    async def note_heartbeat(_data: Any) -> None:
        beats.append(time.perf_counter())

    async def run_one() -> float:
        ack = await remote.cmd_run.set_start(
            payload="nap", parameters='{"seconds": 1}', wait_done=False, timeout=60
        )
        first = time.perf_counter() - begin
        await remote.cmd_run.next_ackcmd(ack, timeout=60)
        return first

    remote.evt_heartbeat.callback = note_heartbeat
    begin = time.perf_counter()
    firsts = await asyncio.gather(*(run_one() for _ in range(count)))
    whole = time.perf_counter() - begin
    remote.evt_heartbeat.callback = None
    figures.add(f"{count} concurrent runs of 1 s: whole time", 1e3 * whole)
    for first in firsts:
        figures.add(f"{count} concurrent runs of 1 s: first ack", 1e3 * first)
    gaps = [later - earlier for earlier, later in pairwise(beats)]
    if gaps:
        figures.add(f"{count} concurrent runs of 1 s: worst heartbeat gap", 1e3 * max(gaps))


async def measure_all(stack: ProcessStack, *, quick: bool) -> Figures:
    """Measure everything on one broker."""
    figures = Figures(stack.broker)
    await measure_bare_broker(figures, stack.variables["LSST_KAFKA_BROKER_ADDR"], 20 if quick else 200)
    await measure_start(figures, stack, 1 if quick else 5)
    async with open_remote() as remote:
        remote.evt_summaryState.flush()
        csc = stack.start_csc()
        # Commands written before a process listens are never executed.
        await remote.evt_summaryState.next(flush=False, timeout=30)
        await set_summary_state(remote, State.ENABLED, timeout=30)
        await asyncio.sleep(3)
        figures.add("idle memory (MB, resident)", csc.memory_info().rss / 1e6)
        await measure_runs(figures, remote, 3 if quick else 20)
        for _ in range(1 if quick else 3):
            await measure_concurrent(figures, remote, 50)
        figures.add("memory after the runs (MB, resident)", csc.memory_info().rss / 1e6)
    return figures
