"""The files of a job: its folder, its outputs, what it says of its progress, the end of its standard error.

Everything here blocks; callers use `asyncio.to_thread`. Jobs are not trusted: below the folder of a job no
symbolic link is ever followed and nothing but regular files is opened.
"""

import errno
import heapq
import json
import logging
import mimetypes
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO

from lsst.ts.ocps.executors.base import STDERR, STDOUT
from lsst.ts.ocps.payloads.schema import ResultSpec
from lsst.ts.ocps.uws.progress import Progress

from .conditional import Version
from .errors import NotFoundError
from .removal import make_removable
from .schema import StoredResult, StoredUpload

__all__ = ["PROGRESS_FILE", "RECEIVED_FOLDER", "UPLOAD_FOLDER", "JobFolder", "last_line", "mime_type"]

_log = logging.getLogger(__name__)

UPLOAD_FOLDER = "uploads"
"""Name of the folder of the files that a job is given."""

RECEIVED_FOLDER = "received"
"""Name of the folder of files that came with requests, until their job runs."""

PROGRESS_FILE = "progress.json"
"""Name of the output file that tells the progress; it is not a result."""

_MEANINGFUL = frozenset({"result.json", "metrics.json"})
"""Outputs that are results in any case: they are read for what they say."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_MAX_DEPTH = 100
"""How deep folders are looked into; each level takes a descriptor."""

_MAX_PROGRESS = 16 * 1024
_MAX_TAIL = 64 * 1024
_MAX_LINE = 1000
"""Longest message made of a line of standard error (characters)."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

# The tables of Python only, so that an answer does not depend on the machine.
_TYPES = mimetypes.MimeTypes()
for _type, _suffix in (
    ("application/fits", ".fits"),
    ("application/fits", ".fz"),
    ("application/yaml", ".yaml"),
    ("application/x-votable+xml", ".vot"),
    ("application/vnd.apache.parquet", ".parquet"),
    ("text/plain", ".ecsv"),
    ("text/plain", ".log"),
):
    _TYPES.add_type(_type, _suffix)


