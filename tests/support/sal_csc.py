"""A CSC of component Test on our runtime: echoes values, waits, faults; its hooks can misbehave."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

from typing_extensions import override

from lsst.ts.ocps.sal.configurable_csc import ConfigurableCsc
from lsst.ts.ocps.sal.data_type import BaseMsgType
from lsst.ts.ocps.sal.enums import State
from lsst.ts.ocps.sal.errors import ExpectedError

__all__ = ["CONFIG_SCHEMA", "SalTestCsc"]

CONFIG_SCHEMA = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": "Test v1",
    "type": "object",
    "properties": {
        "string0": {"type": "string", "default": "default value"},
        "int0": {"type": "integer"},
        "nested": {"type": "object"},
    },
    "required": ["string0", "int0"],
    "additionalProperties": False,
}

Hook = Callable[[], Awaitable[None]]


class SalTestCsc(ConfigurableCsc):
    """See the module.

    Parameters
    ----------
    index
        SAL index.
    config_dir
        Folder with the configuration files.
    **kwargs
        Passed on to the base class.
    """

    valid_simulation_modes: ClassVar[tuple[int, ...]] = (0, 1)
    enable_cmdline_state = True
    version = "1.2.3"

    def __init__(self, index: int, config_dir: str | Path | None = None, **kwargs: Any) -> None:
        self.config: SimpleNamespace | None = None
        self.hooks: dict[str, Hook] = {}
        self.calls: list[tuple[str, State]] = []
        super().__init__("Test", index, CONFIG_SCHEMA, config_dir=config_dir, **kwargs)
        self.cmd_wait.allow_multiple_callbacks = True
        self.evt_softwareVersions.set(subsystemVersions="")

    @staticmethod
    @override
    def get_config_pkg() -> str:
        return "ts_config_ocs"

    @override
    async def configure(self, config: SimpleNamespace) -> None:
        await self._run_hook("configure")
        self.config = config

    async def _run_hook(self, name: str) -> None:
        self.calls.append((name, self.summary_state))
        if name in self.hooks:
            await self.hooks[name]()

    @override
    async def begin_enable(self, data: BaseMsgType) -> None:
        await self._run_hook("begin_enable")

    @override
    async def end_enable(self, data: BaseMsgType) -> None:
        await self._run_hook("end_enable")

    @override
    async def handle_summary_state(self) -> None:
        await self._run_hook("handle_summary_state")

    async def do_setScalars(self, data: BaseMsgType) -> None:  # noqa: N802 (SAL's spelling)
        self.assert_enabled()
        await self.evt_scalars.set_write(**self.public_fields(data))
        await self.tel_scalars.set_write(**self.public_fields(data))

    async def do_setArrays(self, data: BaseMsgType) -> None:  # noqa: N802 (SAL's spelling)
        self.assert_enabled()
        await self.evt_arrays.set_write(**self.public_fields(data))
        await self.tel_arrays.set_write(**self.public_fields(data))

    async def do_wait(self, data: BaseMsgType) -> None:
        self.assert_enabled()
        if data.duration < 0:
            raise ExpectedError(f"duration={data.duration} < 0")
        await self.cmd_wait.ack_in_progress(data, timeout=data.duration)
        await asyncio.sleep(data.duration)

    async def do_fault(self, data: BaseMsgType) -> None:
        del data
        await self.fault(code=1, report="executing the fault command")

    @staticmethod
    def public_fields(data: BaseMsgType) -> dict[str, Any]:
        return {
            name: value
            for name, value in vars(data).items()
            if not name.startswith("private_") and name != "salIndex"
        }
