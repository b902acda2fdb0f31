"""Temporary files of results on their way to S3, and what a killed process leaves of them."""

import asyncio
import tempfile
from pathlib import Path

import pytest

from lsst.ts.ocps.csc.scratch import Scratch


def test_what_an_earlier_process_has_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ours, others = Scratch(tmp_path / "a" / "ocps-1.sqlite3"), Scratch(tmp_path / "b" / "ocps-1.sqlite3")
    left, kept = ours.make(), others.make()
    (left / "image.fits").write_bytes(b"half")
    outside = tmp_path / "outside"
    outside.mkdir()
    link = Path(f"{left}-link")
    link.symlink_to(outside)
    asyncio.run(Scratch(tmp_path / "a" / "ocps-1.sqlite3").clean())
    assert not left.exists()
    assert kept.is_dir()
    assert outside.is_dir(), "a link that somebody has put there is not followed"
