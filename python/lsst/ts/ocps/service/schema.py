"""The tables, and what is kept of a job; a change here needs one in ``migrations``. See ``rows``."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from lsst.ts.ocps.uws.jobs import Job, Parameter
from lsst.ts.ocps.uws.phases import ExecutionPhase

from .columns import JsonList, Milliseconds

__all__ = [
    "StoredJob",
    "StoredResult",
    "StoredUpload",
    "instances",
    "jobs",
    "metadata",
    "now",
    "row_from_job",
    "upload_columns",
    "upload_parameter",
]


def now() -> datetime:
    """The time in UTC, as precise as times are kept and shown (1 ms).

    Were they kept more precisely, ``AFTER=`` the shown time of a job would list the job itself.
    """
    time = datetime.now(UTC)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


metadata = sa.MetaData()

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("job_id", sa.String(32), primary_key=True),
    sa.Column("payload", sa.String(63), nullable=False),
    sa.Column("run_id", sa.String(64)),
    sa.Column("owner_id", sa.String(128)),
    sa.Column("phase", sa.String(16), nullable=False),
    sa.Column("creation_time", Milliseconds, nullable=False),
    sa.Column("start_time", Milliseconds),
    sa.Column("end_time", Milliseconds),
    sa.Column("destruction", Milliseconds),
    sa.Column("execution_duration", sa.Integer, nullable=False),
    sa.Column("parameters", JsonList, nullable=False, comment="[[name, value], …]"),
    sa.Column(
        "results", JsonList, nullable=False, comment="[[id, path, size, mime type, SHA-256, is log], …]"
    ),
    sa.Column("error_message", sa.Text),
    sa.Column("error_is_transient", sa.Boolean, nullable=False, default=False),
    sa.Column("error_has_detail", sa.Boolean, nullable=False, default=False),
    sa.Column("exit_code", sa.Integer),
    sa.Column("executor", sa.String(32), nullable=False),
    sa.Column("outputs", sa.Text, nullable=False, comment="output folder below the folder of the job"),
    sa.Column("native_id", sa.Text, comment="what the executor calls it"),
    sa.Column(
        "handed_over",
        sa.Boolean,
        nullable=False,
        default=False,
        comment="an executor was asked to run it, and its end is not yet known",
    ),
    sa.Column(
        "destroyed",
        sa.Boolean,
        nullable=False,
        default=False,
        comment="its command and its folder are still to go; until then the row stays, whoever may see it",
    ),
    sa.Column("instance", sa.String(128), comment="which process of the service handed it over"),
    sa.Column("uploads", JsonList, nullable=False, comment="[[name, URL or null, size, file], …]"),
    sa.Column("upload_bytes", sa.BigInteger, nullable=False, default=0),
    sa.Column("stored_bytes", sa.BigInteger, nullable=False, default=0),
    sa.Index("jobs_by_owner", "owner_id", "creation_time", "job_id"),
    sa.Index("jobs_by_owner_and_phase", "owner_id", "phase"),
    sa.Index("jobs_by_payload", "payload", "creation_time", "job_id"),
    sa.Index("jobs_by_time", "creation_time", "job_id"),
    sa.Index("jobs_by_payload_and_phase", "payload", "phase", "creation_time", "job_id"),
    sa.Index("jobs_by_phase", "phase", "creation_time", "job_id"),
    sa.Index("jobs_by_destruction", "destruction"),
)

# Of the few jobs that they are needed for: SQLite would take an index of all for "not destroyed", which
# nearly every job is.
for _name, _column in (("jobs_handed_over", jobs.c.handed_over), ("jobs_destroyed", jobs.c.destroyed)):
    _is_so = _column.is_(True)
    _ = sa.Index(_name, jobs.c.job_id, sqlite_where=_is_so, postgresql_where=_is_so)

instances = sa.Table(
    "instances",
    metadata,
    sa.Column("instance", sa.String(128), primary_key=True),
    sa.Column("host", sa.String(255), nullable=False, comment="whose processes it can follow"),
    sa.Column(
        "alive_until",
        sa.BigInteger,
        nullable=False,
        comment="ms since 1970 by the clock of the database; prolonged as long as the process lives",
    ),
)


@dataclass(frozen=True, slots=True)
class StoredResult:
    """A file that a job left."""

    result_id: str
    path: str
    """Relative to the output folder."""

    size: int
    """Size when the job ended (byte)."""

    mime_type: str
    sha256: str | None = None
    """SHA-256 of its content when the job ended, in hexadecimal digits; None if nobody knows."""

    is_log: bool = False
    """Whether it is what the command said, kept beside the output folder: ``path`` is its name there."""


@dataclass(frozen=True, slots=True)
class StoredUpload:
    """A file that came with a job."""

    name: str
    """What the payload calls it: a name for a file."""

    url: str | None
    """Where it is read from when the job runs; None: it came with a request."""

    size: int = 0
    """Size of what came with a request (byte)."""

    file: str = ""
    """Name of the file that it is received in, and has to itself, until the job runs; "": it is in its place
    already."""


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A job as UWS tells it, and what only the service knows of it."""

    job: Job
    """Its results have no ``url``: that depends on the root URL of who asks."""

    payload: str
    executor: str
    outputs: str
    """Output folder below the folder of the job."""

    native_id: str | None = None
    handed_over: bool = False
    """Whether an executor was asked to run it and its end is not yet known."""

    destroyed: bool = False
    """Whether its command and its folder are still to go."""

    instance: str | None = None
    """Which process of the service handed it over."""

    exit_code: int | None = None
    files: tuple[StoredResult, ...] = ()
    """The files behind ``job.results``."""

    uploads: tuple[StoredUpload, ...] = ()
    """The files that came with it; ``job.parameters`` name them too, by reference."""

    @property
    def job_id(self) -> str:
        """Short for ``job.job_id``."""
        return self.job.job_id

    @property
    def phase(self) -> ExecutionPhase:
        """Short for ``job.phase``."""
        return self.job.phase

    @property
    def is_hidden(self) -> bool:
        """Whether the job is gone for everybody: destroyed, and not kept as ARCHIVED for some time."""
        return self.destroyed and not (self.phase is ExecutionPhase.ARCHIVED and self.job.destruction)

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The parameters as name-value pairs."""
        given = (parameter for parameter in self.job.parameters if not parameter.by_reference)
        return tuple((parameter.name, parameter.value) for parameter in given)


def upload_parameter(upload: StoredUpload) -> Parameter:
    """How an upload is told; the URL of what came with the request depends on who asks."""
    return Parameter(upload.name, upload.url or "", by_reference=True, is_post=upload.url is None)


def upload_columns(uploads: Sequence[StoredUpload]) -> dict[str, Any]:
    """The columns that tell of uploads."""
    return {
        "uploads": [list(astuple(upload)) for upload in uploads],
        "upload_bytes": sum(upload.size for upload in uploads),
    }


def row_from_job(stored: StoredJob) -> dict[str, Any]:
    """The columns of a new job; it has no end and no results yet."""
    job = stored.job
    return {
        "job_id": job.job_id,
        "payload": stored.payload,
        "run_id": job.run_id,
        "owner_id": job.owner_id,
        "phase": job.phase.value,
        "creation_time": job.creation_time,
        "destruction": job.destruction,
        "execution_duration": job.execution_duration,
        "parameters": [list(pair) for pair in stored.pairs],
        "results": [],
        **upload_columns(stored.uploads),
        "executor": stored.executor,
        "outputs": stored.outputs,
    }
