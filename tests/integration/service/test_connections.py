"""Connections that end too early, or mean no good, over real sockets."""

import logging
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from lsst.ts.ocps.service.main import running_service
from support.processes import until
from support.raw_http import raw_connection
from support.service_calls import Calls
from support.service_process import PAYLOADS, make_config

pytestmark = pytest.mark.asyncio

SLEEP = {"sleep": PAYLOADS["sleep"]}


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("POST", "/sleep/async", "application/x-www-form-urlencoded"),
        ("POST", "/sleep/sync", "multipart/form-data; boundary=b"),
        ("PUT", "/api/v1/job", "application/json"),
    ],
)
async def test_a_client_that_leaves_in_the_middle_of_a_body_is_no_failure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, method: str, path: str, kind: str
) -> None:
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: 1000\r\n\r\n"
    )
    caplog.set_level(logging.DEBUG)
    async with running_service(make_config(tmp_path, SLEEP)) as service:
        with capture_logs() as records:
            async with raw_connection(service.url) as connection:
                await connection.send(head.encode() + b"--b")
            await until(
                lambda: any("left" in record["event"] for record in records),
                "the end of the client is noticed",
            )
        async with Calls.to(service.url) as calls:
            figures = (await calls.http.get("/metrics")).text
    assert {record["log_level"] for record in records} == {"debug"}
    assert 'status="499"' in figures
    assert 'status="500"' not in figures
    # The server has a traceback for what nobody caught.
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
