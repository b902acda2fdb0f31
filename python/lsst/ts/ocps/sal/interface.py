"""What a SAL component consists of: topics and their fields, as the interface XML tells it.

Source: salobj-api section 4.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .data_type import BaseMsgType

__all__ = ["PRIVATE_FIELD_PREFIX", "ComponentInfo", "FieldInfo", "Scalar", "TopicInfo", "TopicKind"]

PRIVATE_FIELD_PREFIX = "private_"

Scalar = bool | int | float | str


class TopicKind(StrEnum):
    """What a topic is for; the value is the prefix of its attribute name."""

    ACKCMD = "ack_"
    COMMAND = "cmd_"
    EVENT = "evt_"
    TELEMETRY = "tel_"


@dataclass(frozen=True, slots=True)
class FieldInfo:
    """One field of a topic (sal-on-kafka section 3, points 5 to 7)."""

    name: str
    sal_type: str
    """As in the XML: boolean, byte, short, int, long, "long long", "unsigned int", float, double, string …"""

    avro_type: str
    """boolean, int, long, float, double or string."""

    count: int = 1
    """Length of an array; 1 = scalar."""

    units: str = "unitless"
    description: str = ""

    @property
    def default_scalar_value(self) -> Scalar:
        """Default of the field, or of one element of an array."""
        defaults: dict[str, Scalar] = {"boolean": False, "string": "", "float": 0.0, "double": 0.0}
        return defaults.get(self.avro_type, 0)


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """One topic of a component."""

    component_name: str
    kind: TopicKind
    sal_name: str
    """Name inside the component: ``command_start``, ``logevent_summaryState``, ``ackcmd``, ``arrays``."""

    is_indexed: bool
    """Whether the component is indexed."""

    fields: Mapping[str, FieldInfo]
    """By name, in schema order, the private ones included."""

    description: str = ""
    pinned_rev_code: str | None = None
    """revCode to write instead of the computed one (see `rev_code` in ``avro``); None: compute it."""

    is_definitive: bool = False
    """Whether texts and revCode are those of the site's ts_xml, so that nobody else's are adopted."""

    partitions: int = 1

    @property
    def attr_name(self) -> str:
        """Name with the API prefix: ``cmd_start``, ``evt_summaryState``, ``ack_ackcmd``, ``tel_arrays``."""
        bare = self.sal_name.removeprefix("command_" if self.kind is TopicKind.COMMAND else "logevent_")
        return f"{self.kind.value}{bare}"

    @property
    def array_fields(self) -> dict[str, int]:
        """Length of each array field, by name."""
        return {name: info.count for name, info in self.fields.items() if info.count > 1}

    def get_revcode(self) -> str:
        """Code of the schema (sal-on-kafka section 3), before anything is adopted from a registry."""
        from .avro import rev_code  # noqa: PLC0415 (avro is made of this)

        return rev_code(self)

    def make_avro_schema(self) -> dict[str, Any]:
        """The schema of the records (sal-on-kafka section 3)."""
        from .avro import build_schema  # noqa: PLC0415 (avro is made of this)

        return build_schema(self)

    def make_dataclass(self) -> "type[BaseMsgType]":
        """The class of the records."""
        from .data_type import data_type  # noqa: PLC0415 (data types are made of this)

        return data_type(self)

    def kafka_name(self, topic_subname: str) -> str:
        """Name of the Kafka topic (sal-on-kafka section 2)."""
        return f"lsst.{topic_subname}.{self.component_name}.{self.sal_name}"

    def avro_subject(self, topic_subname: str) -> str:
        """Subject in the schema registry (sal-on-kafka section 4)."""
        return f"{self.kafka_name(topic_subname)}-value"

    def key(self, index: int) -> bytes:
        """Key of the records of a writer of ``index`` (sal-on-kafka section 5; empty for telemetry)."""
        if self.kind is TopicKind.TELEMETRY:
            return b""
        index_part = f'"index": {int(index)}, ' if self.is_indexed else ""
        return f'{{ "name": "{self.component_name}", {index_part}"topic": "{self.sal_name}" }}'.encode()


@dataclass(frozen=True, slots=True)
class ComponentInfo:
    """One component."""

    name: str
    is_indexed: bool
    topics: Mapping[str, TopicInfo]
    """By attribute name."""

    description: str = ""
    xml_version: str = "builtin"
    """Version of the interface: that of ts_xml, or "builtin" for our own files."""

    index_enumeration: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """Names of the indices, where the component has them."""

    @property
    def indexed(self) -> bool:
        """Whether the component is indexed, as ts_xml calls it."""
        return self.is_indexed
