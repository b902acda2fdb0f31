"""Results of ended jobs go where they are found next morning: to a folder, to S3, to the large file annex.

::

    begin ── a complete manifest is there ─────────────────────────────▶ complete (announced once more)
      │
      ▼
    for each result: download ─▶ file and sha256 ─▶ put      errors that may pass: again, until the deadline
      │
      ▼
    commit: manifest last, then the set is visible ─▶ announce ─▶ complete
      │
      any error that lasts, or the deadline ─▶ discard ─▶ failed, with the reason; the run ends all the same
"""

import asyncio
import contextlib
import hashlib
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from lsst.ts.ocps.aio.deadline import Deadline, DeadlineExceededError
from lsst.ts.ocps.aio.retry import retry
from lsst.ts.ocps.client.base import Backend
from lsst.ts.ocps.client.errors import BackendError
from lsst.ts.ocps.salobj import tai_from_utc_unix

from .deposit_directory import DirectoryStore
from .deposit_manifest import build_manifest, read_manifest
from .deposit_places import Place
from .deposit_plan import MANIFEST, Deposit, DepositedFile, DepositPlan, Wanted, choose
from .deposit_s3 import AnnexStore, PrefixStore
from .deposit_store import FileWriter, Store
from .documents import reported_job_id
from .errors import DepositError
from .logs import get_logger
from .outlet import PROGRAMMING_ERRORS, Outlet
from .records import RunRecord
from .scratch import Scratch

__all__ = ["Depositor"]

T = TypeVar("T")
Open = Callable[[], Awaitable[Backend]]

_DISCARD_TIMEOUT = 3.0
"""How long remains are tried to be removed (s): the report waits for it, and so does the end of the CSC."""

_PROBE_TIMEOUT = 5.0
_MAX_EVENT_SIZE = 2**31 - 1
"""Largest ``byteSize`` of ``largeFileObjectAvailable`` (byte); a larger file is announced with -1."""

_EVENT = "evt_largeFileObjectAvailable"


class Depositor:
    """Deposits the results of runs; never fails a run.

    Parameters
    ----------
    outlet
        Where files in the large file annex are announced.
    scratch
        Where files are on their way to S3.
    """

    def __init__(self, outlet: Outlet, scratch: Scratch) -> None:
        self._outlet = outlet
        self._scratch = scratch
        self._places: defaultdict[tuple[str, str], Place] = defaultdict(Place)

    async def deposit(self, record: RunRecord, open_backend: Open) -> Deposit | None:
        """Deposit the results of a run that has completed.

        Parameters
        ----------
        record
            The run.
        open_backend
            Gives its back end.

        Returns
        -------
        Deposit or None
            How that went; None if nothing is to be deposited.
        """
        plan = record.run.deposit
        if plan is None:
            return None
        place = self._places[plan.scheme, plan.root]
        attempt = _Attempt(record, plan, self._outlet, self._scratch, open_backend)
        deadline = Deadline("deposit", plan.timeout)
        try:
            async with deadline.enforce(), place.turn(plan.timeout):
                deposit = await attempt.run(deadline, place)
        except BackendError as error:
            deposit = attempt.give_up(str(error))
        except DepositError as error:
            deposit = attempt.give_up(f"{error}{place.trouble}")
        except DeadlineExceededError as error:
            last_error = attempt.last_error or place.last_error
            reason = "" if last_error is None else f"; last error: {last_error}"
            deposit = attempt.give_up(f"{error}{reason}{place.trouble}")
        except asyncio.CancelledError:
            await attempt.discard()
            raise
        except Exception as error:
            log = get_logger("deposit", run_id=record.run.run_id, payload=record.run.payload)
            log.exception("deposit failed unexpectedly")
            deposit = attempt.give_up(f"unexpected: {error!r}")
        await attempt.discard()
        return deposit


