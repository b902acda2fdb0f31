"""Rules for the values of fields: what is a change, and what becomes of a value on the wire.

Source: sal-on-kafka section 9.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .data_type import BaseMsgType
from .interface import FieldInfo, TopicInfo

__all__ = ["FLOAT32_MAX", "check_names", "convert_fields", "copy_record", "is_different", "take_value"]

FLOAT32_MAX = (2 - 2**-23) * 2.0**127
"""Largest single-precision number; what lies beyond becomes infinite on the wire."""

_FLOATS = frozenset({"float", "double"})


def take_value(field: FieldInfo, value: Any) -> Any:
    """A value as it is kept in a record: arrays as lists of our own, numpy values as plain ones.

    Parameters
    ----------
    field
        The field that is to hold it.
    value
        A scalar, a list, a tuple or a numpy array.

    Raises
    ------
    TypeError
        If a scalar is given for an array.

    Warns
    -----
    UserWarning
        If an array has the wrong length; it is kept nevertheless, as ts_salobj does.
    """
    plain = value.tolist() if hasattr(value, "tolist") else value
    if field.count == 1:
        return plain
    if isinstance(plain, str | bytes) or not isinstance(plain, Iterable):
        raise TypeError(f"{field.name}={value!r} is not an array; {field.count} values are needed")
    items = list(plain)
    if len(items) != field.count:
        warnings.warn(f"{field.name} has {len(items)} values; {field.count} are expected", stacklevel=2)
    return items


def is_different(field: FieldInfo, old: Any, new: Any) -> bool:
    """Whether a new value of a field differs from the old one; NaN equals NaN in float fields.

    Parameters
    ----------
    field
        The field.
    old, new
        Values as `take_value` returns them.
    """
    if field.count == 1 or not isinstance(old, list) or not isinstance(new, list):
        return _is_scalar_different(field, old, new)
    if len(old) != len(new):
        return True
    return any(_is_scalar_different(field, *pair) for pair in zip(old, new, strict=True))


def _is_scalar_different(field: FieldInfo, old: Any, new: Any) -> bool:
    if old == new:
        return False
    if field.avro_type in _FLOATS and isinstance(old, float) and isinstance(new, float):
        return not (math.isnan(old) and math.isnan(new))
    return True


def check_names(topic: TopicInfo, names: Iterable[str]) -> None:
    """Refuse names that are no fields of the topic.

    Raises
    ------
    AttributeError
        Names the topic and every unknown name.
    """
    unknown = [name for name in names if name not in topic.fields]
    if unknown:
        raise AttributeError(f"{topic.attr_name} has no fields {sorted(set(unknown))}")


def copy_record(data: BaseMsgType) -> BaseMsgType:
    """A copy of a record that shares no list with it."""
    fields = {name: list(value) if isinstance(value, list) else value for name, value in vars(data).items()}
    return type(data)(**fields)


def convert_fields(topic: TopicInfo, data: BaseMsgType) -> dict[str, Any]:
    """The values of a record as they go out.

    Numbers become int or float as the field needs it, anything becomes a boolean, text must be text.

    Parameters
    ----------
    topic
        The topic of the record.
    data
        The record.

    Raises
    ------
    TypeError
        If a value is of a type that cannot become that of its field; names topic, field and value.
    ValueError
        If the type would do but the value does not.
    """
    values: Mapping[str, Any] = vars(data)
    converted = {}
    for name, field in topic.fields.items():
        value = values[name]
        is_right = type(value) is _TYPES_THAT_STAY.get(field.avro_type) and field.count == 1
        converted[name] = value if is_right else _convert(topic, field, value)
    return converted


def _convert(topic: TopicInfo, field: FieldInfo, value: Any) -> Any:
    convert = _CONVERSIONS[field.avro_type]
    try:
        if field.count == 1:
            return convert(value)
        return [convert(item) for item in value]
    except (TypeError, ValueError, OverflowError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{topic.attr_name}.{field.name}={value!r}: {error}") from error


def _to_int(value: Any) -> int:
    if isinstance(value, str | bytes | bytearray):
        raise TypeError("an integer is needed, not text")
    return int(value)


def _to_double(value: Any) -> float:
    if isinstance(value, bytes | bytearray):
        raise TypeError("a number is needed, not bytes")
    return float(value)


def _to_single(value: Any) -> float:
    number = _to_double(value)
    if abs(number) > FLOAT32_MAX:
        return math.copysign(math.inf, number)
    return number


def _to_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"text is needed, not {type(value).__name__}")
    return str(value)


_CONVERSIONS: Mapping[str, Callable[[Any], Any]] = {
    "boolean": bool,
    "int": _to_int,
    "long": _to_int,
    "float": _to_single,
    "double": _to_double,
    "string": _to_text,
}

_TYPES_THAT_STAY = {"boolean": bool, "int": int, "long": int, "double": float, "string": str}
"""By Avro type: values of exactly this Python type go out as they are."""
