"""Topics as Avro: schema, revCode, and record values on the wire (sal-on-kafka sections 3 and 5)."""

import hashlib
import io
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import fastavro
from fastavro.schema import to_parsing_canonical_form

from .errors import DecodeError, FieldError
from .interface import FieldInfo, TopicInfo

__all__ = [
    "ParsedSchema",
    "TopicCodec",
    "build_schema",
    "compute_rev_code",
    "parse_schema",
    "rev_code",
    "schema_id_of",
    "schema_text",
]

_MAGIC = b"\x00"
_HEADER_SIZE = 5

_SHOWN_LENGTH = 200
"""An error shows so much of a value (characters)."""

_INTEGER_RANGES = {"int": (-(2**31), 2**31 - 1), "long": (-(2**63), 2**63 - 1)}

_PYTHON_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "boolean": bool,
    "int": int,
    "long": int,
    "float": (float, int),
    "double": (float, int),
    "string": str,
}


_SMALLEST_INT, _LARGEST_INT = _INTEGER_RANGES["int"]

_PLAIN_TESTS: Mapping[str, Callable[[Any], bool]] = {
    "boolean": lambda value: value is True or value is False,
    "int": lambda value: type(value) is int and _SMALLEST_INT <= value <= _LARGEST_INT,
    "float": lambda value: type(value) is float,
    "double": lambda value: type(value) is float,
    "string": lambda value: type(value) is str and value.isascii(),
}
"""By Avro type: whether a value certainly fits, so that nothing more needs to be looked at."""


@dataclass(frozen=True, slots=True, eq=False)
class ParsedSchema:
    """A writer's schema, ready for decoding; made by `parse_schema`."""

    text: str
    parsed: Any = field(repr=False)
    """As fastavro wants it."""

    canonical_form: str = field(repr=False)
    """Parsing canonical form (Avro specification): equal for schemas that encode alike."""

    @property
    def name(self) -> str:
        """Full name of the record; "" for what is no record."""
        return str(self.parsed.get("name", "")) if isinstance(self.parsed, dict) else ""


def build_schema(topic: TopicInfo) -> dict[str, Any]:
    """The Avro record of a topic, keys in the order that the revCode depends on.

    Parameters
    ----------
    topic
        The topic.
    """
    return {
        "type": "record",
        "name": topic.sal_name,
        "namespace": f"lsst.sal.{topic.component_name}",
        "fields": [_build_field(info) for info in topic.fields.values()],
        "description": topic.description,
    }


def _build_field(info: FieldInfo) -> dict[str, Any]:
    is_array = info.count > 1
    return {
        "name": info.name,
        "type": {"type": "array", "items": info.avro_type} if is_array else info.avro_type,
        "default": _make_default(info),
        "description": info.description,
        "units": info.units,
    }


def schema_text(topic: TopicInfo) -> str:
    """The text that is registered: one line, separators ``", "`` and ``": "``.

    Parameters
    ----------
    topic
        The topic.
    """
    return json.dumps(build_schema(topic))


def compute_rev_code(schema: Mapping[str, Any]) -> str:
    """First 8 hex digits of the MD5 of the record with 4-space indentation.

    Parameters
    ----------
    schema
        A record as `build_schema` makes it, or as registered by somebody else.
    """
    text = json.dumps(schema, indent=4)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:8]


def rev_code(topic: TopicInfo) -> str:
    """The revCode that a writer of this topic sends: the pinned one, else the computed one.

    Parameters
    ----------
    topic
        The topic.
    """
    return topic.pinned_rev_code or compute_rev_code(build_schema(topic))


def parse_schema(text: str) -> ParsedSchema:
    """Parse the text of a writer's schema.

    Parameters
    ----------
    text
        A schema as JSON text.

    Raises
    ------
    ~lsst.ts.ocps.sal.errors.DecodeError
        If the text is not an Avro schema.
    """
    try:
        schema = json.loads(text)
        parsed = fastavro.parse_schema(schema)
        canonical_form = to_parsing_canonical_form(schema)
    except Exception as error:
        raise DecodeError(f"not an Avro schema: {_shorten(error)}") from error
    return ParsedSchema(text=text, parsed=parsed, canonical_form=canonical_form)


def schema_id_of(value: bytes | None) -> int:
    """Id of the writer's schema in a framed value.

    Parameters
    ----------
    value
        The value of a record as read.

    Raises
    ------
    ~lsst.ts.ocps.sal.errors.DecodeError
        For a tombstone, a wrong magic byte, or a value of 5 bytes or less.
    """
    if value is None:
        raise DecodeError("a tombstone (no value)")
    if len(value) <= _HEADER_SIZE:
        raise DecodeError(f"a value of {len(value)} bytes is too short")
    if value[:1] != _MAGIC:
        raise DecodeError(f"magic byte {value[0]:#04x} instead of 0x00")
    return int.from_bytes(value[1:_HEADER_SIZE], "big")


