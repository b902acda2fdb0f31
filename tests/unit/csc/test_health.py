"""Probing back ends while the configuration changes."""

import asyncio
from typing import Any

import pytest
from typing_extensions import override

from lsst.ts.ocps.client.errors import BackendUnavailableError
from lsst.ts.ocps.client.settings import AnyBackendSettings, UwsSettings
from lsst.ts.ocps.client.testing import FakeBackend
from lsst.ts.ocps.csc.backends import BackendPool
from lsst.ts.ocps.csc.config import CscConfig
from lsst.ts.ocps.csc.health import BackendHealth
from support.csc import TIMEOUT, eventually

pytestmark = pytest.mark.asyncio


class DeafBackend(FakeBackend):
    """A back end that cannot be reached."""

    @override
    async def probe(self) -> Any:
        raise BackendUnavailableError(self.name, "away")


class SlowReporter:
    """Takes its time for what it is told first."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.told: list[list[str]] = []

    async def publish_backends(self, backends: dict[str, Any], *, connected: bool) -> None:
        del connected
        self.told.append(list(backends))
        if len(self.told) == 1:
            await self.go_on.wait()

    async def publish_versions(self, versions: dict[str, str]) -> None:
        raise AssertionError(f"nothing answers, but there are {versions}")


def make_config(name: str) -> CscConfig:
    return CscConfig(
        backends={name: UwsSettings(kind="uws", url=f"http://{name}.invalid", required=True)},
        default_backend=name,
        fault_after=0.05,
    )


async def test_a_probe_that_is_told_late_leaves_nothing_behind_in_a_new_configuration() -> None:
    reporter, deaths, lost = SlowReporter(), list[BaseException](), list[str]()

    async def open_backend(name: str, settings: AnyBackendSettings) -> FakeBackend:
        del settings
        return DeafBackend(name)

    async def note_lost(text: str) -> None:
        lost.append(text)

    pool = BackendPool(open_backend)
    health = BackendHealth(
        pool,
        reporter,  # type: ignore[arg-type]
        on_lost=note_lost,
        on_death=lambda _name, error: deaths.append(error),
        interval=0.02,
    )
    async with asyncio.timeout(TIMEOUT):
        first = asyncio.create_task(health.configure(make_config("old")))
        await eventually(lambda: reporter.told == [["old"]])
        await health.configure(make_config("new"))
        reporter.go_on.set()
        await first
        health.start()
        await eventually(lambda: lost or deaths)
    await health.aclose()
    await pool.aclose()
    assert deaths == []
    assert all(text.startswith("required back ends not reachable") and "new at" in text for text in lost)
