"""What a payload definition file may say (design section 7)."""

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import cached_property
from pathlib import PurePosixPath
from typing import Annotated, Any, Self

import yaml
from pydantic import AfterValidator, BaseModel, ByteSize, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from .json_schema import RESERVED_NAMES, Problem, Validator, compile_validator, schema_problems
from .kinds import Kind, kind_of, lookup
from .limits import LimitSettings
from .locations import check_location
from .template import parse_argument

__all__ = ["ApiServerSpec", "DepositSpec", "PayloadDefinition", "ResultSpec", "RunSpec"]

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_MIME_TYPE = r"^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(; ?[A-Za-z0-9-]+=[A-Za-z0-9!#$&^_.+-]+)*$"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_JOB_VARIABLES = frozenset({"JOB_ID", "RUN_ID", "JOB_DIR", "JOB_OUTPUT_DIR", "JOB_UPLOAD_DIR"})
_UPLOAD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")
_MISSING = object()
_SERVER_VARIABLES = frozenset({"JOB_SOURCE_DIR", "SRC_GIT_URL", "GIT_COMMIT_REF"})
_SHELLS = frozenset({"sh", "ash", "bash", "dash", "ksh", "zsh"})


def _check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError("a payload name is 1 to 63 characters of a-z, 0-9 and inner hyphens")
    return name


def _check_argument(argument: str) -> str:
    parse_argument(argument)
    if "\0" in argument:
        raise ValueError("contains U+0000, which no argument can carry")
    return argument


def _check_environment(environment: dict[str, str]) -> dict[str, str]:
    for name, value in environment.items():
        if not _VARIABLE.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a variable (A-Z, a-z, 0-9 and _)")
        if name in _JOB_VARIABLES:
            raise ValueError(f"{name} is set for every job and cannot be set here")
        if "\0" in value:
            raise ValueError(f"the value of {name} contains U+0000")
    return environment


