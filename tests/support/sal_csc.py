"""The CSC of component Test whose hooks can misbehave."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from typing_extensions import override

from lsst.ts.ocps.salobj import CONFIG_SCHEMA, BaseMsgType, State, TestCsc

__all__ = ["CONFIG_SCHEMA", "SalTestCsc"]

Hook = Callable[[], Awaitable[None]]


class SalTestCsc(TestCsc):
    """Notes when its hooks are called, and calls those of the test.

    Parameters
    ----------
    index
        SAL index.
    config_dir
        Folder with the configuration files.
    **kwargs
        Passed on to the base class.
    """

    version = "1.2.3"

    def __init__(self, index: int, config_dir: str | Path | None = None, **kwargs: Any) -> None:
        self.hooks: dict[str, Hook] = {}
        self.calls: list[tuple[str, State]] = []
        super().__init__(index, config_dir, **kwargs)

    @override
    async def configure(self, config: SimpleNamespace) -> None:
        await self._run_hook("configure")
        await super().configure(config)

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
