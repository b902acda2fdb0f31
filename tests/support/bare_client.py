"""A SAL client in the fewest lines: aiokafka, fastavro and the protocol, nothing of ours.

``bare_client.py PAYLOAD PARAMETERS`` sends one ``run`` command to OCPS:1 and prints every acknowledgement
and every job event that follows as one JSON line, until the final acknowledgement. It is written from the
description of the wire alone, so that the product's own runtime cannot hide its own mistakes.
"""

import asyncio
import io
import json
import os
import struct
import sys
import time
from typing import Any

import aiokafka
import fastavro
import httpx

ENV = os.environ  # noqa: TID251 (a program of its own, configured as every SAL program is)
SUBNAME, REGISTRY = ENV["LSST_TOPIC_SUBNAME"], ENV["LSST_SCHEMA_REGISTRY_URL"]
STAMPS = ("private_sndStamp", "private_rcvStamp", "private_efdStamp", "private_kafkaStamp")
FIELDS = [
    {"name": "salIndex", "type": "int", "default": 0},
    *({"name": name, "type": "double", "default": 0.0} for name in STAMPS),
    {"name": "private_seqNum", "type": "int", "default": 0},
    {"name": "private_revCode", "type": "string", "default": ""},
    {"name": "private_identity", "type": "string", "default": ""},
    {"name": "private_origin", "type": "int", "default": 0},
    *(
        {"name": name, "type": "string", "default": ""}
        for name in ("payload", "parameters", "label", "prereq_jobs")
    ),
    {"name": "detach", "type": "boolean", "default": False},
]
SCHEMA = {"type": "record", "name": "command_run", "namespace": "lsst.sal.OCPS", "fields": FIELDS}
EVENTS = [f"logevent_{name}" for name in ("job_id", "job_phase", "job_output", "job_metric", "job_result")]


def topic(name: str) -> str:
    return f"lsst.{SUBNAME}.OCPS.{name}"


async def main(payload: str, parameters: str) -> None:
    async with httpx.AsyncClient(base_url=REGISTRY) as registry:
        answer = await registry.post(
            f"/subjects/{topic('command_run')}-value/versions", json={"schema": json.dumps(SCHEMA)}
        )
        schema_id = answer.raise_for_status().json()["id"]
        consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=ENV["LSST_KAFKA_BROKER_ADDR"])
        producer = aiokafka.AIOKafkaProducer(bootstrap_servers=ENV["LSST_KAFKA_BROKER_ADDR"], acks="all")
        async with consumer, producer:
            consumer.assign([aiokafka.TopicPartition(topic(name), 0) for name in ["ackcmd", *EVENTS]])
            await consumer.seek_to_end()
            now, identity = time.time(), f"bare@{os.uname().nodename}"
            command: dict[str, Any] = {"salIndex": 1, "private_sndStamp": now + 37, "private_efdStamp": now}
            command |= {"private_kafkaStamp": now + 37, "private_seqNum": 1 + int(now) % 2**30}
            command |= {"private_identity": identity, "private_origin": os.getpid()}
            body = io.BytesIO()
            fastavro.schemaless_writer(body, SCHEMA, command | {"payload": payload, "parameters": parameters})
            key = b'{ "name": "OCPS", "index": 1, "topic": "command_run" }'
            value = b"\x00" + struct.pack(">I", schema_id) + body.getvalue()
            await producer.send_and_wait(topic("command_run"), value, key=key)
            await report(consumer, registry, command["private_seqNum"], identity)


async def report(
    consumer: aiokafka.AIOKafkaConsumer, registry: httpx.AsyncClient, seq_num: int, identity: str
) -> None:
    schemas: dict[int, fastavro.types.Schema] = {}
    ends: dict[aiokafka.TopicPartition, int] = {}
    # Topics have no common order: what was written before the final ack may be read after it.
    while not ends or any([await consumer.position(partition) < end for partition, end in ends.items()]):
        batches = (await consumer.getmany(timeout_ms=500)).values()
        for record in [record for batch in batches for record in batch]:
            schema_id = struct.unpack(">xI", record.value[:5])[0]
            if schema_id not in schemas:
                answer = await registry.get(f"/schemas/ids/{schema_id}")
                schemas[schema_id] = json.loads(answer.json()["schema"])
            data: Any = fastavro.schemaless_reader(io.BytesIO(record.value[5:]), schemas[schema_id], None)
            name = record.topic.rpartition(".")[2].removeprefix("logevent_")
            if name == "ackcmd" and (data["private_seqNum"], data["identity"]) != (seq_num, identity):
                continue
            print(json.dumps({"topic": name} | data), flush=True)  # noqa: T201 (what it is for)
            if name == "ackcmd" and data["ack"] not in {300, 301}:
                ends = await consumer.end_offsets(list(consumer.assignment()))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
