"""Records as Python objects: one dataclass per topic (salobj-api section 4)."""

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from .interface import FieldInfo, Scalar, TopicInfo

__all__ = ["BaseMsgType", "data_type"]

_PYTHON_TYPES = {"boolean": bool, "string": str, "float": float, "double": float}


class BaseMsgType:
    """What every record has; the other fields depend on the topic."""

    if TYPE_CHECKING:
        salIndex: int  # noqa: N815 (SAL's spelling)
        private_sndStamp: float  # noqa: N815 (SAL's spelling)
        private_rcvStamp: float  # noqa: N815 (SAL's spelling)
        private_efdStamp: float  # noqa: N815 (SAL's spelling)
        private_kafkaStamp: float  # noqa: N815 (SAL's spelling)
        private_seqNum: int  # noqa: N815 (SAL's spelling)
        private_revCode: str  # noqa: N815 (SAL's spelling)
        private_identity: str
        private_origin: int

        def __init__(self, **fields: Any) -> None: ...
        def __getattr__(self, name: str) -> Any: ...
        @override
        def __setattr__(self, name: str, value: Any) -> None: ...


_CLASSES: dict[tuple[object, ...], type[BaseMsgType]] = {}


def data_type(topic: TopicInfo) -> type[BaseMsgType]:
    """The dataclass of a topic: fields in schema order, all with defaults, lists fresh in each record.

    The same class is returned for the same topic throughout the process.

    Parameters
    ----------
    topic
        The topic.
    """
    shape = tuple((field.name, field.avro_type, field.count) for field in topic.fields.values())
    key = (topic.component_name, topic.sal_name, shape)
    if key not in _CLASSES:
        _CLASSES[key] = dataclasses.make_dataclass(
            topic.attr_name,
            [_declare(field) for field in topic.fields.values()],
            bases=(BaseMsgType,),
        )
    return _CLASSES[key]


def _declare(field: FieldInfo) -> tuple[str, Any, Any]:
    scalar_type = _PYTHON_TYPES.get(field.avro_type, int)
    default = field.default_scalar_value
    if field.count == 1:
        return field.name, scalar_type, dataclasses.field(default=default)
    factory = functools.partial(_make_list, default, field.count)
    return field.name, list[scalar_type], dataclasses.field(default_factory=factory)  # type: ignore[valid-type]


def _make_list(default: Scalar, count: int) -> list[Scalar]:
    return [default] * count
