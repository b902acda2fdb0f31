"""``ocps service``: the UWS service."""

import asyncio
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from lsst.ts.ocps.service.config import ServiceConfig
from lsst.ts.ocps.service.main import serve

from .errors import ExitStatus, UsageError

__all__ = ["service"]

_OPTIONS = {
    "payload_directories": "--payloads",
    "data_directory": "--data",
    "database_url": "--database-url",
    "public_url": "--public-url",
    "max_running": "--max-running",
    "cpus": "--cpus",
    "memory": "--memory",
    "kill_grace": "--kill-grace",
    "max_sync": "--max-sync",
    "archive_retention": "--archive-retention",
    "on_stop": "--on-stop",
    "log_level": "--log-level",
}

_SECRET = frozenset({"database_url"})
"""What is never shown, not even where it is wrong."""


@click.command()
@click.option(
    "--payloads",
    "payload_directories",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="Folder with payload definitions; repeatable.",
)
@click.option(
    "--data",
    "data_directory",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of the jobs and the SQLite database; with SQLite not on a network file system.",
)
@click.option(
    "--database-url",
    envvar="OCPS_DATABASE_URL",
    show_envvar=True,
    help="postgresql://user:password@host/database instead of SQLite. Other users of the machine see the "
    "options of a command: leave the password to the variable, or to ~/.pgpass.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="Port to listen on; 0: a free one.",
)
@click.option("--public-url", help="Root URL as clients see it, where a proxy stands before the service.")
@click.option("--max-running", type=int, help="So many commands run at once; further jobs are queued.")
@click.option("--cpus", type=float, help="Processors that its jobs may have together; all by default.")
@click.option("--memory", help="Memory that its jobs may have together, such as 64GiB; all by default.")
@click.option("--kill-grace", type=float, help="Seconds between SIGTERM and SIGKILL for a command.")
@click.option(
    "--max-sync", type=float, help="Seconds that a request to PAYLOAD/sync may take; 50 by default."
)
@click.option(
    "--archive-retention",
    help="How long a destroyed job is told of as ARCHIVED, such as P30D (the default); P0D: not at all.",
)
@click.option(
    "--on-stop",
    type=click.Choice(["leave", "abort"]),
    help="What becomes of running commands when the service stops: left for the next start, or aborted.",
)
@click.option("--log-level", type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"]))
def service(**options: Any) -> int:
    """Serve payloads as UWS jobs until Ctrl-C or SIGTERM.

    There is no authentication: whoever can connect can run the payloads.
    """
    given = {name: value for name, value in options.items() if value is not None}
    try:
        config = ServiceConfig.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        option = _OPTIONS.get(name, f"--{name}")
        if name in _SECRET:
            raise UsageError(f"{option}: {first['msg']}") from None
        # As it was written, where the model would show what it has made of it.
        shown = given[name] if isinstance(given.get(name), str) else first["input"]
        raise UsageError(f"{option} {shown!r}: {first['msg']}") from error
    asyncio.run(serve(config))
    return ExitStatus.DONE
