"""Commands that came while no CSC was running: they are answered, never executed (design section 4).

Up to which offset the commands of a topic are settled is kept in the ledger, a little behind the truth; so
what lies between that offset and the start may also hold commands that were accepted, and those are known by
their runs.
"""

from collections.abc import Callable
from typing import Any

from lsst.ts.ocps.aio.periodic import run_periodically
from lsst.ts.ocps.aio.tasks import TaskSupervisor
from lsst.ts.ocps.salobj import SalError

from .errors import LedgerError
from .ledger import Ledger
from .logs import get_logger
from .outlet import Outlet
from .records import CommandKey

__all__ = ["ANSWERED_COMMANDS", "REASON", "MissedCommands"]

ANSWERED_COMMANDS = ("cmd_run", "cmd_execute")
"""Commands whose senders wait for a job, and so have to be told that there is none."""

REASON = "OCPS was not running when the command was sent"
"""What their senders are told."""

_INTERVAL = 5.0
"""Time between two looks at the positions (s)."""


class MissedCommands:
    """Answers what came between two lives, and remembers where this one is.

    Parameters
    ----------
    outlet, ledger
        What it works with.
    on_death
        Called with the name and the error of a task that died.
    """

    def __init__(
        self, outlet: Outlet, ledger: Ledger, *, on_death: Callable[[str, BaseException], None]
    ) -> None:
        self._outlet = outlet
        self._ledger = ledger
        self._tasks = TaskSupervisor("missed commands", on_death=on_death)
        self._saved: dict[str, int] = {}
        self.caught_up: set[str] = set()
        """Commands whose earlier records have been dealt with."""

        self._answered: set[CommandKey] = set()
        self._trouble = ""
        self._log = get_logger("missed")

    def start(self) -> None:
        """Begin; the commands are being obeyed by now."""
        _ = self._tasks.start(run_periodically(self._work, interval=_INTERVAL), name="work")

    async def aclose(self) -> None:
        """Stop, and write down where we are."""
        await self._tasks.aclose()
        try:
            await self._save()
        except LedgerError as error:
            self._note_trouble(str(error))

    async def _work(self) -> None:
        try:
            for command in ANSWERED_COMMANDS:
                if command not in self.caught_up:
                    await self._catch_up(command)
            await self._save()
        except (LedgerError, SalError, RuntimeError) as error:
            # Nothing is lost: it is tried again, and a ledger that cannot be used shows at the next run.
            self._note_trouble(str(error))
        else:
            self._note_trouble("")

    def _note_trouble(self, trouble: str) -> None:
        if trouble and trouble != self._trouble:
            self._log.warning("cannot deal with missed commands yet", error=trouble)
        self._trouble = trouble

    async def _catch_up(self, command: str) -> None:
        position = self._outlet.command_position(command)
        if position is None:
            return
        since = await self._ledger.position(position[0])
        if since is not None:
            for data in await self._outlet.read_missed(command, since):
                await self._answer(command, data)
        self.caught_up.add(command)

    async def _answer(self, command: str, data: Any) -> None:
        key = CommandKey.of(data)
        if key in self._answered or await self._ledger.find_command(key) is not None:
            return
        self._log.warning(REASON, command=command, requester=key.identity, seq_num=key.seq_num)
        await self._outlet.refuse(command, data, REASON)
        self._answered.add(key)

    async def _save(self) -> None:
        positions = dict(filter(None, map(self._outlet.command_position, sorted(self.caught_up))))
        changed = {topic: at for topic, at in positions.items() if self._saved.get(topic) != at}
        if changed:
            await self._ledger.save_positions(changed)
            self._saved |= changed
