"""Commands that are sent while lives of the core of the CSC begin and end, and what must be true then."""

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st

from lsst.ts.ocps.client.base import Submission
from lsst.ts.ocps.client.testing import Script
from lsst.ts.ocps.csc.patience import Patience
from lsst.ts.ocps.csc.records import OutcomeKind, Reported, Run, RunRecord
from lsst.ts.ocps.salobj import SalRetCode
from lsst.ts.ocps.uws.phases import FINAL, ExecutionPhase
from support.mortal_csc import STORED, CoreLife, World
from support.runs import make_run

__all__ = ["STORIES", "Command", "Story", "commands"]

P = ExecutionPhase
PATIENCE = Patience(lookup=120.0, give_up=600.0)

LONGEST = 86400.0
"""So long after the last command every run has ended, whatever happens (s)."""

# Making a failing story shorter takes minutes; it is told as it was found.
STORIES = settings(
    max_examples=200,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)


@dataclass(frozen=True)
class Command:
    """A ``run`` command, and what becomes of its job if it is let."""

    sent_after: float
    """Time after the one before (s)."""

    script: Script
    waits_for_the_one_before: bool = False
    detach: bool = False
    aborted_after: float | None = None
    """Somebody aborts it so long after it was sent (s)."""

    repeated_after: float | None = None
    """The command record is delivered once more so long after it was sent (s)."""

    oddity: "Oddity | None" = None
    """What the service does to it."""


@dataclass(frozen=True)
class Oddity:
    """What a service does to a job that has not ended."""

    after: float
    """So long after the command was sent (s)."""

    phase: ExecutionPhase | None
    """What a job that executes changes to, backwards too; None: the service forgets any job."""

    lasts: float = math.inf
    """After so long it ends as if nothing had been, if it is in that phase still (s)."""


oddities = st.one_of(
    st.builds(
        Oddity,
        after=st.sampled_from([0.2, 10.0]),
        phase=st.sampled_from([P.HELD, P.UNKNOWN, P.ARCHIVED, None]),
    ),
    st.builds(
        Oddity,
        after=st.sampled_from([0.2, 10.0]),
        phase=st.sampled_from([P.HELD, P.SUSPENDED, P.UNKNOWN, P.QUEUED, P.PENDING]),
        lasts=st.sampled_from([0.3, 90.0]),
    ),
)
commands = st.builds(
    Command,
    sent_after=st.sampled_from([0.0, 0.3, 20.0]),
    script=st.builds(
        Script,
        queued=st.sampled_from([0.0, 0.5]),
        duration=st.sampled_from([0.0, 0.4, 45.0]),
        outcome=st.sampled_from([P.COMPLETED, P.COMPLETED, P.ERROR, P.ABORTED]),
    ),
    waits_for_the_one_before=st.booleans(),
    detach=st.booleans(),
    aborted_after=st.sampled_from([None, None, 0.0, 0.2, 30.0]),
    repeated_after=st.sampled_from([None, None, 0.0, 5.0]),
    oddity=st.one_of(st.none(), oddities),
)


