"""Types of columns that are read with care: what cannot be read is the damage of its row, and of no other."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from typing_extensions import override

__all__ = ["UNREADABLE", "Damaged", "JsonList", "Milliseconds"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

UNREADABLE = (ValueError, TypeError, ArithmeticError, RecursionError)
"""What reading something may raise that is not what it should be."""


@dataclass(frozen=True, slots=True)
class Damaged:
    """What is read of a column that cannot be read.

    An error raised there would end the reading of all rows: which of them was to blame would not be known.
    """

    reason: str


class Milliseconds(sa.types.TypeDecorator[datetime]):
    """An aware time as milliseconds since 1970, the same in every database."""

    impl = sa.BigInteger
    cache_ok = True

    @override
    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else (value - _EPOCH) // timedelta(milliseconds=1)

    @override
    def process_result_value(self, value: int | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        try:
            return _EPOCH + timedelta(milliseconds=value)
        except UNREADABLE as error:
            return Damaged(f"a time: {type(error).__name__}: {error}")


class JsonList(sa.types.TypeDecorator[list[Any]]):
    """A list as JSON."""

    impl = sa.JSON
    cache_ok = True

    @override
    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
        # Some drivers read JSON by themselves; their databases take no other.
        read = super().result_processor(dialect, coltype)

        def process(value: Any) -> Any:
            try:
                found = value if read is None else read(value)
            except UNREADABLE as error:
                return Damaged(f"JSON: {type(error).__name__}: {error}")
            return found if isinstance(found, list) else Damaged("JSON: it is no list")

        return process
