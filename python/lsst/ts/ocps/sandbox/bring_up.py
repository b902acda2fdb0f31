"""The sandbox's own view of its CSC: wait for its first state, enable it, keep an eye on its state."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Self

from lsst.ts.ocps import salobj
from lsst.ts.ocps.aio.deadline import DeadlineExceededError
from lsst.ts.ocps.observer.connection import connect
from lsst.ts.ocps.observer.errors import ObserverError
from lsst.ts.ocps.observer.state import change_state

from .errors import BringUpError

__all__ = ["CscLink"]


class CscLink:
    """A connection to the CSC of a sandbox; made by `connect`.

    Parameters
    ----------
    remote
        A started Remote that includes ``summaryState``.
    held
        Closes the Remote.
    """

    def __init__(self, remote: salobj.Remote, held: AsyncExitStack) -> None:
        self._remote = remote
        self._held = held

    @classmethod
    async def connect(cls, index: int) -> Self:
        """Connect to the CSC, which need not run yet.

        Parameters
        ----------
        index
            Its SAL index.
        """
        async with AsyncExitStack() as stack:
            remote = await stack.enter_async_context(connect(index, events=["summaryState"]))
            return cls(remote, stack.pop_all())

    async def wait_for_state_from(self, pid: int) -> str:
        """Wait until this very process has told its state; those before it left theirs in the topic.

        Parameters
        ----------
        pid
            The process of the CSC.

        Returns
        -------
        str
            Name of the state.
        """
        event = self._remote.evt_summaryState
        while (data := await event.next(flush=False)).private_origin != pid:
            pass
        return salobj.State(data.summaryState).name

    async def enable(self, on_state: Callable[[str], None]) -> None:
        """Bring the CSC to ENABLED.

        Parameters
        ----------
        on_state
            Told each state on the way, the present one first.

        Raises
        ------
        BringUpError
            If a transition fails; says which and what the CSC answered.
        """
        try:
            await change_state(self._remote, salobj.State.ENABLED, on_state=on_state)
        except (ObserverError, DeadlineExceededError) as error:
            raise BringUpError(f"the CSC did not reach ENABLED: {error}") from error

    def follow(self, on_state: Callable[[str], Awaitable[None]]) -> None:
        """Tell every further state.

        Parameters
        ----------
        on_state
            Told the name of the state.
        """

        async def tell(data: Any) -> None:
            await on_state(salobj.State(data.summaryState).name)

        self._remote.evt_summaryState.callback = tell

    async def aclose(self) -> None:
        """Disconnect."""
        await self._held.aclose()
