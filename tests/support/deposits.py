"""A bench for deposits: a fake service whose results can be held back, and readers of what lies there."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from typing_extensions import override

from lsst.ts.ocps.client.base import Backend
from lsst.ts.ocps.client.settings import AnyBackendSettings
from lsst.ts.ocps.client.streaming import Receiver
from lsst.ts.ocps.client.testing import FakeBackend
from lsst.ts.ocps.csc.ocps_csc import OcpsCsc
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.salobj import AckError, State
from support.csc import TIMEOUT, CscBench, Spy, write_configuration

__all__ = ["RESULTS", "DepositBench", "find_sets", "list_names", "start", "wait_for_deposit"]

RESULTS = {"result.json": b'{"seeing":0.7}', "a/b.fits": bytes(range(256)) * 20, "empty.txt": b""}


@dataclass
class DepositBench(CscBench):
    """A bench whose downloads of some results wait."""

    held: dict[str, asyncio.Event] = field(default_factory=dict)
    """Results that are held back until their event is set, by id."""

    reached: dict[str, asyncio.Event] = field(default_factory=dict)
    """Set when the first half of a result that is held back was handed on."""

    @classmethod
    def of(cls, bench: CscBench, **deposit: Any) -> "DepositBench":
        write_configuration(bench.config_dir.parents[1], deposit=deposit)
        made = cls(bench.config_dir, bench.state_dir)
        made.on_end(results=RESULTS)
        return made

    def hold(self, result_id: str) -> None:
        self.held[result_id], self.reached[result_id] = asyncio.Event(), asyncio.Event()

    @override
    async def open_backend(self, name: str, _settings: AnyBackendSettings | None) -> Backend:
        return _SlowBackend(name, self)

    @asynccontextmanager
    async def talk(self, state: State = State.ENABLED) -> AsyncIterator[tuple[OcpsCsc, Remote, Spy]]:
        async with self.csc(state) as csc, self.remote() as remote:
            yield csc, remote, Spy(remote)


class _SlowBackend(FakeBackend):
    def __init__(self, name: str, bench: DepositBench) -> None:
        super().__init__(name, bench.service)
        self._bench = bench

    @override
    async def download(
        self,
        job_url: str,
        result_id: str,
        url: str | None,
        *,
        receive: Receiver,
        max_bytes: int,
        seconds: float,
    ) -> None:
        async def receive_slowly(piece: bytes) -> None:
            half = len(piece) // 2
            await receive(piece[:half])
            if result_id in self._bench.held:
                self._bench.reached[result_id].set()
                await self._bench.held[result_id].wait()
            await receive(piece[half:])

        self._bench.service.calls[f"download {result_id}"] += 1
        await super().download(
            job_url, result_id, url, receive=receive_slowly, max_bytes=max_bytes, seconds=seconds
        )


async def start(remote: Remote, **fields: Any) -> Any:
    try:
        return await remote.cmd_run.set_start(
            wait_done=False, timeout=TIMEOUT, **({"payload": "echo"} | fields)
        )
    except AckError as error:
        return error.ackcmd


async def wait_for_deposit(spy: Spy) -> dict[str, Any]:
    """What the only ``job_result`` says of the deposit."""
    (result,) = await spy.wait_for("job_result")
    deposit = json.loads(result.result)["deposit"]
    assert isinstance(deposit, dict)
    return deposit


def find_sets(root: Path) -> list[Path]:
    """The folders below one that a program takes for deposits."""
    return sorted(path.parent for path in root.rglob("manifest.json") if not path.parent.name.startswith("."))


def list_names(folder: Path) -> list[str]:
    """What is in a folder."""
    return sorted(path.name for path in folder.iterdir())
