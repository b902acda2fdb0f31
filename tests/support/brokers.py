"""Brokers and schema registries for tests: in memory, and real ones as processes of their own.

A test that asks for `sal_settings` or `broker_bench` runs once for each kind that ``broker_kinds`` has for
it. A further kind needs its name there, and a fixture ``<name>_bench``.
"""

import asyncio
import subprocess
import sys
import threading
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import TopicPartition as KafkaPartition
from typing_extensions import override

from lsst.ts.ocps.aio.deadline import Deadline
from lsst.ts.ocps.sal.broker.base import Broker, TopicPartition
from lsst.ts.ocps.sal.broker.factory import create_broker
from lsst.ts.ocps.sal.broker.kafka_client import make_client_options
from lsst.ts.ocps.sal.broker.memory import MemoryBroker
from lsst.ts.ocps.sal.settings import SalSettings
from lsst.ts.ocps.sandbox import noida
from support.apache_kafka import ApacheKafka
from support.apache_secure import SecureKafka
from support.broker_kinds import BROKER_KINDS, parametrize_kinds
from support.ports import free_port

__all__ = [
    "BrokerBench",
    "NoidaProcess",
    "end_process",
    "make_settings",
    "run_registry",
    "start_registry",
    "started",
]

START_TIMEOUT = 30.0
STOP_TIMEOUT = 10.0


def make_settings(**values: Any) -> SalSettings:
    """Settings with a topic subname of their own, in memory unless told otherwise."""
    name = f"test_{uuid.uuid4().hex}"
    defaults = {
        "topic_subname": name,
        "broker_address": f"memory://{name}",
        "registry_url": f"memory://{name}",
        "site": "test",
        "connect_timeout": 20.0,
    }
    return SalSettings(**(defaults | values))


@asynccontextmanager
async def started(settings: SalSettings) -> AsyncIterator[Broker]:
    """A broker that is started, and closed at the end."""
    broker = create_broker(settings)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.aclose()


class BrokerBench(ABC):
    """A broker to test with, and what a test may do to it behind the back of the runtime."""

    def __init__(self, settings: SalSettings) -> None:
        self.settings = settings

    @abstractmethod
    async def write_raw(self, topic: str, *, key: bytes | None, value: bytes | None) -> None:
        """Write any record, tombstones and null keys included."""

    @abstractmethod
    async def write_many(self, topic: str, values: Sequence[bytes | None]) -> None:
        """Write any values, in large batches."""

    @abstractmethod
    async def delete_before(self, partition: TopicPartition, offset: int) -> None:
        """Remove old records, as retention does; possibly more than asked for."""


class MemoryBench(BrokerBench):
    def __init__(self, settings: SalSettings) -> None:
        super().__init__(settings)
        self._name = settings.broker_address.removeprefix("memory://")

    @override
    async def write_raw(self, topic: str, *, key: bytes | None, value: bytes | None) -> None:
        MemoryBroker(self._name).append(topic, key=key, value=value)

    @override
    async def write_many(self, topic: str, values: Sequence[bytes | None]) -> None:
        broker = MemoryBroker(self._name)
        for number, value in enumerate(values):
            broker.append(topic, key=b"many", value=value)
            if number % 1000 == 0:
                await asyncio.sleep(0)

    @override
    async def delete_before(self, partition: TopicPartition, offset: int) -> None:
        MemoryBroker(self._name).truncate(partition, before=offset)


class KafkaBench(BrokerBench):
    @override
    async def write_raw(self, topic: str, *, key: bytes | None, value: bytes | None) -> None:
        producer = AIOKafkaProducer(**await make_client_options(self.settings))
        await producer.start()
        try:
            await producer.send_and_wait(topic, key=key, value=value)
        finally:
            await producer.stop()

    @override
    async def write_many(self, topic: str, values: Sequence[bytes | None]) -> None:
        options = await make_client_options(self.settings)
        producer = AIOKafkaProducer(**options, max_batch_size=500_000)
        await producer.start()
        try:
            batch = producer.create_batch()
            for value in values:
                if batch.append(key=b"many", value=value, timestamp=None) is None:
                    await (await producer.send_batch(batch, topic, partition=0))
                    batch = producer.create_batch()
                    batch.append(key=b"many", value=value, timestamp=None)
            await (await producer.send_batch(batch, topic, partition=0))
        finally:
            await producer.stop()

    @override
    async def delete_before(self, partition: TopicPartition, offset: int) -> None:
        admin = AIOKafkaAdminClient(**await make_client_options(self.settings))
        await admin.start()
        try:
            await admin.delete_records({KafkaPartition(*partition): RecordsToDelete(before_offset=offset)})
        finally:
            await admin.close()


