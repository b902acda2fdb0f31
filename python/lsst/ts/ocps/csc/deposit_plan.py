"""What is to be deposited of a run, and under which names. No I/O."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ByteSize, ConfigDict, Field

from lsst.ts.ocps.payloads.locations import check_location, parse_location, safe_part
from lsst.ts.ocps.payloads.schema import DepositSpec
from lsst.ts.ocps.uws.jobs import Result

from .errors import DepositError

__all__ = [
    "MANIFEST",
    "Deposit",
    "DepositConfig",
    "DepositPlan",
    "DepositedFile",
    "Wanted",
    "choose",
    "make_plan",
]

MANIFEST = "manifest.json"
"""Name of the file that makes a set complete."""

_HALF_DAY = 43200.0
"""The observing day begins at 12:00 UTC (s)."""


class DepositConfig(BaseModel):
    """Where results go when a job has ended, and how much of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = True
    """Whether anything is deposited at all."""

    location: Annotated[str, AfterValidator(check_location)] = ""
    """Where the results of payloads go whose definition names no place; "": nowhere."""

    timeout: float = Field(default=300.0, gt=0, le=86400)
    """How long after the end of the job its ``job_result`` may wait for the deposit (s)."""

    max_file_bytes: ByteSize = Field(default=ByteSize(4 * 1024**3), gt=0)
    """Largest result (byte)."""

    max_run_bytes: ByteSize = Field(default=ByteSize(16 * 1024**3), gt=0)
    """Most bytes of one run, all results together."""

    max_files: int = Field(default=1000, gt=0)
    """Most results of one run."""


@dataclass(frozen=True, slots=True)
class DepositPlan:
    """What was decided when the run was accepted; a later process deposits at the same place."""

    scheme: str
    """``file``, ``s3`` or ``lfa``."""

    root: str
    """What has to exist (see `lsst.ts.ocps.payloads.locations.Location`)."""

    folder: str
    """Folder of the run below it."""

    include: tuple[str, ...] = ("*",)
    """Patterns of result ids."""

    timeout: float = 300.0
    max_file_bytes: int = 4 * 1024**3
    max_run_bytes: int = 16 * 1024**3
    max_files: int = 1000


@dataclass(frozen=True, slots=True)
class Wanted:
    """A result that is to be deposited."""

    name: str
    """Name of the file."""

    result: Result


@dataclass(frozen=True, slots=True)
class DepositedFile:
    """A result that was deposited."""

    name: str
    result_id: str
    url: str
    byte_size: int
    sha256: str
    mime_type: str = ""


@dataclass(frozen=True, slots=True)
class Deposit:
    """How a deposit ended."""

    state: str
    """``complete`` or ``failed``."""

    location: str
    """Where the results are, or were to be."""

    message: str = ""
    """Why it failed, or what else there is to say."""

    files: tuple[DepositedFile, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether all that was wanted is there."""
        return self.state == "complete"


def make_plan(
    config: DepositConfig,
    spec: DepositSpec | None,
    *,
    payload: str,
    run_id: str,
    site: str,
    index: int,
    accepted_at: float,
) -> DepositPlan | None:
    """Decide where the results of a new run will go.

    Parameters
    ----------
    config
        What the site says.
    spec
        What the definition of the payload says.
    payload, run_id, site, index
        Become part of the place.
    accepted_at
        When the run was accepted (UTC, Unix s); gives the observing day.

    Returns
    -------
    DepositPlan or None
        None if nothing is to be deposited.
    """
    text = (spec.location if spec is not None else "") or config.location
    if not config.enabled or not text:
        return None
    day = time.strftime("%Y%m%d", time.gmtime(accepted_at - _HALF_DAY))
    fields = {"payload": payload, "site": site, "index": str(index), "day": day}
    place = parse_location(text).render(fields)
    return DepositPlan(
        scheme=place.scheme,
        root=place.root,
        folder="/".join(part for part in (place.folder, safe_part(run_id)) if part),
        include=("*",) if spec is None else spec.include,
        timeout=config.timeout,
        max_file_bytes=config.max_file_bytes,
        max_run_bytes=config.max_run_bytes,
        max_files=config.max_files,
    )


def choose(plan: DepositPlan, results: Sequence[Result]) -> tuple[Wanted, ...]:
    """The results that are to be deposited, each with a safe name of its own.

    Parameters
    ----------
    plan
        What is wanted of them.
    results
        All results of the job. Their ids come from the server, and are not to be trusted.

    Raises
    ------
    DepositError
        If there are too many, or they are too large as far as the server says.
    """
    chosen = [
        result
        for result in results
        if any(fnmatchcase(result.result_id, pattern) for pattern in plan.include)
    ]
    if len(chosen) > plan.max_files:
        raise DepositError(f"the job has {len(chosen)} results, and {plan.max_files} are allowed")
    for result in chosen:
        if (result.size or 0) > plan.max_file_bytes:
            raise DepositError(
                f"result {result.result_id} has {result.size} bytes, and {plan.max_file_bytes} are allowed"
            )
    total = sum(result.size or 0 for result in chosen)
    if total > plan.max_run_bytes:
        raise DepositError(f"the results have {total} bytes, and {plan.max_run_bytes} are allowed")
    names = _make_names(result.result_id for result in chosen)
    return tuple(Wanted(name, result) for name, result in zip(names, chosen, strict=True))


def _make_names(result_ids: Iterator[str]) -> Iterator[str]:
    """Names that are unique even where case is ignored, and never that of the manifest."""
    taken = {MANIFEST}
    for result_id in result_ids:
        name = first = safe_part(result_id)
        number = 1
        while name.lower() in taken:
            number += 1
            name = f"{number}_{first}"
        taken.add(name.lower())
        yield name
