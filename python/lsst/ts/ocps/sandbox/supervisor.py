"""A running sandbox, as the process sees it that owns it."""

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from . import environment, leftovers
from .bring_up import CscLink
from .errors import PartFailedError, SandboxError, StoppedBySignalError
from .installation import find_configuration
from .layout import SandboxLayout
from .parts import CSC_INDEX, SERVING_PARTS, plan_parts
from .ports import choose_ports
from .process_table import ProcessIdentity, identify
from .retention import shorten_retention
from .stack import Stack
from .state import PartState, SandboxPhase, SandboxState, hold_lock, load_state, save_state

__all__ = ["Sandbox"]

_PORT_ATTEMPTS = 3


def _this_process() -> ProcessIdentity:
    identity = identify(os.getpid())
    if identity is None:
        raise SandboxError("the sandbox needs /proc, that is Linux")
    return identity


class Sandbox:
    """Everything that runs in one sandbox folder; an async context manager.

    Entering starts the parts, with the CSC in its first state; leaving ends them. The state file tells other
    processes about it all the while.

    Parameters
    ----------
    folder
        The sandbox folder; it is created.
    payload_directories
        Further folders with payload definitions, besides those that come with the package.
    on_ready
        Told each part that has become ready.
    """

    def __init__(
        self,
        folder: Path,
        *,
        payload_directories: Sequence[Path] = (),
        on_ready: Callable[[PartState], None] = lambda _: None,
    ) -> None:
        self.layout = SandboxLayout.from_folder(folder)
        self._extra_payloads = [directory.resolve() for directory in payload_directories]
        self._on_ready = on_ready
        self._log = logging.getLogger(__name__)
        self._held = ExitStack()
        self._stack: Stack | None = None
        self._csc: CscLink | None = None
        self._state: SandboxState | None = None
        self._saving = asyncio.Lock()

    @property
    def state(self) -> SandboxState:
        """What the state file says.

        Raises
        ------
        RuntimeError
            If the sandbox was not entered.
        """
        if self._state is None:
            raise RuntimeError("the sandbox was not entered")
        return self._state

    @property
    def csc(self) -> CscLink:
        """The connection to the CSC.

        Raises
        ------
        RuntimeError
            If the sandbox was not entered.
        """
        if self._csc is None:
            raise RuntimeError("the sandbox was not entered")
        return self._csc

    async def __aenter__(self) -> Self:
        """Start everything.

        Raises
        ------
        SandboxError
            If another process runs a sandbox in this folder, or a part does not start.
        """
        try:
            await asyncio.to_thread(self.layout.create)
            self._held.enter_context(hold_lock(self.layout.lock_file, self.layout.folder))
            await self._start()
        except BaseException as error:
            await self._stop(error)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End everything."""
        await self._stop(error)

    async def _start(self) -> None:
        installed = await asyncio.to_thread(find_configuration)
        previous = await asyncio.to_thread(load_state, self.layout.state_file)
        if ended := await leftovers.end_leftovers(self.layout, previous):
            self._log.warning("ended %s processes left over from an earlier sandbox", ended)
        preferred = previous.ports if previous is not None else {}
        for attempt in range(_PORT_ATTEMPTS):
            ports = choose_ports(SERVING_PARTS, preferred=preferred)
            try:
                await self._start_parts(installed, ports)
            except PartFailedError as error:
                if not error.is_port_taken or attempt == _PORT_ATTEMPTS - 1:
                    raise
                self._log.warning("%s: its port was taken in the meantime; choosing others", error.part)
                await self._close_parts()
                preferred = {}
            else:
                return

    async def _start_parts(self, installed: Path, ports: dict[str, int]) -> None:
        directories = [installed / "payloads", *self._extra_payloads]
        variables, plans = plan_parts(
            self.layout, ports=ports, payload_directories=directories, wait_for_csc=self._wait_for_csc
        )
        await asyncio.to_thread(
            self.layout.write_configuration,
            installed=installed,
            service_url=variables["OCPS_SERVICE_URL"],
            payload_directories=directories,
        )
        self._state = SandboxState(
            folder=self.layout.folder,
            phase=SandboxPhase.STARTING,
            supervisor=_this_process(),
            start_time=datetime.now(UTC),
            variables=variables,
            ports=ports,
        )
        await self._save()
        environment.apply_to_this_process(variables)
        self._stack = Stack(plans, on_change=self._note_parts, on_ready=self._on_ready)
        await self._stack.start()

    async def _wait_for_csc(self) -> None:
        """Wait for the first state of the CSC that this sandbox started, not of one before it."""
        csc = self.state.parts[-1]
        self._csc = await CscLink.connect(CSC_INDEX)
        state = await self._csc.wait_for_state_from(csc.process.pid)
        await self._update(csc_state=state)

    async def enable(self, on_state: Callable[[str], None] = lambda _: None) -> None:
        """Bring the CSC to ENABLED, and from then on keep its state in the state file.

        Parameters
        ----------
        on_state
            Told each state on the way, the present one first.

        Raises
        ------
        BringUpError
            If the CSC does not get there.
        """
        await self.csc.enable(on_state)
        # By now every topic of the CSC exists.
        await self._shorten_retention()
        self.csc.follow(lambda state: self._update(csc_state=state))
        await self._update(phase=SandboxPhase.RUNNING, csc_state="ENABLED")

    async def _shorten_retention(self) -> None:
        variables = self.state.variables
        try:
            await shorten_retention(variables["LSST_KAFKA_BROKER_ADDR"], variables["LSST_TOPIC_SUBNAME"])
        except SandboxError as error:
            self._log.warning("%s", error)

    async def wait_for_crash(self) -> NoReturn:
        """Wait until a part ends by itself.

        Raises
        ------
        PartFailedError
            When that happens; names the part, with the tail of its log.
        """
        if self._stack is None:
            raise RuntimeError("the sandbox was not entered")
        await self._stack.wait_for_crash()

    async def _note_parts(self, parts: tuple[PartState, ...]) -> None:
        await self._update(parts=parts)

    async def _update(self, **changes: object) -> None:
        self._state = self.state.model_copy(update=changes)
        await self._save()

    async def _save(self) -> None:
        # One writer at a time, and each writes what is true when it begins.
        async with self._saving:
            await asyncio.to_thread(save_state, self.layout.state_file, self.state)

    async def _close_parts(self) -> None:
        if self._csc is not None:
            await self._csc.aclose()
            self._csc = None
        if self._stack is not None:
            await self._stack.aclose()
            self._stack = None

    async def _stop(self, error: BaseException | None) -> None:
        failed = isinstance(error, Exception) and not isinstance(error, StoppedBySignalError)
        with self._held:
            if self._state is None:
                return
            await self._update(phase=SandboxPhase.STOPPING)
            try:
                await self._close_parts()
                # Jobs outlive the service, so that a later one adopts them, but not the sandbox.
                _ = await leftovers.end_leftovers(self.layout, None)
            finally:
                phase = SandboxPhase.FAILED if failed else SandboxPhase.DOWN
                await self._update(phase=phase, csc_state="", message=str(error) if failed else "")
