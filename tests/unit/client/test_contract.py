"""Every kind of back end keeps the same contract; one without jobs the part that is not about them."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from typing_extensions import override

from lsst.ts.ocps.client.base import Submission
from lsst.ts.ocps.client.simulation import SimulatedService, SimulationBackend
from lsst.ts.ocps.client.testing import FakeBackend, FakeService, Script
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.api_server_bench import ApiServerBench, api_server_bench
from support.backend_bench import VALUE, BackendBench, Pairs, Wish
from support.backend_contract import BackendBasics, BackendContract
from support.rapid_bench import RapidAnalysisBench
from support.redis_server import RememberedLists
from support.uws_bench import ServerBench, server_bench

pytestmark = pytest.mark.asyncio


class FakeBench(BackendBench):
    """The fake, and jobs for it."""

    def __init__(self) -> None:
        self.service = FakeService(self._script)
        self.backend = self.open_another()

    @override
    def open_another(self) -> FakeBackend:
        return FakeBackend("fake", self.service)

    @override
    def parameters(self, wish: Wish) -> Pairs:
        refuse = "1" if wish.refuse else ""
        return ("duration", str(wish.duration)), ("fail", wish.fail), ("refuse", refuse)

    @staticmethod
    def _script(submission: Submission) -> Script:
        given = dict(submission.parameters)
        if given["refuse"]:
            raise ValueError("refused as asked")
        outcome = ExecutionPhase.ERROR if given["fail"] else ExecutionPhase.COMPLETED
        results = {"result.json": VALUE.encode()}
        return Script(
            duration=float(given["duration"]), outcome=outcome, results=results, error=given["fail"]
        )


class TestFakeBackend(BackendContract):
    @pytest_asyncio.fixture
    async def bench(self) -> AsyncIterator[FakeBench]:
        bench = FakeBench()
        yield bench
        await bench.backend.aclose()
        await bench.service.aclose()


class SimulationBench(BackendBench):
    """Simulated jobs, which end as their pipeline says."""

    tells_errors = False
    value = '{"result": true}'

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.service = SimulatedService(self.faults.append)
        self.backend = self.open_another()

    @override
    def open_another(self) -> SimulationBackend:
        return SimulationBackend("simulated", self.service)

    @override
    def parameters(self, wish: Wish) -> Pairs:
        self.service.duration = wish.duration
        return (("pipeline", "other.yaml" if wish.refuse else "false.yaml" if wish.fail else "true.yaml"),)


class TestSimulationBackend(BackendContract):
    @pytest_asyncio.fixture
    async def bench(self) -> AsyncIterator[SimulationBench]:
        bench = SimulationBench()
        yield bench
        await bench.backend.aclose()
        await bench.service.aclose()
        assert bench.faults == []


class TestApiServerBackend(BackendContract):
    @pytest_asyncio.fixture
    async def bench(self) -> AsyncIterator[ApiServerBench]:
        async with api_server_bench() as bench:
            yield bench


class TestUwsBackend(BackendContract):
    @pytest_asyncio.fixture
    async def bench(self) -> AsyncIterator[ServerBench]:
        async with server_bench() as bench:
            yield bench


class TestUwsBackendWithoutBlocking(BackendContract):
    """A server that claims 1.1 and ignores WAIT."""

    @pytest_asyncio.fixture
    async def bench(self) -> AsyncIterator[ServerBench]:
        async with server_bench() as bench:
            bench.server.blocks = False
            yield bench

    @override
    async def test_waiting_ends_with_the_phase(self, bench: BackendBench) -> None:
        created = await bench.run(duration=30)
        phases = [(await bench.backend.wait(created.url, phase=p, seconds=30)).phase for p in ExecutionPhase]
        assert set(phases) <= {"QUEUED", "EXECUTING"}

    @override
    async def test_control_calls_are_not_held_up_by_waiting(self, bench: BackendBench) -> None:
        created = await bench.run(duration=30)
        await bench.backend.abort(created.url)
        job = await bench.backend.wait(created.url, phase=ExecutionPhase.EXECUTING, seconds=30)
        assert job.phase == "ABORTED"

    @override
    async def test_calls_under_way_end_when_the_back_end_is_closed(self, bench: BackendBench) -> None:
        await bench.backend.aclose()
        await bench.backend.aclose()


class TestUwsBackendOfUws10(TestUwsBackendWithoutBlocking):
    """A server of the older standard: see `UwsServer.version`."""

    @pytest_asyncio.fixture
    @override
    async def bench(self) -> AsyncIterator[ServerBench]:
        async with server_bench() as bench:
            bench.server.version = bench.version = "1.0"
            bench.tells_creation = bench.lists_run_ids = False
            yield bench


class TestUwsBackendOfAServerThatIgnoresLimits(BackendContract):
    """Limits given at creation are ignored, and URLs of new jobs are relative and carry a query."""

    @pytest_asyncio.fixture
    async def bench(self) -> AsyncIterator[ServerBench]:
        async with server_bench() as bench:
            bench.server.takes_limits = False
            bench.server.location = "{path}?PHASE=RUN"
            yield bench


class TestRapidAnalysisBackend(BackendBasics):
    """Lists that only remember; on a real Redis: tests/integration/client/test_redis.py."""

    @pytest_asyncio.fixture
    async def bench(self) -> AsyncIterator[RapidAnalysisBench]:
        lists = RememberedLists()
        bench = RapidAnalysisBench(lambda: lists, "7")
        yield bench
        await bench.backend.aclose()
        assert all(push == [("LATISS", "x")] for push in lists.pushed)
