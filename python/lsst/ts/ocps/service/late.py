"""Answers that come when the phase of a job changes.

While a request waits, the application has done with it: what is left is a job that is watched, and at the
change one document, made once, that is sent to all. A thousand who wait for a job cost little memory, and
little time in the moment when all are to be answered.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from typing_extensions import override

from .departure import departure
from .phase_wait import PhaseWait
from .responses import CLIENT_LEFT
from .schema import StoredJob

__all__ = ["LateResponse", "WaitingMiddleware", "wait_of"]

_LATE = "ocps.late"
_WAIT = "ocps.wait"
_KEPT = 1.0
"""How long an answer is kept for the others who are to get it (s): they have all been woken by then."""


class LateResponse(Response):
    """Stands for the answer that `WaitingMiddleware` sends when the job has changed.

    Parameters
    ----------
    wait
        Has looked at the job, and is to sleep.
    url
        The URL of the job as the client sees it: answers about one change to one URL are the same.
    answer
        Makes the answer from the job after the change.
    """

    def __init__(self, wait: PhaseWait, url: str, answer: Callable[[StoredJob], Awaitable[Response]]) -> None:
        super().__init__()
        self.wait = wait
        self.url = url
        self.answer = answer

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[_LATE] = self


def wait_of(scope: Scope) -> PhaseWait | None:
    """The wait of a request that is looked at once more; None if it comes for the first time."""
    wait: PhaseWait | None = scope.get(_WAIT)
    return wait


@dataclass(slots=True)
class _Shared:
    """The answer to all who learn of a change at one URL."""

    stored: StoredJob
    response: Response | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class WaitingMiddleware:
    """Sends the answers that come late.

    Parameters
    ----------
    app
        Answers everything else, and tells by a `LateResponse` what is to be waited for. Where the news does
        not tell how the job is now, or the time is over, it is asked once more.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._shared: dict[tuple[int, str], _Shared] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the application answer."""
        again = dict(scope)
        await self._app(scope, receive, send)
        late: LateResponse | None = scope.get(_LATE)
        if late is None:
            return
        with departure(scope, receive) as left:
            while (stored := await late.wait.sleep(left)) is None and not left.done():
                asked = {**again, _WAIT: late.wait}
                await self._app(asked, receive, send)
                if _LATE not in asked:
                    return
                late = asked[_LATE]
            response = Response(None, CLIENT_LEFT) if stored is None else await self._answer(late, stored)
            await response(scope, receive, send)

    async def _answer(self, late: LateResponse, stored: StoredJob) -> Response:
        """The answer about a change, made by whoever comes first."""
        # All have been given the same object; as long as it is kept here, no other one has its id.
        key = id(stored), late.url
        shared = self._shared.get(key)
        if shared is None:
            shared = self._shared[key] = _Shared(stored)
            asyncio.get_running_loop().call_later(_KEPT, self._shared.pop, key)
        if shared.response is None:
            async with shared.lock:
                if shared.response is None:
                    shared.response = await late.answer(stored)
        return shared.response
