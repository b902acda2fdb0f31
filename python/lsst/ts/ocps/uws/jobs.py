"""A UWS job as a document tells it (UWS 1.1 sections 2.1 and 3.1)."""

from dataclasses import dataclass, field
from datetime import datetime

from .phases import ExecutionPhase

__all__ = ["ErrorSummary", "Job", "JobRef", "Parameter", "Result"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter; a parameter given several times is several of these with one ``name``."""

    name: str
    """The ``id`` attribute, as the server spells it; compare ignoring case (DALI 1.1 section 2.3)."""

    value: str
    """Text content; "" for an empty element."""

    by_reference: bool = False
    """Whether ``value`` is a URL from which the content can be read."""

    is_post: bool = False
    """Whether the content was posted inline."""


@dataclass(frozen=True, slots=True)
class Result:
    """One entry of the results list."""

    result_id: str
    """The ``id`` attribute, unique in the list."""

    url: str | None = None
    """Where the result is, absolute; None if the server gave no link."""

    size: int | None = None
    """Size in bytes, if told."""

    mime_type: str | None = None
    """Media type, if told."""

    sha256: str | None = None
    """SHA-256 of the content in hexadecimal digits, if told; no part of the standard."""


@dataclass(frozen=True, slots=True)
class ErrorSummary:
    """Why a job failed, in short."""

    message: str
    """One human-readable line or more."""

    is_transient: bool = False
    """Whether the same job may succeed later (``type="transient"``)."""

    has_detail: bool = False
    """Whether the job's ``error`` resource tells more."""


@dataclass(frozen=True, slots=True)
class Job:
    """Everything that one reading of a job document told.

    Times are aware datetimes in UTC; None means "not told" or "not yet".
    """

    job_id: str
    phase: ExecutionPhase
    run_id: str | None = None
    owner_id: str | None = None
    quote: datetime | None = None
    creation_time: datetime | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    execution_duration: int = 0
    """Limit of the execution time (s); 0 = unlimited."""

    destruction: datetime | None = None
    parameters: tuple[Parameter, ...] = ()
    results: tuple[Result, ...] = ()
    error: ErrorSummary | None = None
    job_info: str | None = None
    """The ``jobInfo`` element as XML text, lossless; None if absent."""

    version: str | None = None
    """UWS version that the document claims; None means 1.0."""

    phase_text: str = field(default="", compare=False)
    """The phase as the server wrote it, for messages when it is none of the known ones."""


@dataclass(frozen=True, slots=True)
class JobRef:
    """One entry of a job list."""

    job_id: str
    phase: ExecutionPhase
    url: str | None = None
    """Absolute URL of the job; None if the list has no link (CADC): then ``{jobs}/{job_id}``."""

    run_id: str | None = None
    owner_id: str | None = None
    creation_time: datetime | None = None
