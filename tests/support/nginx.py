"""A real nginx before the service, with the configuration that the operators' page gives."""

import asyncio
import os
import shutil
from pathlib import Path
from typing import Self

from .pages import read_page, read_written
from .ports import free_port

__all__ = ["Nginx", "find_nginx"]

_PAGE = "service-operator.rst"
_UPSTREAM = "http://127.0.0.1:8080"
_START_TIMEOUT = 30.0


def find_nginx() -> str | None:
    """The program; None if it is not installed (Debian package ``nginx-light``)."""
    # Debian has it where only root looks for programs.
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


class Nginx:
    """A proxy; ``async with`` starts and stops it.

    Parameters
    ----------
    folder
        For its configuration and what it writes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/ocps"
        """What is the ``public_url`` of the service."""

        self._process: asyncio.subprocess.Process | None = None

    async def start(self, upstream: str) -> None:
        """Start before the service at a URL, and wait until it takes connections."""
        program = find_nginx()
        assert program is not None, "nginx is not installed (see tests/support/system_needs.py)"
        file = self._folder / "nginx.conf"
        file.write_text(self._configuration(upstream))
        log = self._folder / "nginx.log"
        with log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                program, "-c", str(file), "-e", str(log), stdout=output, stderr=output
            )
        async with asyncio.timeout(_START_TIMEOUT):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    assert self._process.returncode is None, log.read_text()
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    await writer.wait_closed()
                    return

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()

    def _configuration(self, upstream: str) -> str:
        (block,) = read_written(read_page(_PAGE), "nginx")
        assert _UPSTREAM in block
        # Workers of root would be another user, who cannot write here.
        user = "user root;" if os.geteuid() == 0 else ""
        places = "\n".join(
            f"{kind}_temp_path {self._folder}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        return f"""
            {user}
            daemon off;
            pid {self._folder}/nginx.pid;
            events {{}}
            http {{
                access_log off;
                {places}
                server {{
                    listen 127.0.0.1:{self.port};
                    {block.replace(_UPSTREAM, upstream)}
                }}
            }}
        """
