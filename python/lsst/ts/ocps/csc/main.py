"""The program ``run_ocps INDEX``."""

import asyncio
import sys

from lsst.ts.ocps.aio.open_files import allow_many_files
from lsst.ts.ocps.salobj import ExpectedError, SalError

from .enums import SalIndex
from .errors import CscError
from .garbage import postpone_collections
from .logs import configure_logging
from .ocps_csc import OcpsCsc

__all__ = ["run_ocps"]


def run_ocps() -> None:
    """Run the CSC until it is told to stop; exit with status 1 and one line if it cannot start."""
    configure_logging()
    allow_many_files()
    postpone_collections()
    try:
        asyncio.run(OcpsCsc.amain(index=SalIndex))
    except (CscError, ExpectedError, SalError) as error:
        sys.exit(f"run_ocps: {error}")


if __name__ == "__main__":
    run_ocps()
