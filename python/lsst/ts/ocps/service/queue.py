"""Which of the jobs that wait is started next: priorities, turns, and what the machine can bear. No I/O."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Self

from typing_extensions import override

__all__ = ["Capacity", "JobQueue", "QueuedJob"]

_THOUSAND = 1000


@dataclass(frozen=True, slots=True)
class Capacity:
    """Processors and memory: what a job asks for, or what there is."""

    millicpus: int = 0
    """Thousandths of a processor; whole numbers, so that taking and giving back cancel out."""

    memory: int = 0
    """Memory (byte)."""

    @classmethod
    def of(cls, cpus: float, memory: int | None) -> Self:
        """So many processors and bytes; who names no memory is not counted with any."""
        return cls(round(cpus * _THOUSAND), memory or 0)

    def __add__(self, other: "Capacity") -> "Capacity":
        return Capacity(self.millicpus + other.millicpus, self.memory + other.memory)

    def __sub__(self, other: "Capacity") -> "Capacity":
        return Capacity(self.millicpus - other.millicpus, self.memory - other.memory)

    @override
    def __str__(self) -> str:
        return f"{self.millicpus / _THOUSAND:g} cpus and {self.memory} byte of memory"

    def __mul__(self, number: int) -> "Capacity":
        return Capacity(self.millicpus * number, self.memory * number)

    def fits_into(self, other: "Capacity") -> bool:
        """Whether so much can be had of ``other``."""
        return self.millicpus <= other.millicpus and self.memory <= other.memory


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """What matters of a job that waits or runs."""

    job_id: str
    payload: str
    owner: str | None = None
    """Whose it is; None: anybody's, who share one turn."""

    priority: int = 0
    """Of two jobs, the one with the higher number is started first."""

    demand: Capacity = Capacity()
    """What it takes of this machine; nothing, if it runs elsewhere."""

    max_active: int | None = None
    """How many jobs of its payload may run at once; None: any number."""

    executor: str = ""
    """The kind of what is to run it."""

    reads: bool = False
    """Whether it reads from elsewhere before it begins; see `JobQueue.set_aside`."""


@dataclass(slots=True)
class _Level:
    """The jobs of one priority: by owner and by payload, in the order of their turns, then in order."""

    owners: dict[str | None, dict[str, dict[str, QueuedJob]]] = field(default_factory=dict)

    def add(self, job: QueuedJob) -> None:
        payloads = self.owners.setdefault(job.owner, {})
        payloads.setdefault(job.payload, {})[job.job_id] = job

    def remove(self, job: QueuedJob) -> None:
        payloads = self.owners[job.owner]
        del payloads[job.payload][job.job_id]
        if not payloads[job.payload]:
            del payloads[job.payload]
        if not payloads:
            del self.owners[job.owner]

    def end_turn(self, job: QueuedJob) -> None:
        """Let the owner's next turn come after all others', and within it that of the payload."""
        if (payloads := self.owners.pop(job.owner, None)) is not None:
            self.owners[job.owner] = payloads
            if (jobs := payloads.pop(job.payload, None)) is not None:
                payloads[job.payload] = jobs

    def firsts(self) -> Iterator[QueuedJob]:
        """The first job of each owner and payload, in the order of their turns."""
        for payloads in self.owners.values():
            for jobs in payloads.values():
                yield next(iter(jobs.values()))


