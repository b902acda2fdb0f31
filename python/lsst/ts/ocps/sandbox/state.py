"""What runs in a sandbox folder: the state file and the lock."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TextIO

from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import AlreadyRunningError, FolderError
from .process_table import ProcessIdentity, is_running

__all__ = ["PartState", "SandboxPhase", "SandboxState", "hold_lock", "load_state", "save_state"]


class SandboxPhase(StrEnum):
    """How far a sandbox is."""

    STARTING = "starting"
    """Parts are being started."""

    RUNNING = "running"
    """All parts are ready and the CSC is enabled."""

    STOPPING = "stopping"
    """Parts are being ended."""

    DOWN = "down"
    """Ended as asked for."""

    FAILED = "failed"
    """Ended because something failed; the message says what."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PartState(_Model):
    """One running process of the sandbox."""

    name: str
    process: ProcessIdentity
    port: int | None = None
    """Its TCP port on the loopback interface; None if it serves none."""

    log: Path


class SandboxState(_Model):
    """Everything that other processes need to know of a sandbox."""

    folder: Path
    phase: SandboxPhase
    supervisor: ProcessIdentity
    """The process that started the parts and ends them."""

    start_time: datetime
    """When the sandbox was started (UTC)."""

    parts: tuple[PartState, ...] = ()
    variables: dict[str, str] = {}
    """The environment variables by which programs find the sandbox."""

    ports: dict[str, int] = {}
    """Chosen ports by part; the next start in this folder prefers them."""

    csc_state: str = ""
    """Summary state of the CSC as last seen by the supervisor, or ""."""

    message: str = ""
    """Why the sandbox failed, or ""."""

    @property
    def is_supervised(self) -> bool:
        """Whether the supervisor is alive."""
        return is_running(self.supervisor)


def load_state(file: Path) -> SandboxState | None:
    """Read a state file; None if there is none.

    Raises
    ------
    FolderError
        If it is not a state file.
    """
    try:
        return SandboxState.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except NotADirectoryError as error:
        raise FolderError(f"{file.parent} is not a folder") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise FolderError(f"{file} is not the state file of a sandbox: {where}: {first['msg']}") from error


def save_state(file: Path, state: SandboxState) -> None:
    """Write a state file so that readers see the old one or the new one, never a half."""
    temporary = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    temporary.write_text(state.model_dump_json(indent=2) + "\n", encoding="utf-8")
    temporary.replace(file)


def _read_owner(lock: TextIO) -> int | None:
    lock.seek(0)
    text = lock.read().strip()
    return int(text) if text.isdecimal() else None


@contextmanager
def hold_lock(file: Path, folder: Path) -> Iterator[None]:
    """Hold the lock of a sandbox folder during the body; the kernel frees it when this process dies.

    Parameters
    ----------
    file
        The lock file.
    folder
        The sandbox folder, for the message.

    Raises
    ------
    AlreadyRunningError
        If another process holds it; names that process.
    FolderError
        If the lock file cannot be opened.
    """
    try:
        lock = file.open("a+", encoding="ascii")
    except OSError as error:
        raise FolderError(f"cannot use {folder} as a sandbox folder: {error}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyRunningError(folder, _read_owner(lock)) from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield
