"""Frequent records are forgotten, the last samples that late joiners need are not."""

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from lsst.ts.ocps.sandbox.errors import SandboxError
from lsst.ts.ocps.sandbox.retention import RETENTION_MS, shorten_retention
from support.brokers import NoidaProcess
from support.ports import free_port

pytestmark = pytest.mark.asyncio

FREQUENT = ("command_run", "ackcmd", "job_counts", "logevent_heartbeat", "logevent_logMessage")
KEPT = ("logevent_summaryState", "logevent_job_result")


async def read_configs(admin: AIOKafkaAdminClient, topic: str) -> dict[str, str]:
    (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    (resource,) = answer.resources
    return {entry[0]: entry[1] for entry in resource[4]}


async def test_only_frequent_topics_of_the_sandbox_are_shortened(noida_process: NoidaProcess) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=noida_process.address)
    await admin.start()
    try:
        ours = {name: f"lsst.retention.OCPS.{name}" for name in (*FREQUENT, *KEPT)}
        other = "lsst.other.OCPS.ackcmd"
        compact = {"cleanup.policy": "compact"}
        await admin.create_topics(
            [
                NewTopic(topic, 1, 1, topic_configs=compact if name.startswith("logevent_") else None)
                for name, topic in (*ours.items(), ("other", other))
            ]
        )
        await shorten_retention(noida_process.address, "retention")
        for name in FREQUENT:
            configs = await read_configs(admin, ours[name])
            assert (configs["cleanup.policy"], configs["retention.ms"]) == ("delete", str(RETENTION_MS))
        for name in KEPT:
            assert (await read_configs(admin, ours[name]))["cleanup.policy"] == "compact"
        assert (await read_configs(admin, other))["retention.ms"] != str(RETENTION_MS)
    finally:
        await admin.close()


async def test_a_broker_that_is_away_is_named() -> None:
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(SandboxError, match=f"topics at {address}"):
        await shorten_retention(address, "retention")
