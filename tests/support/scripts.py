"""A script and a Remote that has listened to it from the beginning."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from lsst.ts.ocps.salobj import BaseScript, Domain, Remote, ScriptState
from support.sal_fixtures import WAIT

__all__ = ["FINAL", "Stage", "get_states", "open_stage"]

FINAL = frozenset({ScriptState.DONE, ScriptState.STOPPED, ScriptState.FAILED, ScriptState.CONFIGURE_FAILED})
"""States in which a script closes itself."""


@dataclass
class Stage:
    """One script, and a Remote of it as another process has one."""

    script: BaseScript
    remote: Remote

    async def command(self, name: str, **fields: Any) -> Any:
        """Send a command; returns the final acknowledgement."""
        return await getattr(self.remote, f"cmd_{name}").set_start(timeout=WAIT, **fields)

    async def make_ready(self, config: str = "", **fields: Any) -> None:
        """Configure, and set a group id."""
        await self.command("configure", config=config, **fields)
        await self.command("setGroupId", groupId="g")

    async def wait_for(self, state: ScriptState) -> list[Any]:
        """Wait for a state; returns all samples of the event state until then that nobody has taken."""
        samples: list[Any] = []
        async with asyncio.timeout(WAIT):
            while not samples or samples[-1].state != state:
                samples.append(await self.remote.evt_state.next(flush=False))
        return samples

    async def wait_for_end(self) -> list[Any]:
        """Wait until the script has closed itself; returns the samples of its last states."""
        async with asyncio.timeout(WAIT):
            await asyncio.wait([self.script.done_task])
        assert self.script.state.state in FINAL
        return await self.wait_for(ScriptState(self.script.state.state))


def get_states(samples: list[Any]) -> list[ScriptState]:
    """The states of samples, each once in a row."""
    states = [ScriptState(sample.state) for sample in samples]
    return [state for number, state in enumerate(states) if number == 0 or state != states[number - 1]]


@asynccontextmanager
async def open_stage(make: Callable[[int], BaseScript], index: int = 5) -> AsyncIterator[Stage]:
    """A started script; what is left of it at the end is closed."""
    async with Domain() as domain, Remote(domain, "Script", index) as remote:
        script = make(index)
        async with script:
            if script.done_task.done():
                script.done_task.result()
            yield Stage(script, remote)
