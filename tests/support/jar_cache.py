"""What the system tests fetch from Maven Central: once, into a cache outside the repository."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

__all__ = ["fill_once", "run_maven"]

_MAVEN_TIMEOUT = 600
"""Longest time of one download (s)."""


def fill_once(name: str, fill: Callable[[Path], None]) -> Path:
    """Return a folder of the cache, filled on the first call.

    Parameters
    ----------
    name
        Name of the folder; has the version of what is in it.
    fill
        Puts everything into the empty folder that it is given.
    """
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"  # noqa: TID251 (the cache of the user)
    folder = Path(root) / "ts_ocps" / name
    if folder.is_dir():
        return folder
    partial = folder.with_name(f"{name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        fill(partial)
        partial.rename(folder)
    except OSError:
        # Another process may have been first.
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def run_maven(*arguments: str) -> None:
    """Run Maven without questions; its errors go to the terminal.

    Raises
    ------
    subprocess.CalledProcessError
        If it fails.
    """
    subprocess.run([*("mvn", "-q", "-B"), *arguments], check=True, timeout=_MAVEN_TIMEOUT)
