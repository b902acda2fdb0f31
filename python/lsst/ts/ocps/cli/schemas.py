"""JSON Schemas of the files that people write, made of the models that read them."""

import ast
import inspect
import json
import re
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

from pydantic import BaseModel

from lsst.ts.ocps.client.settings import UwsSettings
from lsst.ts.ocps.csc.config import ConfigDocument
from lsst.ts.ocps.payloads.schema import PayloadDefinition

__all__ = ["make_schemas", "read_sentences"]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_USUAL_KIND = UwsSettings.model_fields["kind"].default
_PACKAGES = ("lsst.ts.ocps.client.", "lsst.ts.ocps.csc.", "lsst.ts.ocps.payloads.", "lsst.ts.ocps.service.")
_FILES: dict[str, tuple[str, type[BaseModel]]] = {
    "config-v5.json": ("Configuration files of the OCPS CSC, merged", ConfigDocument),
    "payload.json": ("Definition of a payload", PayloadDefinition),
}


def make_schemas() -> dict[str, str]:
    """The text of each schema, by the name of its file.

    What no schema can say (names that have to exist, keys that exclude each other) is checked by
    ``ocps config check``, and by a service at its start. That of its configuration is there if what a service
    needs is installed.
    """
    files = dict(_FILES)
    if find_spec("sqlalchemy") is not None:
        config = import_module("lsst.ts.ocps.service.config")
        files["service.json"] = ("Configuration file of the UWS service", config.ServiceConfig)
    return {name: _make_schema(title, model) for name, (title, model) in files.items()}


def _make_schema(title: str, model: type[BaseModel]) -> str:
    schema = model.model_json_schema()
    models = {one.__name__: one for one in _reachable(BaseModel)}
    for name, definition in [(model.__name__, schema), *schema.get("$defs", {}).items()]:
        _describe(definition, models.get(name))
        _require_kind(definition)
    text = json.dumps({"$schema": _DIALECT, **schema, "title": title}, indent=2, ensure_ascii=False)
    return f"{text}\n"


def _reachable(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for sub in model.__subclasses__():
        if sub.__module__.startswith(_PACKAGES):
            yield sub
        yield from _reachable(sub)


def _describe(definition: dict[str, Any], model: type[BaseModel] | None) -> None:
    """Put the sentences under the fields into the schema; pydantic would read them at each start of a CSC."""
    if model is None:
        return
    sentences: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, BaseModel) and base.__module__.startswith(_PACKAGES):
            sentences |= read_sentences(base)
    for name, field in definition.get("properties", {}).items():
        field.pop("title", None)
        if name in sentences:
            field["description"] = sentences[name]


def _require_kind(definition: dict[str, Any]) -> None:
    """A back end without a kind is of the usual one: without this it would be of each.

    What tells who asks a service always says how.
    """
    kind = definition.get("properties", {}).get("kind", {}).get("const", _USUAL_KIND)
    if kind != _USUAL_KIND:
        definition["required"] = ["kind", *definition.get("required", ())]
    if "const" in definition.get("properties", {}).get("mode", {}):
        definition["required"] = list(dict.fromkeys(("mode", *definition.get("required", ()))))


def read_sentences(model: type[BaseModel]) -> dict[str, str]:
    """The sentences under the fields that a model itself has, by the names of the fields."""
    (node,) = ast.parse(inspect.getsource(model)).body
    sentences = {}
    body = node.body if isinstance(node, ast.ClassDef) else []
    for field, after in pairwise(body):
        match field, after:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str() as text)),
            ):
                sentences[name] = re.sub(r"\bNone\b", "null", " ".join(text.split()))
            case _:
                pass
    return sentences
