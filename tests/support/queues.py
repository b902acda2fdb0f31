"""Queues of jobs, and jobs for them, in few words."""

from lsst.ts.ocps.service.queue import Capacity, JobQueue, QueuedJob

__all__ = ["cpus", "drain", "fill", "job", "make_queue"]

_PLENTY = Capacity.of(100, 100)
_NOTHING = Capacity()


def cpus(number: float) -> Capacity:
    """So many processors."""
    return Capacity.of(number, None)


def make_queue(*, slots: int = 100, of: Capacity = _PLENTY) -> JobQueue:
    """A queue with plenty of everything that is not said."""
    return JobQueue(slots=slots, capacity=of)


def job(
    name: str, *, owner: str | None = None, payload: str = "p", of: Capacity = _NOTHING, priority: int = 0
) -> QueuedJob:
    """A job that waits, without a name of its owner unless one is said."""
    return QueuedJob(name, payload, owner=owner, demand=of, priority=priority)


def drain(queue: JobQueue) -> list[str]:
    """Start what can be started."""
    return [started.job_id for started in iter(queue.start_next, None)]


def fill(queue: JobQueue, *jobs: QueuedJob) -> JobQueue:
    """Let jobs wait."""
    for each in jobs:
        queue.add(each)
    return queue
