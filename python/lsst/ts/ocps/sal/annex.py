"""The large file annex: files in S3, announced by an event (sal-on-kafka section 16, salobj-api section 11).

Needs boto3 (the extra ``annex``), which is imported when a bucket is made, not before.
"""

import asyncio
import functools
import io
import logging
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import IO, TYPE_CHECKING, Any, TypeVar

from lsst.ts.ocps.aio.deadline import Deadline

from .settings import get_s3_endpoint_url

if TYPE_CHECKING:
    import astropy.time
    from moto.core.models import MockAWS
    from types_boto3_s3.service_resource import Bucket, S3ServiceResource

__all__ = ["CALL_TIMEOUT", "TRANSFER_TIMEOUT", "AsyncS3Bucket"]

CALL_TIMEOUT = 30.0
"""Longest time for a question to S3 (s)."""

TRANSFER_TIMEOUT = 600.0
"""Longest time for moving one file (s)."""

_CONNECT_TIMEOUT = 5.0
"""Longest time for one attempt to connect (s)."""

_READ_TIMEOUT = 20.0
"""Longest silence of the server (s); so long a thread may outlive the call that has given it up."""

_MAX_BUCKET_NAME = 63
_NAME_PART = re.compile(r"[a-z0-9]([a-z0-9.]*[a-z0-9])?", re.IGNORECASE)

_TALKATIVE_LOGGERS = ("boto3", "botocore", "s3transfer", "urllib3")
"""At DEBUG they write whole requests, session tokens and signatures included."""

_NIGHT = timedelta(hours=12)
"""The date of a key changes at noon TAI."""

T = TypeVar("T")


class _AbandonedError(Exception):
    """A transfer goes on although nobody waits for it any more."""


