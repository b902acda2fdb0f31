"""``ocps jobs``, ``ocps watch``, ``ocps abort``: what runs, its news, its end."""

import asyncio
import json
from typing import Any

import click
from pydantic import ValidationError

from lsst.ts.ocps import salobj
from lsst.ts.ocps.client.registry import open_backend
from lsst.ts.ocps.client.settings import UwsSettings
from lsst.ts.ocps.observer.connection import JOB_EVENTS, get_topic
from lsst.ts.ocps.observer.errors import CommandFailedError, NoAnswerError, NoCscError, ObserverError
from lsst.ts.ocps.observer.job_events import JobEvents
from lsst.ts.ocps.observer.text import clock_text, describe_update
from lsst.ts.ocps.observer.updates import Update, UpdateFeed, UpdateKind
from lsst.ts.ocps.uws.jobs import JobRef

from .connection import connected
from .errors import ExitStatus, UsageError
from .options import index_option
from .output import print_table
from .settings import CliSettings

__all__ = ["abort", "jobs", "watch"]

_EVENT_TIMEOUT = 5.0
_ABORT_TIMEOUT = 60.0


@click.command()
@click.option("--all", "all_jobs", is_flag=True, help="Ask the UWS service ($OCPS_SERVICE_URL) for all jobs.")
@click.option(
    "--last", type=click.IntRange(min=1), default=50, show_default=True, help="With --all: so many."
)
@index_option
def jobs(all_jobs: bool, last: int, index: int) -> int:
    """List the runs that have not ended, as the CSC tells them; with --all, the service's newest jobs."""
    return asyncio.run(_list_all(last) if all_jobs else _list(index))


async def _list_all(last: int) -> ExitStatus:
    url = CliSettings.from_environment().service_url
    if url is None:
        raise UsageError("OCPS_SERVICE_URL is not set: which service is meant?")
    try:
        settings = UwsSettings(url=url, job_list="jobs")
    except ValidationError as error:
        raise UsageError(f"OCPS_SERVICE_URL={url!r}: {error.errors()[0]['msg']}") from error
    backend = await open_backend("service", settings)
    try:
        refs = await backend.list_jobs("", last=last)
    finally:
        await backend.aclose()
    print_table(
        *("job", "payload", "phase", "created (UTC)", "run"),
        rows=[_ref_cells(ref, settings.url) for ref in refs],
    )
    return ExitStatus.DONE


def _ref_cells(ref: JobRef, root: str) -> list[str]:
    # The service has one job list for each payload: {root}/{payload}/async/{job_id}.
    payload = (ref.url or "").removeprefix(root).strip("/").partition("/")[0]
    created = "-" if ref.creation_time is None else f"{ref.creation_time:%Y-%m-%d %H:%M:%S}"
    return [ref.job_id, payload, ref.phase.value, created, ref.run_id or "-"]


async def _list(index: int) -> ExitStatus:
    async with connected(index, events=["active_jobs"]) as remote:
        try:
            data = await get_topic(remote, "evt_active_jobs").aget(timeout=_EVENT_TIMEOUT)
        except TimeoutError:
            raise NoCscError(index, "active_jobs") from None
        entries = json.loads(data.jobs)
        if not entries:
            click.echo("no run is active")
            return ExitStatus.DONE
        print_table(
            *("job", "payload", "phase", "since (UTC)", "requester", "run"),
            rows=[_cells(entry) for entry in entries],
        )
    return ExitStatus.DONE


def _cells(entry: dict[str, Any]) -> list[str]:
    since = clock_text(entry["start_time"])
    job_id = entry["job_id"] or "-"
    return [job_id, entry["payload"], entry["phase"], since, entry["requester"], entry["run_id"]]


@click.command()
@click.argument("job_id", metavar="[ID]", required=False)
@index_option
def watch(job_id: str | None, index: int) -> int:
    """Show the news of all jobs until Ctrl-C, or of the job ID until it ends."""
    try:
        return asyncio.run(_watch(index, job_id))
    except KeyboardInterrupt:
        # The way to end it, where no job does.
        return ExitStatus.DONE


def _active_names(remote: salobj.Remote) -> set[str]:
    """Ids of the jobs and runs that have not ended."""
    data = get_topic(remote, "evt_active_jobs").get()
    entries = [] if data is None else json.loads(data.jobs)
    return {entry[key] for entry in entries for key in ("job_id", "run_id") if entry[key]}


async def _watch(index: int, job_id: str | None) -> ExitStatus:
    feed = UpdateFeed()
    names = {job_id}

    def take(update: Update) -> None:
        run_id = getattr(update.data, "run_id", None)
        if run_id in names:
            # From here on the run is also known by its job.
            names.add(update.data.job_id)
        if job_id is None or names & {update.data.job_id, run_id} - {None, ""}:
            feed.put(update)
            if job_id is not None and update.kind is UpdateKind.RESULT:
                feed.end()

    async with connected(index, events=["active_jobs", *JOB_EVENTS]) as remote:
        if job_id is not None and job_id not in _active_names(remote):
            raise ObserverError(f"OCPS:{index} has no active job or run {job_id}")
        click.echo(f"watching {remote.salinfo.name_index}; Ctrl-C ends it")
        JobEvents(remote, on_update=take)
        async for update in feed.read():
            name = update.data.job_id or getattr(update.data, "run_id", "")
            click.echo(
                f"{clock_text(update.stamp)}  {name}  {update.kind.value:<10}  {describe_update(update)}"
            )
    return ExitStatus.DONE


@click.command()
@click.argument("job_id", metavar="ID")
@index_option
def abort(job_id: str, index: int) -> int:
    """Abort the job ID, or the run of that run_id."""
    return asyncio.run(_abort(index, job_id))


async def _abort(index: int, job_id: str) -> ExitStatus:
    async with connected(index, events=[]) as remote:
        try:
            await remote.cmd_abort_job.set_start(job_id=job_id, timeout=_ABORT_TIMEOUT)
        except salobj.AckTimeoutError:
            raise NoAnswerError(f"OCPS:{index} did not answer within {_ABORT_TIMEOUT:g} s") from None
        except salobj.AckError as error:
            raise CommandFailedError(f"{job_id} was not aborted: {error.ackcmd.result}") from error
    click.echo(f"{job_id} is aborted")
    return ExitStatus.DONE
