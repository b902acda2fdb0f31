"""A back end without network, for tests of what is built on back ends."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, TypeVar

from typing_extensions import override

from lsst.ts.ocps.uws.jobs import Job, JobRef
from lsst.ts.ocps.uws.phases import ExecutionPhase

from .base import Backend, BackendInfo, CreatedJob, Submission
from .errors import BackendUnavailableError, JobNotFoundError, RequestRefusedError
from .fake_service import FakeService, GoneError, Script

__all__ = ["FakeBackend", "FakeService", "Script"]

T = TypeVar("T")


class FakeBackend(Backend):
    """A back end that speaks to a `FakeService`.

    Parameters
    ----------
    name
        Name of the back end.
    service
        The service; None for a new one of its own.
    """

    kind: ClassVar[str] = "fake"
    creates_pending: ClassVar[bool] = True

    def __init__(self, name: str = "fake", service: FakeService | None = None) -> None:
        super().__init__(name)
        self.service = service or FakeService()
        self._owns_service = service is None
        self._calls: set[asyncio.Timeout] = set()
        self._closed = False

    @property
    @override
    def wait_blocks(self) -> bool | None:
        return self.service.blocks

    @override
    async def create(self, submission: Submission) -> CreatedJob:
        root = f"http://{self.name}.invalid"
        return await self._ask("create", submission.payload, lambda: self.service.create(submission, root))

    @override
    async def start(self, url: str) -> Job | None:
        await self._ask("start", url, lambda: self.service.start(url))
        return None

    @override
    async def read(self, url: str) -> Job:
        return await self._ask("read", url, lambda: self.service.read(url))

    @override
    async def wait(self, url: str, *, phase: ExecutionPhase, seconds: float) -> Job:
        return await self._ask("wait", url, lambda: self.service.read(url), wait=(phase, seconds))

    @override
    async def abort(self, url: str) -> None:
        await self._ask("abort", url, lambda: self.service.abort(url))

    @override
    async def delete(self, url: str) -> None:
        await self._ask("delete", url, lambda: self.service.delete(url))

    @override
    async def list_jobs(self, payload: str, *, last: int | None = None) -> Sequence[JobRef]:
        return await self._ask("list_jobs", payload, lambda: self.service.list_jobs(payload, last))

    @override
    async def list_under_way(self, payload: str) -> Mapping[str, ExecutionPhase] | None:
        return await self._ask("list_under_way", payload, lambda: self.service.list_under_way(payload))

    @override
    async def fetch(self, job_url: str, result_id: str, url: str | None, *, max_bytes: int) -> bytes:
        data = await self._ask("fetch", job_url, lambda: self.service.fetch(job_url, result_id))
        if len(data) > max_bytes:
            raise RequestRefusedError(self.name, f"result {result_id} is larger than {max_bytes} bytes")
        return data

    @override
    async def probe(self) -> BackendInfo:
        return await self._ask("probe", "", lambda: BackendInfo(version="1.1"))

    @override
    async def aclose(self) -> None:
        self._closed = True
        for call in tuple(self._calls):
            call.reschedule(asyncio.get_running_loop().time())
        if self._owns_service:
            await self.service.aclose()

    async def _ask(
        self,
        operation: str,
        what: str,
        work: Callable[[], T],
        *,
        wait: tuple[ExecutionPhase, float] | None = None,
    ) -> T:
        if self._closed:
            raise BackendUnavailableError(self.name, f"{operation} {what}: the back end is closed")
        try:
            async with asyncio.timeout(None) as call:
                self._calls.add(call)
                try:
                    if wait is not None:
                        await self.service.wait(what, *wait)
                    return await self.service.serve(self.name, operation, work)
                finally:
                    self._calls.discard(call)
        except TimeoutError:
            raise BackendUnavailableError(self.name, f"{operation} {what}: the back end was closed") from None
        except GoneError:
            raise JobNotFoundError(self.name, f"{operation} {what}: no such job", status=404) from None
        except ValueError as error:
            raise RequestRefusedError(self.name, f"{operation} {what}: {error}", status=403) from None
