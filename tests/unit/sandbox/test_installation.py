import sys
from pathlib import Path

import pytest

from lsst.ts.ocps.sandbox import installation
from lsst.ts.ocps.sandbox.errors import InstallationError
from lsst.ts.ocps.sandbox.installation import find_configuration


def move_package(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    file = root / "python" / "lsst" / "ts" / "ocps" / "sandbox" / "installation.py"
    monkeypatch.setattr(installation, "__file__", str(file))


def test_a_checkout_uses_its_own_configuration() -> None:
    folder = find_configuration()
    assert (folder / "OCPS" / "v5" / "_init.yaml").is_file()
    assert list((folder / "payloads").glob("*.yaml"))


def test_an_installation_is_found_below_the_prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    move_package(monkeypatch, tmp_path / "lib")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    folder = tmp_path / "share" / "ts_ocps" / "config"
    (folder / "OCPS" / "v5").mkdir(parents=True)
    (folder / "OCPS" / "v5" / "_init.yaml").touch()
    assert find_configuration() == folder


def test_a_broken_installation_says_where_it_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    move_package(monkeypatch, tmp_path / "lib")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    with pytest.raises(InstallationError, match=str(tmp_path / "share" / "ts_ocps" / "config")):
        find_configuration()
