from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def walk(attempts: list[tuple[P, P]], start: P = P.PENDING) -> list[P]:
    """The phases of a job on which several try changes, each from the phase that it believes in."""
    phases = [start]
    for believed, wanted in attempts:
        if believed is phases[-1] and may_change(believed, wanted):
            phases.append(wanted)
    return phases


PHASES = st.sampled_from(P)
ATTEMPTS = st.lists(st.tuples(PHASES, PHASES), max_size=200)


@given(ATTEMPTS)
def test_whatever_is_tried_in_whatever_order_gives_a_walk_along_the_table(
    attempts: list[tuple[P, P]],
) -> None:
    phases = walk(attempts)
    assert all(new in TRANSITIONS[old] for old, new in pairwise(phases))
    # An end is an end, but for the archive; and nothing is archived that has not ended.
    ends = [phase for phase in phases if phase in FINAL]
    assert phases[len(phases) - len(ends) :] == ends
    assert ends in (ends[:1], [*ends[:1], P.ARCHIVED])
    assert ends[:1] != [P.ARCHIVED]
    # Nothing becomes a draft again, and nothing completes that has not run.
    assert phases.count(P.PENDING) == 1
    if P.COMPLETED in phases:
        assert P.EXECUTING in phases[: phases.index(P.COMPLETED)]


@given(ATTEMPTS, st.lists(st.tuples(PHASES, PHASES), max_size=5))
def test_a_change_from_a_phase_that_is_past_changes_nothing(
    attempts: list[tuple[P, P]], late: list[tuple[P, P]]
) -> None:
    phases = walk(attempts)
    stale = [(believed, wanted) for believed, wanted in late if believed is not phases[-1]]
    assert walk([*attempts, *stale]) == phases


@given(ATTEMPTS)
def test_from_wherever_a_job_is_it_can_be_brought_to_its_end(attempts: list[tuple[P, P]]) -> None:
    phase = walk(attempts)[-1]
    if phase in ACTIVE:
        assert walk([(phase, P.ABORTED), (P.ABORTED, P.ARCHIVED)], phase) == [phase, P.ABORTED, P.ARCHIVED]
    else:
        assert phase is P.ARCHIVED or walk([(phase, P.ARCHIVED)], phase) == [phase, P.ARCHIVED]


@given(st.lists(PHASES, max_size=6))
def test_a_job_that_is_told_the_same_twice_is_where_it_was_told_to_be(steps: list[P]) -> None:
    attempts = [(old, new) for old, new in pairwise([P.PENDING, *steps])]
    doubled = [attempt for attempt in attempts for _ in range(2)]
    assert walk(doubled) == walk(attempts)
