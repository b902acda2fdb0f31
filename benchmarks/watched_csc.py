"""``run_ocps`` that tells how it fares: ``python -m benchmarks.watched_csc FILE run_ocps' arguments``.

At each SIGUSR1 it appends a line to the file: the longest stalls of its event loop since the last line.
"""

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from lsst.ts.ocps.csc.main import run_ocps
from lsst.ts.ocps.csc.ocps_csc import OcpsCsc

from .stalls import StallWatch

__all__ = ["WatchedCsc"]

_PATIENCE = 60.0
"""How long the CSC may take to answer a signal (s): no loop may stand still for so long."""


class WatchedCsc:
    """Such a CSC as whoever measures sees it.

    Parameters
    ----------
    file
        Where it writes; does not exist yet.
    index
        SAL index.
    """

    def __init__(self, file: Path, index: int) -> None:
        self._file = file
        self._num_lines = 0
        self._process: psutil.Process | None = None
        self.command = (sys.executable, "-m", __name__, str(file), str(index))
        """How it is started."""

    def follow(self, process: psutil.Process) -> None:
        """It was started."""
        self._process = process
        self._num_lines = len(self._read())

    @property
    def resident(self) -> float:
        """Resident memory (MB)."""
        assert self._process is not None
        return float(self._process.memory_info().rss / 1e6)

    @property
    def computing(self) -> float:
        """Time that it has computed for, all threads (s)."""
        assert self._process is not None
        times = self._process.cpu_times()
        return float(times.user + times.system)

    async def take_stalls(self) -> tuple[float, float]:
        """The longest stall since the last call, and the longest computed one (s)."""
        assert self._process is not None
        self._process.send_signal(signal.SIGUSR1)
        end = time.monotonic() + _PATIENCE
        while len(lines := await asyncio.to_thread(self._read)) <= self._num_lines:
            assert time.monotonic() < end, "the CSC does not answer"
            await asyncio.sleep(0.01)
        self._num_lines = len(lines)
        report: dict[str, Any] = json.loads(lines[-1])
        return report["stall"], report["computing"]

    def _read(self) -> list[str]:
        if not self._file.exists():
            return []
        # A line that is being written has no end yet.
        return self._file.read_text(encoding="utf-8").split("\n")[:-1]


def watch(file: Path) -> None:
    """Put the watch around the CSC."""
    original = OcpsCsc.amain

    async def amain(index: Any) -> None:
        async with StallWatch() as watch:

            def report() -> None:
                stall, computing = watch.take()
                line = json.dumps({"stall": stall, "computing": computing}) + "\n"
                descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                os.write(descriptor, line.encode())
                os.close(descriptor)

            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, report)
            await original(index=index)

    OcpsCsc.amain = amain  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    watch(Path(sys.argv.pop(1)))
    run_ocps()
