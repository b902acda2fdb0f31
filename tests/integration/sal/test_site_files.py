"""The YAML files of a site, as programs meet them: on the way in, at the start, without standing still."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from lsst.ts.ocps.sal.broker import kafka
from lsst.ts.ocps.sal.broker.base import TopicPartition, TopicSpec
from lsst.ts.ocps.sal.controller import Controller
from lsst.ts.ocps.sal.domain import Domain
from lsst.ts.ocps.sal.errors import SettingsError
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.sal.settings import SalSettings
from support.apache_secure import PASSWORD, USER, SecureKafka
from support.brokers import BrokerBench, make_settings, started
from support.environment import make_environment
from support.sal_fixtures import WAIT, open_pair

pytestmark = pytest.mark.asyncio

CLIENT = "LSST_KAFKA_BROKER_CLIENT_CONFIGURATION"
CONSUMER = "LSST_KAFKA_CONSUMER_CONFIGURATION"
PRODUCER = "LSST_KAFKA_PRODUCER_CONFIGURATION"


def write(path: Path, content: Any) -> str:
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return str(path)


@pytest.mark.system
async def test_login_and_authority_may_stand_in_the_file_alone(
    secure_process: SecureKafka,
    registry_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    content = {
        "bootstrap.servers": secure_process.scram_address,
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": USER,
        "sasl.password": PASSWORD,
        "ssl.ca.location": str(secure_process.authority.bundle),
    }
    settings = make_settings(broker_address="nowhere.invalid:1", registry_url=registry_url)
    for name, value in make_environment(settings).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(CLIENT, write(tmp_path / "client.yaml", content))
    with caplog.at_level(logging.DEBUG):
        async with open_pair() as (controller, remote):
            await controller.evt_scalars.set_write(int0=5)
            assert (await remote.evt_scalars.next(flush=False, timeout=WAIT)).int0 == 5
            texts = (caplog.text, repr(controller.salinfo.settings), repr(remote.salinfo.settings))
    assert not any(PASSWORD in text for text in texts)


@pytest_asyncio.fixture
async def pipe(tmp_path: Path) -> AsyncIterator[Path]:
    """A file that holds up whoever reads it until it is written."""
    path = tmp_path / "pipe.yaml"
    os.mkfifo(path)
    yield path
    # Whoever may still wait is let go, else the process would not end.
    os.close(os.open(path, os.O_RDWR))


async def test_a_slow_file_does_not_hold_up_the_loop(
    memory_environment: SalSettings, pipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CLIENT, str(pipe))
    async with asyncio.timeout(WAIT):
        # The constructor comes back although nobody has written, and so do ten turns of the loop.
        controller = Controller("Test", 1)
        for _ in range(10):
            await asyncio.sleep(0.01)
        assert not controller.start_task.done()
        assert not controller.salinfo.started
        await asyncio.to_thread(pipe.write_text, "client.id: slow\n", encoding="utf-8")
        await controller.start_task
    assert dict(controller.salinfo.settings.clients.common) == {"client_id": "slow"}
    await controller.close()


async def test_a_missing_file_ends_the_start_and_is_named(
    memory_environment: SalSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "none.yaml")
    monkeypatch.setenv(PRODUCER, path)
    async with asyncio.timeout(WAIT):
        controller = Controller("Test", 1)
        with pytest.raises(SettingsError, match=f"{PRODUCER}='{path}': No such file or directory"):
            await controller.done_task


async def test_files_are_read_and_warned_about_once_a_domain(
    memory_environment: SalSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv(CONSUMER, write(tmp_path / "consumer.yaml", {"group.id": "g"}))
    with caplog.at_level(logging.WARNING):
        async with Domain() as domain, Remote(domain, "Test", 1), Remote(domain, "Test", 2):
            pass
    found = [record for record in caplog.records if "group.id" in record.getMessage()]
    assert len(found) == 1


async def test_the_window_of_a_component_beats_the_general_one(
    memory_environment: SalSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Controller("Test", 1) as controller:
        await controller.evt_scalars.set_write(int0=1)
    monkeypatch.setenv("LSST_MAX_HISTORY_READ", "50")
    monkeypatch.setenv("LSST_HISTORY_READ_CONFIG", write(tmp_path / "history.yaml", {"Test": 0, "OCPS": 7}))
    async with Domain() as domain:
        async with Remote(domain, "Test", 1, include=["scalars"]) as remote:
            assert not remote.evt_scalars.has_data
        async with Remote(domain, "OCPS", 1, include=[]) as remote:
            assert remote.salinfo.history_window(1) == 7
    monkeypatch.delenv("LSST_HISTORY_READ_CONFIG")
    async with Domain() as domain, Remote(domain, "Test", 1, include=["scalars"]) as remote:
        assert remote.evt_scalars.get().int0 == 1
        assert remote.salinfo.history_window(1) == 50


async def test_what_the_files_say_reaches_the_clients_and_no_guarantee_falls(
    noida_bench: BrokerBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, dict[str, Any]] = {}

    def spy(name: str, make: Any) -> Any:
        def call(**arguments: Any) -> Any:
            seen[name] = arguments
            return make(**arguments)

        return call

    monkeypatch.setattr(kafka, "AIOKafkaProducer", spy("producer", AIOKafkaProducer))
    monkeypatch.setattr(kafka, "AIOKafkaConsumer", spy("consumer", AIOKafkaConsumer))
    consumer = {"fetch.wait.max.ms": 70, "group.id": "g", "auto.offset.reset": "latest"}
    producer = {"linger.ms": 2.5, "compression.type": "gzip", "enable.idempotence": False, "acks": 0}
    files = {
        "client_file": write(tmp_path / "client.yaml", {"socket.timeout.ms": 9000, "client.id": "mine"}),
        "consumer_file": write(tmp_path / "consumer.yaml", consumer),
        "producer_file": write(tmp_path / "producer.yaml", producer),
    }
    settings = SalSettings(**(noida_bench.settings.model_dump() | files))
    topic = f"lsst.{settings.topic_subname}.T.x"
    async with asyncio.timeout(WAIT), started(await asyncio.to_thread(settings.with_files)) as broker:
        await broker.ensure_topics([TopicSpec(topic)])
        reader = broker.create_reader()
        await reader.assign({TopicPartition(topic, 0): 0})
        await broker.send(topic, key=b"k", value=b"x" * 1000)
        records = await reader.read(timeout=WAIT)
        await reader.aclose()
    assert [record.value for record in records] == [b"x" * 1000]
    expected = {"request_timeout_ms": 9000, "client_id": "mine"}
    assert seen["producer"].items() >= (expected | {"linger_ms": 2.5, "compression_type": "gzip"}).items()
    assert seen["producer"].items() >= {"enable_idempotence": True, "acks": "all"}.items()
    assert seen["consumer"].items() >= (expected | {"fetch_max_wait_ms": 70}).items()
    assert seen["consumer"].items() >= {"group_id": None, "auto_offset_reset": "none"}.items()
    # The default, of which the file says nothing.
    assert seen["consumer"]["isolation_level"] == "read_committed"
