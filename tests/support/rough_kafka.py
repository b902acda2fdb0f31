"""An Apache Kafka broker of small segments and a restless cleaner, which tests may kill."""

from collections.abc import Iterator

import pytest

from lsst.ts.ocps.sal.settings import SalSettings
from support.apache_kafka import ApacheKafka
from support.brokers import KafkaBench, make_settings
from support.ports import free_port
from support.sal_fixtures import make_environment

__all__ = ["RESTLESS_CLEANER"]

RESTLESS_CLEANER = {
    "log.segment.bytes": "32768",
    "log.cleaner.backoff.ms": "200",
    "log.cleaner.min.cleanable.ratio": "0.01",
    "log.cleaner.min.compaction.lag.ms": "0",
    "log.cleaner.delete.retention.ms": "0",
    "log.cleaner.dedupe.buffer.size": "16777216",
    "transaction.state.log.num.partitions": "1",
}
"""Defaults of the broker, so that topics are compacted because of how we create them and nothing else."""


@pytest.fixture(scope="session")
def rough_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    """The broker, which all tests of the rough life share; one that kills it starts it again."""
    process = ApacheKafka(
        tmp_path_factory.mktemp("rough_kafka"),
        port=free_port(),
        controller_port=free_port(),
        settings=RESTLESS_CLEANER,
    )
    process.format()
    process.start()
    yield process
    process.stop()


@pytest.fixture
def rough_settings(
    rough_kafka: ApacheKafka, registry_url: str, monkeypatch: pytest.MonkeyPatch
) -> SalSettings:
    """Settings for that broker, put into the environment."""
    settings = make_settings(
        broker_address=rough_kafka.address, registry_url=registry_url, connect_timeout=60.0
    )
    for name, value in make_environment(settings).items():
        monkeypatch.setenv(name, value)
    return settings


@pytest.fixture
def rough_bench(rough_settings: SalSettings) -> KafkaBench:
    """That broker, and what a test may do to its topics."""
    return KafkaBench(rough_settings)
