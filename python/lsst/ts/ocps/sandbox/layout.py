"""The folder of a sandbox: what lies where, and the configuration written into it."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from .errors import FolderError

__all__ = ["DEFAULT_FOLDER", "SandboxLayout"]

DEFAULT_FOLDER = Path(".sandbox")
"""Used in the current directory where no folder is named."""


@dataclass(frozen=True, slots=True)
class SandboxLayout:
    """The paths of one sandbox."""

    folder: Path
    """The sandbox folder, absolute."""

    @classmethod
    def from_folder(cls, folder: Path) -> "SandboxLayout":
        """Make the layout of a folder, which need not exist."""
        return cls(folder.expanduser().resolve())

    @property
    def state_file(self) -> Path:
        """What runs here: read by status, env and down."""
        return self.folder / "sandbox.json"

    @property
    def lock_file(self) -> Path:
        """Locked by the supervisor as long as it lives."""
        return self.folder / "sandbox.lock"

    @property
    def logs(self) -> Path:
        """One log per part."""
        return self.folder / "logs"

    @property
    def broker_data(self) -> Path:
        """Topics and records of the broker."""
        return self.folder / "broker"

    @property
    def registry_file(self) -> Path:
        """Schemas of the registry."""
        return self.folder / "registry" / "schemas.json"

    @property
    def service_data(self) -> Path:
        """Jobs and results of the UWS service."""
        return self.folder / "service"

    @property
    def csc_state(self) -> Path:
        """The ledger of the CSC (``OCPS_STATE_DIR``)."""
        return self.folder / "state"

    @property
    def configuration(self) -> Path:
        """The CSC's configuration folder (``DM_CONFIG_OCPS_DIR``)."""
        return self.folder / "config"

    def log(self, part: str) -> Path:
        """The log of one part."""
        return self.logs / f"{part}.log"

    def create(self) -> None:
        """Create the folders that do not exist.

        Raises
        ------
        FolderError
            If that is not possible; names the folder and the reason.
        """
        folders = (
            self.folder,
            self.logs,
            self.broker_data,
            self.registry_file.parent,
            self.service_data,
            self.csc_state,
            self.configuration / "OCPS" / "v5",
        )
        try:
            for folder in folders:
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FolderError(f"cannot use {self.folder} as a sandbox folder: {error}") from error

    def write_configuration(
        self, *, installed: Path, service_url: str, payload_directories: Sequence[Path]
    ) -> None:
        """Write the configuration that the CSC of this sandbox reads.

        Parameters
        ----------
        installed
            The configuration folder that comes with the package; its ``_init.yaml`` is copied.
        service_url
            Root URL of the UWS service.
        payload_directories
            Folders with payload definitions, absolute.
        """
        target = self.configuration / "OCPS" / "v5"
        site = {
            "backends": {"default": {"kind": "uws", "url": service_url, "required": True}},
            "default_backend": "default",
            "payload_directories": [str(folder) for folder in payload_directories],
        }
        shutil.copyfile(installed / "OCPS" / "v5" / "_init.yaml", target / "_init.yaml")
        text = "# Written by 'ocps sandbox'; overwritten at each start.\n" + yaml.safe_dump(site)
        (target / "_sandbox.yaml").write_text(text, encoding="utf-8")
