"""Sequence numbers and stamps of records (sal-on-kafka sections 6 and 7)."""

import random
from collections.abc import Sequence

from .tai import current_tai

__all__ = [
    "MAX_SEQ_NUM",
    "SequenceNumbers",
    "StampClock",
    "command_range",
    "command_type",
    "share_command_numbers",
]

MAX_SEQ_NUM = (1 << 31) - 1
"""Largest sequence number."""

_STEP = 1e-6
"""Shortest time between two stamps (s): four times the resolution of a double at today's Unix time."""


class SequenceNumbers:
    """Numbers that run through a range and begin again.

    Parameters
    ----------
    low, high
        First and last number of the range.
    start
        The first number returned; None: ``low``.
    """

    def __init__(self, low: int = 1, high: int = MAX_SEQ_NUM, start: int | None = None) -> None:
        self.low = low
        self.high = high
        self._next = low if start is None else start

    def take(self) -> int:
        """The next number."""
        number = self._next
        self._next = self.low if number >= self.high else number + 1
        return number


class StampClock:
    """Stamps of one writer: TAI Unix seconds, each later than the one before even if the clock steps back."""

    def __init__(self) -> None:
        self._last = 0.0

    def take(self) -> float:
        """The next stamp."""
        self._last = max(current_tai(), self._last + _STEP)
        return self._last


def command_range(command_names: Sequence[str], name: str) -> tuple[int, int]:
    """First and last sequence number of a command of a component.

    Parameters
    ----------
    command_names
        All commands of the component, without prefix.
    name
        One of them.
    """
    ordered = sorted(command_names)
    width = MAX_SEQ_NUM // len(ordered)
    position = ordered.index(name)
    return position * width + 1, (position + 1) * width


def command_type(sal_names: Sequence[str], sal_name: str) -> int:
    """``cmdtype`` of an acknowledgement: place of the command among all topics of the component.

    Parameters
    ----------
    sal_names
        SAL names of all topics of the component, ``ackcmd`` included.
    sal_name
        That of the command.
    """
    return sorted(sal_names).index(sal_name)


_COMMAND_NUMBERS: dict[tuple[str, str, int], SequenceNumbers] = {}


def share_command_numbers(component_name: str, command_names: Sequence[str], name: str) -> SequenceNumbers:
    """The numbers of one command, shared by every Remote of this process.

    Remotes of one process have the same identity and origin, so that only the number tells their
    commands apart. The first number is random, since a process of the same origin may have come before.

    Parameters
    ----------
    component_name
        Name of the component.
    command_names
        All its commands.
    name
        The command.
    """
    key = (component_name, name, len(command_names))
    if key not in _COMMAND_NUMBERS:
        low, high = command_range(command_names, name)
        start = random.randint(low, high)  # nosec B311 # noqa: S311 (not a secret)
        _COMMAND_NUMBERS[key] = SequenceNumbers(low, high, start)
    return _COMMAND_NUMBERS[key]
