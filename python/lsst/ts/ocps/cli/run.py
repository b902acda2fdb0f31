"""``ocps run``: run a payload and follow it."""

import asyncio
from dataclasses import dataclass

import click

from lsst.ts.ocps import salobj
from lsst.ts.ocps.observer.connection import JOB_EVENTS
from lsst.ts.ocps.observer.job_events import JobEvents
from lsst.ts.ocps.observer.payloads import parameter_schema
from lsst.ts.ocps.observer.runs import RunOutcome, RunRequest, RunVerdict, follow_run
from lsst.ts.ocps.observer.text import describe_update
from lsst.ts.ocps.observer.updates import Update

from .connection import connected
from .errors import ExitStatus
from .options import index_option
from .parameters import parse_assignments

__all__ = ["run"]

_STATUSES = {
    RunVerdict.COMPLETED: ExitStatus.DONE,
    RunVerdict.ACCEPTED: ExitStatus.DONE,
    RunVerdict.FAILED: ExitStatus.FAILED,
    RunVerdict.REJECTED: ExitStatus.REJECTED,
    RunVerdict.ABORTED: ExitStatus.ABORTED,
    RunVerdict.NO_ANSWER: ExitStatus.NO_ANSWER,
}


@dataclass(frozen=True, slots=True)
class _Arguments:
    payload: str
    assignments: tuple[str, ...]
    label: str
    prereq_jobs: tuple[str, ...]
    detach: bool
    wait: bool
    limit: float | None
    index: int


@click.command()
@click.argument("payload")
@click.argument("assignments", metavar="[KEY=VALUE | KEY:=JSON]...", nargs=-1)
@click.option("--label", default="", help="Free text that goes with the run.")
@click.option(
    "--prereq", "prereq_jobs", multiple=True, metavar="ID", help="Start when this job has ended; repeatable."
)
@click.option("--detach", is_flag=True, help="The command is complete when the job is accepted.")
@click.option("--wait/--no-wait", default=True, help="Follow the run to its end.  [default: wait]")
@click.option(
    "--timeout",
    "limit",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Stop waiting after this time; the run goes on.  [default: wait as long as the CSC answers]",
)
@index_option
def run(**options: object) -> int:
    """Run PAYLOAD and show acknowledgements, phases, metrics and results as they come.

    KEY=VALUE gives a parameter: numbers, true, false, arrays and objects are read as JSON, everything else
    is text, and so is everything that the payload declares as a string. KEY:=JSON is always JSON.

    Exit status: 0 completed, 1 failed, 2 rejected or wrong use, 3 aborted, 4 no answer.
    """
    arguments = _Arguments(**options)  # type: ignore[arg-type]  # click has checked them
    # What is wrong without asking anybody is said at once.
    parse_assignments(arguments.assignments)
    return asyncio.run(_run(arguments))


async def _run(arguments: _Arguments) -> ExitStatus:
    async with connected(arguments.index, events=["payloads", *JOB_EVENTS]) as remote:
        schema = await parameter_schema(remote, arguments.payload)
        request = RunRequest(
            payload=arguments.payload,
            parameters=parse_assignments(arguments.assignments, schema),
            label=arguments.label,
            prereq_jobs=arguments.prereq_jobs,
            detach=arguments.detach,
        )
        begin = salobj.current_tai()
        click.echo(f"{0:8.3f}  {'run':<10}  {request.payload} to {remote.salinfo.name_index}")
        try:
            async with asyncio.timeout(arguments.limit):
                outcome = await follow_run(
                    remote,
                    JobEvents(remote),
                    request,
                    on_update=lambda update: _show(update, begin),
                    wait=arguments.wait,
                )
        except TimeoutError:
            click.echo(f"no answer: gave up after {arguments.limit:g} s; the run may go on", err=True)
            return ExitStatus.NO_ANSWER
        except asyncio.CancelledError:
            click.echo("the run goes on; 'ocps jobs' lists it, 'ocps abort ID' ends it", err=True)
            raise
    _conclude(outcome)
    return _STATUSES[outcome.verdict]


def _show(update: Update, begin: float) -> None:
    click.echo(f"{update.stamp - begin:8.3f}  {update.kind.value:<10}  {describe_update(update)}")


def _conclude(outcome: RunOutcome) -> None:
    has_failed = outcome.verdict not in {RunVerdict.COMPLETED, RunVerdict.ACCEPTED}
    job = f" (job {outcome.job_id})" if outcome.job_id else ""
    text = f": {outcome.message}" if has_failed and outcome.message else ""
    click.echo(f"{outcome.verdict}{job}{text}", err=has_failed)
    for item in outcome.result.get("results") or []:
        click.echo(f"  {item.get('id')}  {item.get('uri')}")
