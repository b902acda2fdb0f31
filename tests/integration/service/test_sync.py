"""Synchronous requests over real HTTP, with real commands."""

import asyncio

import pytest

from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.service_calls import Calls

pytestmark = pytest.mark.asyncio
P = ExecutionPhase


async def test_a_request_is_answered_by_the_result(calls: Calls) -> None:
    query = {"needed": "x", "text": "a b"}
    for answer in (
        await calls.http.get("/echo/sync", params=query, follow_redirects=True),
        await calls.http.post("/echo/sync", data=query, follow_redirects=True),
    ):
        assert answer.status_code == 200
        assert "--text=a b" in answer.json()["arguments"]
    assert [ref.phase for ref in await calls.jobs("echo")] == [P.COMPLETED] * 2


async def test_the_job_of_a_client_that_leaves_is_aborted(calls: Calls) -> None:
    asking = asyncio.create_task(calls.http.get("/sleep/sync", params={"seconds": "60"}))
    async with asyncio.timeout(20):
        while [ref.phase for ref in await calls.jobs("sleep")] != [P.EXECUTING]:  # noqa: ASYNC110 (it is far away)
            await asyncio.sleep(0.02)
    asking.cancel()
    await asyncio.wait([asking])
    assert asking.cancelled()
    async with asyncio.timeout(20):
        while [ref.phase for ref in await calls.jobs("sleep")] != [P.ABORTED]:  # noqa: ASYNC110 (it is far away)
            await asyncio.sleep(0.02)
