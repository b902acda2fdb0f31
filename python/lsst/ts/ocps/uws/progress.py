"""How far a job says it is: what our service shows in ``jobInfo``, and how a client reads it."""

from dataclasses import dataclass

__all__ = ["PROGRESS_NAMESPACE", "Progress"]

PROGRESS_NAMESPACE = "urn:ts-ocps:job-info"
"""Namespace of the ``progress`` element; UWS leaves the content of ``jobInfo`` to the service."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job says it is.

    Raises
    ------
    ValueError
        If the fraction is not between 0 and 1.
    """

    fraction: float
    """Done part, from 0 to 1."""

    message: str = ""
    """What it is doing, for people."""

    def __post_init__(self) -> None:
        if not 0 <= self.fraction <= 1:
            raise ValueError(f"fraction: {self.fraction!r} is not between 0 and 1")
