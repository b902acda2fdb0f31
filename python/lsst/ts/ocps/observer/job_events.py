"""The job events of one CSC, handed to those who wait for news of a job."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from lsst.ts.ocps import salobj

from .connection import JOB_EVENTS
from .updates import Update, UpdateKind

__all__ = ["JobEvents"]

_REMEMBERED = 1000


class JobEvents:
    """Receives the job events of a Remote.

    The name of a job is known only from the first acknowledgement, and its first events may be read before
    that; so the latest events are remembered and given to whoever asks later.

    Parameters
    ----------
    remote
        A started Remote that includes `~lsst.ts.ocps.observer.connection.JOB_EVENTS`. Its event callbacks
        belong to this object. Topics that its interface lacks are passed over.
    on_update
        Told every update of every job.
    """

    def __init__(
        self, remote: salobj.Remote, *, on_update: Callable[[Update], None] = lambda _: None
    ) -> None:
        self._on_update = on_update
        self._recent: deque[Update] = deque(maxlen=_REMEMBERED)
        self._listeners: list[tuple[str, Callable[[Update], None]]] = []
        for name in JOB_EVENTS:
            topic = getattr(remote, f"evt_{name}", None)
            if topic is not None:
                topic.callback = partial(self._take, UpdateKind(name))

    async def _take(self, kind: UpdateKind, data: Any) -> None:
        update = Update(kind, data)
        self._recent.append(update)
        for job_id, listener in list(self._listeners):
            if data.job_id == job_id:
                listener(update)
        self._on_update(update)

    @contextmanager
    def listen(self, job_id: str, listener: Callable[[Update], None]) -> Iterator[None]:
        """Hand on the updates of one job during the body, those already read first.

        Parameters
        ----------
        job_id
            As in the events.
        listener
            Told each update once.
        """
        for update in list(self._recent):
            if update.data.job_id == job_id:
                listener(update)
        entry = (job_id, listener)
        self._listeners.append(entry)
        try:
            yield
        finally:
            self._listeners.remove(entry)
