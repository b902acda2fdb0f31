"""The file under the ledger: one owner, one schema, on a disk that keeps its promises. Blocking."""

import fcntl
import os
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from .errors import LedgerDamagedError, LedgerError, LedgerInUseError

__all__ = [
    "LedgerLock",
    "check_file_system",
    "map_sqlite_error",
    "open_ledger",
    "prepare_database",
]

_SCHEMA_VERSION = 1
_APPLICATION_ID = 0x4F435053
"""``OCPS`` in ASCII: tells our file from any other database."""

_SCHEMA = """
CREATE TABLE runs (
    run_id TEXT PRIMARY KEY,
    identity TEXT NOT NULL, origin INTEGER NOT NULL, seq_num INTEGER NOT NULL, snd_stamp REAL NOT NULL,
    payload TEXT NOT NULL,
    step TEXT NOT NULL,
    job_id TEXT,
    outcome TEXT,
    accepted_at REAL NOT NULL,
    ended_at REAL,
    record TEXT NOT NULL,
    UNIQUE (identity, origin, seq_num, snd_stamp)
) WITHOUT ROWID;
CREATE INDEX runs_by_job ON runs (job_id) WHERE job_id IS NOT NULL;
CREATE INDEX runs_unfinished ON runs (accepted_at) WHERE step <> 'reported';
CREATE INDEX runs_by_end ON runs (ended_at, outcome) WHERE ended_at IS NOT NULL;
"""
_POSITIONS = """
CREATE TABLE IF NOT EXISTS positions (
    topic TEXT PRIMARY KEY,
    settled INTEGER NOT NULL
) WITHOUT ROWID;
"""
"""Since it came later than the rest it is also added to ledgers that lack it; an older version ignores it."""

_NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "fuse.sshfs", "lustre"}
)
_MOUNTS = Path("/proc/self/mounts")


class LedgerLock:
    """Says that a ledger has an owner; the kernel takes it back when the owner dies.

    Parameters
    ----------
    path
        The lock file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Become the owner.

        Raises
        ------
        LedgerInUseError
            If another process is; names its process id.
        LedgerError
            If the lock file cannot be written.
        """
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LedgerError(f"ledger lock {self._path} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise LedgerInUseError(
                f"ledger lock {self._path} is held by process {owner}: is this CSC running already?"
            ) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor

    def release(self) -> None:
        """Give it back; harmless if it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def check_file_system(folder: Path, mounts: Path = _MOUNTS) -> None:
    """Refuse network file systems, on which a write-ahead log loses its promises (SQLite documentation, WAL).

    Parameters
    ----------
    folder
        Where the ledger is to be, absolute.
    mounts
        The kernel's list of mounts; nothing is refused where there is none.

    Raises
    ------
    LedgerError
        If the folder is on one; names the kind.
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return
    best, kind = "", ""
    for line in lines:
        _, mount_point, file_system, *_ = line.split(" ")
        point = mount_point.replace("\\040", " ")
        if len(point) >= len(best) and folder.is_relative_to(point):
            best, kind = point, file_system
    if kind in _NETWORK_FILE_SYSTEMS:
        raise LedgerError(
            f"the state folder {folder} is on a network file system ({kind}); "
            "the ledger needs a local or block volume"
        )


def map_sqlite_error(path: Path, error: sqlite3.Error) -> LedgerError:
    """Say what an error of SQLite means for the ledger."""
    text = str(error)
    if isinstance(error, sqlite3.OperationalError):
        return LedgerError(f"ledger {path} cannot be used: {text}")
    return LedgerDamagedError(f"ledger {path} is damaged or is no ledger: {text}")


def open_ledger(folder: Path, name: str) -> tuple[Path, LedgerLock, sqlite3.Connection, str]:
    """Become the owner of a ledger; a damaged one is kept aside, and a new one is begun.

    Parameters
    ----------
    folder
        Where it is, or is to be.
    name
        Name of its file.

    Returns
    -------
    tuple
        The file, what says that it has an owner, the open database, and what was wrong with the last one.

    Raises
    ------
    LedgerError
        If the folder does not exist or will not do, the ledger has another owner, or cannot be used.
    """
    if not folder.is_dir():
        raise LedgerError(f"the state folder {folder} does not exist or is not a folder")
    path = folder.resolve() / name
    check_file_system(path.parent)
    lock = LedgerLock(path.with_suffix(".lock"))
    lock.acquire()
    try:
        return (path, lock, *_open_or_replace(path))
    except LedgerError:
        lock.release()
        raise


def _open_or_replace(path: Path) -> tuple[sqlite3.Connection, str]:
    try:
        return _open_database(path), ""
    except LedgerDamagedError as error:
        aside = _set_aside(path)
        return _open_database(path), f"{error}; it is kept as {aside.name}, and a new one was begun"


def _set_aside(path: Path) -> Path:
    """Rename a damaged ledger, with what SQLite keeps beside it, to a name that says when that was (UTC)."""
    aside = path.with_name(f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}")
    try:
        for suffix in ("-wal", "-shm", ""):
            file = path.with_name(path.name + suffix)
            if file.exists():
                file.rename(aside.with_name(aside.name + suffix))
    except OSError as error:
        raise LedgerError(f"damaged ledger {path} cannot be kept aside: {error.strerror}") from error
    return aside


def _open_database(path: Path) -> sqlite3.Connection:
    """Open the file, or make it; every commit is on the disk before it returns."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise LedgerError(f"ledger {path} cannot be opened for writing: {error.strerror}") from error
    connection = sqlite3.connect(path, isolation_level=None, timeout=5.0, check_same_thread=False)
    try:
        prepare_database(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise map_sqlite_error(path, error) from error
    except LedgerError:
        connection.close()
        raise
    return connection


def prepare_database(connection: sqlite3.Connection, path: Path) -> None:
    """Make a new database a ledger, or see that an old one is a ledger that can be used.

    Parameters
    ----------
    connection
        To the database, in autocommit mode.
    path
        Its file, for messages.

    Raises
    ------
    LedgerError
        If it is no ledger of ours, or one of a later version.
    sqlite3.Error
        If it is damaged, or cannot be written.
    """
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    is_new = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
    if not is_new and application != _APPLICATION_ID:
        raise LedgerError(f"{path} is a database, but not a ledger of OCPS")
    if version > _SCHEMA_VERSION:
        raise LedgerError(
            f"ledger {path} was written by a later version: schema {version}, known is {_SCHEMA_VERSION}"
        )
    if is_new:
        connection.executescript(
            f"BEGIN IMMEDIATE; {_SCHEMA} {_POSITIONS} PRAGMA application_id = {_APPLICATION_ID};"
            f"PRAGMA user_version = {_SCHEMA_VERSION}; COMMIT;"
        )
    else:
        # A disk that has become read-only is noticed now, not at the first command.
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(_POSITIONS)
        connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
        # What is needed first must be readable; looking at all of a large ledger would take too long.
        connection.execute("SELECT sum(length(record)) FROM runs WHERE step <> 'reported'").fetchone()
        connection.execute("COMMIT")
