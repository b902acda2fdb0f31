"""A real ``redis-server`` for the system tests, and lists that only remember for all others."""

import asyncio
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from typing_extensions import override

from lsst.ts.ocps.client.rapid_analysis import Lists

from .ports import free_port

__all__ = ["RedisServer", "RememberedLists", "find_redis"]

PASSWORD = "open sesame"


class RememberedLists(Lists):
    """What was pushed, push by push."""

    def __init__(self) -> None:
        self.pushed: list[list[tuple[str, str]]] = []
        self.error: Exception | None = None

    @override
    async def push(self, values: Sequence[tuple[str, str]]) -> None:
        if self.error is not None:
            raise self.error
        self.pushed.append(list(values))

    @override
    async def version(self) -> str:
        return "7"


def find_redis() -> str | None:
    """The program; None if it is not installed (Debian package ``redis-server``)."""
    return shutil.which("redis-server")


class RedisServer:
    """A server with a password, which keeps nothing on the disk; ``async with`` starts and stops it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start it, and wait until it takes connections."""
        program = find_redis()
        assert program is not None, "redis-server is not installed (see tests/support/system_needs.py)"
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "requirepass": PASSWORD,
            "save": "",
            "dir": str(self._folder),
        }
        arguments = [text for name, value in options.items() for text in (f"--{name}", value)]
        with (self._folder / "redis.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(program, *arguments, stdout=log, stderr=log)
        async with asyncio.timeout(30):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    assert self._process.returncode is None, (self._folder / "redis.log").read_text()
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    return

    def freeze(self) -> None:
        """Have it answer nothing, with its port open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    async def stop(self) -> None:
        """Kill it, frozen or not."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
