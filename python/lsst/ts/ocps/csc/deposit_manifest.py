"""The manifest of a deposit: what lies there, and where it comes from. No I/O."""

import json
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from lsst.ts.ocps import __version__
from lsst.ts.ocps.uws.times import format_time

from .deposit_plan import DepositedFile
from .documents import optional_time, reported_job_id
from .errors import DepositError
from .records import RunRecord

__all__ = ["FORMAT", "build_manifest", "read_manifest"]

FORMAT = "ocps-deposit-1"
"""Name of this form of manifests."""


class _Entry(BaseModel):
    model_config = ConfigDict(strict=True)

    name: str
    result_id: str
    url: str
    mime_type: str
    byte_size: int
    sha256: str


class _Manifest(BaseModel):
    """What is needed of a manifest to report it once more."""

    model_config = ConfigDict(strict=True)

    format: str
    run_id: str
    files: list[_Entry]


def build_manifest(record: RunRecord, files: Sequence[DepositedFile], *, backend_version: str) -> bytes:
    """Everything that tells later where the files come from, as JSON.

    Parameters
    ----------
    record
        A run that has ended.
    files
        What was deposited of it.
    backend_version
        What the back end says of its version; "" if nothing.
    """
    run, job, handle = record.run, record.job, record.handle
    if job is None or handle is None:
        raise ValueError(f"run {run.run_id} has no job")
    content: dict[str, Any] = {
        "format": FORMAT,
        "run_id": run.run_id,
        "job_id": reported_job_id(record),
        "job_url": handle.url,
        "payload": run.payload,
        "label": run.label,
        "parameters": run.parameters,
        "requester": run.key.identity,
        "phase": record.phase.value,
        "accepted_time": format_time(datetime.fromtimestamp(run.accepted_at, UTC)),
        "creation_time": optional_time(job.creation_time),
        "start_time": optional_time(job.start_time),
        "end_time": optional_time(job.end_time),
        "deposit_time": format_time(datetime.now(UTC)),
        "backend": run.backend.get("name", ""),
        "versions": {
            "ts_ocps": __version__,
            "python": platform.python_version(),
            "uws": job.version or "",
            "backend": backend_version,
        },
        "files": [
            {
                "name": file.name,
                "result_id": file.result_id,
                "url": file.url,
                "mime_type": file.mime_type,
                "byte_size": file.byte_size,
                "sha256": file.sha256,
            }
            for file in files
        ],
    }
    return json.dumps(content, ensure_ascii=True, indent=1, allow_nan=False).encode()


def read_manifest(data: bytes, run_id: str) -> tuple[DepositedFile, ...]:
    """The files of a set that an earlier life has completed.

    Parameters
    ----------
    data
        Its manifest.
    run_id
        The run that it has to be of.

    Raises
    ------
    DepositError
        If something else lies there.
    """
    try:
        manifest = _Manifest.model_validate_json(data)
    except ValidationError:
        raise DepositError("there is a manifest that cannot be read") from None
    if manifest.format != FORMAT or manifest.run_id != run_id:
        raise DepositError(f"there is a manifest of another run, {manifest.run_id}")
    return tuple(
        DepositedFile(
            name=entry.name,
            result_id=entry.result_id,
            url=entry.url,
            byte_size=entry.byte_size,
            sha256=entry.sha256,
            mime_type=entry.mime_type,
        )
        for entry in manifest.files
    )
