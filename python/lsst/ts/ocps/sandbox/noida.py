"""The sandbox's Kafka-compatible broker: the program of the PyPI package ``noida-db``.

A development tool, never for production: it keeps its data by rewriting all of it about once a second, so a
killed broker loses up to a second of acknowledged records.
"""

import asyncio
import importlib.util
import os
from pathlib import Path

from lsst.ts.ocps.aio.deadline import Deadline

__all__ = ["make_arguments", "wait_until_ready"]

_POLL_INTERVAL = 0.05
"""Between two attempts to connect (s)."""

_API_VERSIONS_REQUEST = (
    # Length, API key 18 (ApiVersions), version 0, correlation id 1, no client id (Kafka protocol guide).
    (10).to_bytes(4, "big") + (18).to_bytes(2, "big") + bytes(2) + (1).to_bytes(4, "big") + b"\xff\xff"
)


def make_arguments(*, port: int, data_directory: Path) -> list[str]:
    """Argument list that starts a broker in the foreground, for Kafka only, on the loopback interface.

    Parameters
    ----------
    port
        Port to listen at.
    data_directory
        Where it keeps its data; made if it does not exist.

    Raises
    ------
    FileNotFoundError
        If the package is not installed.
    """
    program = str(_find_program())
    return [program, "start", "--only", "kafka", "--kafka-port", str(port), "--data-dir", str(data_directory)]


def _find_program() -> Path:
    # Not the script of that name: it starts the program as a child, which a signal to the script would miss.
    spec = importlib.util.find_spec("noida_db")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        program = Path(folder) / "noida-db"
        if program.is_file():
            if not os.access(program, os.X_OK):
                program.chmod(0o755)
            return program
    raise FileNotFoundError('the package noida-db is not installed: pip install "ts-ocps[sandbox]"')


async def wait_until_ready(address: str, deadline: Deadline) -> None:
    """Wait until a broker answers a first Kafka request.

    Parameters
    ----------
    address
        ``host:port``.
    deadline
        When to give up.

    Raises
    ------
    ~lsst.ts.ocps.aio.deadline.DeadlineExceededError
        If it did not answer in time.
    """
    host, _, port = address.rpartition(":")
    async with deadline.enforce():
        while not await _answers(host, int(port)):  # noqa: ASYNC110 (another process tells nobody)
            await asyncio.sleep(_POLL_INTERVAL)


async def _answers(host: str, port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    try:
        writer.write(_API_VERSIONS_REQUEST)
        await writer.drain()
        answer = await reader.readexactly(8)
    except (OSError, asyncio.IncompleteReadError):
        return False
    else:
        return answer[4:] == (1).to_bytes(4, "big")
    finally:
        writer.close()
