"""The CSC ``OCPS`` as SAL sees it: states, configuration, commands. Everything else is behind the context."""

import asyncio
import traceback
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from typing_extensions import override as overrides

from lsst.ts.ocps import __version__
from lsst.ts.ocps.aio.tasks import TaskSupervisor
from lsst.ts.ocps.aio.turns import take_turn
from lsst.ts.ocps.client.errors import BackendError
from lsst.ts.ocps.client.registry import open_backend
from lsst.ts.ocps.client.simulation import SimulatedService
from lsst.ts.ocps.payloads.catalogue import Catalogue
from lsst.ts.ocps.payloads.errors import PayloadError
from lsst.ts.ocps.salobj import ConfigurableCsc, ExpectedError, SalError, SalRetCode, State
from lsst.ts.ocps.uws.run_id import run_id_prefix

from .aborts import abort_job
from .backends import Opener, to_stored_settings
from .commands import choose_first_ack
from .config import CscConfig, CscSettings, choose_version, make_schema
from .config_layers import read_start
from .context import CscContext
from .deposit_plan import DepositConfig
from .enums import FaultCode
from .errors import ConfigurationError, LedgerDamagedError, LedgerError, RequestRejectedError, SettingsError
from .intake import take_on
from .loading import Configured, load
from .logs import get_logger
from .outlet import Outlet
from .pair import ACK_CODES
from .patience import Patience
from .records import CommandKey, RunRecord
from .requests import RunRequest, parse_execute, parse_run
from .texts import MAX_STRING_BYTES, clip

__all__ = ["OcpsCsc"]

_ABORT_STATES = (State.ENABLED, State.DISABLED, State.FAULT)
_EXECUTE_FIELDS = ("pipeline", "version", "config", "data_query", "prereq_jobs", "output_dataset_types")


