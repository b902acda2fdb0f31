"""A server that speaks S3, as a process of its own."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Self
from urllib.parse import urlsplit

import httpx
import pytest

from lsst.ts.ocps.aio.deadline import Deadline
from lsst.ts.ocps.salobj import AsyncS3Bucket
from support.brokers import end_process, run_apart
from support.ports import free_port
from support.serving import serving

__all__ = [
    "CREDENTIALS",
    "S3_SECRET",
    "S3_TOKEN",
    "BusyFront",
    "list_keys",
    "make_bucket",
    "read_objects",
    "s3_environment",
    "s3_url",
    "set_credentials",
]

S3_SECRET = "planted/S3/secret/key"
S3_TOKEN = "planted-S3-session-token"

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "planted-key-id",
    "AWS_SECRET_ACCESS_KEY": S3_SECRET,
    "AWS_SESSION_TOKEN": S3_TOKEN,
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""What the server does not check, as environment variables."""

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
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)


class BusyFront:
    """Stands before the server, and answers the first uploads with 503; ``async with`` starts and stops it.

    Parameters
    ----------
    url
        The server.
    refusals
        How many uploads are refused.
    """

    def __init__(self, url: str, refusals: int) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname, parts.port
        self._refusals = refusals
        self.refused = 0
        self._exit = AsyncExitStack()

    async def __aenter__(self) -> Self:
        port = await self._exit.enter_async_context(serving(self._serve))
        self.url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exit.aclose()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"PUT ") and self.refused < self._refusals:
                self.refused += 1
                # The client waits with the body until it is told to send it.
                assert b"expect: 100-continue" in head.lower()
                writer.write(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                await writer.drain()
                return
            up_reader, up_writer = await asyncio.open_connection(self._host, self._port)
            up_writer.write(head)
            await asyncio.gather(_copy(reader, up_writer), _copy(up_reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on all that comes, and the end."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


async def make_bucket(name: str) -> AsyncS3Bucket:
    """Make a bucket, if there is none of that name."""
    return await asyncio.to_thread(AsyncS3Bucket, name, create=True)


async def list_keys(bucket: AsyncS3Bucket) -> list[str]:
    """The keys of all objects."""
    return await asyncio.to_thread(lambda: [one.key for one in bucket.bucket.objects.all()])


async def read_objects(bucket: AsyncS3Bucket, prefix: str) -> dict[str, bytes]:
    """The content of the objects below a prefix, by the rest of their keys."""
    keys = [key for key in await list_keys(bucket) if key.startswith(prefix)]
    return {key.removeprefix(prefix): (await bucket.download(key)).getvalue() for key in keys}


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
