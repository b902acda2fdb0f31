"""What a CSC would do with configuration files, for people. This module reads files and blocks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from jsonschema import Draft7Validator

from lsst.ts.ocps.client.base import Submission
from lsst.ts.ocps.client.settings import AnyBackendSettings
from lsst.ts.ocps.client.shell_environment import build_environment
from lsst.ts.ocps.payloads.catalogue import Catalogue, load_catalogue, load_definition
from lsst.ts.ocps.payloads.errors import CatalogueError
from lsst.ts.ocps.payloads.limits import Limits
from lsst.ts.ocps.payloads.schema import PayloadDefinition
from lsst.ts.ocps.salobj import ConfigurableCsc, ExpectedError

from .commands import build_shell
from .config import CscConfig, RedisSettings, make_schema, parse_config, version_of_folder
from .config_layers import read_layers, validate
from .config_v4 import RAPID_ANALYSIS, V4Document
from .errors import ConfigurationError
from .loading import load

__all__ = ["Part", "Subject", "Survey", "find_subjects", "survey"]

_INIT = "_init.yaml"
_COMPONENT = "OCPS"


@dataclass(frozen=True, slots=True)
class Subject:
    """What is looked at."""

    path: Path
    """A configuration folder; or a payload definition, or a folder of them."""

    names: tuple[str, ...] = ()
    """The configuration files, in the order of merging; none for payload definitions."""

    @property
    def title(self) -> str:
        """How people know it."""
        return f"{self.path / ' + '.join(self.names)}" if self.names else str(self.path)


class Part(NamedTuple):
    """What would be done for one SAL index, or with one payload."""

    title: str
    lines: tuple[str, ...]
    is_valid: bool = True


class Survey(NamedTuple):
    """What was found."""

    title: str
    parts: tuple[Part, ...]

    @property
    def is_valid(self) -> bool:
        """Whether a CSC of every index would start."""
        return all(part.is_valid for part in self.parts)


def find_subjects(path: Path, site: str | None) -> list[Subject]:
    """What a path stands for, as a CSC would read it.

    Parameters
    ----------
    path
        A file or folder. One that is beside, or holds, ``_init.yaml`` (also in ``OCPS/v5`` or ``OCPS/v4``
        below it) is configuration, any other is of payload definitions.
    site
        Of which site; None: each that has a file, or none.
    """
    if path.is_dir():
        below = [path, *(path / _COMPONENT / version for version in ("v5", "v4"))]
        folder = next((one for one in below if (one / _INIT).is_file()), None)
        if folder is None:
            return [Subject(path)]
        overrides = sorted(one.name for one in folder.glob("[!_]*.yaml"))
        bases = _bases(folder, site)
        return [Subject(folder, base) for base in bases] + [
            Subject(folder, (*base, override)) for override in overrides for base in bases
        ]
    folder = path.parent
    if path.name == _INIT:
        return [Subject(folder, (_INIT,))]
    if not (folder / _INIT).is_file():
        return [Subject(path)]
    if path.name.startswith("_"):
        return [Subject(folder, (_INIT, path.name))]
    return [Subject(folder, (*base, path.name)) for base in _bases(folder, site)]


def _bases(folder: Path, site: str | None) -> list[tuple[str, ...]]:
    sites = sorted(one.name for one in folder.glob("_*.yaml") if one.name != _INIT)
    if site is not None:
        sites = [name for name in sites if name == f"_{site}.yaml"]
    return [(_INIT, name) for name in sites] or [(_INIT,)]


def survey(subject: Subject, redis: RedisSettings) -> Survey:
    """Look at it, with the checks of the command ``start``.

    Parameters
    ----------
    subject
        What to look at.
    redis
        Where rapid analysis is, for version 4.

    Raises
    ------
    ConfigurationError
        If nothing can be said of any index; each problem names file, field, value and reason.
    CatalogueError
        If a payload definition is wrong.
    """
    if not subject.names:
        return Survey(subject.title, tuple(_survey_payloads(subject.path)))
    return Survey(subject.title, tuple(_survey_configuration(subject, redis)))


def _survey_payloads(path: Path) -> Iterator[Part]:
    catalogue = load_catalogue([path]) if path.is_dir() else Catalogue([load_definition(path)])
    for definition in catalogue.values():
        yield Part(f"payload {definition.name}: {definition.description}", tuple(_ways(definition)))


def _ways(definition: PayloadDefinition) -> Iterator[str]:
    yield f"limits: {_limits_text(definition.limits)}"
    if definition.run is not None:
        yield f"service: {' '.join(definition.run.command)}"
    yield from _shell_lines(definition)


def _survey_configuration(subject: Subject, redis: RedisSettings) -> Iterator[Part]:
    version, values = version_of_folder(subject.path), _merge(subject)
    layers = read_layers(subject.path, subject.names)
    if version == "v4":
        entries = [(one.sal_index, one.instance) for one in validate(V4Document, values, layers).instances]
        if redis.host:
            entries += [(index.value, index.name) for index in RAPID_ANALYSIS]
    else:
        instances = parse_config(values, layers).instances
        # Without instances every index is treated alike, and 1 stands for them.
        entries = [(one.sal_index, one.name) for one in instances] or [(1, "and every other index")]
    for index, name in dict(entries).items():
        title = f"OCPS:{index} ({name})" if name else f"OCPS:{index}"
        try:
            configured = load(
                values, version=version, index=index, folder=subject.path, redis=redis, read=lambda: layers
            )
        except (ConfigurationError, CatalogueError) as error:
            problems: Sequence[Any] = error.problems
            yield Part(title, tuple(map(str, problems)), is_valid=False)
        else:
            yield Part(title, tuple(_instance_lines(*configured)))


def _merge(subject: Subject) -> dict[str, Any]:
    validator = Draft7Validator(make_schema(version_of_folder(subject.path)))
    try:
        merged = ConfigurableCsc.read_config_files(validator, subject.path, list(subject.names))
    except (ExpectedError, ValueError) as error:
        raise ConfigurationError([str(error)]) from error
    return vars(merged)


def _instance_lines(config: CscConfig, catalogue: Catalogue) -> Iterator[str]:
    for name, settings in config.backends.items():
        yield f"back end {name}: {_backend_text(settings)}"
    yield f"limits: {_limits_text(config.limits)}"
    for name, definition in catalogue.items():
        yield f"payload {name}: on {config.choose_backend(name)}; limits: {_limits_text(definition.limits)}"
        location = (definition.deposit.location if definition.deposit else "") or config.deposit.location
        if config.deposit.enabled and location:
            yield f"  deposit: {location}"
        if config.backends[config.choose_backend(name)].kind == "api_server":
            yield from (f"  {line}" for line in _shell_lines(definition) or ("cannot run there",))
    if not config.execute_payload:
        yield "execute: refused, as execute_payload is empty"
    elif config.execute_payload in catalogue:
        busy = "waits" if config.execute_when_busy == "queue" else "is refused"
        yield f"execute: runs payload {config.execute_payload}; {busy} where a limit refuses other commands"
    else:
        yield f"execute: refused, as there is no payload {config.execute_payload}"


def _backend_text(settings: AnyBackendSettings) -> str:
    return f"{settings.kind} at {settings.url}{', required' if settings.required else ''}"


def _limits_text(limits: Limits) -> str:
    if limits.max_active is None:
        return "none"
    others = {None: "wait", 0: "are refused"}.get(limits.max_queued, f"wait, up to {limits.max_queued}")
    return f"{limits.max_active} at once, others {others}{'' if limits.allows_detach else '; no detach'}"


def _shell_lines(definition: PayloadDefinition) -> list[str]:
    """What a server of the JSON dialect is sent; ``{name}`` stands for a parameter."""
    shell = build_shell(definition)
    if shell is None:
        return []
    parameters = tuple((name, f"{{{name}}}") for name in definition.properties)
    variables = build_environment(Submission(definition.name, "", parameters), shell)
    source = f" of {shell.url} {shell.commit_ref}".rstrip() if shell.url else ""
    return [f"api_server: {shell.command}{source}", *(f"  {name}={value}" for name, value in variables)]
