"""The replication factor of topics: noida-db and the broker in memory do not mind it, Apache Kafka does."""

import asyncio

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from lsst.ts.ocps.sal.broker.base import TopicSpec
from lsst.ts.ocps.sal.errors import BrokerError
from lsst.ts.ocps.sal.settings import SalSettings
from support.brokers import BrokerBench, started
from support.environment import make_environment
from support.sal_fixtures import WAIT

pytestmark = [pytest.mark.asyncio, pytest.mark.system]


async def test_topics_are_created_with_the_replication_factor_of_the_site(apache_bench: BrokerBench) -> None:
    environment = make_environment(apache_bench.settings)
    topic = f"lsst.{apache_bench.settings.topic_subname}.T.x"
    more = SalSettings.from_environment(
        environment | {"LSST_KAFKA_REPLICATION_FACTOR": "2", "OCPS_CONNECT_TIMEOUT": "3"}
    )
    async with asyncio.timeout(WAIT), started(more) as broker:
        # There is one node.
        with pytest.raises(BrokerError, match=r"(?i)replication.?factor"):
            await broker.ensure_topics([TopicSpec(topic)])
    one = SalSettings.from_environment(environment | {"LSST_KAFKA_REPLICATION_FACTOR": "1"})
    async with asyncio.timeout(WAIT), started(one) as broker:
        await broker.ensure_topics([TopicSpec(topic)])
    admin = AIOKafkaAdminClient(bootstrap_servers=one.broker_address)
    await admin.start()
    try:
        (described,) = await admin.describe_topics([topic])
    finally:
        await admin.close()
    assert [len(partition["replicas"]) for partition in described["partitions"]] == [1]
