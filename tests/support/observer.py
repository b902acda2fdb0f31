"""An observer and a bare controller that plays the CSC, on the in-memory broker."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from lsst.ts.ocps import salobj
from lsst.ts.ocps.observer.connection import JOB_EVENTS, connect
from lsst.ts.ocps.observer.state import STATE_EVENTS

__all__ = ["Pair"]


@dataclass
class Pair:
    """A bare controller that plays the CSC, and an observer's Remote."""

    csc: salobj.Controller
    remote: salobj.Remote

    async def ack(self, data: Any, code: int, result: str = "", next_word: float = 0.0) -> None:
        """Acknowledge a command, and promise the next word (s)."""
        make = self.csc.salinfo.make_ackcmd
        await self.csc.cmd_run.ack(
            data, make(private_seqNum=data.private_seqNum, ack=code, result=result, timeout=next_word)
        )

    async def tell_phase(self, job_id: str, phase: str, run_id: str = "run-1") -> None:
        """Publish a phase."""
        await self.csc.evt_job_phase.set_write(
            force_output=True, job_id=job_id, run_id=run_id, phase=phase, payload="nap"
        )

    async def tell_result(self, job_id: str, exit_code: int, result: str = "{}") -> None:
        """Publish an end."""
        await self.csc.evt_job_result.set_write(
            force_output=True, job_id=job_id, exit_code=exit_code, result=result
        )


@pytest_asyncio.fixture
async def pair(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    name = f"test_{uuid.uuid4().hex}"
    variables = {
        "LSST_TOPIC_SUBNAME": name,
        "LSST_KAFKA_BROKER_ADDR": f"memory://{name}",
        "LSST_SCHEMA_REGISTRY_URL": f"memory://{name}",
        "LSST_SITE": "test",
    }
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    async with salobj.Controller("OCPS", 1) as csc:
        csc.cmd_run.allow_multiple_callbacks = True
        events = [*JOB_EVENTS, *STATE_EVENTS, "active_jobs"]
        async with connect(1, events=events) as remote:
            yield Pair(csc, remote)
