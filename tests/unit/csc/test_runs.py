import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsst.ts.ocps.csc.records import (
    RECORD,
    Created,
    Ended,
    FinalAck,
    OutcomeKind,
    Report,
    Reported,
    Running,
    RunRecord,
    Starting,
)
from lsst.ts.ocps.csc.runs import (
    MAX_RESUMES,
    MISSING_AFTER,
    AbortAsked,
    Action,
    CreateGivenUp,
    CreateIntended,
    CreateRefused,
    GivenUp,
    JobCreated,
    JobMissing,
    JobSeen,
    News,
    Progress,
    ReportBuilt,
    ReportWritten,
    ResumeIntended,
    StartIntended,
    StartRefused,
    decide,
    observe,
)
from lsst.ts.ocps.uws.jobs import ErrorSummary
from lsst.ts.ocps.uws.phases import ACTIVE, ExecutionPhase
from support.runs import URL, ended_record, make_job, make_record, make_run, with_news

P = ExecutionPhase
READY = Progress(prerequisites_ended=True, has_slot=True)


def created(**run: object) -> RunRecord:
    return with_news(make_record(**run), CreateIntended(), JobCreated(URL, make_job()))


def running(phase: ExecutionPhase = P.EXECUTING) -> RunRecord:
    return with_news(created(), StartIntended(), JobSeen(make_job(phase)))


def kind_of(record: RunRecord) -> OutcomeKind:
    assert record.outcome is not None
    return record.outcome.kind


def test_a_run_takes_every_step_in_order() -> None:
    record = make_record()
    steps = [record.state.step]
    report = Report(FinalAck.COMPLETE, "{}")
    for news in (
        CreateIntended(),
        JobCreated(URL, make_job()),
        StartIntended(),
        JobSeen(make_job(P.QUEUED)),
        JobSeen(make_job(P.COMPLETED)),
        ReportBuilt(report),
        ReportWritten(),
    ):
        record = observe(record, news)
        steps.append(record.state.step)
    assert steps == [
        "accepted",
        "creating",
        "created",
        "starting",
        "running",
        "ended",
        "reporting",
        "reported",
    ]
    assert isinstance(record.state, Reported)
    assert record.state.report is report


def test_every_state_survives_the_way_to_the_ledger_and_back() -> None:
    records = [make_record(), created(), with_news(created(), StartIntended()), running(), ended_record()]
    records.append(observe(records[-1], ReportBuilt(Report(FinalAck.ABORTED, "x", exit_code=255))))
    for record in records:
        assert RECORD.validate_json(RECORD.dump_json(record)) == record


@pytest.mark.parametrize(
    ("phase", "kind"),
    [
        (P.COMPLETED, OutcomeKind.COMPLETED),
        (P.ERROR, OutcomeKind.ERROR),
        (P.ABORTED, OutcomeKind.ABORTED),
        (P.ARCHIVED, OutcomeKind.LOST),
    ],
)
def test_only_a_final_phase_ends_a_run(phase: ExecutionPhase, kind: OutcomeKind) -> None:
    assert kind_of(observe(running(), JobSeen(make_job(phase)))) is kind


@pytest.mark.parametrize("phase", sorted(ACTIVE))
def test_an_active_phase_never_ends_a_run(phase: ExecutionPhase) -> None:
    record = observe(running(), JobSeen(make_job(phase)))
    assert not record.has_ended
    assert record.phase is phase


def test_an_error_summary_of_a_completed_job_is_no_failure() -> None:
    job = make_job(P.COMPLETED, error=ErrorSummary("left over"))
    record = observe(running(), JobSeen(job))
    assert (kind_of(record), record.outcome and record.outcome.message) == (OutcomeKind.COMPLETED, "")


def test_an_error_says_why() -> None:
    record = observe(running(), JobSeen(make_job(P.ERROR, error=ErrorSummary("no such image"))))
    assert record.outcome is not None
    assert record.outcome.message == "no such image"


def test_a_job_that_starts_by_itself_is_running() -> None:
    record = with_news(make_record(), CreateIntended(), JobCreated(URL, make_job(P.QUEUED)))
    assert isinstance(record.state, Running)
    pending = with_news(make_record(creates_pending=False), CreateIntended(), JobCreated(URL, make_job()))
    assert isinstance(pending.state, Running)


def test_a_refused_creation_is_a_rejection() -> None:
    record = with_news(make_record(), CreateIntended(), CreateRefused("no"))
    assert (kind_of(record), record.handle) == (OutcomeKind.REJECTED, None)


def test_giving_up_an_ambiguous_creation_rejects_where_a_job_waits_and_loses_where_it_runs() -> None:
    for creates_pending, kind in ((True, OutcomeKind.REJECTED), (False, OutcomeKind.LOST)):
        record = with_news(make_record(creates_pending=creates_pending), CreateIntended(), CreateGivenUp("?"))
        assert kind_of(record) is kind


def test_a_missing_job_is_believed_to_be_missing_only_after_a_while() -> None:
    record = running()
    assert MISSING_AFTER == 30.0, "the guides say so"
    assert observe(record, JobMissing(MISSING_AFTER - 1)) is record
    assert kind_of(observe(record, JobMissing(MISSING_AFTER))) is OutcomeKind.LOST


def test_a_job_that_is_gone_after_we_asked_for_its_abort_is_aborted() -> None:
    assert kind_of(with_news(running(), AbortAsked(), JobMissing(0))) is OutcomeKind.ABORTED


def test_a_job_that_completes_in_spite_of_the_abort_is_completed() -> None:
    record = with_news(running(), AbortAsked(), JobSeen(make_job(P.COMPLETED)))
    assert kind_of(record) is OutcomeKind.COMPLETED