class AsyncS3Bucket:
    """A bucket of S3, whose calls run in threads.

    The constructor itself is synchronous: with ``create`` it waits for S3, and without it takes a moment to
    load boto3. Where an event loop is running, call it by `asyncio.to_thread`. Credentials come from the
    environment, or the files, that boto3 reads; they are never logged.

    Parameters
    ----------
    name
        Name of the bucket; see `make_bucket_name`.
    create
        Whether to create the bucket if it does not exist.
    profile
        Name of a profile of boto3; None: the default one.
    domock
        Whether to pretend, for tests: every use of S3 in this process then stays in memory (needs moto).

    Raises
    ------
    ModuleNotFoundError
        If boto3, or with ``domock`` moto, is not installed.
    ~lsst.ts.ocps.sal.errors.SettingsError
        If ``S3_ENDPOINT_URL`` is wrong.
    botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError
        If the profile does not exist, or the bucket cannot be created.
    """

    def __init__(
        self, name: str, *, create: bool = False, profile: str | None = None, domock: bool = False
    ) -> None:
        self.name = name
        self.profile = profile
        self.mock: MockAWS | None = None
        """The mock, while there is one."""

        endpoint_url = get_s3_endpoint_url()
        if domock:
            from moto import mock_aws  # noqa: PLC0415 (a tool for tests, never loaded otherwise)

            self.mock = mock_aws()
            self.mock.start()
            # It pretends to be AWS.
            endpoint_url = None
        try:
            self.service_resource = _make_resource(endpoint_url, profile)
            """The connection, as boto3 knows it."""

            self.bucket: Bucket = self.service_resource.Bucket(name)
            """The bucket, as boto3 knows it."""

            if create:
                self._create()
        except BaseException:
            self.stop_mock()
            raise

    def _create(self) -> None:
        client = self.service_resource.meta.client
        try:
            self.bucket.create()
        except (client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
            # Creating it twice does no harm; whether it is ours shows when it is used.
            logging.getLogger(__name__).debug("bucket %s exists already", self.name)

    def stop_mock(self) -> None:
        """Stop pretending; without a mock, and the second time, nothing happens."""
        mock, self.mock = self.mock, None
        if mock is not None:
            mock.stop()

    # Names

    @staticmethod
    def make_bucket_name(s3instance: str, s3category: str = "LFA") -> str:
        """Name of a bucket, such as ``rubinobs-lfa-cp``.

        Parameters
        ----------
        s3instance
            Where it is, such as ``cp`` or ``tucson``.
        s3category
            What it is for.

        Raises
        ------
        ValueError
            If a part holds anything but letters, digits and dots inside, or the name gets longer than 63
            characters.
        """
        for what, part in (("s3instance", s3instance), ("s3category", s3category)):
            if not _NAME_PART.fullmatch(part):
                raise ValueError(
                    f"{what}={part!r} must be letters, digits and dots, and begin and end with no dot"
                )
        name = f"rubinobs-{s3category}-{s3instance}".lower()
        if len(name) > _MAX_BUCKET_NAME:
            raise ValueError(f"{name!r} has {len(name)} characters; {_MAX_BUCKET_NAME} are allowed")
        return name

    @staticmethod
    def make_key(  # noqa: PLR0917 (the API)
        salname: str,
        salindexname: str | int | None,
        generator: str,
        date: "astropy.time.Time | float",
        other: str | None = None,
        stem: str | None = None,
        suffix: str = ".dat",
    ) -> str:
        """Key of a file.

        Parameters
        ----------
        salname
            Name of the component.
        salindexname
            Its index, or the name of that; None, "" or 0: none.
        generator
            What made the file.
        date
            When: a Time of astropy, or TAI (Unix s).
        other
            End of the file name; None: the time (TAI, ISO format, to the millisecond).
        stem
            The whole file name without suffix; None: made of the other parts.
        suffix
            Suffix of the file name, with its dot.
        """
        full_name = f"{salname}:{salindexname}" if salindexname else salname
        moment = _to_tai(date)
        if stem is None:
            iso = moment.replace(tzinfo=None).isoformat(timespec="milliseconds")
            stem = f"{full_name}_{generator}_{iso if other is None else other}"
        return f"{full_name}/{generator}/{moment - _NIGHT:%Y/%m/%d}/{stem}{suffix}"

    def make_url(self, key: str) -> str:
        """Address of a file, as it is announced; the key is not percent-encoded.

        Parameters
        ----------
        key
            Key of the file.
        """
        return f"{self.service_resource.meta.client.meta.endpoint_url}/{self.name}/{key}"

    # Files

    async def upload(
        self, fileobj: IO[bytes], key: str, callback: Callable[[int], None] | None = None
    ) -> str:
        """Store a file, from the current position of ``fileobj`` on, which is closed.

        Parameters
        ----------
        fileobj
            The content.
        key
            Key of the file; what it holds is replaced.
        callback
            Called from other threads with the number of further bytes that have gone; None: not told.

        Returns
        -------
        str
            Address of the file.

        Raises
        ------
        TimeoutError
            If it took longer than ``TRANSFER_TIMEOUT``.
        boto3.exceptions.Boto3Error, botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError
            If S3 cannot be reached, or refuses.
        """
        client = self.service_resource.meta.client

        def run(told: Callable[[int], None]) -> None:
            with fileobj:
                client.upload_fileobj(fileobj, self.name, key, Callback=told)

        await _transfer(f"upload of {key} to bucket {self.name}", run, callback)
        return self.make_url(key)

    async def download(self, key: str, callback: Callable[[int], None] | None = None) -> io.BytesIO:
        """Read a file into memory.

        Parameters
        ----------
        key
            Key of the file.
        callback
            Called from other threads with the number of further bytes that have come; None: not told.

        Returns
        -------
        io.BytesIO
            The content, at its begin.

        Raises
        ------
        TimeoutError
            If it took longer than ``TRANSFER_TIMEOUT``.
        botocore.exceptions.ClientError
            If there is no such file, or S3 refuses.
        botocore.exceptions.BotoCoreError
            If S3 cannot be reached.
        """
        client = self.service_resource.meta.client
        content = io.BytesIO()

        def run(told: Callable[[int], None]) -> None:
            client.download_fileobj(self.name, key, content, Callback=told)

        await _transfer(f"download of {key} from bucket {self.name}", run, callback)
        content.seek(0)
        return content

    async def exists(self, key: str) -> bool:
        """Whether there is such a file.

        Parameters
        ----------
        key
            Key of the file.

        Raises
        ------
        TimeoutError
            If there was no answer within ``CALL_TIMEOUT``.
        botocore.exceptions.ClientError
            If S3 gives any other answer than that there is none, such as that it may not be told.
        botocore.exceptions.BotoCoreError
            If S3 cannot be reached.
        """
        from botocore.exceptions import ClientError  # noqa: PLC0415 (heavy; loaded by the constructor)

        try:
            await self.size(key)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return False
            raise
        return True

    async def size(self, key: str) -> int:
        """Length of a file (byte).

        Parameters
        ----------
        key
            Key of the file.

        Raises
        ------
        TimeoutError
            If there was no answer within ``CALL_TIMEOUT``.
        botocore.exceptions.ClientError
            If there is no such file, or S3 refuses.
        botocore.exceptions.BotoCoreError
            If S3 cannot be reached.
        """
        client = self.service_resource.meta.client
        async with Deadline(f"size of {key} in bucket {self.name}", CALL_TIMEOUT).enforce():
            answer = await asyncio.to_thread(client.head_object, Bucket=self.name, Key=key)
        return answer["ContentLength"]


async def _transfer(
    operation: str, run: Callable[[Callable[[int], None]], T], callback: Callable[[int], None] | None
) -> T:
    """Run a transfer in a thread; one that is given up ends when it next tells how far it has come."""
    is_abandoned = threading.Event()

    def told(count: int) -> None:
        if is_abandoned.is_set():
            raise _AbandonedError(operation)
        if callback is not None:
            callback(count)

    try:
        async with Deadline(operation, TRANSFER_TIMEOUT).enforce():
            return await asyncio.to_thread(run, told)
    finally:
        is_abandoned.set()


def _make_resource(endpoint_url: str | None, profile: str | None) -> "S3ServiceResource":
    boto3, config_type = _load_boto3()
    config = config_type(
        connect_timeout=_CONNECT_TIMEOUT,
        read_timeout=_READ_TIMEOUT,
        retries={"mode": "standard", "total_max_attempts": 3},
        # S3 services other than that of AWS refuse the trailing checksums that boto3 sends otherwise.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    session = boto3.Session(profile_name=profile)
    resource: S3ServiceResource = session.resource("s3", endpoint_url=endpoint_url, config=config)
    return resource


@functools.cache
def _load_boto3() -> tuple[Any, Any]:
    try:
        import boto3  # noqa: PLC0415 (an extra, and heavy)
        from botocore.config import Config  # noqa: PLC0415 (comes with it)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error}: the large file annex needs the extra ts-ocps[annex]") from error
    for name in _TALKATIVE_LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.level, logging.INFO))
    return boto3, Config


def _to_tai(date: "astropy.time.Time | float") -> datetime:
    """TAI to the millisecond, as a datetime that says UTC because it has to say something."""
    if isinstance(date, int | float):
        return datetime.fromtimestamp(round(float(date), 3), UTC)
    tai = date.tai
    tai.precision = 3
    return datetime.fromisoformat(str(tai.isot)).replace(tzinfo=UTC)
