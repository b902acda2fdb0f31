"""What a follower works with."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from lsst.ts.ocps.aio.tasks import TaskSupervisor

from .backends import BackendPool
from .crowd import Crowd
from .deposit import Depositor
from .errors import LedgerError
from .ledger import Ledger
from .patience import Patience
from .reporter import Reporter
from .slots import Slots

__all__ = ["Parts"]


@dataclass(slots=True)
class Parts:
    """What every follower of one CSC shares."""

    ledger: Ledger
    reporter: Reporter
    depositor: Depositor
    pool: BackendPool
    tasks: TaskSupervisor
    """Owns the tasks of the followers."""

    wait_for_other: Callable[[str], Coroutine[Any, Any, str]]
    """Waits for a prerequisite; returns why it counts as ended, or ""."""

    on_ledger_error: Callable[[LedgerError], None]
    crowd: Crowd
    slots: Slots = field(default_factory=Slots)
    patience: Patience = field(default_factory=Patience)
