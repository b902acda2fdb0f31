"""Control parameters: every form that clients send, and a clear word about all others."""

from datetime import UTC, datetime, timedelta

import pytest

from lsst.ts.ocps.payloads.schema import PayloadDefinition
from lsst.ts.ocps.service.controls import (
    read_action,
    read_controls,
    read_destruction,
    read_execution_duration,
    read_filter,
    read_phase_request,
    read_waiting,
)
from lsst.ts.ocps.service.errors import UsageError
from lsst.ts.ocps.service.forms import Form
from lsst.ts.ocps.service.schema import now
from lsst.ts.ocps.uws.phases import ExecutionPhase
from lsst.ts.ocps.uws.times import format_time

CREATED = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
LONG = timedelta(days=4_000_000)


def form(*pairs: tuple[str, str]) -> Form:
    return Form(pairs)


def definition(**values: object) -> PayloadDefinition:
    content = {"name": "p", "description": "", "run": {"command": ["true"]}, **values}
    return PayloadDefinition.model_validate(content)


def test_a_creating_request_without_controls_takes_those_of_the_payload() -> None:
    payload = definition(execution_duration=50, destruction="P2D")
    controls = read_controls(form(), payload, created=CREATED, max_retention=LONG)
    assert not controls.run
    assert controls.run_id is None
    assert controls.execution_duration == 50
    assert controls.destruction == CREATED + timedelta(days=2)


def test_names_of_controls_are_taken_in_any_case() -> None:
    pairs = (("phase", "RUN"), ("RunId", "x"), ("executionDuration", "5"), ("Destruction", "2199-01-01"))
    controls = read_controls(form(*pairs), definition(), created=CREATED, max_retention=LONG)
    assert controls.run
    assert controls.run_id == "x"
    assert controls.execution_duration == 5
    assert controls.destruction == datetime(2199, 1, 1, tzinfo=UTC)


def test_a_destruction_beyond_the_calendar_is_its_end() -> None:
    controls = read_controls(form(), definition(destruction="P2999999D"), created=CREATED, max_retention=LONG)
    assert controls.destruction.year == 9999


def test_nothing_is_kept_longer_than_the_service_allows() -> None:
    week = timedelta(days=7)
    created = now()
    for asked, payload, kept in (
        ("2199-01-01", definition(), week),
        (format_time(created + timedelta(days=1)), definition(), timedelta(days=1)),
        ("", definition(destruction="P30D"), week),
        ("", definition(destruction="P2D"), timedelta(days=2)),
    ):
        controls = read_controls(form(("DESTRUCTION", asked)), payload, created=created, max_retention=week)
        assert controls.destruction == created + kept


@pytest.mark.parametrize("text", ["", "x" * 64, "ocps-site-1-0abc", "ünïcode"])
def test_run_ids_of_dali_are_taken(text: str) -> None:
    assert read_controls(form(("RUNID", text)), definition(), created=CREATED, max_retention=LONG).run_id == (
        text or None
    )


@pytest.mark.parametrize("text", ["x" * 65, "two\nlines", "nul\0", "esc\x1b[0m"])
def test_other_run_ids_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="RUNID"):
        read_controls(form(("RUNID", text)), definition(), created=CREATED, max_retention=LONG)


@pytest.mark.parametrize(
    ("pairs", "name"),
    [
        ([("PHASE", "ABORT")], "PHASE"),
        ([("PHASE", "run")], "PHASE"),
        ([("PHASE", "RUN"), ("phase", "RUN")], "PHASE"),
        ([("ACTION", "DELETE")], "ACTION"),
        ([("WAIT", "5")], "WAIT"),
        ([("EXECUTIONDURATION", "-1")], "EXECUTIONDURATION"),
        ([("EXECUTIONDURATION", "1.5")], "EXECUTIONDURATION"),
        ([("EXECUTIONDURATION", "")], "EXECUTIONDURATION"),
        ([("EXECUTIONDURATION", "2147483648")], "EXECUTIONDURATION"),
        ([("EXECUTIONDURATION", "\u0661")], "EXECUTIONDURATION"),
        ([("DESTRUCTION", "tomorrow")], "DESTRUCTION"),
        ([("DESTRUCTION", "2001-01-01T00:00:00Z")], "DESTRUCTION"),
        ([("DESTRUCTION", "2199-02-30")], "DESTRUCTION"),
    ],
)
def test_a_wrong_control_is_refused_by_its_name(pairs: list[tuple[str, str]], name: str) -> None:
    with pytest.raises(UsageError, match=name):
        read_controls(form(*pairs), definition(), created=CREATED, max_retention=LONG)