def _check_templates(environment: dict[str, str]) -> dict[str, str]:
    for name, value in environment.items():
        if name in _SERVER_VARIABLES:
            raise ValueError(f"{name} is set by the server and cannot be set here")
        try:
            parse_argument(value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return environment


def _check_plain(command: str) -> str:
    """The server pastes the command into YAML without quotes: it must be read there as it is written."""
    try:
        read = yaml.safe_load(f"- {command}")
    except yaml.YAMLError:
        read = None
    if read != [command]:
        raise ValueError(
            "the server reads this as YAML: write one line without quotes around it, ': ' and ' #'"
        )
    return command


def _check_outputs(outputs: str) -> str:
    path = PurePosixPath(outputs)
    if path.is_absolute() or not path.parts or ".." in path.parts or "\0" in outputs:
        raise ValueError("this is a folder below the job's directory, such as out")
    return outputs


def _check_pattern(pattern: str) -> str:
    if pattern.startswith("/") or ".." in PurePosixPath(pattern).parts:
        raise ValueError("no path below the output folder is like this; write it as maps/*.fits")
    return pattern


def _check_parameters(schema: dict[str, Any]) -> dict[str, Any]:
    _refuse(schema_problems(schema, ""))
    return {**schema, "additionalProperties": False}


def _check_destruction(destruction: timedelta) -> timedelta:
    if destruction <= timedelta(0):
        raise ValueError("a job cannot be destroyed before it is created")
    return destruction


def _refuse(problems: list[Problem]) -> None:
    """Report problems that are deeper than the field; `.catalogue` takes them apart again."""
    if problems:
        text = "; ".join(f"{path.removeprefix('.')}: {reason}" for path, _, reason in problems)
        raise PydanticCustomError("definition", "{text}", {"text": text, "problems": problems})


_Environment = Annotated[dict[str, str], AfterValidator(_check_environment)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class UploadSpec(_Model):
    """A file that comes with a job."""

    description: str = ""

    required: bool = False
    """Whether no job is run without it."""

    max_bytes: Annotated[ByteSize, Field(gt=0)] | None = None
    """Its largest size (byte, or a text such as 20MiB); None: as the service allows."""


class DepositSpec(_Model):
    """Where the CSC puts the results of a run."""

    location: Annotated[str, AfterValidator(check_location)] = ""
    """Folder, S3 prefix or large file annex (see ``locations``); "": where the site puts them."""

    include: tuple[str, ...] = ("*",)
    """Patterns of the result names to deposit."""


class ResultSpec(_Model):
    """Which output files are results."""

    pattern: Annotated[str, AfterValidator(_check_pattern)] = Field(min_length=1)
    """Pattern of their paths below the output folder; ``*`` stands for slashes, too."""

    mime_type: Annotated[str, Field(pattern=_MIME_TYPE)] | None = None
    """Their media type; None: as their names tell."""


def _check_uploads(uploads: Mapping[str, UploadSpec]) -> Mapping[str, UploadSpec]:
    seen: set[str] = set()
    for name in uploads:
        if not _UPLOAD.fullmatch(name):
            raise ValueError(f"{name!r} is not a letter and up to 62 letters, digits and underscores")
        if name.upper() in seen:
            raise ValueError(f"{name} is there twice: names are compared ignoring case")
        seen.add(name.upper())
    return uploads


class RunSpec(_Model):
    """How the service runs the payload."""

    command: tuple[Annotated[str, AfterValidator(_check_argument)], ...] = Field(min_length=1)
    """Argument list; ``{name}`` stands for a parameter, ``{{`` and ``}}`` for braces. Never given to a
    shell. A first argument ``python`` is the interpreter that runs the service."""

    environment: _Environment = {}
    """Variables of the job, verbatim, in addition to the few that every job gets."""

    allow_dash: tuple[str, ...] = ()
    """Parameters that may begin with "-" although they are a whole argument."""

    executor: str = "local"
    """What runs it."""

    priority: int = Field(default=0, ge=-1000, le=1000, strict=True)
    """Of jobs that wait, those with a higher number are started first."""

    cpus: float = Field(default=1, gt=0, allow_inf_nan=False, strict=True)
    """How many processors it is counted with; it waits until so many are free."""

    memory: Annotated[ByteSize, Field(gt=0)] | None = None
    """How much memory it may take (byte, or a text such as 2GiB): it waits until so much is free, and is
    ended when it takes more. None: it is not counted, and has no limit."""

    disk: Annotated[ByteSize, Field(gt=0)] | None = None
    """How much disk space its folder may take; it is ended when it takes more. None: no limit."""

    outputs: Annotated[str, AfterValidator(_check_outputs)] = "out"
    """Folder below the job's directory that the payload writes its results into."""

    results: tuple[ResultSpec, ...] = ()
    """Which files there are results: those that one of the patterns matches, and of several the first counts;
    empty: all. ``result.json`` and ``metrics.json`` always are."""

    uploads: Annotated[Mapping[str, UploadSpec], AfterValidator(_check_uploads)] = {}
    """Files that come with a job, by name (DALI's UPLOAD). The payload finds each that was given under its
    name in the folder that the variable JOB_UPLOAD_DIR names."""

    @model_validator(mode="after")
    def _check_folders(self) -> Self:
        if self.uploads and PurePosixPath(self.outputs).parts[0] == "uploads":
            raise ValueError("outputs: the folder uploads is that of the uploads")
        return self


class ApiServerSpec(_Model):
    """How a back end of the JSON dialect runs the payload; parameters travel as environment variables."""

    command: Annotated[str, AfterValidator(_check_plain)] = Field(min_length=1)
    """One line for the server; it has no placeholders."""

    url: str = ""
    """Git repository that the server clones into ``JOB_SOURCE_DIR``; "" for none."""

    commit_ref: str = ""
    """Branch, tag or hash to check out of it; "" for the default."""

    environment: Annotated[_Environment, AfterValidator(_check_templates)] = {}
    """Variables of the job. ``{name}`` in a value stands for a parameter ("" where it is not given), ``{{``
    and ``}}`` for braces. A parameter that no value names travels as a variable of its own name."""


class PayloadDefinition(_Model, LimitSettings):
    """A configured, named thing that can be run."""

    name: Annotated[str, AfterValidator(_check_name)]
    description: str
    parameters: Annotated[dict[str, Any], AfterValidator(_check_parameters)] = Field(
        default_factory=lambda: {"type": "object", "properties": {}, "additionalProperties": False}
    )
    """JSON Schema 2020-12 of the parameters object; the rules are in ``json_schema``."""

    expected_duration: float = Field(default=600, gt=0, allow_inf_nan=False, strict=True)
    """How long a run usually takes (s); the timeout of the first acknowledgement."""

    execution_duration: int = Field(default=3600, ge=0, strict=True)
    """Limit of the execution time (s); 0 = unlimited."""

    destruction: Annotated[timedelta, AfterValidator(_check_destruction)] = timedelta(days=7)
    """How long the job and its results are kept after creation."""

    deposit: DepositSpec | None = None
    run: RunSpec | None = None
    api_server: ApiServerSpec | None = None

    @model_validator(mode="after")
    def _check_commands(self) -> Self:
        _refuse([*self._run_problems(), *self._api_server_problems()])
        return self

    @property
    def properties(self) -> Mapping[str, Any]:
        """The schema of each parameter, by name."""
        properties: Mapping[str, Any] = self.parameters.get("properties", {})
        return properties

    @cached_property
    def kinds(self) -> Mapping[str, Kind]:
        """How each parameter travels, by name."""
        return {name: kind_of(schema, self.parameters) for name, schema in self.properties.items()}

    @cached_property
    def validator(self) -> Validator:
        """The compiled schema of the parameters."""
        return compile_validator(self.parameters)

    def _always_given(self, name: str) -> bool:
        required = name in self.parameters.get("required", ())
        return required or lookup(self.properties[name], "default", self.parameters, _MISSING) is not _MISSING

    def _run_problems(self) -> Iterator[Problem]:
        if self.run is None:
            return
        known = ", ".join(self.properties) or "none"
        taken = {name.upper() for name in self.properties} | RESERVED_NAMES
        for name in self.run.uploads:
            if name.upper() in taken:
                yield f"run.uploads.{name}", name, "a parameter has this name"
        shell = PurePosixPath(self.run.command[0]).name in _SHELLS
        for index, argument in enumerate(self.run.command):
            path = f"run.command.{index}"
            for name in parse_argument(argument).names:
                if index == 0:
                    yield path, argument, "the program itself cannot be a parameter"
                elif name not in self.properties:
                    yield (
                        path,
                        argument,
                        f"{{{name}}} is no parameter (known: {known}); write {{{{ for a brace",
                    )
                elif not self._always_given(name):
                    yield (
                        path,
                        argument,
                        f"{{{name}}} may be without a value: require it or give it a default",
                    )
                elif shell and self.run.command[index - 1].startswith("-"):
                    yield path, argument, "a parameter must not become part of a shell script; pass it as $1"
        for index, name in enumerate(self.run.allow_dash):
            if name not in self.properties:
                yield f"run.allow_dash.{index}", name, f"is no parameter (known: {known})"

    def _api_server_problems(self) -> Iterator[Problem]:
        if self.api_server is None:
            return
        command = self.api_server.command
        for name in self.properties:
            if re.search(rf"(?<!\$)\{{{name}\}}", command):
                reason = f"has no placeholders: the parameter is the environment variable ${name}"
                yield "api_server.command", command, reason
        known = ", ".join(self.properties) or "none"
        for variable, value in self.api_server.environment.items():
            for name in parse_argument(value).names:
                if name not in self.properties:
                    reason = f"{{{name}}} is no parameter (known: {known}); write {{{{ for a brace"
                    yield f"api_server.environment.{variable}", value, reason
        values = self.api_server.environment.values()
        used = {name for value in values for name in parse_argument(value).names}
        for name in self.properties:
            if name in _JOB_VARIABLES | _SERVER_VARIABLES:
                yield f"parameters.properties.{name}", None, "the server sets a variable of this name"
            elif name in self.api_server.environment and name not in used:
                reason = f"hides the parameter {name}, which no other variable takes"
                yield f"api_server.environment.{name}", self.api_server.environment[name], reason
