"""What can be wrong with payload definitions and with the parameters of a run.

::

    PayloadError
    ├── CatalogueError          a definition file is missing, unreadable or wrong
    ├── UnknownPayloadError     no payload of that name is configured
    └── ParameterError          the parameters of a run are not what the definition asks for

Foreign exceptions (PyYAML, pydantic, jsonschema) stop here.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from typing_extensions import override

__all__ = [
    "CatalogueError",
    "CatalogueProblem",
    "ParameterError",
    "ParameterProblem",
    "PayloadError",
    "UnknownPayloadError",
]


class PayloadError(Exception):
    """Something about a payload is wrong; the message is meant for the person who wrote it."""


@dataclass(frozen=True, slots=True)
class CatalogueProblem:
    """One thing that is wrong with a definition file or a payload directory."""

    file: str
    """The file, or the directory if that is what is wrong."""

    path: str
    """Where in the file, as ``run.command.2``; "" for the file as a whole."""

    value: str
    """What is written there, shortened; "" if there is nothing to show."""

    reason: str
    """What is wrong with it."""

    @override
    def __str__(self) -> str:
        place = ": ".join(part for part in (self.file, self.path) if part)
        shown = f" (it is {self.value})" if self.value else ""
        return f"{place}: {self.reason}{shown}"


class CatalogueError(PayloadError):
    """The payload definitions cannot be used; every problem found is listed, one a line.

    Parameters
    ----------
    problems
        What is wrong, at least one.
    """

    def __init__(self, problems: Iterable[CatalogueProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class UnknownPayloadError(PayloadError):
    """No payload of that name is configured; the message lists those that are."""


@dataclass(frozen=True, slots=True)
class ParameterProblem:
    """One thing that is wrong with the parameters of a run."""

    path: str
    """Which parameter, as ``parameters.region.width``; ``parameters`` for all of them."""

    reason: str
    """What is wrong, with the value given, shortened."""

    @override
    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class ParameterError(PayloadError):
    """The parameters of a run are refused; every problem found is listed, divided by "; ".

    Parameters
    ----------
    problems
        What is wrong, at least one.
    """

    def __init__(self, problems: Iterable[ParameterProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, self.problems)))
