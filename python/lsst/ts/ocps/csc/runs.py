"""The life of a run: which step it is at, what to do next, and what each piece of news changes. No I/O.

::

    step       | news                                  | next step
    -----------+---------------------------------------+--------------------------------------
    accepted   | CreateIntended                        | creating
               | AbortAsked, CreateRefused             | ended
    creating   | CreateIntended (once more)            | creating
               | JobCreated                            | created (running where creating starts)
               | CreateRefused, CreateGivenUp          | ended
    created    | StartIntended                         | starting
    starting   | StartIntended (once more)             | starting
    created,   | JobSeen: PENDING                      | the same
    starting,  | JobSeen: QUEUED, EXECUTING, HELD …    | running
    running    | JobSeen: COMPLETED, ERROR, ABORTED …  | ended
               | JobMissing, GivenUp, StartRefused     | ended
    ended      | ReportBuilt                           | reporting
    reporting  | ReportWritten                         | reported

`AbortAsked` marks the record in any step before the end. News that do not fit the step change nothing: a late
answer never moves a run back. `decide` names the next act; the follower acts and brings back news.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from lsst.ts.ocps.uws.jobs import Job
from lsst.ts.ocps.uws.phases import ExecutionPhase

from .records import (
    Accepted,
    Created,
    Creating,
    Ended,
    JobHandle,
    Outcome,
    OutcomeKind,
    Report,
    Reported,
    Reporting,
    Running,
    RunRecord,
    Starting,
)

__all__ = [
    "MAX_RESUMES",
    "MISSING_AFTER",
    "AbortAsked",
    "Action",
    "CreateGivenUp",
    "CreateIntended",
    "CreateRefused",
    "GivenUp",
    "JobCreated",
    "JobMissing",
    "JobSeen",
    "News",
    "Progress",
    "ReportBuilt",
    "ReportWritten",
    "ResumeIntended",
    "StartIntended",
    "StartRefused",
    "decide",
    "observe",
]

MAX_RESUMES = 3
"""How often a HELD job is asked to run again before it is aborted (design section 6 point 3)."""

MISSING_AFTER = 30.0
"""How long a back end must keep saying "no such job" before it is believed (s)."""


@dataclass(frozen=True, slots=True)
class CreateIntended:
    """A job is about to be asked for."""


@dataclass(frozen=True, slots=True)
class JobCreated:
    """The back end created a job."""

    url: str
    job: Job


@dataclass(frozen=True, slots=True)
class CreateRefused:
    """No job exists for certain."""

    message: str


@dataclass(frozen=True, slots=True)
class CreateGivenUp:
    """No attempt brought a certain answer; a job may exist."""

    message: str


@dataclass(frozen=True, slots=True)
class StartIntended:
    """PHASE=RUN is about to be sent."""


@dataclass(frozen=True, slots=True)
class StartRefused:
    """The back end will not run the job."""

    message: str


@dataclass(frozen=True, slots=True)
class ResumeIntended:
    """PHASE=RUN is about to be sent to a HELD job."""


@dataclass(frozen=True, slots=True)
class JobSeen:
    """The job was read."""

    job: Job


@dataclass(frozen=True, slots=True)
class JobMissing:
    """The back end does not know the job."""

    seconds: float
    """For how long it has been saying so (s)."""


@dataclass(frozen=True, slots=True)
class AbortAsked:
    """Somebody wants the run to end."""


@dataclass(frozen=True, slots=True)
class GivenUp:
    """There was no good news for too long."""

    message: str


@dataclass(frozen=True, slots=True)
class ReportBuilt:
    """What will be said is fixed."""

    report: Report


@dataclass(frozen=True, slots=True)
class ReportWritten:
    """It has been said."""


News = (
    CreateIntended
    | JobCreated
    | CreateRefused
    | CreateGivenUp
    | StartIntended
    | StartRefused
    | ResumeIntended
    | JobSeen
    | JobMissing
    | AbortAsked
    | GivenUp
    | ReportBuilt
    | ReportWritten
)


def observe(record: RunRecord, news: News) -> RunRecord:
    """What a record becomes by a piece of news; the same object if it changes nothing."""
    match record.state:
        case Accepted() | Creating():
            return _observe_without_job(record, news)
        case Created() | Starting() | Running():
            return _observe_with_job(record, record.state, news)
        case Ended(outcome, handle) if isinstance(news, ReportBuilt):
            return replace(record, state=Reporting(outcome, news.report, handle))
        case Reporting(outcome, report, handle) if isinstance(news, ReportWritten):
            return replace(record, state=Reported(outcome, report, handle))
        case _:
            return record


def _observe_without_job(record: RunRecord, news: News) -> RunRecord:  # noqa: PLR0911 (one a case)
    match news:
        case CreateIntended():
            return replace(record, state=Creating(), create_attempts=record.create_attempts + 1)
        case CreateRefused(message):
            return _end_without_job(record, OutcomeKind.REJECTED, message)
        case AbortAsked():
            asked = replace(record, abort_requested=True)
            if isinstance(record.state, Creating):
                return asked
            return _end_without_job(asked, OutcomeKind.REJECTED, "")
        case JobCreated(url, job) if isinstance(record.state, Creating):
            created = Created(JobHandle(url, job.job_id), _lean(job))
            return _see(replace(record, state=created), created, created.job)
        case CreateGivenUp(message) if isinstance(record.state, Creating):
            # A PENDING job that nobody starts never runs; where creating is starting, it may be running.
            kind = OutcomeKind.REJECTED if record.run.creates_pending else OutcomeKind.LOST
            return _end_without_job(record, kind, message)
        case _:
            return record


def _observe_with_job(  # noqa: PLR0911 (one a case)
    record: RunRecord, state: Created | Starting | Running, news: News
) -> RunRecord:
    match news:
        case JobSeen(job):
            return _see(record, state, _lean(job))
        case AbortAsked():
            return record if record.abort_requested else replace(record, abort_requested=True)
        case StartIntended() if not isinstance(state, Running):
            return replace(record, state=Starting(state.handle, state.job))
        case ResumeIntended() if isinstance(state, Running):
            return replace(record, state=replace(state, resumes=state.resumes + 1))
        case JobMissing() if record.abort_requested:
            return _end(record, OutcomeKind.ABORTED, "the job is gone after it was asked to abort")
        case JobMissing(seconds) if seconds >= MISSING_AFTER:
            return _end(record, OutcomeKind.LOST, "the back end does not know the job any more")
        case GivenUp(message) | StartRefused(message):
            return _end(record, OutcomeKind.LOST, message)
        case _:
            return record


def _lean(job: Job) -> Job:
    """A job without what is not needed any more, and may be secret: what was sent, and the server's notes."""
    return replace(job, parameters=(), job_info=None)