@dataclass(frozen=True, slots=True)
class JobFolder:
    """The folder of one job.

    Parameters
    ----------
    path
        The folder, absolute.
    outputs
        Output folder, relative to it.
    """

    path: Path
    outputs: str

    @property
    def output_path(self) -> Path:
        """The output folder."""
        return self.path / self.outputs

    def make(self) -> None:
        """Make both folders; an attempt that broke off may have made them."""
        self.output_path.mkdir(parents=True, exist_ok=True)

    def remove(self) -> None:
        """Remove everything; harmless if it is gone."""
        if self.path.is_symlink():
            # Its job has put that there; where it leads to is no concern of ours.
            self.path.unlink(missing_ok=True)
        while self.path.exists():
            try:
                # Another process of the service may be removing it too.
                with suppress(FileNotFoundError):
                    shutil.rmtree(self.path)
            except (RecursionError, OSError) as error:
                # Folders in folders in folders… take calls and descriptors, and some are locked.
                is_deep = isinstance(error, RecursionError) or error.errno == errno.EMFILE
                is_locked = isinstance(error, PermissionError)
                if not (is_deep or is_locked) or not make_removable(self.path, max_depth=_MAX_DEPTH):
                    raise

    def collect(
        self, wanted: Sequence[ResultSpec] = (), *, most: int = sys.maxsize
    ) -> tuple[StoredResult, ...]:
        """List the outputs, sorted by path, and then what the command said, if it said anything.

        Parameters
        ----------
        wanted
            Which outputs are results; empty: all.
        most
            How many are listed; of more, the first ones, and a line on standard error tells of the others.
        """
        results: dict[str, StoredResult] = {}
        for path, size, media_type in self._choose(wanted, most):
            result_id = _unique_id(path, results)
            results[result_id] = StoredResult(result_id, path, size, media_type)
        for name in (STDOUT, STDERR):
            if size := self._size_of(name):
                result_id = _unique_id(name, results)
                results[result_id] = StoredResult(result_id, name, size, "text/plain", is_log=True)
        return tuple(results.values())

    def _choose(self, wanted: Sequence[ResultSpec], most: int) -> list[tuple[str, int, str]]:
        """Paths, sizes and types of the outputs that are results, without keeping all that there are."""
        meaningful: list[tuple[str, int, str]] = []
        total = 0

        def others() -> Iterator[tuple[str, int, str]]:
            nonlocal total
            for path, size in self._walk(PurePosixPath(self.outputs)):
                if path == PROGRESS_FILE or (media_type := _find_type(path, wanted)) is None:
                    continue
                total += 1
                if path in _MEANINGFUL:
                    meaningful.append((path, size, media_type))
                else:
                    yield path, size, media_type

        first = heapq.nsmallest(most, others())
        chosen = sorted(meaningful + first[: max(0, most - len(meaningful))])
        if left_out := total - len(chosen):
            self._say(f"{left_out} of {total} files are no results: a job has {most} at most")
        return chosen

    def _say(self, text: str) -> None:
        """Add a line to the standard error of the job, for whoever reads it."""
        _log.warning("%s: %s", self.path, text)
        how = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            with self._opened_folder(()) as directory:
                opened = os.open(STDERR, how, 0o600, dir_fd=directory)
            with os.fdopen(opened, "ab") as file:
                if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    file.write(f"\nocps service: {text}\n".encode())
        except OSError as error:
            # Its job has put something else there, or the disk is full.
            _log.warning("%s: %s", self.path / STDERR, error)

    def open_result(self, result: StoredResult) -> tuple[IO[bytes], Version]:
        """Open an output; the file and its version now.

        Raises
        ------
        NotFoundError
            If it is not there any more, or is not a regular file in the output folder.
        """
        file = self._open(PurePosixPath("" if result.is_log else self.outputs, result.path))
        return _with_version(file, result.sha256)

    def open_upload(self, upload: StoredUpload) -> tuple[IO[bytes], Version]:
        """Open an upload, as `open_result` does."""
        if upload.file:
            # When its job runs it is moved.
            with suppress(NotFoundError):
                return _with_version(self._open(PurePosixPath(RECEIVED_FOLDER, upload.file)))
        return _with_version(self._open(PurePosixPath(UPLOAD_FOLDER, upload.name)))

    def read_progress(self) -> Progress | None:
        """What the job says of its progress; None if nothing, or nothing that makes sense."""
        try:
            with self._open(PurePosixPath(self.outputs, PROGRESS_FILE)) as file:
                content = json.loads(file.read(_MAX_PROGRESS))
        except (NotFoundError, ValueError):
            return None
        match content:
            case {"fraction": int() | float() as fraction, **rest} if 0 <= fraction <= 1:
                message = rest.get("message", "")
                return Progress(float(fraction), _clean(message) if isinstance(message, str) else "")
            case _:
                return None

    def read_stderr_tail(self) -> str:
        """The end of standard error."""
        try:
            with self._open(PurePosixPath(STDERR)) as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(max(0, size - _MAX_TAIL))
                return file.read(_MAX_TAIL).decode(errors="replace")
        except NotFoundError:
            return ""

    def _size_of(self, name: str) -> int:
        try:
            with self._open(PurePosixPath(name)) as file:
                return os.fstat(file.fileno()).st_size
        except NotFoundError:
            return 0

    @contextmanager
    def _opened_folder(self, folders: Iterable[str]) -> Iterator[int]:
        """A descriptor of a folder below this one; no link is followed on the way, not even to this one."""
        directory = os.open(self.path, _FOLDER)
        try:
            for folder in folders:
                _check_part(folder)
                inner = os.open(folder, _FOLDER, dir_fd=directory)
                os.close(directory)
                directory = inner
            yield directory
        finally:
            os.close(directory)

    def _walk(self, relative: PurePosixPath) -> Iterator[tuple[str, int]]:
        """Paths below a folder, and sizes, of its regular files; hidden ones and links are left out."""
        try:
            with self._opened_folder(relative.parts) as directory:
                yield from _walk(directory, PurePosixPath())
        except OSError as error:
            _log.warning("outputs in %s are left out: %s", self.path / relative, error)

    def _open(self, relative: PurePosixPath) -> IO[bytes]:
        """Open a regular file without following any link below the folder."""
        try:
            *folders, name = relative.parts or ("",)
            _check_part(name)
            with self._opened_folder(folders) as directory:
                # O_NONBLOCK: opening a pipe must not wait for somebody to write into it.
                opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
        except OSError as error:
            raise NotFoundError(f"{relative} cannot be read: {error.strerror}") from error
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            os.close(opened)
            raise NotFoundError(f"{relative} is not a regular file")
        return os.fdopen(opened, "rb")