class _Attempt:
    """One run being deposited."""

    def __init__(
        self, record: RunRecord, plan: DepositPlan, outlet: Outlet, scratch: Scratch, open_backend: Open
    ) -> None:
        self._record = record
        self._plan = plan
        self._outlet = outlet
        self._scratch = scratch
        self._open_backend = open_backend
        self._store: Store | None = None
        self._made: Deposit | None = None
        self.last_error: Exception | None = None
        self.location = f"{plan.scheme}://{plan.root}/{plan.folder}/"

    async def run(self, deadline: Deadline, place: Place) -> Deposit:
        """Do it; see the drawing above.

        Raises
        ------
        BackendError, DepositError
            If it cannot be done.
        DeadlineExceededError
            If the place could not be reached in the time that it is worth.
        """
        job, run_id = self._record.job, self._record.run.run_id
        if job is None or self._record.handle is None:
            raise DepositError("there is no job to take results from")
        store = self._store = self._make_store()
        self.location = store.location
        beginning = Deadline("deposit", min(deadline.left(), place.time_to_begin(self._plan.timeout)))
        async with beginning.enforce():
            manifest = await self._retry(lambda: place.reach(store.begin), beginning)
        if manifest is None:
            wanted = choose(self._plan, job.results)
            files = await self._transfer(store, wanted, deadline)
            version = await self._read_version()
            manifest = build_manifest(self._record, files, backend_version=version)
            await self._retry(partial(store.commit, manifest), deadline)
        files = read_manifest(manifest, run_id)
        message = "" if files else "no result matches the patterns"
        self._made = Deposit("complete", store.location, message, files)
        if isinstance(store, AnnexStore):
            await self._announce(store, files, manifest, deadline)
        return self._made

    def give_up(self, reason: str) -> Deposit:
        """What is to be said of an attempt that did not come to its end."""
        if self._made is not None:
            return replace(self._made, message=f"deposited, but not announced: {reason}")
        return Deposit("failed", self.location, reason)

    async def discard(self) -> None:
        """Remove what is not part of a complete set, as far as that can be done soon."""
        if self._store is not None:
            try:
                async with asyncio.timeout(_DISCARD_TIMEOUT):
                    await self._store.discard()
            except (TimeoutError, DepositError) as error:
                get_logger("deposit").warning("remains were left", location=self.location, error=str(error))

    def _make_store(self) -> Store:
        match self._plan.scheme:
            case "s3":
                return PrefixStore(self._plan, self._scratch)
            case "lfa":
                return AnnexStore(self._plan, self._scratch, self._make_key)
            case _:
                return DirectoryStore(self._plan)

    def _make_key(self, stem: str, suffix: str) -> str:
        run = self._record.run
        return self._outlet.make_annex_key(run.payload, tai_from_utc_unix(run.accepted_at), stem, suffix)

    async def _transfer(
        self, store: Store, wanted: tuple[Wanted, ...], deadline: Deadline
    ) -> tuple[DepositedFile, ...]:
        files: list[DepositedFile] = []
        for each in wanted:
            left = self._plan.max_run_bytes - sum(file.byte_size for file in files)
            limit = min(left, self._plan.max_file_bytes)
            writer = await self._retry(partial(self._download, store, each, limit, deadline), deadline)
            put = partial(store.put, each, writer.byte_size, writer.sha256)
            files.append(await self._retry(put, deadline))
        return tuple(files)

    async def _download(self, store: Store, wanted: Wanted, limit: int, deadline: Deadline) -> FileWriter:
        handle = self._record.handle
        if handle is None:
            raise RuntimeError("a run without a job has no results")
        backend = await self._open_backend()
        with contextlib.closing(FileWriter(store.scratch(wanted.name))) as writer:
            await backend.download(
                handle.url,
                wanted.result.result_id,
                wanted.result.url,
                receive=writer.receive,
                max_bytes=limit,
                seconds=deadline.left(),
            )
            await writer.finish()
            return writer

    async def _read_version(self) -> str:
        """What the back end says of its version; it is a note only, and not worth a failure."""
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT):
                return (await (await self._open_backend()).probe()).version
        except (BackendError, TimeoutError) as error:
            get_logger("deposit").debug("version not known", error=str(error))
            return ""

    async def _announce(
        self, store: AnnexStore, files: tuple[DepositedFile, ...], manifest: bytes, deadline: Deadline
    ) -> None:
        """Tell the world of each file, the manifest last."""
        digest = hashlib.sha256(manifest).hexdigest()
        own = DepositedFile(
            name=MANIFEST,
            result_id=MANIFEST,
            url=await store.url(MANIFEST),
            byte_size=len(manifest),
            sha256=digest,
            mime_type="application/json",
        )
        events = [(_EVENT, self._to_fields(file)) for file in (*files, own)]
        await retry(
            partial(self._outlet.write_all, events),
            deadline=deadline,
            is_transient=lambda error: not isinstance(error, PROGRAMMING_ERRORS),
        )

    def _to_fields(self, file: DepositedFile) -> dict[str, Any]:
        return {
            "url": file.url,
            "generator": self._record.run.payload,
            "version": 1.0,
            "byteSize": file.byte_size if file.byte_size <= _MAX_EVENT_SIZE else -1,
            "checkSum": file.sha256,
            "mimeType": file.mime_type or "application/octet-stream",
            "id": reported_job_id(self._record),
        }

    async def _retry(self, call: Callable[[], Awaitable[T]], deadline: Deadline) -> T:
        return await retry(call, deadline=deadline, is_transient=self._is_transient, max_delay=15.0)

    def _is_transient(self, error: Exception) -> bool:
        self.last_error = error
        return isinstance(error, BackendError | DepositError) and error.transient
