"""Files that come with a job: with the request, or from where it says (DALI 1.1 section 3.4.5)."""

import asyncio
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import structlog
from starlette.datastructures import UploadFile

from lsst.ts.ocps.payloads.schema import PayloadDefinition, UploadSpec

from .errors import FetchError, RequestTooLargeError, UsageError
from .fetching import Fetcher, check_url
from .forms import Form
from .results import RECEIVED_FOLDER, UPLOAD_FOLDER
from .schema import StoredJob, StoredUpload
from .sections import UploadsSection

__all__ = ["UPLOAD", "UploadStore", "check_complete", "largest_files", "read_uploads"]

UPLOAD = "UPLOAD"

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_INLINE = "param:"

_log = structlog.stdlib.get_logger(__name__)


def largest_files(definition: PayloadDefinition, section: UploadsSection) -> int:
    """How many bytes of files a request for a payload may bring; 0: none."""
    specs = definition.run.uploads.values() if definition.run else ()
    return sum(_limit(spec, section) for spec in specs)


def read_uploads(
    form: Form, definition: PayloadDefinition, section: UploadsSection
) -> tuple[tuple[StoredUpload, UploadFile | None], ...]:
    """Read which uploads a request brings, and the files of those that came with it.

    Raises
    ------
    UsageError
        If they are not those that the payload takes, or the form is not right.
    RequestTooLargeError
        If a file is too large.
    """
    specs: Mapping[str, UploadSpec] = definition.run.uploads if definition.run else {}
    declared = {name.upper(): name for name in specs}
    found: dict[str, tuple[StoredUpload, UploadFile | None]] = {}
    used = set()
    for value in _split(form.get_all(UPLOAD), specs):
        given, comma, source = value.partition(",")
        if not comma or not _NAME.fullmatch(given) or not source:
            raise UsageError(f"{UPLOAD}: {value[:80]!r} is not NAME,URL or NAME,param:PART")
        name = declared.get(given.upper())
        if name is None:
            takes = ", ".join(specs) or "none"
            raise UsageError(f"{UPLOAD}: {definition.name} takes no {given[:63]!r}; it takes: {takes}")
        if name in found:
            raise UsageError(f"{UPLOAD}: {name} is given twice")
        if not source.startswith(_INLINE):
            check_url(source, section)
            found[name] = StoredUpload(name, source), None
            continue
        part = source.removeprefix(_INLINE)
        file = form.files.get(part)
        if file is None:
            raise UsageError(f"{UPLOAD}: the request has no file called {part[:63]!r}")
        if (size := file.size or 0) > (limit := _limit(specs[name], section)):
            raise RequestTooLargeError(f"{UPLOAD}: {name} has {size} bytes; {limit} are allowed")
        used.add(part)
        found[name] = StoredUpload(name, None, size, uuid.uuid4().hex), file
    for part in form.files:
        if part not in used:
            raise UsageError(f"{part[:63]}: no {UPLOAD} names this file")
    return tuple(found.values())


def _split(values: Iterable[str], names: Iterable[str]) -> Iterator[str]:
    """Take apart what TAP 1.0 writes as one value; a semicolon of an URL is not followed by a known name."""
    names = "|".join(names)
    for value in values:
        yield from re.split(f";(?=(?:{names}),)", value, flags=re.IGNORECASE) if names else [value]


def check_complete(definition: PayloadDefinition, uploads: Iterable[StoredUpload]) -> None:
    """Check that a job has what it needs to run.

    Raises
    ------
    UsageError
        If it lacks uploads.
    """
    specs: Mapping[str, UploadSpec] = definition.run.uploads if definition.run else {}
    given = {upload.name for upload in uploads}
    if missing := [name for name, spec in specs.items() if spec.required and name not in given]:
        raise UsageError(f"{UPLOAD}: missing: {', '.join(missing)}")


def _limit(spec: UploadSpec, section: UploadsSection) -> int:
    return int(section.max_bytes if spec.max_bytes is None else min(spec.max_bytes, section.max_bytes))


class UploadStore:
    """Keeps uploads in the folders of their jobs.

    What comes with a request has a file of its own, which no other request changes or removes; it gets its
    name when the job runs.

    Parameters
    ----------
    section
        What may be uploaded.
    jobs_directory
        Where each job has its folder.
    """

    def __init__(self, section: UploadsSection, jobs_directory: Path) -> None:
        self.section = section
        self._jobs_directory = jobs_directory
        self._fetcher = Fetcher(section)

    async def keep(self, job_id: str, files: Sequence[tuple[StoredUpload, UploadFile | None]]) -> None:
        """Write the files that came with a request; none is there if one cannot be written."""
        sent = [(upload.file, file) for upload, file in files if file is not None]
        if not sent:
            return
        try:
            await asyncio.to_thread(self._write, job_id, sent)
        except BaseException:
            await asyncio.shield(self.forget(job_id, [upload for upload, _ in files]))
            raise

    async def forget(self, job_id: str, uploads: Iterable[StoredUpload]) -> None:
        """Remove what was received for some uploads; harmless if it is gone, or has got its name."""
        received = self._jobs_directory / job_id / RECEIVED_FOLDER
        for upload in uploads:
            if upload.file:
                try:
                    await asyncio.to_thread((received / upload.file).unlink, missing_ok=True)
                except OSError as error:
                    # It goes with the folder of the job.
                    _log.warning("a file of no use cannot be removed", job_id=job_id, reason=str(error))

    async def discard(self, job_id: str) -> None:
        """Remove what was kept for a job that is none."""
        await asyncio.to_thread(shutil.rmtree, self._jobs_directory / job_id, ignore_errors=True)

    async def fetch(self, stored: StoredJob, definition: PayloadDefinition | None) -> int:
        """Bring all uploads to their places; what the job refers to is read.

        Returns
        -------
        int
            Size of all its uploads (byte).

        Raises
        ------
        FetchError
            If something cannot be read.
        OSError
            If it cannot be written.
        """
        folder = self._folder(stored.job_id)
        total = 0
        for upload in stored.uploads:
            if upload.url is None:
                total += upload.size
                if upload.file:
                    await asyncio.to_thread(self._name, stored.job_id, upload)
                continue
            spec = definition.run.uploads.get(upload.name) if definition and definition.run else None
            if spec is None:
                raise FetchError(f"the payload {stored.payload} takes no upload {upload.name} any more")
            await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
            # What an attempt that broke off has left may not be whole.
            await asyncio.to_thread((folder / upload.name).unlink, missing_ok=True)
            limit = _limit(spec, self.section)
            total += await self._fetcher.fetch(upload.url, folder / upload.name, max_bytes=limit)
            _log.info("upload read", upload=upload.name)
        return total

    def _folder(self, job_id: str) -> Path:
        return self._jobs_directory / job_id / UPLOAD_FOLDER

    def _write(self, job_id: str, files: Sequence[tuple[str, UploadFile]]) -> None:
        folder = self._jobs_directory / job_id / RECEIVED_FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        for name, file in files:
            file.file.seek(0)
            with (folder / name).open("xb") as out:
                shutil.copyfileobj(file.file, out)

    def _name(self, job_id: str, upload: StoredUpload) -> None:
        place = self._folder(job_id) / upload.name
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            (self._jobs_directory / job_id / RECEIVED_FOLDER / upload.file).replace(place)
        except FileNotFoundError:
            # An earlier life of the service may have done it, and died before it started the command.
            if not place.exists():
                raise
