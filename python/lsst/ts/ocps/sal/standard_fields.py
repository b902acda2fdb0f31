"""The fields that every topic has, and those of ``ackcmd`` (sal-on-kafka sections 3 and 6).

ts_xml has them in its code, not in its XML. The descriptions are our own: they matter only for the revCode
of topics that no ts_xml knows.
"""

from collections.abc import Mapping
from types import MappingProxyType

from .interface import FieldInfo

__all__ = ["ACKCMD_DESCRIPTION", "ACKCMD_FIELDS", "PRIVATE_FIELDS"]

ACKCMD_DESCRIPTION = "Command acknowledgement"
"""Description of the record ``ackcmd``; it is the same everywhere."""


def _by_name(*fields: FieldInfo) -> Mapping[str, FieldInfo]:
    return MappingProxyType({field.name: field for field in fields})


def _number(name: str, description: str) -> FieldInfo:
    return FieldInfo(name, sal_type="long", avro_type="int", description=description)


def _time(name: str, description: str) -> FieldInfo:
    return FieldInfo(name, sal_type="double", avro_type="double", units="second", description=description)


def _words(name: str, description: str) -> FieldInfo:
    return FieldInfo(name, sal_type="string", avro_type="string", description=description)


PRIVATE_FIELDS = _by_name(
    _number("salIndex", "Index of the instance that the record belongs to."),
    _time("private_sndStamp", "When the writer sent the record (TAI Unix time)."),
    _time("private_rcvStamp", "When the reader got the record (TAI Unix time); 0 on the wire."),
    _time("private_efdStamp", "private_sndStamp as UTC Unix time, for the database."),
    _time("private_kafkaStamp", "When the record was handed to Kafka (TAI Unix time)."),
    _number("private_seqNum", "Number of the record; of a command and its acknowledgements, the same."),
    _words("private_revCode", "Revision of the topic that the writer knows."),
    _words("private_identity", "Who wrote the record: component and index, or user and host."),
    _number("private_origin", "Process id of the writer."),
)
"""In schema order; salIndex only in indexed components."""

ACKCMD_FIELDS = _by_name(
    _number("ack", "What became of the command (a SalRetCode)."),
    _number("error", "Error number of a failed command; 0 otherwise."),
    _words("result", "What the command says to its sender."),
    _words("identity", "The private_identity of the command."),
    _number("origin", "The private_origin of the command."),
    _number("cmdtype", "Position of the command in the sorted list of topic names."),
    _time("timeout", "How much longer a command in progress is expected to take."),
)
"""In schema order, after the private ones."""
