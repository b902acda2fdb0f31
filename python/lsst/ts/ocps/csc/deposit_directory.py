"""Results in a folder: written under another name beside it, then renamed.

A rename is the one change of a POSIX file system that is seen whole or not at all. lsst-resources, which
serves S3, writes files in place, so that it is of no use here, and a site with a folder need not install it.
"""

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from typing_extensions import override

from lsst.ts.ocps.aio.threads import run_in_thread

from .deposit_plan import MANIFEST, DepositedFile, DepositPlan, Wanted
from .deposit_store import Store, map_os_error, write_file
from .errors import DepositError

__all__ = ["DirectoryStore"]

T = TypeVar("T")


class DirectoryStore(Store):
    """A folder of the run's own.

    Parameters
    ----------
    plan
        What has to exist, and what is made below it.
    """

    def __init__(self, plan: DepositPlan) -> None:
        self._root = Path(plan.root)
        self._target = self._root / plan.folder
        # In the same folder, so that it is the same file system; hidden, so that patterns do not match it.
        self._partial = self._target.with_name(f".{self._target.name}.partial")
        self.location = f"{self._target.as_uri()}/"
        # A commit that nobody waits for any more must not rename what is being removed.
        self._lock = threading.Lock()
        self._is_discarded = False

    @override
    async def begin(self) -> bytes | None:
        return await self._do(self._begin)

    def _begin(self) -> bytes | None:
        if self._target.exists():
            try:
                return (self._target / MANIFEST).read_bytes()
            except FileNotFoundError:
                raise DepositError(f"{self._target} exists, and is not a deposit") from None
        if not self._root.is_dir():
            raise DepositError(f"{self._root} does not exist: is the volume mounted?")
        if self._partial.exists():
            shutil.rmtree(self._partial)
        self._partial.mkdir(parents=True)
        return None

    @override
    def scratch(self, name: str) -> Path:
        return self._partial / name

    @override
    async def put(self, wanted: Wanted, byte_size: int, sha256: str) -> DepositedFile:
        return DepositedFile(
            name=wanted.name,
            result_id=wanted.result.result_id,
            url=(self._target / wanted.name).as_uri(),
            byte_size=byte_size,
            sha256=sha256,
            mime_type=wanted.result.mime_type or "",
        )

    @override
    async def commit(self, manifest: bytes) -> None:
        await self._do(lambda: self._commit(manifest))

    def _commit(self, manifest: bytes) -> None:
        with self._lock:
            if self._is_discarded:
                raise DepositError(f"{self._target} was given up")
            if self._partial.exists() or not (self._target / MANIFEST).exists():
                write_file(self._partial / MANIFEST, manifest)
                _sync(self._partial)
                _ = self._partial.rename(self._target)
            _sync(self._target.parent)

    @override
    async def discard(self) -> None:
        await self._do(self._discard)

    def _discard(self) -> None:
        with self._lock:
            self._is_discarded = True
            if self._partial.exists():
                shutil.rmtree(self._partial)

    async def _do(self, call: Callable[[], T]) -> T:
        def guarded() -> T:
            try:
                return call()
            except OSError as error:
                raise map_os_error(error, self._target) from error

        return await run_in_thread(guarded, name="deposit")


def _sync(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
