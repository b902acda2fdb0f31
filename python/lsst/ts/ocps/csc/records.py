"""What is known of a run: its request, its step, its end. Type-state records, kept by the ledger as JSON."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter

from lsst.ts.ocps.client.base import ShellJob
from lsst.ts.ocps.uws.jobs import Job
from lsst.ts.ocps.uws.phases import ExecutionPhase

from .deposit_plan import DepositPlan

__all__ = [
    "RECORD",
    "Accepted",
    "CommandKey",
    "Created",
    "Creating",
    "Ended",
    "FinalAck",
    "JobHandle",
    "Outcome",
    "OutcomeKind",
    "Report",
    "Reported",
    "Reporting",
    "Run",
    "RunRecord",
    "Running",
    "Starting",
    "Step",
]


@dataclass(frozen=True, slots=True)
class CommandKey:
    """Which command record asked for a run; the same key twice is one record delivered twice.

    An adopted run has one with its own run_id as the identity and zeros.
    """

    identity: str
    origin: int
    seq_num: int
    snd_stamp: float
    """When it was sent (TAI, Unix s)."""

    @classmethod
    def of(cls, data: Any) -> Self:
        """The key of a command record as SAL gives it."""
        return cls(data.private_identity, data.private_origin, data.private_seqNum, data.private_sndStamp)


@dataclass(frozen=True, slots=True)
class Run:
    """What was asked for; never changes."""

    run_id: str
    command: Literal["run", "execute", "adopted"]
    """The command that asked for it; an adopted run was found on the back end, and nobody waits for it."""

    key: CommandKey
    payload: str
    parameters: dict[str, Any]
    """Validated, defaults filled in, secrets redacted: for reports."""

    pairs: tuple[tuple[str, str], ...]
    """The encoded parameters for the back end; the values of secret ones are hidden."""

    backend: dict[str, Any]
    """Settings of the back end when the run was accepted; credentials only by reference."""

    creates_pending: bool
    """Whether a created job waits to be started (see ``Backend.creates_pending``)."""

    accepted_at: float
    """UTC, Unix s."""

    has_secrets: bool = False
    """Whether `pairs` hides values: only the process that took the command knows them."""

    label: str = ""
    prerequisites: tuple[str, ...] = ()
    """Ids of jobs or runs that must have ended before this one starts."""

    detach: bool = False
    """Whether the command was complete when the job was accepted."""

    expected_duration: float = 600.0
    """Timeout of the first acknowledgement (s)."""

    execution_duration: int = 3600
    """Limit of the execution time (s); 0 = unlimited."""

    destruction_after: float = 604800.0
    """How long the job is kept after its creation (s)."""

    max_active: int | None = None
    """How many runs of this payload may be active at once; None: any number."""

    max_active_of_all: int | None = None
    """How many runs of all payloads may be active at once; None: any number."""

    reports_failure: bool = True
    """Whether a job in phase ERROR makes the command fail."""

    shell: ShellJob | None = None
    """How the payload is run by a back end that knows no payloads; None: its definition does not say."""

    deposit: DepositPlan | None = None
    """Where the results go when the job has completed; None: they stay with the back end."""

    @property
    def is_adopted(self) -> bool:
        """Whether no command is known for the run."""
        return self.command == "adopted"


class OutcomeKind(StrEnum):
    """How a run ended."""

    COMPLETED = "completed"
    """Phase COMPLETED was read."""

    ERROR = "error"
    """Phase ERROR was read."""

    ABORTED = "aborted"
    """Phase ABORTED was read, or the job is gone after we asked for its abort."""

    LOST = "lost"
    """The job vanished, was never started, or its outcome cannot be known."""

    REJECTED = "rejected"
    """No job was created."""


_PHASES = {
    OutcomeKind.COMPLETED: ExecutionPhase.COMPLETED,
    OutcomeKind.ERROR: ExecutionPhase.ERROR,
    OutcomeKind.ABORTED: ExecutionPhase.ABORTED,
    OutcomeKind.LOST: ExecutionPhase.UNKNOWN,
    OutcomeKind.REJECTED: ExecutionPhase.UNKNOWN,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended, and the last that was read of its job."""

    kind: OutcomeKind
    message: str = ""
    """Why, for people; "" if there is nothing to say."""

    job: Job | None = None
    """The job as last read; None where none was."""

    @property
    def phase(self) -> ExecutionPhase:
        """The phase in which the run ended; UNKNOWN if that was not read."""
        if self.kind is OutcomeKind.LOST and self.job is not None:
            # Only this final phase makes a run lost; any other reading is older than the loss.
            is_archived = self.job.phase is ExecutionPhase.ARCHIVED
            return ExecutionPhase.ARCHIVED if is_archived else ExecutionPhase.UNKNOWN
        return _PHASES[self.kind]


