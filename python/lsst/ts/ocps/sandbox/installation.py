"""Where the configuration that comes with the package is installed."""

import sys
from pathlib import Path

from .errors import InstallationError

__all__ = ["find_configuration"]


def find_configuration() -> Path:
    """Find the ``config`` folder: that of the repository around this file, else that of the installation.

    Returns
    -------
    pathlib.Path
        The folder that holds ``OCPS/v5/_init.yaml`` and ``payloads/``, absolute.

    Raises
    ------
    InstallationError
        If neither holds it.
    """
    checkout = Path(__file__).resolve().parents[5] / "config"
    installed = Path(sys.prefix).resolve() / "share" / "ts_ocps" / "config"
    for folder in (checkout, installed):
        if (folder / "OCPS" / "v5" / "_init.yaml").is_file():
            return folder
    raise InstallationError(
        f"found OCPS/v5/_init.yaml neither in {checkout} nor in {installed}; install the package again"
    )
