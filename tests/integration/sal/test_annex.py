"""The large file annex on a server of its own; files are announced on a broker of each kind."""

import asyncio
import hashlib
import io
import logging
import socket
import threading
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError
from typing_extensions import override

from lsst.ts.ocps.aio.deadline import DeadlineExceededError
from lsst.ts.ocps.sal import annex
from lsst.ts.ocps.sal.annex import AsyncS3Bucket
from lsst.ts.ocps.sal.controller import Controller
from lsst.ts.ocps.sal.large_files import LargeFileAnnex
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.sal.settings import SalSettings
from support.s3_server import S3_SECRET, S3_TOKEN, set_credentials
from support.sal_fixtures import WAIT

# One worker, one server.
pytestmark = [pytest.mark.asyncio, pytest.mark.xdist_group("s3")]

KEY = "OCPS:1/result/2023/11/14/OCPS:1_result_a b.json"
CONTENT = bytes(range(256)) * 40


async def make_bucket() -> AsyncS3Bucket:
    name = AsyncS3Bucket.make_bucket_name(s3instance=uuid.uuid4().hex)
    return await asyncio.to_thread(AsyncS3Bucket, name, create=True)


@pytest.fixture
def free_address() -> str:
    """An address where nothing answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


async def test_a_file_goes_to_the_server_and_comes_back(s3_environment: str) -> None:
    bucket = await make_bucket()
    assert not await bucket.exists(KEY)
    with pytest.raises(ClientError):
        await bucket.size(KEY)
    with pytest.raises(ClientError):
        await bucket.download(KEY)
    told: list[int] = []
    file = io.BytesIO(b"skipped" + CONTENT)
    file.seek(len(b"skipped"))
    url = await bucket.upload(file, KEY, callback=told.append)
    assert url == f"{s3_environment}/{bucket.name}/{KEY}"
    assert file.closed
    assert sum(told) == len(CONTENT)
    assert await bucket.exists(KEY)
    assert await bucket.size(KEY) == len(CONTENT)
    told.clear()
    downloaded = await bucket.download(KEY, callback=told.append)
    assert downloaded.tell() == 0
    assert downloaded.read() == CONTENT
    assert sum(told) == len(CONTENT)
    # Whoever reads the address gets the file, without our client.
    async with httpx.AsyncClient(trust_env=False) as client:
        listing = await client.get(f"{s3_environment}/{bucket.name}")
        assert KEY.encode() in listing.content


async def test_a_bucket_may_be_created_twice(s3_environment: str) -> None:
    bucket = await make_bucket()
    await bucket.upload(io.BytesIO(b"x"), "a")
    again = await asyncio.to_thread(AsyncS3Bucket, bucket.name, create=True)
    assert await again.exists("a")
    assert again.profile is None
    assert again.service_resource.meta.client.meta.endpoint_url == s3_environment
    assert again.bucket.name == bucket.name


async def test_only_a_missing_file_counts_as_missing(
    s3_environment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = await make_bucket()

    def refuse(**_: object) -> None:
        answer: Any = {"Error": {"Code": "403"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
        raise ClientError(answer, "HeadObject")

    monkeypatch.setattr(bucket.service_resource.meta.client, "head_object", refuse)
    with pytest.raises(ClientError, match="403"):
        await bucket.exists(KEY)


async def test_a_transfer_that_takes_too_long_is_given_up_and_ends(
    s3_environment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = await make_bucket()
    monkeypatch.setattr(annex, "TRANSFER_TIMEOUT", 0.2)
    # Progress is told, and so the end noticed, every 256 KiB.
    go_on, has_ended = threading.Event(), threading.Event()

    class SlowFile(io.BytesIO):
        @override
        def read(self, size: int | None = -1, /) -> bytes:
            go_on.wait(WAIT)
            return super().read(size)

        @override
        def close(self) -> None:
            super().close()
            has_ended.set()

    with pytest.raises(DeadlineExceededError, match=r"upload of a to bucket .*: no end after 0\.2 s"):
        await bucket.upload(SlowFile(bytes(1 << 20)), "a")
    go_on.set()
    assert await asyncio.to_thread(has_ended.wait, WAIT)
    assert not await bucket.exists("a")


async def test_credentials_reach_no_log(s3_environment: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        bucket = await make_bucket()
        await bucket.upload(io.BytesIO(b"x"), "a")
        with pytest.raises(ClientError) as caught:
            await bucket.download("b")
        logging.getLogger("shown").debug("debugging is on")
    texts = [caplog.text, repr(caught.value), repr(bucket.__dict__)]
    assert "debugging is on" in caplog.text
    for secret in (S3_SECRET, S3_TOKEN):
        assert not any(secret in text for text in texts)


# Announcing


async def store(
    controller: Controller, bucket: AsyncS3Bucket, path: Path, directory: Path, key: str = KEY
) -> object:
    large_files = LargeFileAnnex(
        controller.evt_largeFileObjectAvailable, bucket, fallback_directory=directory, log=controller.log
    )
    return await large_files.store(
        path, key, generator="result", version=1.5, mime_type="application/json", id="17"
    )


async def test_a_file_is_uploaded_first_and_then_announced(
    sal_environment: SalSettings, s3_environment: str, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    bucket = await make_bucket()
    async with Controller("OCPS", 1) as controller, Remote(controller.domain, "OCPS", 1) as remote:
        await store(controller, bucket, path, tmp_path / "fallback")
        data = await remote.evt_largeFileObjectAvailable.next(flush=False, timeout=WAIT)
        # Whoever hears of it finds it.
        assert await bucket.size(KEY) == data.byteSize == len(CONTENT)
    assert data.url == f"{s3_environment}/{bucket.name}/{KEY}"
    assert data.checkSum == hashlib.sha256(CONTENT).hexdigest()
    assert (data.generator, data.version, data.mimeType, data.id) == ("result", 1.5, "application/json", "17")
    assert not (tmp_path / "fallback").exists()


async def test_without_s3_the_file_is_announced_on_the_local_disk(
    memory_environment: SalSettings,
    free_address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    set_credentials(monkeypatch)
    monkeypatch.setenv("S3_ENDPOINT_URL", free_address)
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    bucket = await asyncio.to_thread(AsyncS3Bucket, "rubinobs-lfa-x")
    async with Controller("OCPS", 1) as controller, Remote(controller.domain, "OCPS", 1) as remote:
        await store(controller, bucket, path, tmp_path / "fallback")
        data = await remote.evt_largeFileObjectAvailable.next(flush=False, timeout=WAIT)
        # The other way would announce what is nowhere.
        (tmp_path / "other").write_text("a file where a folder is needed")
        with pytest.raises(OSError, match="other"):
            await store(controller, bucket, path, tmp_path / "other")
        with pytest.raises(ValueError, match="leads out of"):
            await store(controller, bucket, path, tmp_path / "fallback", key="a/../../b")
        assert remote.evt_largeFileObjectAvailable.nqueued == 0
    local = tmp_path / "fallback" / KEY
    assert data.url == local.as_uri()
    assert local.read_bytes() == CONTENT
    assert [each.name for each in local.parent.iterdir()] == [local.name]
    assert data.byteSize == len(CONTENT)
    assert "because S3 failed" in caplog.text
    assert S3_SECRET not in caplog.text


async def test_a_length_that_the_event_cannot_tell_is_unknown(
    memory_environment: SalSettings, s3_environment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lsst.ts.ocps.sal.large_files.MAX_BYTE_SIZE", len(CONTENT) - 1)
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    bucket = await make_bucket()
    async with Controller("OCPS", 1) as controller, Remote(controller.domain, "OCPS", 1) as remote:
        await store(controller, bucket, path, tmp_path)
        data = await remote.evt_largeFileObjectAvailable.next(flush=False, timeout=WAIT)
    assert data.byteSize == -1
    assert data.checkSum == hashlib.sha256(CONTENT).hexdigest()
