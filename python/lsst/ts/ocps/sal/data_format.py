"""Samples as text for people (salobj-api section 10)."""

from collections.abc import Mapping, Sequence
from typing import Any

from .data_type import BaseMsgType
from .interface import PRIVATE_FIELD_PREFIX

__all__ = ["DataFormatter"]


class DataFormatter:
    """Shows the public fields of samples.

    Parameters
    ----------
    fields_to_ignore
        Fields that are not shown.
    digits
        Digits to which single fields are rounded where rounding is asked for.
    """

    def __init__(self, fields_to_ignore: Sequence[str] = (), digits: Mapping[str, int] | None = None) -> None:
        self.fields_to_ignore = tuple(fields_to_ignore)
        self.telemetry_fields_compare_digits = dict(digits or {})

    def format_item(self, key: str, value: Any) -> str:
        """One field as text."""
        if isinstance(value, float):
            return f"{key}={value:0.4f}"
        return f"{key}={value}"

    def format_dict(self, d: dict[str, Any]) -> str:
        """Fields as text."""
        return ", ".join(self.format_item(key, value) for key, value in d.items())

    def format_data(self, data: BaseMsgType) -> str:
        """The public fields of a sample as text."""
        return self.format_dict(self.get_public_data(data))

    def field_is_public(self, name: str) -> bool:
        """Whether a field is asked for and shown."""
        is_private = name.startswith(PRIVATE_FIELD_PREFIX) or name == "salIndex"
        return not is_private and name not in self.fields_to_ignore

    def get_public_data(self, data: BaseMsgType) -> dict[str, Any]:
        """The public fields of a sample."""
        return {name: value for name, value in vars(data).items() if self.field_is_public(name)}

    def get_rounded_public_data(self, data: BaseMsgType, digits: int = 2) -> dict[str, Any]:
        """The public fields of a sample, rounded.

        Parameters
        ----------
        data
            The sample.
        digits
            Digits after the decimal point.
        """
        own_digits = self.telemetry_fields_compare_digits
        return {
            name: _round(value, own_digits.get(name, digits))
            for name, value in self.get_public_data(data).items()
        }


def _round(value: Any, digits: int) -> Any:
    if isinstance(value, float):
        return round(value, digits)
    if isinstance(value, list):
        return [_round(item, digits) for item in value]
    return value
