"""What the properties that librdkafka knows mean for clients made with aiokafka."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from aiokafka import codec

__all__ = [
    "CONNECTION_PROPERTIES",
    "KEPT_PROPERTIES",
    "PROPERTIES",
    "SWITCHES",
    "ClientArguments",
    "Property",
    "Role",
    "Translation",
]

Argument = str | int | float | bool | None
Role = str
"""``consumer``, ``producer``, or ``client`` for all clients."""

BOTH = frozenset({"consumer", "producer"})
CONSUMER = frozenset({"consumer"})
PRODUCER = frozenset({"producer"})

_ON = frozenset({"true", "t", "1"})
_OFF = frozenset({"false", "f", "0"})

SWITCHES: Mapping[str, bool] = dict.fromkeys(_ON, True) | dict.fromkeys(_OFF, False)
"""What librdkafka takes for a boolean, in small letters."""


@dataclass(frozen=True)
class ClientArguments:
    """Keyword arguments of aiokafka clients, beyond addresses and login; hashable."""

    common: tuple[tuple[str, Argument], ...] = ()
    """Of the connection for topics and offsets."""

    consumer: tuple[tuple[str, Argument], ...] = ()
    producer: tuple[tuple[str, Argument], ...] = ()

    delivery_timeout: float | None = None
    """Longest wait for the confirmation of a record (s); None: as long as for a connection."""


class Property(NamedTuple):
    """One librdkafka property that is followed."""

    argument: str
    """Argument of aiokafka, or ``delivery_timeout``."""

    convert: Callable[[str], Argument]
    """Raises ValueError with what is needed."""

    roles: frozenset[Role]
    """Clients that have it."""

    meaning: str
    """What it says, for the guide."""


def _whole(low: int, high: int) -> Callable[[str], Argument]:
    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high} is needed")
        return value

    return convert


def _milliseconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 900_000:
        raise ValueError("a number from 0 to 900000 is needed")
    return value


def _seconds(text: str) -> float:
    """Milliseconds, as seconds; librdkafka's 0 would be no limit, which we do not have."""
    return int(_whole(1, 2**31 - 1)(text) or 0) / 1000


def _idle(text: str) -> int | None:
    """0 is without limit for librdkafka; aiokafka says None."""
    return int(_whole(0, 2**31 - 1)(text) or 0) or None


def _switch(text: str) -> bool:
    value = SWITCHES.get(text.lower())
    if value is None:
        raise ValueError("true or false is needed")
    return value


def _one_of(*values: str) -> Callable[[str], Argument]:
    def convert(text: str) -> str:
        if text not in values:
            raise ValueError(f"one of {', '.join(values)} is needed")
        return text

    return convert


def _text(text: str) -> str:
    return text


def _compression(text: str) -> str | None:
    if text == "none":
        return None
    available = {
        "gzip": codec.has_gzip,
        "snappy": codec.has_snappy,
        "lz4": codec.has_lz4,
        "zstd": codec.has_zstd,
    }
    if text not in available:
        raise ValueError(f"one of none, {', '.join(available)} is needed")
    if not available[text]():
        raise ValueError(f"{text} needs the Python package cramjam, which is not installed")
    return text


_SIZE = _whole(1, 2**31 - 1)