class FinalAck(StrEnum):
    """Which final acknowledgement a command gets."""

    COMPLETE = "complete"
    FAILED = "failed"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class Report:
    """What is said of an ended run, word for word, so that it can be said again identically."""

    ack: FinalAck | None
    """None: the command has had its final acknowledgement when the job was accepted (detach)."""

    ack_result: str = ""
    has_result: bool = True
    """Whether a ``job_result`` is written: not for a rejected command."""

    exit_code: int = 1
    result: str = ""
    """JSON text of ``job_result``."""


@dataclass(frozen=True, slots=True)
class JobHandle:
    """Which job belongs to the run."""

    url: str
    job_id: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """The row exists; nothing was asked of the back end."""

    step: Literal["accepted"] = "accepted"


@dataclass(frozen=True, slots=True)
class Creating:
    """A job is being asked for; whether it exists is not known."""

    step: Literal["creating"] = "creating"


@dataclass(frozen=True, slots=True)
class Created:
    """The job exists and is PENDING; its URL is recorded."""

    handle: JobHandle
    job: Job
    step: Literal["created"] = "created"


@dataclass(frozen=True, slots=True)
class Starting:
    """PHASE=RUN was sent, or was about to be."""

    handle: JobHandle
    job: Job
    step: Literal["starting"] = "starting"


@dataclass(frozen=True, slots=True)
class Running:
    """The job has left PENDING and has not ended."""

    handle: JobHandle
    job: Job
    resumes: int = 0
    """How often a HELD job was asked to run again."""

    step: Literal["running"] = "running"


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended is known; nothing was reported."""

    outcome: Outcome
    handle: JobHandle | None = None
    step: Literal["ended"] = "ended"


@dataclass(frozen=True, slots=True)
class Reporting:
    """The report is being written; whether it is out is not known."""

    outcome: Outcome
    report: Report
    handle: JobHandle | None = None
    step: Literal["reporting"] = "reporting"


@dataclass(frozen=True, slots=True)
class Reported:
    """The report is out; nothing is left to do."""

    outcome: Outcome
    report: Report
    handle: JobHandle | None = None
    step: Literal["reported"] = "reported"


Step = Accepted | Creating | Created | Starting | Running | Ended | Reporting | Reported


@dataclass(frozen=True, slots=True)
class RunRecord:
    """Everything known of a run; this is what the ledger keeps."""

    run: Run
    state: Annotated[Step, Field(discriminator="step")] = field(default_factory=Accepted)
    create_attempts: int = 0
    """How often a job was asked for; more than one may have left an orphan PENDING on the back end."""

    abort_requested: bool = False

    @property
    def handle(self) -> JobHandle | None:
        """The job, once it is known."""
        return None if isinstance(self.state, Accepted | Creating) else self.state.handle

    @property
    def job(self) -> Job | None:
        """The last reading of the job."""
        if isinstance(self.state, Created | Starting | Running):
            return self.state.job
        return None if self.outcome is None else self.outcome.job

    @property
    def phase(self) -> ExecutionPhase:
        """The phase to be told: PENDING before there is a job; UNKNOWN for an end that was not read."""
        if self.outcome is not None:
            return self.outcome.phase
        return ExecutionPhase.PENDING if self.job is None else self.job.phase

    @property
    def outcome(self) -> Outcome | None:
        """How the run ended; None while it lives."""
        return self.state.outcome if isinstance(self.state, Ended | Reporting | Reported) else None

    def to_logging_context(self) -> dict[str, str]:
        """What every message of the log about this run says of it."""
        job_id = "" if self.handle is None else self.handle.job_id
        return {"run_id": self.run.run_id, "job_id": job_id, "payload": self.run.payload}

    @property
    def has_ended(self) -> bool:
        """Whether the run has ended, reported or not."""
        return self.outcome is not None


RECORD: TypeAdapter[RunRecord] = TypeAdapter(RunRecord)
"""To and from JSON, for the ledger."""
