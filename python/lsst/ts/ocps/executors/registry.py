"""Which kinds of executors there are."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from .base import Executor, Listener
from .local import LocalExecutor

__all__ = ["ExecutorFactory", "ExecutorRegistry", "UnknownExecutorError", "default_registry"]

ExecutorFactory = Callable[[Listener], Executor]
"""Makes an executor inside a running event loop."""


class UnknownExecutorError(Exception):
    """No executor of that kind exists; the message lists those that do."""


class ExecutorRegistry:
    """Executor factories by kind.

    Parameters
    ----------
    factories
        What makes the executors, by the name that payload definitions use.
    """

    def __init__(self, factories: Mapping[str, ExecutorFactory]) -> None:
        self._factories = MappingProxyType(dict(factories))

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds there are, sorted."""
        return tuple(sorted(self._factories))

    def create(self, kind: str, listener: Listener) -> Executor:
        """Make an executor; the caller starts and closes it.

        Raises
        ------
        UnknownExecutorError
            If there is no such kind.
        """
        factory = self._factories.get(kind)
        if factory is None:
            raise UnknownExecutorError(f"no executor is called {kind!r}; there are: {', '.join(self.kinds)}")
        return factory(listener)


def default_registry(*, grace: float = 10.0) -> ExecutorRegistry:
    """The executors that come with this package.

    Parameters
    ----------
    grace
        Time between the request to end and the forced end of a local command (s).
    """
    return ExecutorRegistry({LocalExecutor.kind: lambda listener: LocalExecutor(listener, grace=grace)})
