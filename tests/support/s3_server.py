"""A server that speaks S3, as a process of its own."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from lsst.ts.ocps.aio.deadline import Deadline
from support.brokers import end_process, run_apart
from support.ports import free_port

__all__ = ["S3_SECRET", "s3_url"]

S3_SECRET = "planted/S3/secret/key"
S3_TOKEN = "planted-S3-session-token"

_START_TIMEOUT = 60.0


@pytest.fixture(scope="session")
def s3_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server that all tests share."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log_file = tmp_path_factory.mktemp("s3") / "s3.log"
    with log_file.open("wb") as log:
        arguments = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        process = subprocess.Popen(arguments, stdout=log, stderr=log)
    try:
        run_apart(lambda: _wait_until_ready(url, process))
        yield url
    finally:
        end_process(process)


@pytest.fixture
def s3_environment(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The environment of a client of that server."""
    monkeypatch.setenv("S3_ENDPOINT_URL", s3_url)
    set_credentials(monkeypatch)
    return s3_url


def set_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plant credentials, and hide those of whoever runs the tests."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "planted-key-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", S3_SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", S3_TOKEN)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)


async def _wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = Deadline("start of the S3 server", _START_TIMEOUT)
    async with deadline.enforce(), httpx.AsyncClient(trust_env=False) as client:
        while True:
            if process.poll() is not None:
                raise ChildProcessError(f"the S3 server has ended with status {process.returncode}")
            try:
                (await client.get(f"{url}/moto-api/")).raise_for_status()
            except httpx.TransportError:
                await asyncio.sleep(0.1)
            else:
                return