class TopicCodec:
    """Encode and decode the record values of one topic.

    Parameters
    ----------
    topic
        The topic as this program knows it; it is the reader's schema too.
    log
        Where wrong array lengths are warned about, once per field.
    """

    def __init__(self, topic: TopicInfo, *, log: logging.Logger | None = None) -> None:
        self.topic = topic
        self._log = log or logging.getLogger(__name__)
        self._own = parse_schema(schema_text(topic))
        self._name = f"{topic.component_name}.{topic.attr_name}"
        self._warned: set[str] = set()
        self._plan = tuple(
            (info.name, _never if info.count > 1 else _PLAIN_TESTS.get(info.avro_type, _never), info)
            for info in topic.fields.values()
        )

    def is_of_topic(self, writer_schema: ParsedSchema) -> bool:
        """Whether a schema bears the name of this topic, as every version of its schema does.

        Parameters
        ----------
        writer_schema
            The schema of a record.
        """
        return writer_schema.name == self._own.name

    def encode(self, fields: Mapping[str, Any], *, schema_id: int) -> bytes:
        """Frame and encode a record.

        Parameters
        ----------
        fields
            Every field by name (private ones included), as plain Python objects; a field left out gets its
            default.
        schema_id
            Id under which the schema of this topic is registered.

        Raises
        ------
        ~lsst.ts.ocps.sal.errors.FieldError
            If a name is unknown or a value does not fit its field: wrong type, integer out of range; names
            topic, field and value. (A ValueError.)
        """
        if not fields.keys() <= self.topic.fields.keys():
            raise FieldError(f"{self._name} has no fields {sorted(fields.keys() - self.topic.fields.keys())}")
        record = {}
        for name, is_plain, info in self._plan:
            if name in fields:
                value = fields[name]
                record[name] = value if is_plain(value) else self._check(info, value)
            else:
                record[name] = _make_default(info)
        buffer = io.BytesIO()
        buffer.write(_MAGIC + schema_id.to_bytes(_HEADER_SIZE - 1, "big"))
        fastavro.schemaless_writer(buffer, self._own.parsed, record)
        return buffer.getvalue()

    def decode(self, value: bytes | None, writer_schema: ParsedSchema) -> dict[str, Any]:
        """Decode a framed value into plain Python objects, by name in schema order.

        Parameters
        ----------
        value
            As read. Bytes after the body are ignored.
        writer_schema
            The schema of `schema_id_of` ``(value)``; resolved into the schema of the topic.

        Raises
        ------
        ~lsst.ts.ocps.sal.errors.DecodeError
            If the value is damaged, or its schema cannot be resolved into that of the topic.
        """
        schema_id_of(value)
        assert value is not None  # noqa: S101 (schema_id_of refuses None; this is for the type checker)
        body = io.BytesIO(value[_HEADER_SIZE:])
        is_alike = writer_schema.canonical_form == self._own.canonical_form
        reader_schema = None if is_alike else self._own.parsed
        try:
            record: Any = fastavro.schemaless_reader(body, writer_schema.parsed, reader_schema)
        except Exception as error:
            raise DecodeError(f"{self._name}: {_shorten(error)}") from error
        # What was written under a schema like ours is in our order, and shares nothing with a default.
        return record if is_alike else self._arrange(record)

    def _arrange(self, record: Mapping[str, Any]) -> dict[str, Any]:
        # Arrays are copied: fastavro puts the schema's own default into every record that lacks the field.
        return {
            name: list(record[name]) if info.count > 1 else record[name]
            for name, info in self.topic.fields.items()
        }

    def _check(self, info: FieldInfo, value: Any) -> Any:
        if info.count == 1:
            self._check_scalar(info, value, info.name)
            return value
        if not isinstance(value, list | tuple):
            raise self._refuse(info.name, value, f"an array of {info.count} values is needed")
        if len(value) != info.count and info.name not in self._warned:
            self._warned.add(info.name)
            self._log.warning(
                "%s.%s has %d values instead of %d (written as it is; warned about once)",
                *(self._name, info.name, len(value), info.count),
            )
        for n, item in enumerate(value):
            self._check_scalar(info, item, f"{info.name}[{n}]")
        return value

    def _check_scalar(self, info: FieldInfo, value: Any, name: str) -> None:
        has_right_type = isinstance(value, _PYTHON_TYPES[info.avro_type])
        if not has_right_type:
            raise self._refuse(name, value, f"a value of type {info.avro_type} is needed")
        if info.avro_type in _INTEGER_RANGES:
            smallest, largest = _INTEGER_RANGES[info.avro_type]
            if not smallest <= value <= largest:
                raise self._refuse(
                    name, value, f"out of the range of {info.avro_type} ({smallest} to {largest})"
                )
        try:
            if info.avro_type == "string" and not value.isascii():
                value.encode()
            elif info.avro_type in {"float", "double"}:
                float(value)
        except (UnicodeEncodeError, OverflowError) as error:
            raise self._refuse(name, value, str(error)) from error

    def _refuse(self, name: str, value: Any, reason: str) -> FieldError:
        return FieldError(f"{self._name}.{name}={_shorten(value)}: {reason}")


def _never(_value: Any) -> bool:
    return False


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}…"


def _make_default(info: FieldInfo) -> Any:
    scalar = info.default_scalar_value
    return [scalar] * info.count if info.count > 1 else scalar
