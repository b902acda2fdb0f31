from itertools import product

import pytest

from lsst.ts.ocps.uws.phases import (
    ACTIVE,
    FINAL,
    TRANSITIONS,
    WAITABLE,
    ExecutionPhase,
    may_change,
    parse_phase,
)

P = ExecutionPhase


@pytest.mark.parametrize("phase", list(P))
@pytest.mark.parametrize("form", ["{}", "{}\n", "  {}", "\t{}\r\n"])
def test_phases_are_read_in_any_case_with_blanks_around(phase: P, form: str) -> None:
    assert parse_phase(form.format(phase)) is phase
    assert parse_phase(form.format(phase.lower())) is phase
    assert parse_phase(form.format(phase.title())) is phase


@pytest.mark.parametrize("text", ["", "RUN", "DONE", "COMPLETED?", "PENDINGQUEUED", "<html>", "0"])
def test_an_unknown_word_is_unknown_and_never_an_end(text: str) -> None:
    assert parse_phase(text) is P.UNKNOWN
    assert P.UNKNOWN in ACTIVE


def test_every_phase_is_either_active_or_final() -> None:
    assert set(P) == ACTIVE | FINAL
    assert not ACTIVE & FINAL
    assert {P.COMPLETED, P.ERROR, P.ABORTED, P.ARCHIVED} == FINAL


def test_a_service_blocks_only_in_the_three_phases_of_the_standard() -> None:
    assert {P.PENDING, P.QUEUED, P.EXECUTING} == WAITABLE


def test_a_final_phase_is_left_only_to_be_archived() -> None:
    for old, new in product(FINAL, P):
        assert may_change(old, new) == (new is P.ARCHIVED and old is not P.ARCHIVED)


def test_no_phase_changes_into_itself_or_back_to_pending() -> None:
    for old in P:
        assert not may_change(old, old)
        assert not may_change(old, P.PENDING)


def test_every_active_phase_can_be_aborted_and_can_fail() -> None:
    for old in ACTIVE:
        assert may_change(old, P.ABORTED)
        assert may_change(old, P.ERROR)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (P.PENDING, P.QUEUED),
        (P.PENDING, P.HELD),
        (P.HELD, P.QUEUED),
        (P.HELD, P.EXECUTING),
        (P.QUEUED, P.EXECUTING),
        (P.EXECUTING, P.COMPLETED),
        (P.EXECUTING, P.SUSPENDED),
        (P.SUSPENDED, P.EXECUTING),
        (P.EXECUTING, P.HELD),
        (P.COMPLETED, P.ARCHIVED),
    ],
)
def test_the_changes_of_the_standard_are_allowed(old: P, new: P) -> None:
    assert may_change(old, new)


@pytest.mark.parametrize(
    ("old", "new"), [(P.PENDING, P.COMPLETED), (P.QUEUED, P.COMPLETED), (P.HELD, P.COMPLETED)]
)
def test_nothing_completes_without_executing(old: P, new: P) -> None:
    assert not may_change(old, new)


def test_every_phase_can_be_reached_from_pending() -> None:
    reached, waiting = {P.PENDING}, [P.PENDING]
    while waiting:
        new = TRANSITIONS[waiting.pop()] - reached
        reached |= new
        waiting += new
    assert reached == set(P)


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        TRANSITIONS[P.COMPLETED] = frozenset({P.EXECUTING})  # type: ignore[index]