class NoidaProcess:
    """A noida-db broker that can be stopped and started again on the same data and port."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._directory = directory
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        arguments = noida.make_arguments(port=self.port, data_directory=self._directory / "data")
        self._directory.mkdir(parents=True, exist_ok=True)
        with (self._directory / "noida.log").open("ab") as log:
            self.process = subprocess.Popen(arguments, stdout=log, stderr=log, cwd=self._directory)
        deadline = Deadline("start of noida-db", START_TIMEOUT)
        run_apart(lambda: noida.wait_until_ready(self.address, deadline))

    def stop(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            end_process(process)


def run_apart(make: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine in a loop and a thread of its own: fixtures must not touch the loop of the test."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(make())
        except BaseException as error:  # noqa: BLE001 (raised in the calling thread)
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


def end_process(process: subprocess.Popen[bytes]) -> None:
    """End a process, politely first."""
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_TIMEOUT)


def start_registry(directory: Path, *, port: int | None = None) -> tuple[subprocess.Popen[bytes], str]:
    """A schema registry process that answers, and its URL; the caller ends it."""
    port = port or free_port()
    url = f"http://127.0.0.1:{port}"
    directory.mkdir(parents=True, exist_ok=True)
    log_file = directory / "registry.log"
    arguments = ["-m", "lsst.ts.ocps.sandbox.schema_registry", "--port", str(port)]
    with log_file.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, *arguments, "--data", str(directory / "registry.json")], stdout=log, stderr=log
        )
    try:
        run_apart(lambda: _wait_for_registry(url, process))
    except BaseException as error:
        end_process(process)
        error.add_note(log_file.read_text()[-2000:])
        raise
    return process, url


@contextmanager
def run_registry(directory: Path, *, port: int | None = None) -> Iterator[str]:
    """The URL of a schema registry process that ends with the block."""
    process, url = start_registry(directory, port=port)
    try:
        yield url
    finally:
        end_process(process)


async def _wait_for_registry(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = Deadline("start of the schema registry", START_TIMEOUT)
    async with deadline.enforce(), httpx.AsyncClient() as client:
        while True:
            if process.poll() is not None:
                raise ChildProcessError(f"the schema registry has ended with status {process.returncode}")
            try:
                (await client.get(url)).raise_for_status()
            except httpx.TransportError:
                await asyncio.sleep(0.05)
            else:
                return


@pytest.fixture(scope="session")
def noida_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NoidaProcess]:
    """A broker that all tests share; one that stops it makes its own."""
    process = NoidaProcess(tmp_path_factory.mktemp("noida"))
    process.start()
    yield process
    process.stop()


@pytest.fixture(scope="session")
def registry_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a schema registry process that all tests share."""
    with run_registry(tmp_path_factory.mktemp("registry")) as url:
        yield url


@pytest.fixture
def memory_bench() -> Iterator[BrokerBench]:
    settings = make_settings()
    yield MemoryBench(settings)
    MemoryBroker.forget(settings.broker_address.removeprefix("memory://"))


@pytest.fixture
def noida_bench(noida_process: NoidaProcess, registry_url: str) -> BrokerBench:
    return KafkaBench(make_settings(broker_address=noida_process.address, registry_url=registry_url))


@pytest.fixture(scope="session")
def apache_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    """An Apache Kafka broker that all system tests share."""
    process = ApacheKafka(tmp_path_factory.mktemp("apache"), port=free_port(), controller_port=free_port())
    process.format()
    process.start()
    yield process
    # An orderly end takes half a minute with as many topics as the tests leave, and nobody needs the data.
    process.kill()


@pytest.fixture
def apache_bench(apache_process: ApacheKafka, registry_url: str) -> BrokerBench:
    return KafkaBench(make_settings(broker_address=apache_process.address, registry_url=registry_url))


@pytest.fixture(scope="session")
def secure_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    """An Apache Kafka broker with TLS and logins that all system tests share."""
    process = SecureKafka(tmp_path_factory.mktemp("secure"))
    process.start()
    yield process
    process.kill()


@pytest.fixture
def apache_secure_bench(secure_process: SecureKafka, registry_url: str) -> BrokerBench:
    return KafkaBench(
        make_settings(
            broker_address=secure_process.scram_address,
            registry_url=registry_url,
            sasl=secure_process.login(),
            tls=secure_process.tls(),
        )
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Choose the brokers of each test that asks for one."""
    parametrize_kinds(metafunc, "broker_kind", BROKER_KINDS)
    parametrize_kinds(metafunc, "kafka_kind", BROKER_KINDS[1:], with_memory=False)


def _get_bench(request: pytest.FixtureRequest, kind: str) -> BrokerBench:
    bench = request.getfixturevalue(f"{kind}_bench")
    assert isinstance(bench, BrokerBench)
    return bench


@pytest.fixture
def broker_bench(request: pytest.FixtureRequest, broker_kind: str) -> BrokerBench:
    """One after another a bench of each kind."""
    return _get_bench(request, broker_kind)


@pytest.fixture
def kafka_bench(request: pytest.FixtureRequest, kafka_kind: str) -> BrokerBench:
    """One after another a bench of each kind of real broker."""
    return _get_bench(request, kafka_kind)


@pytest.fixture
def sal_settings(broker_bench: BrokerBench) -> SalSettings:
    """One after another the settings for a broker and a registry of each kind."""
    return broker_bench.settings


@pytest.fixture
def memory_settings(memory_bench: BrokerBench) -> SalSettings:
    """Settings for a broker and a registry inside this process."""
    return memory_bench.settings
