"""What all our Kafka clients share, and the requests that are neither writing nor reading."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    LeaderNotAvailableError,
    NotControllerError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.admin import CreateTopicsRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.offset import OffsetRequest

from lsst.ts.ocps.aio.deadline import Deadline, DeadlineExceededError
from lsst.ts.ocps.aio.retry import retry
from lsst.ts.ocps.sal.errors import BrokerError
from lsst.ts.ocps.sal.kafka_security import get_protocol
from lsst.ts.ocps.sal.settings import SalSettings

from .base import OffsetRange, TopicPartition, TopicSpec
from .kafka_refusal import raise_reason

__all__ = ["KafkaControl", "is_transient", "make_client_options"]

T = TypeVar("T")

REQUEST_TIMEOUT = 10.0
"""A broker that does not answer for so long gets a new connection (s)."""

_SPREAD_TIME = 3.0
"""After so long every broker of a cluster has heard of a new topic (s)."""

_EARLIEST, _LATEST = -2, -1
"""Timestamps with a meaning in the ListOffsets request."""

_NEVER = 24 * 3600 * 1000
"""The control connection needs no fresh list of all topics (ms)."""


async def make_client_options(settings: SalSettings) -> dict[str, Any]:
    """Keyword arguments of every aiokafka client.

    Parameters
    ----------
    settings
        The settings of this process.

    Raises
    ------
    ~lsst.ts.ocps.sal.errors.SettingsError
        If a file of certificates cannot be used.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": [server.strip() for server in settings.broker_address.split(",")],
        "client_id": "ts_ocps",
        "request_timeout_ms": int(REQUEST_TIMEOUT * 1000),
        "retry_backoff_ms": 100,
        **dict(settings.clients.common),
    }
    options["security_protocol"] = get_protocol(settings.sasl, settings.tls)
    if settings.sasl is not None:
        options |= {
            "sasl_mechanism": settings.sasl.mechanism,
            "sasl_plain_username": settings.sasl.username,
            "sasl_plain_password": settings.sasl.password.get_secret_value(),
        }
    if settings.tls is not None:
        options["ssl_context"] = await asyncio.to_thread(settings.tls.make_context, settings.ca_file)
    return options


def is_transient(error: BaseException) -> bool:
    """Whether a failure may go away by itself: a connection, a leader, a controller that is not there yet.

    Parameters
    ----------
    error
        What a Kafka client raised.
    """
    if isinstance(error, KafkaError):
        return bool(error.retriable) or isinstance(error, KafkaConnectionError | NotControllerError)
    return isinstance(error, OSError | TimeoutError)


class _Topic(NamedTuple):
    error: type[KafkaError]
    leaders: Mapping[int, int]
    """Node by partition; -1: none at present."""