class Story:
    """Commands that are sent while lives begin and end."""

    def __init__(self, world: World, script: Sequence[Command]) -> None:
        self.world = world
        self.runs = [self._make_run(number, command) for number, command in enumerate(script)]
        self._script = script
        self._sent = 0
        self._created: list[str] = []
        self._forgotten: dict[str, int] = {}
        self._oddities: list[asyncio.Task[None]] = []
        world.service.script = self._choose_script

    def _make_run(self, number: int, command: Command) -> Run:
        waits = command.waits_for_the_one_before and number > 0
        return make_run(
            run_id=f"ocps-test-1-{number}",
            backend=STORED,
            creates_pending=self.world.creates_pending,
            accepted_at=0.0,
            prerequisites=(f"ocps-test-1-{number - 1}",) if waits else (),
            detach=command.detach,
            execution_duration=60,
            expected_duration=20.0,
        )

    def _choose_script(self, submission: Submission) -> Script:
        """What becomes of the next job; called once for each, in the order of their numbers."""
        self._created.append(submission.run_id)
        return self._script[int(submission.run_id.rpartition("-")[2])].script

    def _run_id_of(self, url: str) -> str:
        """Whose job it is, whether or not the service remembers."""
        return self._created[int(url.rpartition("/")[2]) - 1]

    async def live(self, steps: int | None, stopped_after: float = math.inf) -> None:
        """One life: until it is killed, or told to stop, or nothing is left to do."""
        life = CoreLife(self.world, steps, PATIENCE)
        async with asyncio.TaskGroup() as group:
            living = group.create_task(self._live(life, group))
            dying = group.create_task(life.died.wait())
            stopping = group.create_task(self._wait_for_stop(stopped_after))
            await asyncio.wait({living, dying, stopping}, return_when=asyncio.FIRST_COMPLETED)
            tasks = tuple(group._tasks)
            if not life.died.is_set():
                # As the SAL layer ends the commands that are under way before anything else.
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
                group.create_task(self._keep_room())
            await life.aclose()
            for task in tuple(group._tasks):
                task.cancel()

    async def _wait_for_stop(self, seconds: float) -> None:
        """An operator makes room on the disk before he stops the CSC."""
        await asyncio.sleep(min(seconds, 1e9))
        while self.world.disk_is_full:  # noqa: ASYNC110 (in virtual time)
            await asyncio.sleep(0.1)

    async def _keep_room(self) -> None:
        """Should the disk be full while the CSC stops, he makes room again at once."""
        while True:
            await asyncio.sleep(0.5)
            self.world.disk_is_full = False

    async def _live(self, life: CoreLife, group: asyncio.TaskGroup) -> None:
        await life.start()
        obeying: list[asyncio.Task[None]] = []
        while self._sent < len(self.runs):
            number, command = self._sent, self._script[self._sent]
            await asyncio.sleep(command.sent_after)
            self._sent += 1
            self.runs[number] = replace(self.runs[number], accepted_at=time.time())
            obeying.append(group.create_task(life.obey(self.runs[number])))
            if command.repeated_after is not None:
                obeying.append(group.create_task(self._repeat(life, number, command.repeated_after)))
            if command.aborted_after is not None:
                group.create_task(self._abort(life, number, command.aborted_after))
            if command.oddity is not None:
                # The service outlives the CSC.
                self._oddities.append(asyncio.create_task(self._be_odd(number, command.oddity)))
        await asyncio.gather(*obeying)
        async with asyncio.timeout(LONGEST):
            await self._wait_for_end(life)

    async def _wait_for_end(self, life: CoreLife) -> None:
        while life.tracker._followers or self.world.has_unfinished:  # noqa: ASYNC110 (in virtual time)
            await asyncio.sleep(1.0)

    async def _abort(self, life: CoreLife, number: int, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await life.tracker.abort(self.runs[number].run_id, patience=1.0)

    async def _repeat(self, life: CoreLife, number: int, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await life.obey(replace(self.runs[number], run_id=f"ocps-test-1-again-{number}"))

    async def _be_odd(self, number: int, oddity: Oddity) -> None:
        service = self.world.service
        await asyncio.sleep(oddity.after)
        mine = [url for url in service.jobs() if self._run_id_of(url) == self.runs[number].run_id]
        if oddity.phase is None:
            active = [url for url in mine if service.jobs()[url].phase not in FINAL]
            self._forgotten |= {url: service.runs_of(url) for url in active}
            for url in active:
                service.forget(url)
            return
        forced = [url for url in mine if service.jobs()[url].phase is P.EXECUTING]
        for url in forced:
            service.force(url, oddity.phase)
        if math.isinf(oddity.lasts):
            return
        await asyncio.sleep(oddity.lasts)
        for url in forced:
            if url in service.jobs() and service.jobs()[url].phase is oddity.phase:
                service.force(url, self._script[number].script.outcome)

    async def check(self) -> None:
        assert self.world.deaths == []
        # What was to come later met no job any more.
        for task in self._oddities:
            task.cancel()
        done = await asyncio.gather(*self._oddities, return_exceptions=True)
        assert [error for error in done if isinstance(error, Exception)] == []
        records = await self.world.records()
        for record in records:
            self._check_record(record)
        # A command that was not written down before its CSC was killed has led to nothing.
        accepted = {record.run.run_id for record in records}
        assert set(self._created) <= accepted

    def _check_record(self, record: RunRecord) -> None:
        run, outcome = record.run, record.outcome
        assert outcome is not None
        note(f"{run.run_id}: {record.state.step} {outcome.kind}: {outcome.message}")
        assert isinstance(record.state, Reported)
        service = self.world.service
        ours = {url: job for url, job in service.jobs().items() if self._run_id_of(url) == run.run_id}
        gone = [url for url in self._forgotten if self._run_id_of(url) == run.run_id]
        started = [url for url in ours if service.runs_of(url) > 0]
        started += [url for url in gone if self._forgotten[url] > 0]
        assert len(started) <= 1
        results = self.world.results_of(run.run_id)
        finals = self.world.final_acks_of(run.key)
        assert len(finals) >= 1
        assert len(set(finals)) == 1
        is_recalled = bool(results) and not record.state.report.has_result
        if record.handle is None and not is_recalled:
            # Where creating is starting, a job that nobody can find again may run.
            is_hidden = not run.creates_pending and (gone or not service.keeps_run_id)
            assert started == [] or (is_hidden and outcome.kind is OutcomeKind.LOST)
        assert len(results) == (0 if outcome.kind is OutcomeKind.REJECTED else 1)
        if started and record.handle is not None:
            (url,) = started
            assert record.handle.url == url
            if url in gone:
                assert outcome.kind in {OutcomeKind.LOST, OutcomeKind.ABORTED}
            elif ours[url].phase is P.UNKNOWN:
                assert outcome.kind is OutcomeKind.LOST
            else:
                assert ours[url].phase in FINAL
                assert (outcome.kind is OutcomeKind.COMPLETED) == (ours[url].phase is P.COMPLETED)
        for result in results:
            assert (result["exit_code"] == 0) == (outcome.kind is OutcomeKind.COMPLETED)
        if not run.detach and outcome.kind is OutcomeKind.COMPLETED:
            assert finals[0] == (SalRetCode.CMD_COMPLETE, results[0]["result"])

    async def fill_disk(self, after: float, seconds: float) -> None:
        """The disk is full for a while."""
        await asyncio.sleep(after)
        self.world.disk_is_full = True
        await asyncio.sleep(seconds)
        self.world.disk_is_full = False
