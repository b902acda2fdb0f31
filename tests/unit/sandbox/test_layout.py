from pathlib import Path

import pytest
import yaml

from lsst.ts.ocps.sandbox.errors import FolderError
from lsst.ts.ocps.sandbox.layout import SandboxLayout


def test_every_path_is_inside_the_folder_and_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    layout = SandboxLayout.from_folder(Path("box"))
    paths = [layout.state_file, layout.lock_file, layout.registry_file, layout.log("csc")]
    paths += [layout.broker_data, layout.service_data, layout.csc_state, layout.configuration]
    assert all(path.is_relative_to(tmp_path / "box") for path in paths)
    assert len(set(paths)) == len(paths)


def test_folders_are_created_once_and_found_again(tmp_path: Path) -> None:
    layout = SandboxLayout.from_folder(tmp_path / "a" / "box")
    layout.create()
    (layout.csc_state / "kept").touch()
    layout.create()
    assert (layout.csc_state / "kept").exists()
    assert layout.registry_file.parent.is_dir()
    assert layout.service_data.is_dir()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FolderError, match=r"file/box as a sandbox folder: .*Not a directory"):
        SandboxLayout.from_folder(tmp_path / "file" / "box").create()


def test_the_configuration_is_the_installed_one_and_what_this_sandbox_needs(tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    (installed / "OCPS" / "v5").mkdir(parents=True)
    (installed / "OCPS" / "v5" / "_init.yaml").write_text("default_backend: other\n")
    layout = SandboxLayout.from_folder(tmp_path / "box")
    layout.create()
    layout.write_configuration(
        installed=installed, service_url="http://127.0.0.1:1234", payload_directories=[Path("/p"), Path("/q")]
    )
    folder = layout.configuration / "OCPS" / "v5"
    assert (folder / "_init.yaml").read_text() == "default_backend: other\n"
    assert yaml.safe_load((folder / "_sandbox.yaml").read_text()) == {
        "backends": {"default": {"kind": "uws", "url": "http://127.0.0.1:1234", "required": True}},
        "default_backend": "default",
        "payload_directories": ["/p", "/q"],
    }