def test_an_abort_before_there_is_a_job_ends_as_aborted() -> None:
    assert kind_of(observe(make_record(), AbortAsked())) is OutcomeKind.ABORTED
    assert kind_of(with_news(make_record(), CreateIntended(), AbortAsked(), CreateRefused("x"))) is (
        OutcomeKind.ABORTED
    )


def test_the_end_of_a_lost_run_is_not_told_as_the_last_phase_seen() -> None:
    record = observe(running(), GivenUp("no news"))
    assert record.phase is P.UNKNOWN
    assert observe(running(), JobSeen(make_job(P.ARCHIVED))).phase is P.ARCHIVED


def test_a_job_waits_for_prerequisites_then_for_a_slot_then_starts() -> None:
    record = created(prerequisites=("5",))
    assert decide(record, Progress(has_slot=True)) is Action.AWAIT_PREREQUISITES
    assert decide(record, Progress(prerequisites_ended=True)) is Action.AWAIT_SLOT
    assert decide(record, READY) is Action.START
    assert decide(created(), Progress()) is Action.AWAIT_SLOT


def test_where_creating_is_starting_nothing_is_created_before_its_time() -> None:
    record = make_record(creates_pending=False, prerequisites=("5",))
    assert decide(record, Progress()) is Action.AWAIT_PREREQUISITES
    assert decide(record, READY) is Action.CREATE
    assert decide(make_record(prerequisites=("5",)), Progress()) is Action.CREATE


def test_run_is_not_sent_again_before_the_phase_was_read() -> None:
    record = with_news(created(), StartIntended())
    assert decide(record, Progress(has_slot=True, run_sent=True)) is Action.WATCH
    assert decide(record, READY) is Action.START


def test_a_held_job_is_resumed_three_times_then_aborted() -> None:
    record = running(P.HELD)
    assert MAX_RESUMES == 3
    for _ in range(MAX_RESUMES):
        assert decide(record, READY) is Action.RESUME
        record = observe(record, ResumeIntended())
        assert decide(record, Progress(run_sent=True)) is Action.WATCH
    assert decide(record, READY) is Action.ABORT
    assert decide(record, Progress(abort_sent=True)) is Action.WATCH


@pytest.mark.parametrize("record", [created(), with_news(created(), StartIntended()), running()])
def test_an_abort_comes_before_everything_else(record: RunRecord) -> None:
    asked = observe(record, AbortAsked())
    assert decide(asked, READY) is Action.ABORT
    assert decide(asked, Progress(abort_sent=True)) is Action.WATCH
    assert observe(asked, AbortAsked()) is asked


def test_what_is_over_is_reported_once() -> None:
    record = ended_record()
    assert decide(record, Progress()) is Action.REPORT
    record = observe(record, ReportBuilt(Report(FinalAck.COMPLETE, "")))
    assert decide(record, Progress()) is Action.REPORT
    assert decide(observe(record, ReportWritten()), Progress()) is Action.NOTHING


jobs = st.sampled_from(ExecutionPhase).map(make_job)
anything: st.SearchStrategy[News] = st.one_of(
    st.just(CreateIntended()),
    jobs.map(lambda job: JobCreated(URL, job)),
    st.just(CreateRefused("refused")),
    st.just(CreateGivenUp("given up")),
    st.just(StartIntended()),
    st.just(StartRefused("refused")),
    st.just(ResumeIntended()),
    jobs.map(JobSeen),
    st.sampled_from([0.0, MISSING_AFTER]).map(JobMissing),
    st.just(AbortAsked()),
    st.just(GivenUp("given up")),
    st.just(ReportBuilt(Report(FinalAck.FAILED, "x"))),
    st.just(ReportWritten()),
)
ORDER = ("accepted", "creating", "created", "starting", "running", "ended", "reporting", "reported")


@given(st.booleans(), st.lists(anything, max_size=30))
def test_no_order_of_news_moves_a_run_back_or_changes_how_it_ended(
    creates_pending: bool, news: list[News]
) -> None:
    record = RunRecord(make_run(creates_pending=creates_pending))
    for piece in news:
        after = observe(record, piece)
        assert ORDER.index(after.state.step) >= ORDER.index(record.state.step)
        if record.has_ended:
            assert after.outcome == record.outcome
        if record.handle is not None:
            assert after.handle == record.handle
        if isinstance(record.state, Reported):
            assert after is record
        assert RECORD.validate_json(RECORD.dump_json(after)) == after
        record = after


@given(st.booleans(), st.lists(anything, max_size=30))
def test_a_run_is_started_only_by_intent_and_rejected_only_without_a_job(
    creates_pending: bool, news: list[News]
) -> None:
    record = RunRecord(make_run(creates_pending=creates_pending))
    for piece in news:
        after = observe(record, piece)
        if isinstance(after.state, Starting) and not isinstance(record.state, Starting):
            assert isinstance(record.state, Created)
            assert isinstance(piece, StartIntended)
        if isinstance(after.state, Ended) and after.state.outcome.kind is OutcomeKind.REJECTED:
            assert after.handle is None
        record = after


@given(st.lists(anything, max_size=20), st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_there_is_always_something_to_do_until_all_is_reported(
    news: list[News], prerequisites: bool, slot: bool, run_sent: bool, abort_sent: bool
) -> None:
    record = with_news(RunRecord(make_run(prerequisites=("1",))), *news)
    progress = Progress(prerequisites, slot, run_sent, abort_sent)
    assert (decide(record, progress) is Action.NOTHING) is isinstance(record.state, Reported)
