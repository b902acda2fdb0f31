"""A connection to one CSC."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from lsst.ts.ocps import salobj
from lsst.ts.ocps.aio.deadline import Deadline

from .errors import MissingTopicError

__all__ = ["COMPONENT", "JOB_EVENTS", "connect", "get_topic"]

COMPONENT = "OCPS"

JOB_EVENTS = ("job_id", "job_phase", "job_output", "job_metric", "job_result")
"""The events that tell of single runs."""

_CONNECT_TIMEOUT = 60.0


@asynccontextmanager
async def connect(index: int, *, events: Sequence[str]) -> AsyncIterator[salobj.Remote]:
    """Make a Remote for the body.

    Parameters
    ----------
    index
        SAL index of the CSC.
    events
        Names of the events and telemetry to read, without prefix; commands are always there.

    Yields
    ------
    Remote
        Started: the last sample of each event is there.

    Raises
    ------
    ~lsst.ts.ocps.aio.deadline.DeadlineExceededError
        If broker and registry did not answer in time.
    """
    async with salobj.Domain() as domain:
        remote = salobj.Remote(domain, COMPONENT, index, include=list(events))
        async with Deadline(f"connecting to {COMPONENT}:{index}", _CONNECT_TIMEOUT).enforce():
            await remote.start_task
        yield remote


def get_topic(remote: salobj.Remote, name: str) -> Any:
    """A topic that not every installed interface has.

    Parameters
    ----------
    remote
        A Remote.
    name
        Attribute name, such as ``cmd_run``.

    Raises
    ------
    ~lsst.ts.ocps.observer.errors.MissingTopicError
        If the interface lacks it.
    """
    topic = getattr(remote, name, None)
    if topic is None:
        raise MissingTopicError(name)
    return topic