PROPERTIES: Mapping[str, Property] = {
    "client.id": Property("client_id", _text, BOTH, "name of the client in the logs of the broker"),
    "socket.timeout.ms": Property(
        "request_timeout_ms", _whole(10, 300_000), BOTH, "a broker silent for so long gets a new connection"
    ),
    "request.timeout.ms": Property(
        "request_timeout_ms", _whole(1, 900_000), PRODUCER, "the same for a producer alone"
    ),
    "topic.metadata.refresh.interval.ms": Property(
        "metadata_max_age_ms", _whole(10, 3_600_000), BOTH, "how often leaders and partitions are asked for"
    ),
    "metadata.max.age.ms": Property("metadata_max_age_ms", _whole(1, 86_400_000), BOTH, "the same"),
    "retry.backoff.ms": Property("retry_backoff_ms", _whole(1, 300_000), BOTH, "pause before a repetition"),
    "connections.max.idle.ms": Property(
        "connections_max_idle_ms", _idle, BOTH, "unused connections are closed after; 0: never"
    ),
    "fetch.wait.max.ms": Property(
        "fetch_max_wait_ms", _whole(1, 300_000), CONSUMER, "how long a broker with nothing new waits"
    ),
    "fetch.min.bytes": Property("fetch_min_bytes", _whole(1, 100_000_000), CONSUMER, "least answer"),
    "fetch.max.bytes": Property("fetch_max_bytes", _SIZE, CONSUMER, "largest answer"),
    "max.partition.fetch.bytes": Property(
        "max_partition_fetch_bytes", _SIZE, CONSUMER, "largest share of one partition"
    ),
    "fetch.message.max.bytes": Property("max_partition_fetch_bytes", _SIZE, CONSUMER, "the same"),
    "check.crcs": Property("check_crcs", _switch, CONSUMER, "whether checksums are verified"),
    "isolation.level": Property(
        "isolation_level",
        _one_of("read_uncommitted", "read_committed"),
        CONSUMER,
        "whether aborted transactions of others are read; read_committed, unless set: they are not",
    ),
    "client.rack": Property("client_rack", _text, CONSUMER, "which replica is near"),
    "linger.ms": Property("linger_ms", _milliseconds, PRODUCER, "how long a record waits for others"),
    "queue.buffering.max.ms": Property("linger_ms", _milliseconds, PRODUCER, "the same"),
    "compression.type": Property("compression_type", _compression, PRODUCER, "gzip; others with cramjam"),
    "compression.codec": Property("compression_type", _compression, PRODUCER, "the same"),
    "batch.size": Property("max_batch_size", _SIZE, PRODUCER, "most bytes of one partition in a request"),
    "message.max.bytes": Property(
        "max_request_size", _whole(1000, 1_000_000_000), PRODUCER, "largest request"
    ),
    "delivery.timeout.ms": Property(
        "delivery_timeout", _seconds, PRODUCER, "a record not confirmed by then is an error"
    ),
    "message.timeout.ms": Property("delivery_timeout", _seconds, PRODUCER, "the same"),
}
"""Properties that are followed; several names of one argument mean the same."""

CONNECTION_PROPERTIES: Mapping[str, str] = {
    "bootstrap.servers": "instead of LSST_KAFKA_BROKER_ADDR",
    "metadata.broker.list": "the same",
    "security.protocol": "PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL",
    "sasl.mechanism": "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
    "sasl.mechanisms": "the same",
    "sasl.username": "user name",
    "sasl.password": "password",
    "ssl.ca.location": "authorities that are trusted: a PEM file or a folder of hashed names",
    "ssl.certificate.location": "our certificate (PEM)",
    "ssl.key.location": "its key (PEM)",
    "ssl.key.password": "opens an encrypted key",
    "ssl.endpoint.identification.algorithm": "https (default): the certificate names the host; none",
    "enable.ssl.certificate.verification": "true (default) or false: any certificate will do",
}
"""Properties that are followed in the file of all clients only, with what they may say."""

_NO_GROUP = "no consumer group is used"
_IDEMPOTENT = "records are written idempotently"
_IN_SYNC = (frozenset({"all", "-1"}), f"{_IDEMPOTENT}, and that needs all in-sync replicas")
_ONE_REQUEST = "one request a partition keeps the order"

