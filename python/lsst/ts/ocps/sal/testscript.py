"""A script without a task, to test with: waits, and fails where it is told to (salobj-api section 14)."""

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from typing_extensions import override

from .base_script import BaseScript
from .data_type import BaseMsgType
from .errors import ExpectedError

__all__ = ["TestScript"]


class TestScript(BaseScript):
    """A script with two checkpoints, ``start`` and ``end``, and a wait between them.

    Parameters
    ----------
    index
        SAL index.
    descr
        What it is good for, in a few words.

    Raises
    ------
    ValueError
        If the index is 0.
    """

    __test__ = False  # Not a collection of tests, in spite of its name.

    def __init__(self, index: int, descr: str = "A script to test with") -> None:
        self.config: SimpleNamespace | None = None
        super().__init__(index, descr, help="Waits between two checkpoints, and fails where it is told to.")

    @classmethod
    @override
    def get_schema(cls) -> Mapping[str, Any]:
        return {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "title": "TestScript v1",
            "description": "Configuration of TestScript",
            "type": "object",
            "properties": {
                "wait_time": {
                    "description": "Time to wait between the checkpoints (s).",
                    "type": "number",
                    "minimum": 0,
                    "default": 0,
                },
                "fail_run": {
                    "description": "Whether the work fails before the first checkpoint.",
                    "type": "boolean",
                    "default": False,
                },
                "fail_cleanup": {
                    "description": "Whether tidying up fails.",
                    "type": "boolean",
                    "default": False,
                },
            },
            "additionalProperties": False,
        }

    @override
    async def configure(self, config: SimpleNamespace) -> None:
        self.config = config

    @override
    def set_metadata(self, metadata: BaseMsgType) -> None:
        assert self.config is not None  # noqa: S101 (`configure` comes first)
        metadata.duration = self.config.wait_time
        metadata.totalCheckpoints = 2

    @override
    async def run(self) -> None:
        assert self.config is not None  # noqa: S101 (`configure` comes first)
        if self.config.fail_run:
            raise ExpectedError("failed as fail_run says")
        await self.checkpoint("start")
        await asyncio.sleep(self.config.wait_time)
        await self.checkpoint("end")

    @override
    async def cleanup(self) -> None:
        if self.config is not None and self.config.fail_cleanup:
            raise ExpectedError("failed as fail_cleanup says")
