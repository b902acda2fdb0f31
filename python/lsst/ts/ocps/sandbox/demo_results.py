"""Copies of results that outlive the sandbox."""

import asyncio
from pathlib import Path
from typing import Any

import httpx

from lsst.ts.ocps.observer.runs import RunOutcome, RunVerdict

__all__ = ["copy_results"]

_LOGS = frozenset({"stdout.txt", "stderr.txt"})
_TIMEOUT = 20.0


async def copy_results(outcome: RunOutcome, folder: Path) -> list[Path]:
    """Fetch the results of a completed run from the service.

    Parameters
    ----------
    outcome
        The run.
    folder
        Where to; it is created, and older files of the same names are replaced.

    Returns
    -------
    list [ pathlib.Path ]
        The files, in the order of the results; not what the program said, which has one name in all runs.
    """
    if outcome.verdict is not RunVerdict.COMPLETED:
        return []
    listed: list[dict[str, Any]] = outcome.result.get("results") or []
    results = [result for result in listed if result["id"] not in _LOGS]
    # Loopback: never through a proxy.
    async with httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False) as client:
        return [await _copy(client, result, folder) for result in results]


async def _copy(client: httpx.AsyncClient, result: dict[str, Any], folder: Path) -> Path:
    answer = await client.get(result["uri"])
    answer.raise_for_status()
    # Result ids hold no slash; the name is taken apart all the same, as it comes from outside.
    path = folder / Path(result["id"]).name
    await asyncio.to_thread(_write, path, answer.content)
    return path


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
