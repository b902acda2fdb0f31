"""Folders that their job has locked are removed all the same, by a user whom locks keep out."""

import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_PROGRAM = """
import os, sys
from pathlib import Path
from lsst.ts.ocps.service.results import JobFolder

if os.getuid() == 0:
    # No lock keeps the superuser out.
    os.setgroups([])
    os.setgid(int(sys.argv[3]))
    os.setuid(int(sys.argv[2]))
top = Path(sys.argv[1])
kept = top / "kept"
kept.mkdir()
(kept / "file").touch()
job = top / "1job"
locked = job / "out" / "cache" / "module"
(locked / "inner").mkdir(parents=True)
(locked / "inner" / "file").touch(0o000)
deep = locked
for _ in range(int(sys.argv[4])):
    deep /= "d"
    deep.mkdir()
    (deep / "file").touch()
(locked / "link").symlink_to(kept)
kept.chmod(0o555)
below = sorted((path for path in job.rglob("*") if path.is_dir() and not path.is_symlink()), reverse=True)
for path in below:
    path.chmod(0o555 if path.name == "cache" else 0o000)
job.chmod(0o000)
try:
    os.listdir(job)
except PermissionError:
    pass
else:
    sys.exit("nothing is locked")
JobFolder(job, "out").remove()
assert not job.exists()
assert kept.stat().st_mode & 0o777 == 0o555
assert (kept / "file").exists()
kept.chmod(0o755)
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder of a user whom locks keep out; that of pytest is the superuser's only."""
    with tempfile.TemporaryDirectory(prefix="ocps-removal-") as name:
        if os.getuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(name, nobody.pw_uid, nobody.pw_gid)
        yield Path(name)


@pytest.mark.parametrize("depth", [2, 130])
def test_what_a_job_has_locked_is_removed_and_no_link_is_followed(place: Path, depth: int) -> None:
    nobody = pwd.getpwnam("nobody")
    arguments = [str(place), str(nobody.pw_uid), str(nobody.pw_gid), str(depth)]
    ended = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [path.name for path in place.iterdir()] == ["kept"]
