"""The local executor for the tests of executors."""

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest
from typing_extensions import override

from lsst.ts.ocps.executors import local
from lsst.ts.ocps.executors.base import Execution, ExecutionStatus, Executor, Listener
from lsst.ts.ocps.executors.bench import ExecutorBench
from lsst.ts.ocps.executors.launching import Launch
from lsst.ts.ocps.executors.local import LocalExecutor
from support.processes import until

__all__ = ["LocalBench", "failing_once"]


@contextmanager
def failing_once(owner: object, name: str, number: int) -> Iterator[None]:
    """A time in which the first call of a function fails."""
    whole = getattr(owner, name)
    errors = [OSError(number, os.strerror(number))]

    def fail_once(*arguments: Any) -> Any:
        if errors:
            raise errors.pop()
        return whole(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, fail_once)
        yield
    assert not errors, f"{name} was not called"


class LocalBench(ExecutorBench):
    grace = 1.0

    @override
    def create(self, listener: Listener) -> Executor:
        return LocalExecutor(listener, grace=self.grace)

    @override
    @contextmanager
    def refusing(self, *, transient: bool) -> Iterator[None]:
        def refuse(*_arguments: object, **_options: object) -> int:
            raise OSError(errno.EAGAIN if transient else errno.EACCES, "no more processes")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "posix_spawn", refuse)
            yield

    @override
    @contextmanager
    def failing_late(self) -> Iterator[None]:
        with failing_once(os, "pidfd_open", errno.EMFILE):
            yield

    @override
    @contextmanager
    def losing_sight(self) -> Iterator[None]:
        def fail(*_arguments: object) -> ExecutionStatus:
            raise OSError(errno.EMFILE, "Too many open files")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(local, "_learn_end", fail)
            yield

    @override
    async def delay(self, execution: Execution) -> Callable[[], Awaitable[None]]:
        launch = await asyncio.to_thread(Launch.start, execution, self.grace)

        async def go_on() -> None:
            launch.go()
            os.close(launch.pidfd)
            launcher = psutil.Process(int(launch.native_id.split(".")[0]))
            await until(
                lambda: launcher.status() == psutil.STATUS_ZOMBIE or launcher.children(),
                "the launcher leaves, or begins",
            )
            if launcher.status() == psutil.STATUS_ZOMBIE:
                await asyncio.to_thread(os.waitpid, launcher.pid, 0)

        return go_on

    def shell(self, script: str, *, time_limit: float | None = None) -> Execution:
        return self.execution(("sh", "-c", script), time_limit=time_limit)

    def output(self, name: str, *, key: str = "1a") -> str:
        return (self.directory / key / name).read_text()
