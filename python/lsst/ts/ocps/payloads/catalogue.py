"""The configured payloads, read from their definition files. This module reads files and blocks."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from typing_extensions import override

from .errors import CatalogueError, CatalogueProblem, UnknownPayloadError
from .json_schema import near_match
from .schema import ApiServerSpec, DepositSpec, PayloadDefinition, RunSpec
from .values import show

__all__ = ["MAX_FILE_SIZE", "Catalogue", "load_catalogue", "load_definition"]

MAX_FILE_SIZE = 1_048_576
"""No definition is larger than this (byte); something else was put into the folder."""

_SECTIONS: Mapping[tuple[str, ...], type[BaseModel]] = {
    (): PayloadDefinition,
    ("run",): RunSpec,
    ("api_server",): ApiServerSpec,
    ("deposit",): DepositSpec,
}


class Catalogue(Mapping[str, PayloadDefinition]):
    """The payloads by name; immutable.

    Parameters
    ----------
    definitions
        The payloads; a later one replaces an earlier one of the same name.
    """

    def __init__(self, definitions: Iterable[PayloadDefinition]) -> None:
        self._definitions = {definition.name: definition for definition in definitions}

    @override
    def __getitem__(self, name: str) -> PayloadDefinition:
        return self._definitions[name]

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self._definitions)

    @override
    def __len__(self) -> int:
        return len(self._definitions)

    def find(self, name: str) -> PayloadDefinition:
        """The definition of that name.

        Parameters
        ----------
        name
            As in the ``run`` command.

        Raises
        ------
        UnknownPayloadError
            If there is none; the message lists those there are.
        """
        try:
            return self._definitions[name]
        except KeyError:
            known = ", ".join(self._definitions) or "none"
            hint = near_match(name, list(self._definitions))
            message = f"payload: {show(name)} is not configured{hint} (configured: {known})"
            raise UnknownPayloadError(message) from None


def load_catalogue(directories: Iterable[str | Path]) -> Catalogue:
    """Read all ``*.yaml`` of some directories. Blocks: call it with `asyncio.to_thread`.

    Parameters
    ----------
    directories
        Where the files are; each is ``NAME.yaml`` of the payload NAME. Names that begin with a dot are
        left alone.

    Raises
    ------
    CatalogueError
        If a directory or file is missing or wrong, or a payload is there twice; it lists every problem with
        file, path, value, reason.
    """
    files: dict[str, Path] = {}
    definitions: list[PayloadDefinition] = []
    problems: list[CatalogueProblem] = []
    for directory in map(Path, directories):
        try:
            found = _definition_files(directory)
        except _FileError as error:
            problems.extend(error.problems)
            continue
        for file in found:
            try:
                definition = _read_definition(file)
            except _FileError as error:
                problems.extend(error.problems)
                continue
            if first := files.get(definition.name):
                reason = f"this payload is defined in {first} already"
                problems.append(CatalogueProblem(str(file), "name", show(definition.name), reason))
            files[definition.name] = file
            definitions.append(definition)
    if problems:
        raise CatalogueError(problems)
    return Catalogue(definitions)


def load_definition(file: Path) -> PayloadDefinition:
    """Read one definition. Blocks.

    Parameters
    ----------
    file
        Its file, ``NAME.yaml``.

    Raises
    ------
    CatalogueError
        If it is missing or wrong; it lists every problem with file, path, value, reason.
    """
    try:
        return _read_definition(file)
    except _FileError as error:
        raise CatalogueError(error.problems) from None


class _FileError(Exception):
    """What is wrong with one file or directory."""

    def __init__(self, *problems: CatalogueProblem) -> None:
        super().__init__()
        self.problems = problems


def _definition_files(directory: Path) -> list[Path]:
    try:
        names = sorted(path for path in directory.iterdir() if not path.name.startswith("."))
    except OSError as error:
        reason = f"cannot be read as a payload directory: {error.strerror}"
        raise _FileError(CatalogueProblem(str(directory), "", "", reason)) from None
    files = [path for path in names if path.suffix in {".yaml", ".yml"}]
    if not files:
        reason = "this payload directory holds no definition (*.yaml)"
        raise _FileError(CatalogueProblem(str(directory), "", "", reason))
    return files


def _read_definition(file: Path) -> PayloadDefinition:
    data = _read_yaml(file)
    if not isinstance(data, dict):
        reason = "a payload definition is a mapping of keys to values"
        raise _FileError(CatalogueProblem(str(file), "", show(data), reason))
    try:
        definition = PayloadDefinition.model_validate(data)
    except ValidationError as error:
        raise _FileError(*_from_pydantic(file, error)) from None
    if file.name != f"{definition.name}.yaml":
        reason = f"the file of this payload is named {definition.name}.yaml"
        raise _FileError(CatalogueProblem(str(file), "name", show(definition.name), reason))
    return definition


def _read_yaml(file: Path) -> Any:
    try:
        if file.stat().st_size > MAX_FILE_SIZE:
            reason = f"is larger than {MAX_FILE_SIZE} bytes"
            raise _FileError(CatalogueProblem(str(file), "", "", reason))
        # The loader is safe: it makes plain values only.
        return yaml.load(file.read_bytes(), _Loader)  # noqa: S506 (a subclass of SafeLoader)
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        reason = f"is not YAML{where}: {error.problem}"
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = f"is not YAML: {error}"
    raise _FileError(CatalogueProblem(str(file), "", "", reason))


class _Loader(yaml.SafeLoader):
    """YAML in which a key twice is an error instead of a surprise."""

    @override
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = key_node.value
            if isinstance(key, str) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is there twice", key_node.start_mark
                )
            if isinstance(key, str):
                seen.add(key)
        return super().construct_mapping(node, deep)


def _from_pydantic(file: Path, error: ValidationError) -> Iterator[CatalogueProblem]:
    for item in error.errors(include_url=False):
        place = tuple(map(str, item["loc"]))
        path = ".".join(place)
        match item["type"]:
            case "definition":
                for inner, value, reason in item["ctx"]["problems"]:
                    where = f"{path}{inner}" if inner.startswith(".") or not path else f"{path}.{inner}"
                    yield CatalogueProblem(str(file), where, "" if value is None else show(value), reason)
            case "extra_forbidden":
                model = _SECTIONS.get(place[:-1])
                hint = near_match(place[-1], list(model.model_fields)) if model else ""
                yield CatalogueProblem(str(file), path, "", f"unknown key{hint}")
            case "missing":
                yield CatalogueProblem(str(file), path, "", "is required")
            case _:
                reason = item["msg"].removeprefix("Value error, ")
                yield CatalogueProblem(str(file), path, show(item["input"]), reason)
