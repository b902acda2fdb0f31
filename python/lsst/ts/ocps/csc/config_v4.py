"""The configuration as deployed before, version 4: read unchanged, and made into what the CSC works with.

What it means was never written in it: ``execute`` runs one script of the observatory, told by environment
variables, on a server of the JSON dialect; index 101 pushes to Redis lists, and is told where by the
environment. No I/O.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from lsst.ts.ocps.client.settings import Url
from lsst.ts.ocps.payloads.catalogue import Catalogue
from lsst.ts.ocps.payloads.schema import ApiServerSpec, PayloadDefinition

from .config import CscConfig, RedisSettings
from .config_layers import Layer, validate
from .enums import SalIndex
from .errors import ConfigurationError

__all__ = ["COMMAND", "RAPID_ANALYSIS", "SCRIPTS", "V4Document", "V4Instance", "convert_v4"]

COMMAND = "cd $JOB_SOURCE_DIR && bash bin/pipetask.sh"
"""What the deployed CSC has always run."""

SCRIPTS = ("https://github.com/lsst-dm/uws_scripts", "main")
"""Repository and branch of that script."""

RAPID_ANALYSIS = frozenset({SalIndex.RA})
"""Indices that push to Redis lists, whatever the files say."""

_BACKEND = "uws"
_PIPETASK, _PUSH = "pipetask", "rapid-analysis"
_MAX_POLL_INTERVAL = 60.0

_Text = Annotated[str, StringConstraints(strict=True)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class V4Instance(_Model):
    """One CSC."""

    sal_index: int = Field(strict=True)
    """Which CSC this is for."""

    instance: _Text
    """Its name, which has to be that of the index."""

    url: Url
    """Base of the JSON dialect, ``…/api/v1``."""

    poll_interval: float = Field(gt=0, allow_inf_nan=False)
    """Pause between two looks at a job (s)."""

    butler: _Text
    """Data repository that the script works on."""

    input_collection: _Text | None = None
    """Collection that it always reads; None: only those that the command names."""

    output_glob: _Text
    """Dataset types to keep, where the command names none."""


class V4Document(_Model):
    """Configuration of the OCPS CSC, version 4."""

    instances: tuple[V4Instance, ...]
    """One entry for each CSC."""


def convert_v4(
    values: Mapping[str, Any], *, index: int, redis: RedisSettings, layers: Sequence[Layer] = ()
) -> tuple[CscConfig, Catalogue]:
    """Make a version 4 configuration into what the CSC works with.

    Parameters
    ----------
    values
        The merged files.
    index
        SAL index of the CSC.
    redis
        Where rapid analysis is.
    layers
        The files one by one, to name the one that is wrong.

    Raises
    ------
    ConfigurationError
        If anything is wrong; each problem names file, field, value and reason.
    """
    document = validate(V4Document, values, layers)
    if index in RAPID_ANALYSIS:
        return _convert_rapid_analysis(redis)
    found = [(n, one) for n, one in enumerate(document.instances) if one.sal_index == index]
    if not found:
        known = ", ".join(f"{one.sal_index} ({one.instance})" for one in document.instances) or "none"
        raise ConfigurationError([f"instances: has no entry for sal_index {index}; those there are: {known}"])
    if len(found) > 1:
        raise ConfigurationError([f"instances: sal_index {index} is there twice"])
    number, instance = found[0]
    if {one.value: one.name for one in SalIndex}.get(index) != instance.instance:
        known = ", ".join(f"{one.value} is {one.name}" for one in SalIndex)
        place = f"instances.{number}.instance"
        raise ConfigurationError(
            [f"{place}: does not belong to sal_index {index}: {known} (it is {instance.instance!r})"]
        )
    backend = {
        "kind": "api_server",
        "url": instance.url,
        "required": True,
        "poll_interval": min(instance.poll_interval, _MAX_POLL_INTERVAL),
    }
    return _make_config(backend, _PIPETASK), Catalogue([_make_pipetask(instance)])


def _convert_rapid_analysis(redis: RedisSettings) -> tuple[CscConfig, Catalogue]:
    if not redis.host:
        raise ConfigurationError(
            ["REDIS_HOST: is not set; rapid analysis is a Redis server, and this names it"]
        )
    backend = {
        "kind": "rapid_analysis",
        "url": f"redis://{redis.host}:{redis.port}",
        "required": True,
        "password": {"environment": "REDIS_PASSWORD"},
    }
    definition = PayloadDefinition(
        name=_PUSH,
        description="Pushes the keys and values of config to rapid analysis; the other fields are not read.",
        parameters=_parameters(None),
    )
    return _make_config(backend, _PUSH), Catalogue([definition])


def _make_config(backend: dict[str, Any], payload: str) -> CscConfig:
    return validate(
        CscConfig,
        {"backends": {_BACKEND: backend}, "default_backend": _BACKEND, "execute_payload": payload},
    )


def _make_pipetask(instance: V4Instance) -> PayloadDefinition:
    always = "" if instance.input_collection is None else f"-i {instance.input_collection}"
    url, commit_ref = SCRIPTS
    return PayloadDefinition(
        name=_PIPETASK,
        description=f"Runs a pipeline on data of {instance.instance}, as the command execute always has.",
        parameters=_parameters(instance.output_glob),
        expected_duration=600.0,
        execution_duration=0,
        api_server=ApiServerSpec(
            command=COMMAND,
            url=url,
            commit_ref=commit_ref,
            environment={
                "IMAGE_TAG": "{version}",
                "PIPELINE_URL": "{pipeline}",
                "BUTLER_REPO": _verbatim(instance.butler),
                "RUN_OPTIONS": f"{_verbatim(always)} {{config}}",
                "OUTPUT_GLOB": "{output_dataset_types}",
                "DATA_QUERY": "{data_query}",
            },
        ),
    )


def _parameters(output_glob: str | None) -> dict[str, Any]:
    """The fields of the command; an empty ``output_dataset_types`` takes what the configuration says."""
    text = {"type": "string"}
    outputs = text if output_glob is None else text | {"default": output_glob}
    names = ("pipeline", "version", "config", "data_query")
    return {"type": "object", "properties": dict.fromkeys(names, text) | {"output_dataset_types": outputs}}


def _verbatim(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
