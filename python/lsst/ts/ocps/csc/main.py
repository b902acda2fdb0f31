"""The program ``run_ocps INDEX``."""

import asyncio
import gc
import sys

from lsst.ts.ocps.salobj import ExpectedError, SalError

from .enums import SalIndex
from .errors import CscError
from .logs import configure_logging
from .ocps_csc import OcpsCsc

__all__ = ["run_ocps"]


def run_ocps() -> None:
    """Run the CSC until it is told to stop; exit with status 1 and one line if it cannot start."""
    configure_logging()
    # What is here now stays: looking through all of it again and again would stop everything for 0.1 s.
    gc.freeze()
    try:
        asyncio.run(OcpsCsc.amain(index=SalIndex))
    except (CscError, ExpectedError, SalError) as error:
        sys.exit(f"run_ocps: {error}")


if __name__ == "__main__":
    run_ocps()