@pytest.mark.parametrize(
    ("bound", "asked", "set_to"),
    [(0, "0", 0), (0, "7", 7), (100, "7", 7), (100, "100", 100), (100, "101", 100), (100, "0", 100)],
)
def test_the_limit_of_the_payload_is_never_exceeded(bound: int, asked: str, set_to: int) -> None:
    payload = definition(execution_duration=bound)
    assert read_execution_duration(form(("EXECUTIONDURATION", asked)), payload) == set_to


@pytest.mark.parametrize(
    "text",
    [
        "2199-02-03T04:05:06Z",
        "2199-02-03T04:05:06.000000Z",
        "2199-02-03T04:05:06",
        "2199-02-03 04:05:06",
        "2199-02-03T05:05:06+01:00",
    ],
)
def test_a_destruction_is_read_in_every_form_that_clients_send(text: str) -> None:
    expected = datetime(2199, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert read_destruction(form(("destruction", text))) == expected


@pytest.mark.parametrize("pairs", [[], [("DESTRUCTION", "")]])
def test_a_destruction_that_is_asked_for_must_be_given(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(UsageError, match="DESTRUCTION"):
        read_destruction(form(*pairs))


def test_filters_are_read_together() -> None:
    pairs = [("PHASE", "ERROR"), ("phase", "ABORTED"), ("after", "2026-01-02"), ("Last", "3")]
    wanted = read_filter(form(*pairs), "p")
    assert wanted.payload == "p"
    assert wanted.phases == {ExecutionPhase.ERROR, ExecutionPhase.ABORTED}
    assert wanted.after == datetime(2026, 1, 2, tzinfo=UTC)
    assert wanted.last == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [("LAST", "0"), ("LAST", "-1"), ("LAST", "x"), ("LAST", "9" * 40), ("AFTER", "x"), ("PHASE", "DONE")],
)
def test_a_wrong_filter_is_refused_by_its_name(name: str, value: str) -> None:
    with pytest.raises(UsageError, match=name):
        read_filter(form((name, value)), None)


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("5", 5), ("-1", 50), ("50", 50), ("51", 50), ("9" * 25, 50)]
)
def test_waiting_is_capped(text: str, seconds: float) -> None:
    assert read_waiting(form(("wait", text)), max_wait=50).seconds == seconds


def test_without_wait_nobody_waits() -> None:
    assert read_waiting(form(("PHASE", "QUEUED")), max_wait=50).seconds == 0


@pytest.mark.parametrize("text", ["-2", "soon", "", "1.5", "9" * 40])
def test_a_wait_that_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="WAIT"):
        read_waiting(form(("WAIT", text)), max_wait=50)


def test_phases_that_cannot_be_asked_for_are_refused_with_those_that_can() -> None:
    with pytest.raises(UsageError, match="possible: RUN, ABORT"):
        read_phase_request(form(("PHASE", "COMPLETED")), ("RUN", "ABORT"))
    with pytest.raises(UsageError, match="missing"):
        read_phase_request(form(), ("RUN", "ABORT"))


@pytest.mark.parametrize(
    "pairs",
    [
        [],
        [("PHASE", "ABORT")],
        [("ACTION", "delete")],
        [("ACTION", "DELETE"), ("PHASE", "RUN")],
        [("ACTION", "DELETE"), ("ACTION", "DELETE")],
    ],
)
def test_a_job_takes_the_action_delete_and_nothing_else(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(UsageError, match="ACTION"):
        read_action(form(*pairs))
    read_action(form(("action", "DELETE")))
