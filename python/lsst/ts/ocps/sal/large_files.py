"""Deposit a file in the large file annex and announce it (sal-on-kafka section 16)."""

import asyncio
import hashlib
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .annex import AsyncS3Bucket

if TYPE_CHECKING:
    from .topics.controller_topics import ControllerEvent

__all__ = ["MAX_BYTE_SIZE", "LargeFileAnnex", "StoredFile"]

MAX_BYTE_SIZE = 2**31 - 1
"""Largest file whose length fits into the event (byte)."""

UNKNOWN_SIZE = -1
"""``byteSize`` of a larger one."""


@dataclass(frozen=True)
class StoredFile:
    """Where a file is, and what it holds."""

    url: str
    """``<endpoint>/<bucket>/<key>``, or a ``file:`` URL where S3 has failed."""

    byte_size: int
    """Length (byte)."""

    checksum: str
    """SHA-256 in hexadecimal digits."""

    is_fallback: bool
    """Whether it is on the local disk only."""


class LargeFileAnnex:
    """Stores files and announces each as ``largeFileObjectAvailable``, in this order.

    Parameters
    ----------
    event
        The event ``largeFileObjectAvailable`` of the component.
    bucket
        Where files go.
    fallback_directory
        Where they go if S3 fails; under it the key is the path.
    log
        Where failures of S3 are reported.
    """

    def __init__(
        self,
        event: "ControllerEvent",
        bucket: AsyncS3Bucket,
        *,
        fallback_directory: Path,
        log: logging.Logger,
    ) -> None:
        self._event = event
        self._bucket = bucket
        self._fallback_directory = fallback_directory
        self._log = log

    async def store(
        self,
        path: Path,
        key: str,
        *,
        generator: str,
        version: float = 1.0,
        mime_type: str = "application/octet-stream",
        id: str = "",  # noqa: A002 (the name of the field)
    ) -> StoredFile:
        """Store a file, then announce it.

        Parameters
        ----------
        path
            The file; it stays where it is.
        key
            Its key; see `~lsst.ts.ocps.sal.annex.AsyncS3Bucket.make_key`.
        generator
            What made it.
        version
            Version of its format.
        mime_type
            Its media type.
        id
            Identifier of the data, such as of an exposure or a job.

        Raises
        ------
        ValueError
            If the key leads out of the fallback directory.
        OSError
            If the file cannot be read, or S3 and the local disk have both failed; nothing is announced then.
        RuntimeError
            If the component has not been started, or is closed; the file has been stored then.
        ~lsst.ts.ocps.sal.errors.BrokerError
            If the broker did not take the announcement; the file has been stored then.
        """
        fallback_path = self._fallback_path(key)
        byte_size, checksum = await asyncio.to_thread(_measure, path)
        is_fallback = False
        try:
            url = await self._bucket.upload(await asyncio.to_thread(path.open, "rb"), key)
        except _get_failures() as error:
            self._log.warning("%s goes to %s, because S3 failed: %s", key, fallback_path, error)
            await asyncio.to_thread(_copy, path, fallback_path)
            url, is_fallback = fallback_path.as_uri(), True
        if byte_size > MAX_BYTE_SIZE:
            self._log.warning("%s has %d bytes, more than the event can tell", key, byte_size)
        await self._event.set_write(
            url=url,
            generator=generator,
            version=version,
            byteSize=byte_size if byte_size <= MAX_BYTE_SIZE else UNKNOWN_SIZE,
            checkSum=checksum,
            mimeType=mime_type,
            id=id,
            force_output=True,
        )
        return StoredFile(url, byte_size, checksum, is_fallback)

    def _fallback_path(self, key: str) -> Path:
        directory = self._fallback_directory.absolute()
        path = Path(os.path.normpath(directory / key))
        if directory not in path.parents:
            raise ValueError(f"key={key!r} leads out of {directory}")
        return path


def _get_failures() -> tuple[type[Exception], ...]:
    """What boto3 raises, besides what every outside call may."""
    from boto3.exceptions import Boto3Error  # noqa: PLC0415 (an extra; a bucket has loaded it)
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 (same)

    return (Boto3Error, BotoCoreError, ClientError, OSError)


def _measure(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return file.tell(), digest.hexdigest()


def _copy(source: Path, target: Path) -> None:
    """Copy a file so that it is there whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    try:
        shutil.copyfile(source, partial)
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