KEPT_PROPERTIES: Mapping[str, tuple[frozenset[str], str]] = {
    "acks": _IN_SYNC,
    "request.required.acks": _IN_SYNC,
    "enable.idempotence": (_ON, f"{_IDEMPOTENT} always"),
    "enable.gapless.guarantee": (frozenset(), "records are in order as they are"),
    "transactional.id": (frozenset(), "no transactions are used"),
    "transaction.timeout.ms": (frozenset(), "no transactions are used"),
    "max.in.flight": (frozenset({"1"}), _ONE_REQUEST),
    "max.in.flight.requests.per.connection": (frozenset({"1"}), _ONE_REQUEST),
    "retries": (frozenset(), "a record is tried until its time is over"),
    "message.send.max.retries": (frozenset(), "a record is tried until its time is over"),
    "partitioner": (frozenset(), "the key chooses the partition"),
    "group.id": (frozenset(), _NO_GROUP),
    "group.instance.id": (frozenset(), _NO_GROUP),
    "group.protocol": (frozenset(), _NO_GROUP),
    "partition.assignment.strategy": (frozenset(), _NO_GROUP),
    "session.timeout.ms": (frozenset(), _NO_GROUP),
    "heartbeat.interval.ms": (frozenset(), _NO_GROUP),
    "max.poll.interval.ms": (frozenset(), _NO_GROUP),
    "enable.auto.commit": (_OFF, _NO_GROUP),
    "auto.commit.interval.ms": (frozenset(), _NO_GROUP),
    "enable.auto.offset.store": (_OFF, _NO_GROUP),
    "auto.offset.reset": (frozenset(), "a position that is gone is never reset silently"),
    "enable.partition.eof": (_OFF, "the end of the log is known otherwise"),
    "allow.auto.create.topics": (_OFF, "topics are created explicitly"),
}
"""Properties that would take away a guarantee: values that change nothing, and the reason why others are not
followed."""


class Translation:
    """Turns the properties of files into arguments; the file of all clients comes last, since it wins."""

    def __init__(self) -> None:
        self._common: dict[str, Argument] = {}
        self._of_role: dict[Role, dict[str, Argument]] = {"consumer": {}, "producer": {}}

    def add(self, role: Role, properties: Mapping[str, str]) -> list[str]:
        """Take what a file says over what earlier files have said.

        Parameters
        ----------
        role
            Whose file it is: ``consumer``, ``producer``, or ``client`` for all clients.
        properties
            Texts by name; those of the connection are not looked at here.

        Returns
        -------
        list [ str ]
            Each property that is not followed, with the reason.

        Raises
        ------
        ValueError
            If a value is wrong; names the property, never the value.
        """
        remarks: list[str] = []
        named: dict[str, str] = {}
        for name, text in properties.items():
            known = PROPERTIES.get(name)
            if known is None or (role != "client" and role not in known.roles):
                remark = _remark(name, text, role)
                if remark is not None:
                    remarks.append(f"{name} ({remark})")
            elif known.argument in named:
                remarks.append(f"{name} (the same as {named[known.argument]}, which stands before it)")
            else:
                named[known.argument] = name
                self._set(role, known, _convert(name, known, text))
        return remarks

    def _set(self, role: Role, known: Property, value: Argument) -> None:
        for each in known.roles if role == "client" else {role}:
            self._of_role[each][known.argument] = value
        if role == "client" and known.roles == BOTH:
            self._common[known.argument] = value

    @property
    def arguments(self) -> ClientArguments:
        """What the files added so far say together."""
        producer = dict(self._of_role["producer"])
        delivery_timeout = producer.pop("delivery_timeout", None)
        return ClientArguments(
            common=tuple(self._common.items()),
            consumer=tuple(self._of_role["consumer"].items()),
            producer=tuple(producer.items()),
            delivery_timeout=None if delivery_timeout is None else float(delivery_timeout),
        )


def _convert(name: str, known: Property, text: str) -> Argument:
    try:
        return known.convert(text)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _remark(name: str, text: str, role: Role) -> str | None:
    """Why a property is not followed; None: it asks for what is done anyway, or is read elsewhere."""
    if name in KEPT_PROPERTIES:
        harmless, reason = KEPT_PROPERTIES[name]
        return None if text.lower() in harmless else reason
    if name in CONNECTION_PROPERTIES:
        return None if role == "client" else "belongs into LSST_KAFKA_BROKER_CLIENT_CONFIGURATION"
    if name in PROPERTIES:
        return f"no property of a {role}"
    return "unknown here"