class KafkaControl:
    """One connection for topics and offsets.

    Parameters
    ----------
    options
        Keyword arguments from `make_client_options`.
    address
        The address, for errors.
    timeout
        How long transient failures are repeated (s).
    log
        Where each failed attempt is reported.
    """

    def __init__(
        self, options: Mapping[str, Any], *, address: str, timeout: float, log: logging.Logger
    ) -> None:
        self._options = options
        self._address = address
        self._timeout = timeout
        self._log = log
        self._client: AIOKafkaClient | None = None

    async def start(self) -> None:
        """Connect, once.

        Raises
        ------
        aiokafka.errors.KafkaError
            If no broker answers, or none lets us in.
        """
        client = AIOKafkaClient(**{**self._options, "metadata_max_age_ms": _NEVER})
        try:
            await client.bootstrap()
        except KafkaConnectionError:
            await client.close()
            await raise_reason(self._options)
            raise
        except BaseException:
            await client.close()
            raise
        self._client = client

    async def aclose(self) -> None:
        """Disconnect."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def create_topics(self, specs: Sequence[TopicSpec], *, replication_factor: int) -> None:
        """Create the topics that do not exist, and wait until all have leaders.

        Parameters
        ----------
        specs
            The topics.
        replication_factor
            Of those that are created.

        Raises
        ------
        ~lsst.ts.ocps.sal.errors.BrokerError
            If it was not done in time, or the broker refuses a topic.
        """
        by_name = {spec.name: spec for spec in specs}

        async def attempt() -> None:
            found, controller = await self._describe_cluster(list(by_name))
            missing = [
                by_name[name] for name, topic in found.items() if topic.error is UnknownTopicOrPartitionError
            ]
            if missing:
                await self._send_create(missing, replication_factor, controller)
                found = await self._describe(list(by_name))
            _check(found)

        if by_name:
            await self._repeat(f"create {len(by_name)} topics", attempt, first_delay=0.02)

    async def get_partitions(self, topics: Sequence[str]) -> dict[str, tuple[int, ...]]:
        """Partition numbers by topic.

        Parameters
        ----------
        topics
            Names of topics that exist.

        Raises
        ------
        ~lsst.ts.ocps.sal.errors.BrokerError
            If one does not exist, or there was no answer in time.
        """

        async def attempt() -> dict[str, tuple[int, ...]]:
            found = await self._describe(topics)
            _check(found)
            return {name: tuple(sorted(topic.leaders)) for name, topic in found.items()}

        return await self._repeat("list partitions", attempt) if topics else {}

    async def get_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, OffsetRange]:
        """What each partition holds now.

        Parameters
        ----------
        partitions
            Partitions that exist.

        Raises
        ------
        ~lsst.ts.ocps.sal.errors.BrokerError
            If one does not exist, or there was no answer in time.
        """

        async def attempt() -> dict[TopicPartition, OffsetRange]:
            found = await self._describe(sorted({partition.topic for partition in partitions}))
            _check(found)
            begins, ends = await asyncio.gather(
                self._list_offsets(partitions, found, _EARLIEST),
                self._list_offsets(partitions, found, _LATEST),
            )
            return {p: OffsetRange(begins[p], ends[p]) for p in partitions}

        return await self._repeat("read offsets", attempt) if partitions else {}

    async def _repeat(
        self, purpose: str, attempt: Callable[[], Awaitable[T]], *, first_delay: float = 0.1
    ) -> T:
        deadline = Deadline(f"{purpose} at Kafka {self._address}", self._timeout)
        spread = Deadline("the news of a new topic", _SPREAD_TIME)

        def may_pass(error: Exception) -> bool:
            if isinstance(error, UnknownTopicOrPartitionError) and spread.expired:
                return False
            return is_transient(error)

        try:
            async with deadline.enforce():
                return await retry(
                    attempt,
                    deadline=deadline,
                    is_transient=may_pass,
                    first_delay=first_delay,
                    max_delay=1.0,
                    log=self._log,
                )
        except DeadlineExceededError as error:
            raise BrokerError(str(error)) from error
        except (KafkaError, OSError) as error:
            raise BrokerError(f"{deadline.operation}: {error or type(error).__name__}") from error

    async def _send(self, request: Any, node_id: int | None = None) -> Any:
        if self._client is None:
            raise KafkaConnectionError("not connected")
        node = self._client.get_random_node() if node_id is None else node_id
        if node is None:
            await self._client.bootstrap()
            raise KafkaConnectionError("the cluster has named no brokers yet")
        return await self._client.send(node, request)

    async def _describe(self, topics: Sequence[str]) -> dict[str, _Topic]:
        return (await self._describe_cluster(topics))[0]

    async def _describe_cluster(self, topics: Sequence[str]) -> tuple[dict[str, _Topic], int]:
        """The topics, and the node of the controller."""
        # Never by the back door: a broker with automatic creation would make topics with its own defaults.
        response = await self._send(MetadataRequest(list(topics), allow_auto_topic_creation=False))
        found = {}
        for error_code, name, _, partitions in response.topics:
            leaders = {partition: leader for _, partition, leader, *_ in partitions}
            found[name] = _Topic(for_code(error_code), leaders)
        unknown = _Topic(UnknownTopicOrPartitionError, {})
        return {name: found.get(name, unknown) for name in topics}, response.controller_id

    async def _send_create(
        self, specs: Sequence[TopicSpec], replication_factor: int, controller: int
    ) -> None:
        requests: list[Any] = [
            (
                spec.name,
                spec.partitions,
                replication_factor,
                [],
                [("cleanup.policy", "compact")] if spec.is_compacted else [],
            )
            for spec in specs
        ]
        request = CreateTopicsRequest(requests, timeout=int(REQUEST_TIMEOUT * 1000), validate_only=False)
        response = await self._send(request, controller)
        for name, error_code, *details in response.topic_errors:
            error = for_code(error_code)
            if error_code and error is not TopicAlreadyExistsError:
                raise error(" ".join([name, *(str(detail) for detail in details if detail)]))

    async def _list_offsets(
        self, partitions: Sequence[TopicPartition], topics: Mapping[str, _Topic], timestamp: int
    ) -> dict[TopicPartition, int]:
        by_node: defaultdict[int, defaultdict[str, list[tuple[int, int]]]]
        by_node = defaultdict(lambda: defaultdict(list))
        for topic, number in partitions:
            leader = topics[topic].leaders.get(number)
            if leader is None:
                raise UnknownTopicOrPartitionError(f"{topic} has no partition {number}")
            by_node[leader][topic].append((number, timestamp))
        responses = await asyncio.gather(
            *(self._send(OffsetRequest(-1, 0, list(asked.items())), node) for node, asked in by_node.items())
        )
        offsets: dict[TopicPartition, int] = {}
        for response in responses:
            for topic, answers in response.topics:
                for number, error_code, *found in answers:
                    if error_code:
                        raise for_code(error_code)(f"{topic}[{number}]")
                    offsets[TopicPartition(topic, number)] = found[-1]
        return offsets


def _check(topics: Mapping[str, _Topic]) -> None:
    for name, topic in topics.items():
        if topic.error.errno:
            raise topic.error(name)
        if not topic.leaders or -1 in topic.leaders.values():
            raise LeaderNotAvailableError(name)
