"""Results in S3: below a prefix, or in the large file annex.

S3 has no rename. The manifest is stored last, and a set counts only with its manifest.
"""

import shutil
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

from typing_extensions import override

from lsst.ts.ocps.aio.threads import run_in_thread
from lsst.ts.ocps.salobj import AsyncS3Bucket

from .deposit_plan import MANIFEST, DepositedFile, DepositPlan, Wanted
from .deposit_store import Store, map_os_error
from .errors import DepositError
from .scratch import Scratch

if TYPE_CHECKING:
    from lsst.resources import ResourcePath

__all__ = ["AnnexStore", "PrefixStore"]

T = TypeVar("T")

_MISTAKES = (AttributeError, ImportError, LookupError, TypeError, ValueError)
_LASTING = ("Credential", "ParamValidation", "Settings", "Profile", "Config", "Region")
"""Parts of the names of boto3's errors that trying again does not mend."""

_PASSING_STATUSES = {408, 425, 429, 500, 502, 503, 504}


class _ObjectStore(Store):
    """What both have in common: one file at a time passes through a folder for temporary files."""

    def __init__(self, scratch: Scratch) -> None:
        self._folders = scratch
        self._scratch: Path | None = None

    @override
    async def begin(self) -> bytes | None:
        manifest = await self._read_manifest()
        if manifest is None and self._scratch is None:
            self._scratch = await self._do(self._folders.make)
        return manifest

    @override
    def scratch(self, name: str) -> Path:
        if self._scratch is None:
            raise RuntimeError("begin comes first")
        return self._scratch / name

    @override
    async def put(self, wanted: Wanted, byte_size: int, sha256: str) -> DepositedFile:
        path = self.scratch(wanted.name)
        url = await self._upload(path, wanted.name)
        await self._do(path.unlink)
        return DepositedFile(
            name=wanted.name,
            result_id=wanted.result.result_id,
            url=url,
            byte_size=byte_size,
            sha256=sha256,
            mime_type=wanted.result.mime_type or "",
        )

    @override
    async def commit(self, manifest: bytes) -> None:
        path = self.scratch(MANIFEST)
        _ = await self._do(lambda: path.write_bytes(manifest))
        _ = await self._upload(path, MANIFEST)

    @override
    async def discard(self) -> None:
        # Objects without a manifest count for nothing, and the next attempt writes them anew.
        scratch, self._scratch = self._scratch, None
        if scratch is not None:
            await self._do(lambda: shutil.rmtree(scratch))

    @abstractmethod
    async def _read_manifest(self) -> bytes | None: ...

    @abstractmethod
    async def _upload(self, path: Path, name: str) -> str: ...

    async def _do(self, call: Callable[[], T]) -> T:
        def guarded() -> T:
            try:
                return call()
            except Exception as error:
                raise _map_error(error, self.location) from error

        return await run_in_thread(guarded, name="deposit")


class PrefixStore(_ObjectStore):
    """Objects below ``s3://bucket/prefix/run_id/``, stored with lsst-resources.

    Parameters
    ----------
    plan
        Bucket and prefix.
    scratch
        Where files are on their way.
    """

    def __init__(self, plan: DepositPlan, scratch: Scratch) -> None:
        super().__init__(scratch)
        self.location = f"s3://{plan.root}/{plan.folder}/"

    @override
    async def _read_manifest(self) -> bytes | None:
        def read() -> bytes | None:
            try:
                return self._open(MANIFEST).read()
            except FileNotFoundError:
                return None

        return await self._do(read)

    @override
    async def _upload(self, path: Path, name: str) -> str:
        def upload() -> str:
            target = self._open(name)
            target.transfer_from(_load_resources()(str(path)), transfer="copy", overwrite=True)
            return str(target)

        return await self._do(upload)

    def _open(self, name: str) -> "ResourcePath":
        return _load_resources()(f"{self.location}{name}")


class AnnexStore(_ObjectStore):
    """Files in the large file annex, named as those of other components.

    Parameters
    ----------
    plan
        Which instance of the annex.
    scratch
        Where files are on their way.
    make_key
        Makes the key of a file from the end of its name and the suffix.
    """

    def __init__(self, plan: DepositPlan, scratch: Scratch, make_key: Callable[[str, str], str]) -> None:
        super().__init__(scratch)
        self._run = plan.folder
        self._make_key = make_key
        self._bucket_name = AsyncS3Bucket.make_bucket_name(plan.root)
        self._bucket: AsyncS3Bucket | None = None
        self.location = f"s3://{self._bucket_name}/{self.key(MANIFEST)}"

    def key(self, name: str) -> str:
        """Key of a file of the set."""
        path = PurePosixPath(name)
        return self._make_key(f"{self._run}_{path.stem}", path.suffix)

    async def url(self, name: str) -> str:
        """Address of a file of the set, as it is announced."""
        return _make_url(await self._open(), self.key(name))

    @override
    async def _read_manifest(self) -> bytes | None:
        bucket, key = await self._open(), self.key(MANIFEST)
        try:
            return await _download(bucket, key)
        except Exception as error:
            raise _map_error(error, self.location) from error

    @override
    async def _upload(self, path: Path, name: str) -> str:
        bucket = await self._open()
        try:
            return await _upload(bucket, path, self.key(name))
        except Exception as error:
            raise _map_error(error, self.location) from error

    async def _open(self) -> AsyncS3Bucket:
        if self._bucket is None:
            self._bucket = await self._do(lambda: AsyncS3Bucket(self._bucket_name))
        return self._bucket


# What is used of a bucket is written so that the reader of the common API sees it.


async def _download(bucket: AsyncS3Bucket, key: str) -> bytes | None:
    return (await bucket.download(key)).getvalue() if await bucket.exists(key) else None


async def _upload(bucket: AsyncS3Bucket, path: Path, key: str) -> str:
    file = await run_in_thread(lambda: path.open("rb"), name="deposit")
    return await bucket.upload(file, key)


def _make_url(bucket: AsyncS3Bucket, key: str) -> str:
    return f"{bucket.service_resource.meta.client.meta.endpoint_url}/{bucket.name}/{key}"


def _load_resources() -> "type[ResourcePath]":
    try:
        from lsst.resources import ResourcePath  # noqa: PLC0415 (an extra, and heavy: loaded at the first deposit)
    except ModuleNotFoundError as error:
        raise DepositError(f"{error}: deposits in S3 need the extra ts-ocps[deposit]") from error
    return ResourcePath


def _map_error(error: Exception, location: str) -> DepositError:
    """What S3, its client or the local disk has said, as an error of ours."""
    if isinstance(error, DepositError):
        return error
    if isinstance(error, OSError) and error.filename:
        return map_os_error(error, Path(error.filename))
    cause: BaseException | None = error
    while cause is not None:
        response: Any = getattr(cause, "response", None)
        if isinstance(response, dict):
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            return DepositError(f"{location}: {error}", transient=status in _PASSING_STATUSES)
        cause = cause.__cause__ or cause.__context__
    # Missing credentials and missing packages stay missing; what the network does may pass.
    is_lasting = isinstance(error, _MISTAKES) or any(word in type(error).__name__ for word in _LASTING)
    return DepositError(f"{location}: {error}", transient=not is_lasting)
