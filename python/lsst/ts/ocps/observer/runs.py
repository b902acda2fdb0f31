"""Send a ``run`` command and follow it to its end."""

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from lsst.ts.ocps import salobj

from .connection import get_topic
from .job_events import JobEvents
from .updates import Update, UpdateFeed, UpdateKind

__all__ = ["RunOutcome", "RunRequest", "RunVerdict", "follow_run"]

FIRST_ACK_TIMEOUT = 30.0
"""Longest wait for the first acknowledgement (s)."""

ACK_MARGIN = 30.0
"""So long beyond its promise an acknowledgement may be late (s)."""

RESULT_TIMEOUT = 5.0
"""Longest wait for ``job_result`` after the final acknowledgement (s); they go out back to back."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """The fields of a ``run`` command."""

    payload: str
    parameters: dict[str, Any] = field(default_factory=dict)
    label: str = ""
    prereq_jobs: tuple[str, ...] = ()
    detach: bool = False


class RunVerdict(StrEnum):
    """How a run ended, as the acknowledgements tell."""

    COMPLETED = "completed"
    """The job completed."""

    FAILED = "failed"
    """There was a job, and it failed or was lost."""

    ABORTED = "aborted"
    """The job was aborted."""

    REJECTED = "rejected"
    """No job was created."""

    ACCEPTED = "accepted"
    """There is a job; nobody waited for its end."""

    NO_ANSWER = "no answer"
    """Acknowledgements stayed away."""


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """Everything that was seen of one run."""

    verdict: RunVerdict
    message: str
    """Text of the final acknowledgement, or why there is none."""

    job_id: str
    """"" if none was told."""

    updates: tuple[Update, ...]
    """All news in the order of sending."""

    @property
    def result(self) -> dict[str, Any]:
        """The document of ``job_result``; empty if there was none."""
        for update in self.updates:
            if update.kind is UpdateKind.RESULT:
                return _parse_object(update.data.result)
        return {}

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases that were told, in order."""
        return tuple(update.data.phase for update in self.updates if update.kind is UpdateKind.PHASE)


def _parse_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


_VERDICTS = {0: RunVerdict.COMPLETED, 255: RunVerdict.ABORTED}
"""By exit code of ``job_result`` (design section 5, acks, 3)."""


class _FinalAckLostError(Exception):
    """The command has ended, and nobody knows how."""


class _Run:
    """One command under way."""

    def __init__(self, remote: salobj.Remote, events: JobEvents, request: RunRequest) -> None:
        self._command = get_topic(remote, "cmd_run")
        self._events = events
        self._request = request
        self._feed = UpdateFeed()
        self._listening = ExitStack()
        self._has_result = asyncio.Event()
        self.job_id = ""
        self.final: Any = None
        """The final acknowledgement."""

        self.failure = ""
        """Why there is none."""

    async def follow(self, on_update: Callable[[Update], None], *, wait: bool) -> list[Update]:
        updates = []
        acks = asyncio.create_task(self._read_acks(wait=wait), name=f"run {self._request.payload}: acks")
        try:
            async for update in self._feed.read():
                updates.append(update)
                on_update(update)
            await acks
        finally:
            acks.cancel()
            self._listening.close()
            await asyncio.wait([acks])
        return updates

    async def _read_acks(self, *, wait: bool) -> None:
        try:
            ack = await self._send()
            self._note_ack(ack)
            while self.final is None and wait:
                ack = await self._next_ack(ack)
                self._note_ack(ack)
        except salobj.AckTimeoutError:
            since = "the last acknowledgement" if self.job_id else "the command"
            self.failure = f"no acknowledgement since {since}; the run may go on"
        except salobj.AckError as error:
            self._note_ack(error.ackcmd)
        except _FinalAckLostError:
            self.failure = "the final acknowledgement was missed"
        finally:
            if self.job_id and wait and not self._request.detach:
                await self._wait_for_result()
            if self.final is not None:
                self._feed.put(Update(UpdateKind.ACK, self.final))
            self._feed.end()

    async def _send(self) -> Any:
        request = self._request
        return await self._command.set_start(
            payload=request.payload,
            parameters=json.dumps(request.parameters),
            label=request.label,
            prereq_jobs=",".join(request.prereq_jobs),
            detach=request.detach,
            timeout=FIRST_ACK_TIMEOUT,
            wait_done=False,
        )

    async def _next_ack(self, ack: Any) -> Any:
        try:
            return await self._command.next_ackcmd(ack, timeout=ack.timeout + ACK_MARGIN, wait_done=False)
        except RuntimeError as error:
            # ts_salobj forgets a command whose final acknowledgement arrives while nobody waits for it.
            raise _FinalAckLostError from error

    def _note_ack(self, ack: Any) -> None:
        if ack.ack in {salobj.SalRetCode.CMD_INPROGRESS, salobj.SalRetCode.CMD_ACK}:
            self._feed.put(Update(UpdateKind.ACK, ack))
        else:
            # Shown when job_result is there, which is sent before it.
            self.final = ack
        job_id = _parse_object(ack.result).get("job_id", "")
        if job_id and not self.job_id:
            self.job_id = str(job_id)
            self._listening.enter_context(self._events.listen(self.job_id, self._note_event))

    def _note_event(self, update: Update) -> None:
        self._feed.put(update)
        if update.kind is UpdateKind.RESULT:
            self._has_result.set()

    async def _wait_for_result(self) -> None:
        try:
            async with asyncio.timeout(RESULT_TIMEOUT):
                await self._has_result.wait()
        except TimeoutError:
            self.failure = self.failure or "the final acknowledgement came without job_result"

    def verdict(self, updates: Sequence[Update]) -> RunVerdict:
        if self.final is None:
            ends = [update.data.exit_code for update in updates if update.kind is UpdateKind.RESULT]
            if ends:
                return _VERDICTS.get(ends[0], RunVerdict.FAILED)
            return RunVerdict.NO_ANSWER if self.failure else RunVerdict.ACCEPTED
        code = self.final.ack
        if code == salobj.SalRetCode.CMD_COMPLETE:
            return RunVerdict.ACCEPTED if self._request.detach else RunVerdict.COMPLETED
        if code == salobj.SalRetCode.CMD_ABORTED:
            return RunVerdict.ABORTED
        return RunVerdict.FAILED if self.job_id else RunVerdict.REJECTED


async def follow_run(
    remote: salobj.Remote,
    events: JobEvents,
    request: RunRequest,
    *,
    on_update: Callable[[Update], None] = lambda _: None,
    wait: bool = True,
) -> RunOutcome:
    """Run a payload.

    Parameters
    ----------
    remote
        A started Remote.
    events
        The job events of that Remote.
    request
        What to run.
    on_update
        Told each piece of news, in the order of sending.
    wait
        Whether to wait for the end, or only for the first acknowledgement.

    Returns
    -------
    RunOutcome
        How it ended. A run that is refused, fails or is not answered is an outcome, not an exception.
        Cancelling this coroutine does not stop the run.

    Raises
    ------
    ~lsst.ts.ocps.observer.errors.MissingTopicError
        If the installed interface has no command ``run``.
    """
    run = _Run(remote, events, request)
    updates = await run.follow(on_update, wait=wait)
    message = run.failure or (run.final.result if run.final is not None else "")
    return RunOutcome(
        verdict=run.verdict(updates), message=message, job_id=run.job_id, updates=tuple(updates)
    )