def _with_version(file: IO[bytes], sha256: str | None = None) -> tuple[IO[bytes], Version]:
    status = os.fstat(file.fileno())
    # The inode tells a file from one that was moved to its place.
    mark = f"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"
    return file, Version(status.st_size, status.st_mtime, mark, sha256)


def last_line(text: str) -> str:
    """The last line that is not empty, fit for a message."""
    for line in reversed(text.splitlines()):
        if cleaned := _clean(line):
            return cleaned
    return ""


def mime_type(path: str) -> str:
    """The media type of a file, by its name."""
    # A compressed file is served as it is, and not as what it holds.
    guessed, encoding = _TYPES.guess_type(path, strict=False)
    if encoding == "gzip":
        return "application/gzip"
    return "application/octet-stream" if guessed is None or encoding else guessed


def _check_part(part: str) -> None:
    if part in {"", ".", ".."} or "/" in part:
        raise NotFoundError(f"{part!r} is not a name")


def _find_type(path: str, wanted: Sequence[ResultSpec]) -> str | None:
    """The media type of an output; None if it is no result."""
    guessed = mime_type(path)
    for each in wanted:
        if fnmatchcase(path, each.pattern):
            return each.mime_type or guessed
    return guessed if not wanted or path in _MEANINGFUL else None


def _walk(directory: int, relative: PurePosixPath) -> Iterator[tuple[str, int]]:
    """Walk a folder that is open: what takes the place of one meanwhile is not followed."""
    try:
        folders = []
        with os.scandir(directory) as scan:
            for entry in scan:
                if entry.name.startswith("."):
                    continue
                path = relative / entry.name
                if entry.is_file(follow_symlinks=False):
                    yield str(path), entry.stat(follow_symlinks=False).st_size
                elif entry.is_dir(follow_symlinks=False):
                    folders.append(path)
        # Now that the list is read to its end, its descriptor is free for those of the folders.
        for path in folders:
            yield from _walk_inner(directory, path)
    except OSError as error:
        # The job may have removed or locked it; the rest is still worth having.
        _log.warning("outputs in %s are left out: %s", relative, error)


def _walk_inner(directory: int, path: PurePosixPath) -> Iterator[tuple[str, int]]:
    if len(path.parts) > _MAX_DEPTH:
        _log.warning("outputs in %s are left out: deeper than %d folders", path.parts[0], _MAX_DEPTH)
        return
    try:
        inner = os.open(path.name, _FOLDER, dir_fd=directory)
    except OSError as error:
        _log.warning("outputs in %s are left out: %s", path, error)
        return
    try:
        yield from _walk(inner, path)
    finally:
        os.close(inner)


def _unique_id(path: str, taken: dict[str, StoredResult]) -> str:
    base = _CONTROL.sub("_", path.replace("/", "_"))
    result_id, number = base, 2
    while result_id in taken:
        result_id, number = f"{base}-{number}", number + 1
    return result_id


def _clean(text: str) -> str:
    return _CONTROL.sub(" ", text).strip()[:_MAX_LINE]
