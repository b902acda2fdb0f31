"""The program ``run_ocps INDEX``."""

import asyncio
import gc
import sys

from lsst.ts.ocps.aio.open_files import allow_many_files
from lsst.ts.ocps.aio.periodic import run_periodically
from lsst.ts.ocps.aio.tasks import TaskSupervisor
from lsst.ts.ocps.salobj import ExpectedError, SalError

from .enums import SalIndex
from .errors import CscError
from .logs import configure_logging
from .ocps_csc import OcpsCsc

__all__ = ["run_ocps"]

_COLLECTING = 60.0
"""Time between two looks for garbage among all that has come since the start (s)."""

_NEVER = 1_000_000


def run_ocps() -> None:
    """Run the CSC until it is told to stop; exit with status 1 and one line if it cannot start."""
    configure_logging()
    allow_many_files()
    # What is here now stays, and a crowd of runs is looked through once a minute instead of whenever it has
    # grown: each time everything else would stand still for 0.1 s.
    gc.freeze()
    gc.set_threshold(*gc.get_threshold()[:2], _NEVER)
    try:
        asyncio.run(_run())
    except (CscError, ExpectedError, SalError) as error:
        sys.exit(f"run_ocps: {error}")


async def _run() -> None:
    tasks = TaskSupervisor("process")
    collecting = run_periodically(_collect, interval=_COLLECTING, first_delay=_COLLECTING)
    _ = tasks.start(collecting, name="garbage")
    try:
        await OcpsCsc.amain(index=SalIndex)
    finally:
        await tasks.aclose()


async def _collect() -> None:
    _ = gc.collect()


if __name__ == "__main__":
    run_ocps()
