"""Any order of answers of the back end, failures, kills and time-outs: nothing lost, nothing doubled."""

import asyncio
import math
from collections import deque
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lsst.ts.ocps.client.errors import BackendError, BackendFailedError, BackendUnavailableError
from lsst.ts.ocps.client.testing import Script
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.core_story import STORIES, Command, Story, commands
from support.mortal_csc import World
from support.virtual_time import run_in_virtual_time

P = ExecutionPhase

troubles = st.tuples(
    st.sampled_from(["create", "start", "read", "wait", "list_jobs", "abort", "delete"]),
    st.sampled_from(
        ["unavailable", "failed", "not sent", "answer lost", "no answer", "no answer, nothing done"]
    ),
)
lives = st.tuples(
    st.integers(0, 60),  # after so many steps it is killed
    st.sampled_from([0.0, 3.0, 60.0, 700.0]),  # and so long nobody is there (s)
)


def trouble(world: World, operation: str, kind: str) -> None:
    error: BackendError
    match kind:
        case "answer lost":
            world.service.lose_answers(operation)
            return
        case "no answer" | "no answer, nothing done":
            world.service.silences.setdefault(operation, deque()).append(kind == "no answer")
            return
        case "failed":
            error = BackendFailedError("fake", "broken answer")
        case _:
            error = BackendUnavailableError("fake", "no connection", was_sent=kind != "not sent")
    world.service.fail(operation, error)


async def play(
    creates_pending: bool,
    script: Sequence[Command],
    difficulties: Sequence[tuple[str, str]],
    failures: Sequence[bool],
    deaths: Sequence[tuple[int, float]],
    *,
    keeps_run_id: bool,
) -> None:
    world = World(creates_pending=creates_pending)
    world.service.keeps_run_id = keeps_run_id
    story = Story(world, script)
    for operation, kind in difficulties:
        trouble(world, operation, kind)
    world.log.failures.extend(failures)
    for steps, pause in deaths:
        await story.live(steps)
        await asyncio.sleep(pause)
    await story.live(None)
    await story.check()
    await world.aclose()


@STORIES
@given(
    creates_pending=st.booleans(),
    script=st.lists(commands, min_size=1, max_size=3),
    difficulties=st.lists(troubles, max_size=6),
    failures=st.lists(st.booleans(), max_size=3),
    deaths=st.lists(lives, max_size=3),
    keeps_run_id=st.booleans(),
)
def test_every_accepted_command_ends_in_one_job_result_and_never_in_two_jobs(
    creates_pending: bool,
    script: list[Command],
    difficulties: list[tuple[str, str]],
    failures: list[bool],
    deaths: list[tuple[int, float]],
    *,
    keeps_run_id: bool,
) -> None:
    story = play(creates_pending, script, difficulties, failures, deaths, keeps_run_id=keeps_run_id)
    run_in_virtual_time(story)


async def play_on_a_full_disk(
    creates_pending: bool,
    script: Sequence[Command],
    failures: Sequence[bool],
    full: tuple[float, float],
    *,
    stopped_after: float = math.inf,
    killed_after: int | None = None,
) -> None:
    world = World(creates_pending=creates_pending)
    story = Story(world, script)
    world.log.failures.extend(failures)
    filling = asyncio.create_task(story.fill_disk(*full))
    await story.live(killed_after, stopped_after)
    if killed_after is not None:
        # Whoever starts a killed CSC again makes room before, if there is none.
        filling.cancel()
        world.disk_is_full = False
    await asyncio.wait({filling})
    await story.live(None)
    await story.check()
    await world.aclose()


@pytest.mark.system
@STORIES
# Told to stop while a pair is tried again: it is out when the disk is full, and the next pair follows it.
@example(
    creates_pending=False,
    script=[
        Command(0.3, Script(0.0, 0.0, P.ERROR), detach=True, aborted_after=0.0),
        Command(0.3, Script(0.0, 45.0), waits_for_the_one_before=True, aborted_after=0.0),
        Command(0.0, Script(0.5, 45.0, P.ABORTED)),
    ],
    failures=[False, True, True, True, True],
    full=(0.7, 0.5),
    stopped_after=0.6,
)
@given(
    creates_pending=st.booleans(),
    script=st.lists(commands, min_size=1, max_size=3),
    failures=st.lists(st.booleans(), max_size=8),
    full=st.tuples(st.sampled_from([0.0, 0.1, 0.7, 20.2]), st.sampled_from([0.1, 0.5, 40.0])),
    stopped_after=st.sampled_from([0.2, 0.6, 1.0, 2.0, 25.0, math.inf]),
)
def test_what_a_full_disk_does_not_take_is_neither_lost_nor_doubled_if_room_is_made_before_the_end(
    creates_pending: bool,
    script: list[Command],
    failures: list[bool],
    full: tuple[float, float],
    stopped_after: float,
) -> None:
    run_in_virtual_time(
        play_on_a_full_disk(creates_pending, script, failures, full, stopped_after=stopped_after)
    )


@pytest.mark.system
@settings(STORIES, max_examples=60)
@given(
    creates_pending=st.booleans(),
    script=st.lists(commands, min_size=1, max_size=3),
    failures=st.lists(st.booleans(), max_size=3),
    full=st.tuples(st.sampled_from([0.0, 0.1, 0.7, 20.2]), st.sampled_from([0.5, 40.0, 1e6])),
    killed_after=st.integers(0, 80),
)
def test_what_a_full_disk_does_not_take_is_not_doubled_either_if_the_csc_is_killed(
    creates_pending: bool,
    script: list[Command],
    failures: list[bool],
    full: tuple[float, float],
    killed_after: int,
) -> None:
    run_in_virtual_time(
        play_on_a_full_disk(creates_pending, script, failures, full, killed_after=killed_after)
    )
