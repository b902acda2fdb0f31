"""``ocps service``: the UWS service."""

import asyncio
from pathlib import Path
from typing import Any

import click
import yaml
from pydantic import ValidationError

from lsst.ts.ocps.service.config import ServiceConfig
from lsst.ts.ocps.service.main import serve

from .errors import ExitStatus, UsageError
from .service_token import token

__all__ = ["service"]

_SECRET = frozenset({"database_url"})
"""What is never shown, not even where it is wrong."""


@click.group(invoke_without_command=True)
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    help="YAML file with the configuration; what is given as an option counts more.",
)
@click.option(
    "--payloads",
    "payload_directories",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Folder with payload definitions; repeatable.",
)
@click.option(
    "--data",
    "data_directory",
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
@click.option("--host", help="Address to listen on  [default: 127.0.0.1]")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port to listen on; 0: a free one  [default: 8080]"
)
@click.option("--public-url", help="Root URL as clients see it, where a proxy stands before the service.")
@click.option("--max-running", type=int, help="So many commands run at once; further jobs are queued.")
@click.option("--cpus", type=float, help="Processors that its jobs may have together; all by default.")
@click.option("--memory", help="Memory that its jobs may have together, such as 64GiB; all by default.")
@click.option("--max-output", help="How much is kept of each stream that a command writes; 10MiB by default.")
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
@click.pass_context
def service(context: click.Context, /, config_file: Path | None, **options: Any) -> int:
    """Serve payloads as UWS jobs until Ctrl-C or SIGTERM.

    Without a section "access" in the configuration there is no authentication: whoever can connect can run
    the payloads, and only the loopback is accepted as the address to listen on.
    """
    if context.invoked_subcommand is not None:
        return ExitStatus.DONE
    config = _configure(config_file, {name: value for name, value in options.items() if value or value == 0})
    asyncio.run(serve(config))
    return ExitStatus.DONE


service.add_command(token)


def _configure(file: Path | None, given: dict[str, Any]) -> ServiceConfig:
    """Put file and options together."""
    read = {} if file is None else _read(file)
    try:
        return ServiceConfig.model_validate(read | given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        message = first["msg"].removeprefix("Value error, ")
        path = ".".join(str(part) for part in first["loc"])
        name = path.partition(".")[0]
        if file is not None and name not in given:
            raise UsageError(f"{file}: {path}: {message}" if path else f"{file}: {message}") from error
        if not path:
            raise UsageError(message) from error
        option = _find_option(name)
        if first["type"] == "missing":
            raise click.UsageError(f"{option} is missing", click.get_current_context()) from error
        if name in _SECRET:
            raise UsageError(f"{option}: {message}") from None
        # As it was written, where the model would show what it has made of it.
        shown = given[name] if isinstance(given.get(name), str) else first["input"]
        raise UsageError(f"{option} {shown!r}: {message}") from error


def _find_option(name: str) -> str:
    """How a setting is given on the command line."""
    parameters = click.get_current_context().command.params
    return next((parameter.opts[0] for parameter in parameters if parameter.name == name), name)


def _read(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: {error}") from error
    except yaml.YAMLError as error:
        # Without the line itself, which may have a password.
        mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
        where = f", line {mark.line + 1}" if mark else ""
        problem = error.problem if isinstance(error, yaml.MarkedYAMLError) else None
        raise UsageError(f"{file}{where}: {problem or 'is no YAML'}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{file}: is no mapping of names to values")
    return content
