"""How patient the CSC is with back ends and senders."""

from dataclasses import dataclass

__all__ = ["Patience"]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for what (s)."""

    wait: float = 30.0
    """Longest blocking read of a job."""

    between_reads: float = 1.0
    """Least time between two reads of one job that showed no change."""

    between_polls: float = 5.0
    """Most time between two reads where blocking does not work."""

    trouble: float = 30.0
    """Longest pause after a failed call; the first is half a second, then they double."""

    missing: float = 5.0
    """Pause after "no such job"."""

    start: float = 60.0
    """When a job that took PHASE=RUN is still PENDING or HELD after this, it is asked once more."""

    doubtful_start: float = 1.0
    """The same where the answer to PHASE=RUN was lost and the phase was read since."""

    abort: float = 10.0
    """When a job still lives so long after ABORT, it is asked once more."""

    give_up: float = 86400.0
    """No good news for this much longer than the job may execute: the run is lost."""

    create: float = 5.0
    """How long creation is tried again after failures that may pass, while the sender waits."""

    lookup: float = 30.0
    """How long a job of an unknown outcome is looked for where creating is starting."""

    max_command_age: float = 600.0
    """A command older than this that got no job before a restart is refused."""

    probe: float = 10.0
    """Time between two probes of each back end."""

    min_repeat: float = 30.0
    """Least timeout of a repeated CMD_INPROGRESS."""