class JobQueue:
    """The jobs that wait, and what those that run have taken.

    A higher priority comes first. Among equal ones the owners take turns, and so do the payloads of each
    owner; the jobs of one owner and payload are started in order. A payload that has reached its
    ``max_active`` holds up nobody else.

    A job whose turn it is, but for which the machine has too little left, holds back the others: until it is
    started, they get only what is not needed for it, so that it waits for no job that began after its turn
    had come. (Were they to get what is left, small jobs would keep out a large one for ever; were they to get
    nothing, processors would idle.)

    A job that only reads what it refers to, from elsewhere, leaves its place to others meanwhile, and comes
    before all that wait when it has done so.

    Parameters
    ----------
    slots
        How many jobs run at once.
    capacity
        What there is for jobs.
    """

    def __init__(self, *, slots: int, capacity: Capacity) -> None:
        self._slots = slots
        self._capacity = capacity
        self._levels: dict[int, _Level] = {}
        self._waiting: dict[str, QueuedJob] = {}
        self._running: dict[str, QueuedJob] = {}
        self._taken = Capacity()
        self._active: Counter[str] = Counter()
        # The payloads of which as many jobs run as may, in other processes too.
        self._full: set[str] = set()
        # Those of the running ones that have left their place, and want it back.
        self._aside: dict[str, QueuedJob] = {}
        self._ready: dict[str, QueuedJob] = {}
        self._ends = 0
        # The job that the others are held back for, and what those took that began nevertheless.
        self._held_for: QueuedJob | None = None
        self._guests: dict[str, Capacity] = {}

    @property
    def capacity(self) -> Capacity:
        """What there is for jobs."""
        return self._capacity

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        return len(self._waiting)

    @property
    def running(self) -> tuple[str, ...]:
        """The ids of the jobs that run."""
        return tuple(self._running)

    def add(self, job: QueuedJob) -> None:
        """Let a job wait for its turn; one that does already, or runs, stays where it is.

        Raises
        ------
        ValueError
            If it asks for more than there is: it would wait for ever, and hold back the others.
        """
        if not job.demand.fits_into(self._capacity):
            raise ValueError(f"it asks for {job.demand}, and jobs can have {self._capacity} here")
        if job.job_id not in self._waiting and job.job_id not in self._running:
            self._waiting[job.job_id] = job
            self._levels.setdefault(job.priority, _Level()).add(job)

    def remove(self, job_id: str) -> None:
        """Let a job wait no longer; harmless if it does not."""
        job = self._waiting.pop(job_id, None)
        if job is None:
            return
        level = self._levels[job.priority]
        level.remove(job)
        if not level.owners:
            del self._levels[job.priority]
        if self._held_for is job:
            self._release()

    @property
    def ends(self) -> int:
        """How often room has been made, for `put_back`."""
        return self._ends

    def put_back(self, job_id: str, *, ends: int) -> None:
        """Let a job that was to start wait again, before others like it: its payload is full elsewhere.

        None of that payload is started until there is room.

        Parameters
        ----------
        job_id
            Which job.
        ends
            What `ends` was before it was looked for room: some that was made since then may not have been
            seen.
        """
        job = self._running[job_id]
        is_full = ends == self._ends
        self.note_end(job_id)
        if is_full:
            self._full.add(job.payload)
        self._waiting[job_id] = job
        level = self._levels.setdefault(job.priority, _Level())
        level.add(job)
        jobs = level.owners[job.owner][job.payload]
        others = [other for other in jobs.values() if other is not job]
        jobs.clear()
        jobs.update({each.job_id: each for each in (job, *others)})

    def note_room(self, payload: str | None = None) -> None:
        """There may be room for jobs of a payload in all processes together; None: of any."""
        self._ends += 1
        if payload is None:
            self._full.clear()
        else:
            self._full.discard(payload)

    def waits(self, job_id: str) -> bool:
        """Whether a job waits."""
        return job_id in self._waiting

    def note_start(self, job: QueuedJob) -> None:
        """Count a job that runs already, whether there is room for it or not."""
        self.remove(job.job_id)
        self._take(job)

    def note_end(self, job_id: str) -> None:
        """Count a job no longer; harmless if it was not."""
        job = self._running.pop(job_id, None)
        if job is not None:
            self._leave(job)
            self._active[job.payload] -= 1
            self.note_room(job.payload)

    def set_aside(self, job_id: str) -> None:
        """Let others have the place of a running job, until it is taken up and started again.

        It counts for ``max_active`` of its payload, and not more jobs are aside than there are slots.
        """
        job = self._running[job_id]
        self._leave(job)
        self._aside[job_id] = job

    def take_up(self, job_id: str) -> None:
        """Let a job that is aside come next."""
        self._ready[job_id] = self._aside.pop(job_id)

    def _leave(self, job: QueuedJob) -> None:
        """Free the place of a running job; one that is aside has none."""
        self._guests.pop(job.job_id, None)
        if self._aside.pop(job.job_id, None) is not None:
            return
        if self._ready.pop(job.job_id, None) is None:
            self._taken -= job.demand
        elif self._held_for is job:
            self._release()

    def start_next(self) -> QueuedJob | None:
        """Take the job to start now; None if there is none, or no room."""
        if len(self._running) - len(self._aside) - len(self._ready) >= self._slots:
            return None
        job = self._choose()
        if job is None:
            return None
        if self._ready.pop(job.job_id, None) is not None:
            self._taken += job.demand
            if self._held_for is job:
                self._release()
        else:
            # Before it is removed: with its last job, the owner leaves the order of turns anyway.
            self._levels[job.priority].end_turn(job)
            self.note_start(job)
        if self._held_for is not None:
            self._guests[job.job_id] = job.demand
        return job

    def _choose(self) -> QueuedJob | None:
        free = self._capacity - self._taken
        spare: Capacity | None = None
        for job in chain(self._ready.values(), self._in_order()):
            if job.job_id not in self._ready and self._has_to_wait(job):
                continue
            if not job.demand.fits_into(free):
                if spare is None:
                    spare = self._hold_for(job)
                continue
            if spare is None or job.demand.fits_into(spare):
                return job
        return None

    def _has_to_wait(self, job: QueuedJob) -> bool:
        """Whether a job cannot be started, however much room there is."""
        if job.reads and len(self._aside) + len(self._ready) >= self._slots:
            return True
        is_full = job.max_active is not None and self._active[job.payload] >= job.max_active
        return is_full or job.payload in self._full

    def _in_order(self) -> Iterator[QueuedJob]:
        for priority in sorted(self._levels, reverse=True):
            yield from self._levels[priority].firsts()

    def _hold_for(self, job: QueuedJob) -> Capacity:
        """Hold back the others for a job; what they may still take together."""
        if self._held_for is not job:
            self._release()
            self._held_for = job
        return self._capacity - job.demand - sum(self._guests.values(), start=Capacity())

    def _release(self) -> None:
        self._held_for = None
        self._guests.clear()

    def _take(self, job: QueuedJob) -> None:
        self._running[job.job_id] = job
        self._taken += job.demand
        self._active[job.payload] += 1
