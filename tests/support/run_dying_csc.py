"""``run_ocps`` that kills itself (SIGKILL) at a named step of the life of a run.

::

    python run_dying_csc.py STEP_FILE run_ocps' arguments

While STEP_FILE holds the name of a step, the process dies when it gets there. The steps are put around the
functions of the product here, so that the product itself knows nothing of them.
"""

import functools
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from typing import Any

import httpx

from lsst.ts.ocps.client.api_server import ApiServerBackend
from lsst.ts.ocps.client.uws import UwsBackend
from lsst.ts.ocps.csc.deposit_directory import DirectoryStore
from lsst.ts.ocps.csc.deposit_s3 import PrefixStore
from lsst.ts.ocps.csc.ledger import Ledger
from lsst.ts.ocps.csc.main import run_ocps
from lsst.ts.ocps.csc.ocps_csc import OcpsCsc
from lsst.ts.ocps.csc.outlet import Outlet
from lsst.ts.ocps.csc.pair import PairWriter
from lsst.ts.ocps.csc.reporter import Reporter
from lsst.ts.ocps.salobj import SalRetCode
from lsst.ts.ocps.uws.phases import ExecutionPhase

__all__ = ["DeathStep"]


class DeathStep(StrEnum):
    """Where the CSC can be made to die, in the order of the life of a run."""

    BEFORE_ROW = "before the row"
    AFTER_ROW = "after the row"
    BEFORE_POST = "before POST, or PUT"
    DURING_POST = "during POST, or PUT"
    AFTER_POST = "after POST, or PUT, before the URL is recorded"
    PENDING = "PENDING"
    AFTER_START = "after PHASE=RUN, before its answer is looked at"
    EXECUTING = "EXECUTING"
    DURING_DEPOSIT = "after the first file of a deposit, before the second"
    AFTER_DEPOSIT = "after the deposit, before the report"
    BEFORE_REPORT = "after the end, before the report"
    BEFORE_ACK = "after the report, before the acknowledgement"
    AFTER_ACK = "after the acknowledgement, before the ledger knows"


Condition = Callable[..., bool]


class _Death:
    """Comes when the file names the step."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def come(self, step: DeathStep) -> None:
        if self.is_due(step):
            os.kill(os.getpid(), signal.SIGKILL)

    def is_due(self, step: DeathStep) -> bool:
        return self._file.exists() and self._file.read_text(encoding="utf-8") == step

    def before(self, owner: type, name: str, step: DeathStep, condition: Condition | None = None) -> None:
        """Die instead of calling a method."""
        original = getattr(owner, name)

        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            if condition is None or condition(*args, **kwargs):
                self.come(step)
            return original(*args, **kwargs)

        setattr(owner, name, call)

    def after(self, owner: type, name: str, step: DeathStep, condition: Condition | None = None) -> None:
        """Die when a coroutine method has done its work, before its caller knows."""
        original: Callable[..., Awaitable[Any]] = getattr(owner, name)

        @functools.wraps(original)
        async def call(*args: Any, **kwargs: Any) -> Any:
            result = await original(*args, **kwargs)
            if condition is None or condition(*args, **kwargs):
                self.come(step)
            return result

        setattr(owner, name, call)

    def during_post(self) -> None:
        """Die when the request for a new job is sent, before anything of the answer is read."""
        original = httpx.AsyncHTTPTransport.handle_async_request

        async def trace(event: str, _info: Any) -> None:
            if event.endswith("send_request_body.complete"):
                self.come(DeathStep.DURING_POST)

        async def call(self: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
            path = request.url.path
            if (request.method, path[path.rfind("/") :]) in {("POST", "/async"), ("PUT", "/job")}:
                request.extensions = {**request.extensions, "trace": trace}
            return await original(self, request)

        httpx.AsyncHTTPTransport.handle_async_request = call  # type: ignore[method-assign]


def _is_final(*_args: Any, ack: SalRetCode, **_kwargs: Any) -> bool:
    return ack != SalRetCode.CMD_INPROGRESS


def _is_executing(_reporter: Any, record: Any, *_args: Any) -> bool:
    return bool(record.phase is ExecutionPhase.EXECUTING)


def _start_quickly() -> None:
    """Leave out what takes seconds at each start: the way to ENABLED, and the look for another CSC."""
    original = OcpsCsc.make_from_cmd_line

    def make(*args: Any, **kwargs: Any) -> OcpsCsc:
        return original(*args, **(kwargs | {"check_if_duplicate": False}))

    OcpsCsc.make_from_cmd_line = make  # type: ignore[method-assign]
    OcpsCsc.enable_cmdline_state = True


def main() -> None:
    """Put the steps in place, and run the CSC."""
    death = _Death(Path(sys.argv.pop(1)))
    death.before(Ledger, "add", DeathStep.BEFORE_ROW)
    death.after(Ledger, "add", DeathStep.AFTER_ROW)
    death.during_post()
    for backend in (UwsBackend, ApiServerBackend):
        death.before(backend, "create", DeathStep.BEFORE_POST)
        death.after(backend, "create", DeathStep.AFTER_POST)
    death.before(UwsBackend, "start", DeathStep.PENDING)
    death.after(UwsBackend, "start", DeathStep.AFTER_START)
    death.after(Reporter, "publish_phase", DeathStep.EXECUTING, _is_executing)
    for store in (DirectoryStore, PrefixStore):
        death.after(store, "put", DeathStep.DURING_DEPOSIT)
        death.after(store, "commit", DeathStep.AFTER_DEPOSIT)
    death.before(PairWriter, "write", DeathStep.BEFORE_REPORT)
    death.before(Outlet, "acknowledge", DeathStep.BEFORE_ACK, _is_final)
    death.after(Outlet, "acknowledge", DeathStep.AFTER_ACK, _is_final)
    _start_quickly()
    run_ocps()


if __name__ == "__main__":
    main()
