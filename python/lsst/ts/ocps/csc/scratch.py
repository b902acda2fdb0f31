"""Folders for temporary files, by names that tell whose they are: what a killed process leaves is found."""

import hashlib
import shutil
import tempfile
from pathlib import Path

from lsst.ts.ocps.aio.threads import run_in_thread

from .logs import get_logger

__all__ = ["Scratch"]


class Scratch:
    """Makes such folders among the temporary files of the system: results may be too large for others.

    Parameters
    ----------
    ledger
        File of the ledger. One process at a time has it, and with it the folders.
    """

    def __init__(self, ledger: Path) -> None:
        owner = hashlib.sha256(str(ledger.absolute()).encode()).hexdigest()[:12]
        self._prefix = f"ocps-deposit-{owner}-"

    def make(self) -> Path:
        """Make one; blocks.

        Raises
        ------
        OSError
            If that fails.
        """
        return Path(tempfile.mkdtemp(prefix=self._prefix))

    async def clean(self) -> None:
        """Remove those that an earlier process has left."""
        await run_in_thread(self._clean, name="scratch")

    def _clean(self) -> None:
        log = get_logger("scratch")
        for folder in Path(tempfile.gettempdir()).glob(f"{self._prefix}*"):
            try:
                shutil.rmtree(folder)
            except OSError as error:
                log.warning("temporary files are left", folder=str(folder), error=str(error))
            else:
                log.info("temporary files of an earlier process were removed", folder=str(folder))
