"""Connect to a CSC, and say so when it takes long."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import click

from lsst.ts.ocps import salobj
from lsst.ts.ocps.observer.connection import connect

from .settings import CliSettings

__all__ = ["connected"]

_PATIENCE = 2.0


@asynccontextmanager
async def connected(index: int, *, events: Sequence[str]) -> AsyncIterator[salobj.Remote]:
    """Make a Remote for the body, as `~lsst.ts.ocps.observer.connection.connect` does.

    Parameters
    ----------
    index
        SAL index of the CSC.
    events
        Names of the events to read.

    Yields
    ------
    Remote
        Started.
    """
    notice = asyncio.get_running_loop().call_later(_PATIENCE, _say_who_is_waited_for)
    try:
        async with connect(index, events=events) as remote:
            notice.cancel()
            yield remote
    finally:
        notice.cancel()


def _say_who_is_waited_for() -> None:
    settings = CliSettings.from_environment()
    broker = settings.broker_address or "the default address"
    registry = settings.registry_url or "the default address"
    click.echo(f"waiting for the broker at {broker} and the schema registry at {registry} …", err=True)
