"""What the environment says to the command line."""

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from lsst.ts.ocps.sandbox.layout import DEFAULT_FOLDER

__all__ = ["CliSettings"]


class CliSettings(BaseModel):
    """Settings of the command line, read once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sandbox_folder: Path = DEFAULT_FOLDER
    """Where the sandbox is, unless ``--folder`` says otherwise (``OCPS_SANDBOX``)."""

    service_url: str | None = None
    """Root URL of the UWS service (``OCPS_SERVICE_URL``)."""

    broker_address: str | None = None
    """Address of the broker, for messages (``LSST_KAFKA_BROKER_ADDR``)."""

    registry_url: str | None = None
    """URL of the schema registry, for messages (``LSST_SCHEMA_REGISTRY_URL``)."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "CliSettings":
        """Read the settings; empty variables count as unset.

        Parameters
        ----------
        environment
            The variables; None: those of this process, as they are now.
        """
        variables = os.environ if environment is None else environment  # noqa: TID251 (the settings module)
        names = {
            "sandbox_folder": "OCPS_SANDBOX",
            "service_url": "OCPS_SERVICE_URL",
            "broker_address": "LSST_KAFKA_BROKER_ADDR",
            "registry_url": "LSST_SCHEMA_REGISTRY_URL",
        }
        return cls.model_validate(
            {field: variables[name] for field, name in names.items() if variables.get(name)}
        )
