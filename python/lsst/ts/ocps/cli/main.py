"""The command ``ocps``."""

import importlib
import sys
from collections.abc import Sequence

import click
from typing_extensions import override

from lsst.ts.ocps import __version__

from .errors import explain
from .logs import configure_logging

__all__ = ["main", "ocps", "run_command_line"]

_COMMANDS = {
    "abort": "jobs",
    "config": "config",
    "jobs": "jobs",
    "run": "run",
    "sandbox": "sandbox",
    "service": "service",
    "state": "state",
    "watch": "jobs",
}
"""Module of each command. A module is imported when its command is used: a service needs no SAL."""


class _LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"lsst.ts.ocps.cli.{_COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name)
        return command


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ocps")
@click.option("-v", "--verbose", count=True, help="Show more of the log; repeatable.")
@click.pass_context
def ocps(context: click.Context, verbose: int) -> None:
    """OCS-controlled processing: run payloads, watch jobs, and try it all out in a sandbox."""
    # The service has a log of its own form.
    if context.invoked_subcommand != "service":
        configure_logging(verbose)


def run_command_line(arguments: Sequence[str]) -> int:
    """Run one command.

    Parameters
    ----------
    arguments
        The command line without the name of the program.

    Returns
    -------
    int
        Exit status.
    """
    try:
        status = ocps.main(list(arguments), prog_name="ocps", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        click.echo("ocps: interrupted", err=True)
        return 130
    except Exception as error:
        explanation = explain(error)
        if explanation is None:
            raise
        click.echo(f"ocps: {explanation.message}", err=True)
        return explanation.status
    return status if isinstance(status, int) else 0


def main() -> None:
    """Entry point of the program ``ocps``."""
    sys.exit(run_command_line(sys.argv[1:]))


if __name__ == "__main__":
    main()
