"""``ocps sandbox``: all of it on one machine."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from lsst.ts.ocps.sandbox.control import PartReport, launch_detached, look_at, read_variables, take_down
from lsst.ts.ocps.sandbox.environment import shell_exports

from .errors import ExitStatus
from .options import folder_option
from .output import print_table
from .settings import CliSettings

__all__ = ["sandbox"]

_payloads_option = click.option(
    "--payloads",
    "payload_directories",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Further folder with payload definitions; repeatable.",
)


def _folder(folder: str | None) -> Path:
    return Path(folder) if folder is not None else CliSettings.from_environment().sandbox_folder


@click.group()
def sandbox() -> None:
    """Run broker, schema registry, UWS service and CSC on this machine.

    A development tool: its broker and its registry are never meant for production.
    """


@sandbox.command()
@folder_option
@click.option("--detach", is_flag=True, help="Return when the CSC is enabled; end it with 'down'.")
@_payloads_option
def up(folder: str | None, detach: bool, payload_directories: tuple[Path, ...]) -> int:
    """Start everything and enable the CSC; Ctrl-C ends everything."""
    path = _folder(folder)
    if detach:
        state = asyncio.run(launch_detached(path, payload_directories=payload_directories))
        click.echo(f"a sandbox runs in {state.folder} (process {state.supervisor.pid})")
        click.echo(f'speak to it after: eval "$(ocps sandbox env --folder {state.folder})"')
        return ExitStatus.DONE
    # Not for the other commands: it imports the SAL runtime.
    from lsst.ts.ocps.sandbox.foreground import run_in_foreground  # noqa: PLC0415

    asyncio.run(run_in_foreground(path, payload_directories=payload_directories, tell=_tell))
    return ExitStatus.DONE


def _tell(line: str) -> None:
    click.echo(line)


@sandbox.command()
@folder_option
def status(folder: str | None) -> int:
    """Show each part of a running sandbox; exit status 1 if anything is wrong."""
    report = look_at(_folder(folder))
    print_table("part", "pid", "port", "memory", "uptime", rows=[_cells(part) for part in report.parts])
    state = report.state
    click.echo(f"csc {state.csc_state or 'has told no state'}; sandbox {state.phase} in {state.folder}")
    if not report.is_supervised:
        click.echo("its supervisor was killed; 'ocps sandbox down' ends what is left")
    return ExitStatus.DONE if report.is_healthy else ExitStatus.FAILED


def _cells(report: PartReport) -> list[str]:
    part = report.part
    memory = f"{report.memory / 1e6:.0f} MB" if report.is_running else "ended"
    uptime = str(timedelta(seconds=round(report.uptime))) if report.is_running else "-"
    return [part.name, str(part.process.pid), "-" if part.port is None else str(part.port), memory, uptime]


@sandbox.command()
@folder_option
def down(folder: str | None) -> int:
    """End a sandbox, from anywhere, and wait until all of it is gone."""
    path = _folder(folder)
    if asyncio.run(take_down(path)):
        click.echo(f"the sandbox in {path} has ended")
    else:
        click.echo(f"no sandbox runs in {path}")
    return ExitStatus.DONE


@sandbox.command()
@folder_option
def env(folder: str | None) -> int:
    """Print the variables of a running sandbox: eval "$(ocps sandbox env)"."""
    click.echo(shell_exports(read_variables(_folder(folder))), nl=False)
    return ExitStatus.DONE


@sandbox.command()
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    help="Sandbox folder  [default: a new temporary one]",
)
@click.option(
    "--results",
    type=click.Path(file_okay=False, path_type=Path, resolve_path=True),
    default=Path("demo-results"),
    show_default=True,
    help="Where the results are copied to.",
)
def demo(**options: Any) -> int:
    """Show the whole path: bring a sandbox up, run payloads, abort one, fail one, reject one."""
    # Not for the other commands: it imports the SAL runtime.
    from lsst.ts.ocps.sandbox.demo import run_demo  # noqa: PLC0415

    return ExitStatus.DONE if asyncio.run(run_demo(**options)) else ExitStatus.FAILED