class OcpsCsc(ConfigurableCsc):
    """The bridge from SAL commands to UWS jobs.

    Parameters
    ----------
    index
        SAL index.
    config_dir
        Folder of the configuration files; None: ``$DM_CONFIG_OCPS_DIR/OCPS/v5``, or ``v4`` without that.
    initial_state, override, simulation_mode
        As for ``ConfigurableCsc``.
    opener, patience
        Other back ends and other times, for tests.

    Raises
    ------
    SettingsError
        If environment variables are missing.
    """

    version = __version__
    valid_simulation_modes = (0, 1)
    simulation_help = "simulate all back ends: pipelines true.yaml, false.yaml and fault.yaml end as they say"

    def __init__(
        self,
        index: int,
        *,
        config_dir: str | Path | None = None,
        check_if_duplicate: bool = False,
        initial_state: State | int | None = None,
        override: str = "",
        simulation_mode: int = 0,
        opener: Opener = open_backend,
        patience: Patience | None = None,
    ) -> None:
        # The base class is another one where ts_salobj is installed: our names must not be its names.
        self.settings = CscSettings.from_environment(needs_config_dir=config_dir is None)
        self._ocps_simulation = SimulatedService(self._note_simulated_fault) if simulation_mode else None
        self._ocps_opener = (
            self._ocps_simulation.open_backend if self._ocps_simulation is not None else opener
        )
        self._ocps_patience = patience
        self._ocps_version = choose_version(config_dir, self.settings)
        self._ocps_context: CscContext | None = None
        self._ocps_config: CscConfig | None = None
        self._ocps_catalogue = Catalogue(())
        self._ocps_asked_override = ""
        self._ocps_faults = TaskSupervisor("faults")
        self._ocps_log = get_logger("csc")
        super().__init__(
            "OCPS",
            index=index,
            config_schema=make_schema(self._ocps_version),
            config_dir=config_dir,
            check_if_duplicate=check_if_duplicate,
            initial_state=initial_state,
            override=override,
            simulation_mode=simulation_mode,
            extra_commands={"run"},
        )
        self._ocps_outlet = Outlet(self)
        self.cmd_execute.allow_multiple_callbacks = True
        if self._ocps_outlet.has("cmd_run"):
            self.cmd_run.allow_multiple_callbacks = True
        self.cmd_abort_job.allow_multiple_callbacks = True

    @overrides
    @classmethod
    def make_from_cmd_line(cls, *args: Any, **kwargs: Any) -> "OcpsCsc":
        """Make the CSC from the command line.

        Raises
        ------
        SettingsError
            If the environment or the options do not fit together.
        """
        try:
            return super().make_from_cmd_line(*args, **kwargs)
        except (RuntimeError, ValueError) as error:
            raise SettingsError(str(error)) from error

    @staticmethod
    @overrides
    def get_config_pkg() -> str:
        """Name of the package whose folder ``DM_CONFIG_OCPS_DIR`` names."""
        return "dm_config_ocps"

    @property
    def context(self) -> CscContext:
        """The parts; they exist from the start on."""
        if self._ocps_context is None:
            raise ExpectedError("the CSC has not started")
        return self._ocps_context

    # Start and end

    @overrides
    async def start(self) -> None:
        """Open the ledger, start, and take up the runs of an earlier life."""
        try:
            self._ocps_context = await CscContext.open(
                self._ocps_outlet,
                state_dir=await self._choose_state_dir(),
                index=int(self.salinfo.index),
                on_lost=self._note_lost,
                on_ledger_error=self._note_ledger_error,
                on_death=self._note_task_death,
                opener=self._ocps_opener,
                patience=self._ocps_patience,
            )
            await super().start()
        except (LedgerError, SalError) as error:
            raise _refusal(str(error)) from error
        self._ocps_outlet.log_missing()
        if damage := self._ocps_context.ledger.damage:
            self._note_ledger_error(LedgerDamagedError(damage))
        await self._ocps_context.start()

    async def _choose_state_dir(self) -> Path:
        """Where the ledger is. Simulated back ends do not know real runs, and would lose them."""
        folder = self.settings.state_dir
        if self._ocps_simulation is None or not await asyncio.to_thread(folder.is_dir):
            return folder
        folder /= "simulation"
        try:
            await asyncio.to_thread(folder.mkdir, exist_ok=True)
        except OSError as error:
            raise ExpectedError(f"ledger of simulated runs: {folder}: {error.strerror}") from error
        return folder

    @overrides
    async def close_tasks(self) -> None:
        """Stop following and telling; runs go on, and the next process follows them."""
        await super().close_tasks()
        await self._ocps_faults.aclose()
        if self._ocps_context is not None:
            await self._ocps_context.aclose()
        if self._ocps_simulation is not None:
            await self._ocps_simulation.aclose()

    # Configuration

    @overrides
    async def begin_start(self, data: Any) -> None:
        """Remember which override was asked for, to name its file where it is wrong."""
        self._ocps_asked_override = data.configurationOverride
        await super().begin_start(data)

    @overrides
    async def configure(self, config: SimpleNamespace) -> None:
        """Take a new configuration; nothing is changed unless all of it is right.

        Raises
        ------
        ExpectedError
            If anything is wrong; names file, field, value and reason of each problem.
        """
        try:
            parsed, catalogue = await asyncio.to_thread(self._load, vars(config))
            for name, settings in parsed.backends.items():
                _ = await self.context.pool.get(to_stored_settings(name, settings))
            if self._ocps_simulation is not None:
                # What was never computed must not lie where results are looked for.
                parsed = parsed.model_copy(update={"deposit": DepositConfig(enabled=False)})
        except (ConfigurationError, PayloadError, BackendError) as error:
            raise _refusal(f"configuration refused: {error}") from error
        if parsed.execute_payload and parsed.execute_payload not in catalogue:
            # A site that runs no such payload needs not to say so; whoever sends the command is told.
            self._ocps_log.warning("execute is not available", execute_payload=parsed.execute_payload)
        self._ocps_config, self._ocps_catalogue = parsed, catalogue
        prefix = run_id_prefix(self.settings.site, int(self.salinfo.index))
        await self.context.configure(parsed, catalogue, prefix=prefix)

    def _load(self, values: dict[str, Any]) -> Configured:
        return load(
            values,
            version=self._ocps_version,
            index=int(self.salinfo.index),
            folder=self.config_dir,
            redis=self.settings.redis,
            read=lambda: read_start(self.config_dir, self.settings.site, self._ocps_asked_override),
        )

    @overrides
    async def begin_enable(self, data: Any) -> None:
        """Refuse to be ENABLED without the back ends that are required.

        Raises
        ------
        ExpectedError
            If one of them cannot be reached.
        """
        problems = await self.context.health.probe()
        if problems:
            raise _refusal(f"required back ends not reachable: {'; '.join(problems)}")
        await super().begin_enable(data)

    # Commands

    async def do_run(self, data: Any) -> Any:
        """Run a configured payload."""

        def parse() -> RunRequest:
            return parse_run(
                self._ocps_catalogue,
                payload=data.payload,
                parameters=data.parameters,
                label=data.label,
                prereq_jobs=data.prereq_jobs,
                detach=data.detach,
            )

        return await self._run("run", data, parse)

    async def do_execute(self, data: Any) -> Any:
        """Run the payload that stands for the deployed command."""

        def parse() -> RunRequest:
            payload = self._ocps_config.execute_payload if self._ocps_config is not None else ""
            fields = {name: getattr(data, name) for name in _EXECUTE_FIELDS}
            return parse_execute(self._ocps_catalogue, payload=payload, fields=fields)

        return await self._run("execute", data, parse)

    async def do_abort_job(self, data: Any) -> None:
        """End a job, by job id or run_id."""
        if self.summary_state not in _ABORT_STATES:
            raise ExpectedError(f"abort_job not allowed in state {self.summary_state!r}")

        async def on_slow(seconds: float) -> None:
            await self.cmd_abort_job.ack_in_progress(data, timeout=seconds, result="asked to abort")

        try:
            await abort_job(self.context.tracker, data.job_id.strip(), on_slow)
        except (RequestRejectedError, LedgerError) as error:
            raise _refusal(str(error)) from error

    async def _run(self, command: str, data: Any, parse: Callable[[], RunRequest]) -> Any:
        """Take a command up to its first acknowledgement, which the SAL layer sends."""
        key = CommandKey.of(data)
        await take_turn()
        try:
            if self.summary_state is not State.ENABLED:
                # A record that is delivered again is not judged by the state of today.
                record = await self.context.tracker.find_command(key)
                if record is None:
                    self.assert_enabled(command)
            else:
                record = None
            if record is None:
                record = await self._submit(parse(), key)
        except RequestRejectedError as error:
            raise _refusal(str(error)) from error
        except LedgerError as error:
            self._note_ledger_error(error)
            raise _refusal(str(error)) from error
        return self._make_first_ack(data, record)

    async def _submit(self, request: RunRequest, key: CommandKey) -> RunRecord:
        if self._ocps_config is None:
            raise RequestRejectedError(["the CSC is not configured"])
        return await take_on(
            request,
            key,
            self._ocps_config,
            pool=self.context.pool,
            tracker=self.context.tracker,
            site=self.settings.site,
            index=int(self.salinfo.index),
        )

    def _make_first_ack(self, data: Any, record: RunRecord) -> Any:
        first = choose_first_ack(record)
        code = SalRetCode.CMD_INPROGRESS if first.final is None else ACK_CODES[first.final]
        return self.salinfo.make_ackcmd(
            private_seqNum=data.private_seqNum,
            ack=code,
            error=1 if code < 0 else 0,
            result=first.text,
            timeout=first.duration,
        )

    # Faults

    async def _note_lost(self, report: str) -> None:
        if self.summary_state is State.ENABLED:
            await self.fault(code=FaultCode.BACKEND_UNREACHABLE, report=report)

    def _note_simulated_fault(self, report: str) -> None:
        self._fault_soon(FaultCode.SIMULATED, report)

    def _note_ledger_error(self, error: LedgerError) -> None:
        self._ocps_log.error("ledger unusable", error=str(error))
        self._fault_soon(FaultCode.LEDGER_UNUSABLE, str(error))

    def _note_task_death(self, name: str, error: BaseException) -> None:
        self._ocps_log.error("task died", task=name, exc_info=error)
        text = "".join(traceback.format_exception(error))
        self._fault_soon(FaultCode.TASK_DIED, f"internal task {name} died: {error!r}", text)

    def _fault_soon(self, code: FaultCode, report: str, text: str = "") -> None:
        """Go to FAULT, unless the CSC is there already or about to end."""
        if self.summary_state is not State.FAULT and self.isopen:
            _ = self._ocps_faults.start(
                self.fault(code=code, report=clip(report), traceback=clip(text)), name=f"fault {code.value}"
            )


def _refusal(text: str) -> ExpectedError:
    """The error for a command that is not carried out; the SAL layer puts a word before its text."""
    return ExpectedError(clip(text, MAX_STRING_BYTES - 100))
