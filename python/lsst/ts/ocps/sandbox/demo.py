"""The demo: the whole path from a SAL command to results, each way that a run can end."""

import asyncio
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from typing_extensions import override

from lsst.ts.ocps import salobj
from lsst.ts.ocps.observer.connection import JOB_EVENTS, connect
from lsst.ts.ocps.observer.job_events import JobEvents
from lsst.ts.ocps.observer.runs import RunOutcome, follow_run
from lsst.ts.ocps.observer.updates import Update, UpdateKind

from .demo_results import copy_results
from .demo_runs import STAGES, PlannedRun, find_problems
from .demo_view import DemoView, create_view
from .errors import StoppedBySignalError
from .parts import CSC_INDEX
from .races import run_unless
from .signals import catch_stop_signals
from .supervisor import Sandbox

__all__ = ["run_demo"]

_ABORT_TIMEOUT = 30.0


class _Clock:
    """The time since the demo began, as text."""

    def __init__(self) -> None:
        self._begin = time.monotonic()

    @override
    def __str__(self) -> str:
        return f"(after {time.monotonic() - self._begin:.1f} s)"


@dataclass(frozen=True, slots=True)
class _Ended:
    """A run that has been judged."""

    planned: PlannedRun
    outcome: RunOutcome
    seconds: float
    problems: list[str]
    files: list[Path]

    def to_line(self) -> str:
        verdict = "; ".join(self.problems) or f"{self.outcome.verdict}, as expected"
        mark = "FAIL" if self.problems else "ok  "
        return f"{mark}  {self.planned.label:<15} {self.seconds:6.2f} s  {verdict}"


async def run_demo(*, folder: Path | None, results: Path) -> bool:
    """Bring a sandbox up, run what is planned, show it, and bring everything down.

    Parameters
    ----------
    folder
        The sandbox folder; None: a temporary one, which is removed if all went well.
    results
        Where results are copied to.

    Returns
    -------
    bool
        Whether every run ended as expected.

    Raises
    ------
    SandboxError
        If the sandbox does not start, a part of it ends by itself, or a signal ends the demo; everything
        has been ended then.
    """
    console = Console()
    is_temporary = folder is None
    place = Path(tempfile.mkdtemp(prefix="ocps-demo-")) if folder is None else folder
    view = create_view(console)
    clock = _Clock()
    sandbox = Sandbox(place, on_ready=lambda part: view.note(f"{part.name} is ready {clock}"))
    view.note(f"sandbox in {sandbox.layout.folder}")
    demo = _Demo(sandbox, view, results, clock)
    try:
        async with catch_stop_signals() as stop:
            with view.showing():
                await run_unless(demo.run(), stop.wait(), name="sandbox:demo")
    except StoppedBySignalError:
        await _remove(place, is_wanted=is_temporary)
        raise
    view.note(f"the demo has ended {clock}")
    is_good = _conclude(demo.ended, view)
    if not is_good:
        view.note(f"logs are kept in {sandbox.layout.logs}")
    await _remove(place, is_wanted=is_temporary and is_good)
    return is_good


async def _remove(place: Path, *, is_wanted: bool) -> None:
    if is_wanted:
        await asyncio.to_thread(shutil.rmtree, place)


def _conclude(ended: list[_Ended], view: DemoView) -> bool:
    for each in ended:
        view.note(each.to_line())
    view.note("results:")
    for path in (path for each in ended for path in each.files):
        view.note(f"  {path}")
    count = sum(not each.problems for each in ended)
    planned = sum(len(stage.runs) for stage in STAGES)
    view.note(f"{count} of {planned} runs ended as expected")
    return count == planned


class _Demo:
    """One performance.

    Parameters
    ----------
    sandbox
        Where; not yet entered.
    view
        What people see.
    results
        Where results are copied to.
    clock
        Since when the demo goes on.
    """

    def __init__(self, sandbox: Sandbox, view: DemoView, results: Path, clock: _Clock) -> None:
        self._clock = clock
        self._sandbox = sandbox
        self._view = view
        self._results = results
        self.ended: list[_Ended] = []

    async def run(self) -> None:
        async with self._sandbox:
            await run_unless(self._perform(), self._sandbox.wait_for_crash(), name="sandbox:perform")
            self._view.note("bringing everything down")

    async def _perform(self) -> None:
        await self._sandbox.enable(lambda state: self._view.note(f"csc is {state} {self._clock}"))
        async with connect(CSC_INDEX, events=JOB_EVENTS) as remote:
            events = JobEvents(remote)
            for stage in STAGES:
                self._view.begin_stage(stage)
                runs = (self._run_one(planned, remote, events) for planned in stage.runs)
                self.ended += await asyncio.gather(*runs)

    async def _run_one(self, planned: PlannedRun, remote: salobj.Remote, events: JobEvents) -> _Ended:
        begin = time.monotonic()
        executing: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def show(update: Update) -> None:
            self._view.show_update(planned, update)
            is_executing = update.kind is UpdateKind.PHASE and update.data.phase == "EXECUTING"
            if is_executing and not executing.done():
                executing.set_result(update.data.job_id)

        self._view.begin_run(planned, salobj.current_tai())
        abort = asyncio.create_task(self._abort(remote, executing), name="sandbox:abort")
        try:
            if not planned.is_aborted:
                abort.cancel()
            outcome = await follow_run(remote, events, planned.request, on_update=show)
        finally:
            abort.cancel()
            await asyncio.wait([abort])
        problems = find_problems(planned, outcome)
        if not abort.cancelled() and (error := abort.exception()):
            problems.append(f"abort_job failed: {error}")
        seconds = time.monotonic() - begin
        files = await copy_results(outcome, self._results / planned.label)
        self._view.end_run(planned, str(outcome.verdict), is_expected=not problems)
        return _Ended(planned, outcome, seconds, problems, files)

    @staticmethod
    async def _abort(remote: salobj.Remote, executing: asyncio.Future[str]) -> None:
        job_id = await executing
        await remote.cmd_abort_job.set_start(job_id=job_id, timeout=_ABORT_TIMEOUT)