def _end(record: RunRecord, kind: OutcomeKind, message: str, job: Job | None = None) -> RunRecord:
    return replace(record, state=Ended(Outcome(kind, message, job or record.job), record.handle))


def _end_without_job(record: RunRecord, kind: OutcomeKind, message: str) -> RunRecord:
    if record.abort_requested and kind is OutcomeKind.REJECTED:
        return _end(record, OutcomeKind.ABORTED, "aborted before it had a job")
    return _end(record, kind, message)


_FINAL_KINDS = {
    ExecutionPhase.COMPLETED: (OutcomeKind.COMPLETED, ""),
    ExecutionPhase.ERROR: (OutcomeKind.ERROR, "the job failed without saying why"),
    ExecutionPhase.ABORTED: (OutcomeKind.ABORTED, "the job was aborted"),
    ExecutionPhase.ARCHIVED: (OutcomeKind.LOST, "the job was archived before its end was seen"),
}


def _see(record: RunRecord, state: Created | Starting | Running, job: Job) -> RunRecord:
    if job.phase in _FINAL_KINDS:
        kind, message = _FINAL_KINDS[job.phase]
        # Some servers give a COMPLETED job an errorSummary; only the phase tells.
        told = job.error.message if job.error is not None and kind is not OutcomeKind.COMPLETED else ""
        return _end(record, kind, told or message, job)
    fresh: Created | Starting | Running
    if job.phase is ExecutionPhase.PENDING and record.run.creates_pending:
        fresh = replace(state, job=job)
    else:
        fresh = Running(state.handle, job, state.resumes if isinstance(state, Running) else 0)
    return record if fresh == state else replace(record, state=fresh)


class Action(StrEnum):
    """What to do next."""

    AWAIT_PREREQUISITES = "await prerequisites"
    AWAIT_SLOT = "await slot"
    CREATE = "create"
    START = "start"
    RESUME = "resume"
    ABORT = "abort"
    WATCH = "watch"
    REPORT = "report"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Progress:
    """What the follower of a run knows besides the record; forgotten when the process ends."""

    prerequisites_ended: bool = False
    has_slot: bool = False
    run_sent: bool = False
    """PHASE=RUN went out, perhaps: the phase must be read before it may go out again."""

    abort_sent: bool = False
    """ABORT went out lately; it is sent again when the job still lives after a while."""


def _before_start(record: RunRecord, progress: Progress, act: Action) -> Action:
    if record.run.prerequisites and not progress.prerequisites_ended:
        return Action.AWAIT_PREREQUISITES
    return act if progress.has_slot else Action.AWAIT_SLOT


def decide(record: RunRecord, progress: Progress) -> Action:  # noqa: PLR0911 (one case per step)
    """The next act for a run.

    Parameters
    ----------
    record
        What is known of it.
    progress
        What its follower has done in this life.
    """
    match record.state:
        case Reported():
            return Action.NOTHING
        case Ended() | Reporting():
            return Action.REPORT
        case Accepted() if not record.run.creates_pending:
            return _before_start(record, progress, Action.CREATE)
        case Accepted() | Creating():
            return Action.CREATE
        case Running(resumes=resumes, job=job):
            is_held = job.phase is ExecutionPhase.HELD and not progress.run_sent
        case _:
            is_held, resumes = False, 0
    if record.abort_requested or (is_held and resumes >= MAX_RESUMES):
        return Action.WATCH if progress.abort_sent else Action.ABORT
    if is_held:
        return Action.RESUME
    if isinstance(record.state, Created):
        return _before_start(record, progress, Action.START)
    if isinstance(record.state, Starting) and not progress.run_sent:
        return Action.START
    return Action.WATCH
