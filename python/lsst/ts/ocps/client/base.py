"""The seam between the CSC and a service that runs jobs."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from lsst.ts.ocps.uws.jobs import Job, JobRef
from lsst.ts.ocps.uws.phases import ExecutionPhase

from .errors import BackendUnavailableError
from .streaming import Receiver

__all__ = ["Backend", "BackendInfo", "CreatedJob", "ShellJob", "Submission"]

_MAX_WHOLE = 16 * 1024 * 1024
"""Where a kind cannot give a result piece by piece, a larger one is not read (byte)."""


@dataclass(frozen=True, slots=True)
class ShellJob:
    """How a payload is run by a back end that takes a command and environment variables."""

    command: str
    """One line for a shell; has no placeholders."""

    url: str = ""
    """Git repository that is cloned beforehand; "" for none."""

    commit_ref: str = ""
    """Branch, tag or hash that is checked out of it."""

    environment: tuple[tuple[str, str], ...] = ()
    """Variables, in order; ``{name}`` in a value stands for a parameter."""

    text_lists: frozenset[str] = frozenset()
    """Parameters that are lists of texts, and travel as such even with one item."""

    json_lists: frozenset[str] = frozenset()
    """Parameters that are lists of numbers and the like."""


@dataclass(frozen=True, slots=True)
class Submission:
    """One job to be created."""

    payload: str
    """Name of the payload; the ``uws`` back end finds the job list by it."""

    run_id: str
    """Our key, sent as RUNID."""

    parameters: tuple[tuple[str, str], ...] = ()
    """Encoded name-value pairs (see ``payloads.parameters.encode``); a name may repeat."""

    execution_duration: int | None = None
    """Limit of the execution time to ask for (s); None: the back end's own."""

    destruction: str | None = None
    """Time of destruction to ask for (ISO 8601, UTC, with Z); None: the back end's own."""

    shell: ShellJob | None = None
    """How the payload is run where the back end does not know payloads; None: its definition does not say."""


@dataclass(frozen=True, slots=True)
class CreatedJob:
    """A job that exists now, and where."""

    url: str
    """Absolute URL of the job, without query."""

    job: Job
    """The job as first read."""


@dataclass(frozen=True, slots=True)
class BackendInfo:
    """What a back end says of itself."""

    version: str
    """Version of the protocol or of the service; "" if not told."""

    message: str = ""
    """A note of the service for people (VOSI availability), or ""."""


class Backend(ABC):
    """A service that runs jobs, as the CSC sees it.

    Every call has a deadline of its own (given at construction) and raises only `BackendError`.
    Objects are made inside a running event loop and closed by `aclose`.
    """

    kind: ClassVar[str]
    """Name of the protocol in the configuration: ``uws``, ``api_server`` …"""

    creates_pending: ClassVar[bool]
    """Whether a created job waits for `start`. Where false, creating is starting."""

    has_jobs: ClassVar[bool] = True
    """Whether there is anything to follow. Where false, `create` hands something over, once, and that is
    all that will ever be known: the job that it returns has ended."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def wait_blocks(self) -> bool | None:
        """Whether `wait` blocks until a change; None while that is not known.

        Where it is False a caller polls with `read`, at its own pace. The verdict is measured, not taken
        from the version that a service claims, and expires: it returns to None after some minutes.
        """
        return None

    def check(self, submission: Submission) -> None:  # noqa: B027 (most kinds take anything)
        """Refuse, without asking the back end, what could never be created as it is meant.

        Raises
        ------
        RequestRefusedError
            If so; it names what is wrong.
        """

    @abstractmethod
    async def create(self, submission: Submission) -> CreatedJob:
        """Create a job; it stays PENDING where `creates_pending`.

        Never retried inside: after an error other than `RequestRefusedError` or
        `BackendAuthenticationError` the job may exist or not.
        """

    @abstractmethod
    async def start(self, url: str) -> Job | None:
        """Ask for execution (``PHASE=RUN``) of a PENDING or HELD job; sent once, never repeated.

        Returns
        -------
        Job or None
            The job as the answer tells it; None where it does not.
        """

    @abstractmethod
    async def read(self, url: str) -> Job:
        """Read a job now."""

    @abstractmethod
    async def wait(self, url: str, *, phase: ExecutionPhase, seconds: float) -> Job:
        """Read a job when it has left ``phase``, or at the latest after ``seconds``.

        An early, unchanged answer is legal: servers may skip blocking.
        """

    @abstractmethod
    async def abort(self, url: str) -> None:
        """Ask for the end of a job; harmless for a job that has ended. Read the phase afterwards."""

    @abstractmethod
    async def delete(self, url: str) -> None:
        """Destroy a job and its results; a job already gone is success."""

    @abstractmethod
    async def list_jobs(self, payload: str, *, last: int | None = None) -> Sequence[JobRef]:
        """List the jobs of one payload, the newest ``last`` of them where the server can filter."""

    async def list_under_way(self, payload: str) -> Mapping[str, ExecutionPhase] | None:  # noqa: ARG002
        """Ask for all jobs of one payload that are QUEUED or EXECUTING, with one request.

        Whoever follows many jobs learns so which of them to read.

        Returns
        -------
        Mapping or None
            Their phases by job id; None where one request cannot tell.
        """
        return None

    @abstractmethod
    async def fetch(self, job_url: str, result_id: str, url: str | None, *, max_bytes: int) -> bytes:
        """Read a small result.

        Parameters
        ----------
        job_url
            The job it belongs to.
        result_id, url
            As in `~lsst.ts.ocps.uws.jobs.Result`; without a usable ``url`` the job's own
            ``results/{result_id}`` is read.
        max_bytes
            Larger results are refused with `RequestRefusedError` before they are read whole.
        """

    async def download(
        self,
        job_url: str,
        result_id: str,
        url: str | None,
        *,
        receive: Receiver,
        max_bytes: int,
        seconds: float,
    ) -> None:
        """Read a result of any size, piece by piece, under the same rules as `fetch`.

        Here it is read whole, up to 16 MiB; kinds that can do better do.

        Parameters
        ----------
        job_url, result_id, url
            As for `fetch`.
        receive
            Takes the pieces in their order. After an error they are worthless, and what it raises is raised.
        max_bytes
            Larger results are refused with `RequestRefusedError`.
        seconds
            Time for all of it (s).
        """
        try:
            async with asyncio.timeout(seconds):
                data = await self.fetch(job_url, result_id, url, max_bytes=min(max_bytes, _MAX_WHOLE))
        except TimeoutError:
            text = f"reading result {result_id}: no end in {seconds:g} s"
            raise BackendUnavailableError(self.name, text) from None
        await receive(data)

    @abstractmethod
    async def probe(self) -> BackendInfo:
        """Ask whether the back end is there; raises if not."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close the connections; calls under way end with `BackendUnavailableError`."""
