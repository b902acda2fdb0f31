"""``ocps state``: read or change the state of a CSC."""

import asyncio

import click

from lsst.ts.ocps import salobj
from lsst.ts.ocps.observer.state import STATE_EVENTS, CscReport, change_state, read_state

from .connection import connected
from .errors import ExitStatus
from .options import index_option

__all__ = ["state"]

_GOALS = ("OFFLINE", "STANDBY", "DISABLED", "ENABLED")


@click.command()
@click.argument("goal", metavar="[GOAL]", type=click.Choice(_GOALS, case_sensitive=False), required=False)
@click.option("--override", default="", metavar="FILE", help="Configuration override for the start command.")
@index_option
def state(goal: str | None, override: str, index: int) -> int:
    """Show the state of the CSC, or bring it to GOAL (OFFLINE, STANDBY, DISABLED, ENABLED) step by step."""
    return asyncio.run(_show(index) if goal is None else _change(index, goal, override))


async def _show(index: int) -> ExitStatus:
    async with connected(index, events=STATE_EVENTS) as remote:
        report = await read_state(remote)
    for line in _describe(index, report):
        click.echo(line)
    return ExitStatus.DONE if report.is_alive else ExitStatus.NO_ANSWER


def _describe(index: int, report: CscReport) -> list[str]:
    alive = "" if report.is_alive else "  (the last that was told: it sends no heartbeat now)"
    lines = [f"OCPS:{index}  {report.state}{alive}"]
    if report.error_code:
        lines.append(f"  error {report.error_code}: {report.error_report}")
    lines.append(f"  version {report.version or 'not told'}")
    if report.simulation_mode:
        lines.append(f"  simulation mode {report.simulation_mode}")
    lines.append(f"  payloads {', '.join(report.payloads) or 'none'}")
    if report.backends:
        lines.append(f"  back ends {report.backends}")
    return lines


async def _change(index: int, goal: str, override: str) -> ExitStatus:
    async with connected(index, events=["summaryState"]) as remote:
        await change_state(remote, salobj.State[goal.upper()], override=override, on_state=click.echo)
    return ExitStatus.DONE
