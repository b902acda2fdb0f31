"""The parts of a sandbox as one: started in order, watched together, ended in reverse order."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn

from .parts import PartPlan
from .processes import SupervisedProcess
from .state import PartState

__all__ = ["Stack"]

_TOGETHER = 0.2
"""Parts that end within this time have ended together (s)."""


class Stack:
    """Processes that need each other.

    Parameters
    ----------
    plans
        What to run, in the order of their start.
    on_change
        Told the running parts whenever one is started or ended: before a part is waited for, so that whoever
        comes after a crash of this process knows it.
    on_ready
        Told each part that has become ready.
    """

    def __init__(
        self,
        plans: Sequence[PartPlan],
        *,
        on_change: Callable[[tuple[PartState, ...]], Awaitable[None]],
        on_ready: Callable[[PartState], None],
    ) -> None:
        self._plans = plans
        self._on_change = on_change
        self._on_ready = on_ready
        self._running: list[tuple[PartPlan, SupervisedProcess]] = []

    @property
    def parts(self) -> tuple[PartState, ...]:
        """The parts that were started and not ended."""
        return tuple(
            PartState(name=plan.name, process=process.identity, port=plan.port, log=plan.spec.log)
            for plan, process in self._running
        )

    async def start(self) -> None:
        """Start one part after another, each when the one before it is ready.

        Raises
        ------
        PartFailedError
            If one does not become ready; those before it run until `aclose`.
        """
        for plan in self._plans:
            process = SupervisedProcess(plan.spec)
            await process.start()
            self._running.append((plan, process))
            await self._on_change(self.parts)
            await process.wait_until_ready()
            self._on_ready(self.parts[-1])

    async def wait_for_crash(self) -> NoReturn:
        """Wait until a part ends by itself.

        Raises
        ------
        PartFailedError
            When that happens; names the part.
        """
        watchers = [
            asyncio.create_task(process.wait_for_exit(), name=f"sandbox:{plan.name}:exit")
            for plan, process in self._running
        ]
        try:
            await asyncio.wait(watchers, return_when=asyncio.FIRST_COMPLETED)
            # Others may end with it; of these the one started first is the likeliest cause.
            done, _ = await asyncio.wait(watchers, timeout=_TOGETHER)
            first = next(watcher for watcher in watchers if watcher in done)
            first.result()
            raise AssertionError("a process that ended is reported by an exception")
        finally:
            for watcher in watchers:
                watcher.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)

    async def aclose(self) -> None:
        """End the parts, the last one first; what fails to end is left to who ends left-overs."""
        while self._running:
            _, process = self._running[-1]
            await process.aclose()
            self._running.pop()
            await self._on_change(self.parts)
