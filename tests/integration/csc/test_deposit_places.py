"""A dead place for results holds up no other run, and those that go there only for a while (fake service)."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from lsst.ts.ocps.csc import deposit_places
from lsst.ts.ocps.csc.deposit_directory import DirectoryStore
from lsst.ts.ocps.csc.deposit_places import MAX_AT_ONCE
from lsst.ts.ocps.csc.errors import DepositError
from lsst.ts.ocps.salobj import SalRetCode
from support.csc import CscBench, eventually, final_ack, write_configuration
from support.deposits import DepositBench, start

pytestmark = pytest.mark.asyncio
COMPLETE = SalRetCode.CMD_COMPLETE


class DeadPlace:
    """Folders below one say nothing until it is alive again."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_alive = asyncio.Event()
        self.refuses = False
        self.tries = 0
        real = DirectoryStore.begin

        async def begin(store: DirectoryStore) -> bytes | None:
            if store.location.startswith(f"{root.as_uri()}/"):
                self.tries += 1
                if self.refuses:
                    raise DepositError("connection refused", transient=True)
                await self.is_alive.wait()
            return await real(store)

        monkeypatch.setattr(DirectoryStore, "begin", begin)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("dead", "alive"):
        (tmp_path / name).mkdir()
    return tmp_path


def define(bench: CscBench, payload: str, **changes: Any) -> None:
    """Change the definition of a payload."""
    path = bench.config_dir.parents[1] / "payloads" / f"{payload}.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))


async def test_a_dead_place_delays_no_job_result_of_a_run_that_goes_elsewhere(
    memory_csc: CscBench, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = DeadPlace(root / "dead", monkeypatch)
    bench = DepositBench.of(memory_csc, location=str(root / "dead"), timeout=600)
    define(bench, "short", deposit={"location": str(root / "alive")})
    async with bench.talk() as (_, remote, spy):
        for _ in range(MAX_AT_ONCE + 1):
            assert (await start(remote, payload="echo")).ack == SalRetCode.CMD_INPROGRESS
        await eventually(lambda: dead.tries == MAX_AT_ONCE)
        ack = await start(remote, payload="short")
        assert (await final_ack(remote, "run", ack)).ack == COMPLETE
        (result,) = await spy.wait_for("job_result")
        document = json.loads(result.result)
        assert (document["payload"], document["deposit"]["state"]) == ("short", "complete")
        dead.is_alive.set()
        results = await spy.wait_for("job_result", MAX_AT_ONCE + 2)
        assert {json.loads(each.result)["deposit"]["state"] for each in results} == {"complete"}


async def test_a_dead_place_keeps_no_slot_of_the_instance(
    memory_csc: CscBench, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = DeadPlace(root / "dead", monkeypatch)
    bench = DepositBench.of(memory_csc)
    deposit = {"location": str(root / "dead"), "timeout": 600}
    write_configuration(bench.config_dir.parents[1], deposit=deposit, max_active=1)
    define(bench, "short", deposit={"location": str(root / "alive")})
    async with bench.talk() as (_, remote, spy):
        await start(remote, payload="echo")
        await eventually(lambda: dead.tries == 1)
        ack = await start(remote, payload="short")
        assert (await final_ack(remote, "run", ack)).ack == COMPLETE
        dead.is_alive.set()
        await spy.wait_for("job_result", 2)


async def test_the_run_after_one_that_found_the_place_dead_waits_no_whole_timeout(
    memory_csc: CscBench, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deposit_places, "BRIEF", 0.1)
    dead = DeadPlace(root / "dead", monkeypatch)
    bench = DepositBench.of(memory_csc, location=str(root / "dead"), timeout=1.0)
    async with bench.talk() as (_, remote, spy):
        for number, words in enumerate(("connection refused", "no end after 0.1 s")):
            dead.refuses = not number
            ack = await start(remote)
            assert (await final_ack(remote, "run", ack)).ack == COMPLETE
            result = (await spy.wait_for("job_result", number + 1))[-1]
            deposit = json.loads(result.result)["deposit"]
            assert deposit["state"] == "failed"
            assert words in deposit["message"]
            assert "connection refused; out of reach since 2" in deposit["message"]
            # It is out of reach for a whole timeout.
            await asyncio.sleep(1.0)
        # It is back, and who finds it so has all the time again; a busy machine takes more time to look.
        monkeypatch.setattr(deposit_places, "BRIEF", 0.9)
        dead.is_alive.set()
        await start(remote)
        result = (await spy.wait_for("job_result", 3))[-1]
        assert json.loads(result.result)["deposit"]["state"] == "complete"
