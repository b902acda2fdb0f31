"""What a place for results can do, and how a result gets into a local file."""

import errno
import hashlib
import os
import threading
from abc import ABC, abstractmethod
from pathlib import Path
from typing import IO

from lsst.ts.ocps.aio.threads import run_in_thread

from .deposit_plan import DepositedFile, Wanted
from .errors import DepositError

__all__ = ["FileWriter", "Store", "map_os_error", "write_file"]

_THREAD = "deposit"


class Store(ABC):
    """The place of one set of files, which becomes visible as a whole.

    The methods raise `DepositError` only; what blocks is done in threads.
    """

    location: str
    """Where the set will be, for people and programs."""

    @abstractmethod
    async def begin(self) -> bytes | None:
        """Remove what an interrupted attempt left, and make ready for files.

        Returns
        -------
        bytes or None
            The manifest, if the set is complete already; then nothing was changed.
        """

    @abstractmethod
    def scratch(self, name: str) -> Path:
        """Where a file is to be written before `put`."""

    @abstractmethod
    async def put(self, wanted: Wanted, byte_size: int, sha256: str) -> DepositedFile:
        """Take a file that was written to its `scratch`."""

    @abstractmethod
    async def commit(self, manifest: bytes) -> None:
        """Make the set visible; harmless when it is."""

    @abstractmethod
    async def discard(self) -> None:
        """Remove what is not part of a complete set; nothing can be done with this object after it."""


class FileWriter:
    """Writes what comes into a file, with length and checksum on the way.

    Parameters
    ----------
    path
        The file; what it held is replaced.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._digest = hashlib.sha256()
        self._file: IO[bytes] | None = None
        self.byte_size = 0

    @property
    def sha256(self) -> str:
        """The checksum of what came so far."""
        return self._digest.hexdigest()

    async def receive(self, piece: bytes) -> None:
        """Write one piece.

        Raises
        ------
        DepositError
            If it cannot be written.
        """
        await run_in_thread(lambda: self._write(piece), name=_THREAD)

    async def finish(self) -> None:
        """Bring everything to the disk; an empty result becomes an empty file.

        Raises
        ------
        DepositError
            If the disk does not take it.
        """
        await run_in_thread(self._finish, name=_THREAD)

    def close(self) -> None:
        """Close a file that was not finished. Does not wait: a network volume may hang even in this."""
        file, self._file = self._file, None
        if file is not None:
            threading.Thread(target=file.close, name=_THREAD, daemon=True).start()

    def _open(self) -> IO[bytes]:
        if self._file is None:
            self._file = self._path.open("wb", buffering=0)
        return self._file

    def _write(self, piece: bytes) -> None:
        try:
            file, rest = self._open(), memoryview(piece)
            while rest:
                rest = rest[file.write(rest) :]
        except OSError as error:
            raise map_os_error(error, self._path) from error
        self._digest.update(piece)
        self.byte_size += len(piece)

    def _finish(self) -> None:
        try:
            with self._open() as file:
                os.fsync(file.fileno())
            self._file = None
        except OSError as error:
            raise map_os_error(error, self._path) from error


def write_file(path: Path, data: bytes) -> None:
    """Write a small file and bring it to the disk. Blocks."""
    with path.open("wb") as file:
        _ = file.write(data)
        file.flush()
        os.fsync(file.fileno())


_PASSING = {"EAGAIN", "EBUSY", "EINTR", "EIO", "ENETDOWN", "ENETUNREACH", "ESTALE", "ETIMEDOUT", "EHOSTDOWN"}
"""Errors of a file system that may go away by themselves, as those of a network volume do."""


def map_os_error(error: OSError, path: Path) -> DepositError:
    """The error of a file as ours; says which file and why."""
    reason = error.strerror or str(error) or type(error).__name__
    code = errno.errorcode.get(error.errno or 0, "")
    return DepositError(f"{error.filename or path}: {reason}", transient=code in _PASSING)
