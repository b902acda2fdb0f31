"""A CSC that is configured by files (salobj-api section 6, sal-on-kafka section 13)."""

import argparse
import asyncio
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from enum import IntEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from typing_extensions import override as overrides

from lsst.ts.ocps.aio.periodic import run_periodically

from .base_csc import BaseCsc
from .configuration import (
    ConfigDirectory,
    Validator,
    find_config_dir,
    get_schema_version,
    get_site,
    read_config_files,
    split_override,
)
from .data_type import BaseMsgType
from .enums import State
from .errors import SalError

__all__ = ["ConfigurableCsc"]

READ_CONFIG_DIR_INTERVAL = 1.0
"""Time between two looks at the configuration directory in STANDBY (s)."""


class ConfigurableCsc(BaseCsc, ABC):
    """A CSC whose ``start`` command reads configuration files and hands them to `configure`.

    Parameters
    ----------
    name
        Name of the component.
    index
        Its index; None or 0 for a component without indices.
    config_schema
        JSON Schema (draft 7) of the configuration; its title ends with `` v<version>``.
    config_dir
        Where the files are; None: ``$<PACKAGE>_DIR/<name>/v<version>``.
    check_if_duplicate, initial_state, override, simulation_mode, extra_commands
        As for `~lsst.ts.ocps.sal.base_csc.BaseCsc`.
    discard_out_of_order_telemetry, discard_out_of_order_events
        As for `~lsst.ts.ocps.sal.base_csc.BaseCsc`.

    Raises
    ------
    RuntimeError
        If the environment does not tell the site or the configuration directory.
    ValueError
        If the schema has no version, or ``config_dir`` is no directory.
    """

    def __init__(  # noqa: PLR0917 (the API)
        self,
        name: str,
        index: int | IntEnum | None,
        config_schema: Mapping[str, Any] | None,
        config_dir: str | Path | None = None,
        check_if_duplicate: bool = False,
        initial_state: State | int | None = None,
        override: str = "",
        simulation_mode: int = 0,
        extra_commands: Collection[str] = frozenset(),
        discard_out_of_order_telemetry: bool = True,
        discard_out_of_order_events: bool = True,
    ) -> None:
        self.site = get_site()
        self.schema_version = get_schema_version(config_schema)
        self._config_schema = config_schema
        self._config_validator: Validator | None = None
        self.read_config_dir_interval = READ_CONFIG_DIR_INTERVAL
        self.read_config_dir_task: asyncio.Task[None] | None = None
        if config_dir is None:
            config_dir = find_config_dir(self.get_config_pkg(), name, self.schema_version)
        self.config_dir = Path(config_dir)
        super().__init__(
            name,
            index,
            check_if_duplicate=check_if_duplicate,
            initial_state=initial_state,
            override=override,
            simulation_mode=simulation_mode,
            extra_commands=extra_commands,
            discard_out_of_order_telemetry=discard_out_of_order_telemetry,
            discard_out_of_order_events=discard_out_of_order_events,
        )
        for event in (self.evt_configurationsAvailable, self.evt_configurationApplied):
            event.set(schemaVersion=self.schema_version, url=self.config_dir.as_uri())

    # To be implemented

    @abstractmethod
    async def configure(self, config: SimpleNamespace) -> None:
        """Take a new configuration; called by ``start`` before the state changes.

        Parameters
        ----------
        config
            Top-level keys of the merged files as attributes; mappings inside stay mappings.
        """

    @staticmethod
    @abstractmethod
    def get_config_pkg() -> str:
        """Name of the package that holds the configuration files."""

    # Where and how

    @property
    def config_dir(self) -> Path:
        """Where the configuration files are.

        Raises
        ------
        ValueError
            When set to something that is no directory.
        """
        return self._directory.path

    @config_dir.setter
    def config_dir(self, config_dir: str | Path) -> None:
        path = Path(config_dir)
        if not path.is_dir():
            raise ValueError(f"config_dir={str(config_dir)!r} is not a directory")
        self._directory = ConfigDirectory(path.resolve())

    @property
    def config_validator(self) -> Validator:
        """Checks a configuration; made when it is first needed, because its import takes time."""
        if self._config_validator is None:
            from jsonschema import Draft7Validator  # noqa: PLC0415 (saves a tenth of the start-up time)

            self._config_validator = Draft7Validator(dict(self._config_schema or {}))
        return self._config_validator

    @config_validator.setter
    def config_validator(self, validator: Validator) -> None:
        self._config_validator = validator

    @classmethod
    def read_config_files(
        cls, config_validator: Validator, config_dir: Path, files_to_read: list[str], git_hash: str = ""
    ) -> SimpleNamespace:
        """Read files one over the other and validate the result; blocking.

        See ``lsst.ts.ocps.sal.configuration.read_config_files``.
        """
        return read_config_files(config_validator, Path(config_dir), files_to_read, git_hash)

    # The directory

    async def read_config_dir(self) -> None:
        """Look at the directory and publish what it offers, if that has changed.

        Raises
        ------
        OSError
            If the directory cannot be read.
        """
        offer = await self._directory.read()
        await self.evt_configurationsAvailable.set_write(
            overrides=",".join(offer.overrides), version=offer.version
        )

    async def _try_read_config_dir(self) -> None:
        try:
            await self.read_config_dir()
        except (OSError, SalError) as error:
            self.log.warning("could not tell what %s offers: %s", self.config_dir, error)

    def _stop_reading_config_dir(self) -> None:
        if self.read_config_dir_task is not None:
            self.read_config_dir_task.cancel()

    # Hooks

    @overrides
    async def begin_start(self, data: BaseMsgType) -> None:
        """Read the files and configure; subclasses that override it call it."""
        await self.read_config_dir()
        filename, git_hash = split_override(data.configurationOverride)
        site_file = f"_{self.site}.yaml"
        has_site_file = await asyncio.to_thread((self.config_dir / site_file).is_file)
        files = ["_init.yaml", *([site_file] if has_site_file else []), *([filename] if filename else [])]
        config = await asyncio.to_thread(self._read_files, files, git_hash)
        await self.configure(config)
        await self.evt_configurationApplied.set_write(
            configurations=",".join(files),
            version=self.evt_configurationsAvailable.data.version,
            url=self.config_dir.as_uri(),
            force_output=True,
        )

    def _read_files(self, files: list[str], git_hash: str) -> SimpleNamespace:
        return self.read_config_files(self.config_validator, self.config_dir, files, git_hash)

    @overrides
    async def _report_summary_state(self) -> None:
        await super()._report_summary_state()
        self._stop_reading_config_dir()
        if self.summary_state is State.STANDBY:
            await self._try_read_config_dir()
            interval = self.read_config_dir_interval
            self.read_config_dir_task = self._tasks.start(
                run_periodically(self._try_read_config_dir, interval=interval, first_delay=interval),
                name="configuration directory",
            )

    # Command line

    @overrides
    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--configdir", help="directory with the configuration files")

    @overrides
    @classmethod
    def add_kwargs_from_args(cls, args: argparse.Namespace, kwargs: dict[str, Any]) -> None:
        super().add_kwargs_from_args(args, kwargs)
        kwargs["config_dir"] = args.configdir
