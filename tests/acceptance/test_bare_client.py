"""A client that knows only the protocol drives the CSC and sees the order that ours sees."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lsst.ts.ocps.salobj import Domain, Remote, SalRetCode, State, set_summary_state
from support.stack import BROKERS, PAYLOADS, ProcessStack, run_stack

pytestmark = [pytest.mark.asyncio, pytest.mark.xdist_group("stack")]

CLIENT = Path(__file__).parents[1] / "support" / "bare_client.py"
TIMEOUT = 60.0


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[ProcessStack]:
    with run_stack(BROKERS[0], tmp_path / "stack", [PAYLOADS]) as running:
        running.start_csc()
        yield running


def run_bare_client(stack: ProcessStack, payload: str, parameters: str) -> list[dict[str, Any]]:
    """Run the client as a process of its own and return what it saw."""
    done = subprocess.run(
        [sys.executable, "-I", str(CLIENT), payload, parameters],
        env=stack.variables,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def in_order(records: list[dict[str, Any]], topic: str, field: str) -> list[Any]:
    return [record[field] for record in records if record["topic"] == topic]


async def test_a_bare_client_runs_a_payload_and_sees_acks_phases_and_result(stack: ProcessStack) -> None:
    async with Domain() as domain, Remote(domain, "OCPS", 1) as remote:
        await set_summary_state(remote, State.ENABLED, timeout=TIMEOUT)
    records = run_bare_client(stack, "nap", '{"seconds": 0.6}')

    acks = in_order(records, "ackcmd", "ack")
    assert acks == [SalRetCode.CMD_INPROGRESS, SalRetCode.CMD_COMPLETE]
    first, final = (json.loads(result) for result in in_order(records, "ackcmd", "result"))
    job_id = first["job_id"]
    assert final["jobId"] == job_id
    phases = in_order(records, "job_phase", "phase")
    assert phases[0] == "PENDING"
    assert phases[-2:] == ["EXECUTING", "COMPLETED"]
    assert in_order(records, "job_id", "job_id") == [job_id]
    assert in_order(records, "job_result", "job_id") == [job_id]
    assert in_order(records, "job_result", "exit_code") == [0]
    seen_by_stamp = sorted(records, key=lambda record: record["private_sndStamp"])
    assert [record["topic"] for record in seen_by_stamp[-2:]] == ["job_result", "ackcmd"]


async def test_a_bare_client_gets_one_failed_ack_that_names_each_problem(stack: ProcessStack) -> None:
    async with Domain() as domain, Remote(domain, "OCPS", 1) as remote:
        await set_summary_state(remote, State.ENABLED, timeout=TIMEOUT)
    records = run_bare_client(stack, "nap", '{"seconds": "long", "depth": 3}')

    assert [record["topic"] for record in records] == ["ackcmd"]
    assert records[0]["ack"] == SalRetCode.CMD_FAILED
    assert "seconds" in records[0]["result"]
    assert "'long'" in records[0]["result"]
    assert "depth" in records[0]["result"]


async def test_a_failing_job_ends_in_a_failed_ack_with_the_error_summary(stack: ProcessStack) -> None:
    async with Domain() as domain, Remote(domain, "OCPS", 1) as remote:
        await set_summary_state(remote, State.ENABLED, timeout=TIMEOUT)
    records = run_bare_client(stack, "fail", "")

    assert in_order(records, "ackcmd", "ack") == [SalRetCode.CMD_INPROGRESS, SalRetCode.CMD_FAILED]
    assert "no such flat" in in_order(records, "ackcmd", "result")[-1]
    assert in_order(records, "job_result", "exit_code") == [1]
    assert in_order(records, "job_phase", "phase")[-1] == "ERROR"
