"""The parameter codec: JSON values on the SAL side, name-value pairs on the UWS side (design section 7).

The schema of a parameter alone decides how it travels (``kinds``): a text verbatim; numbers, booleans,
nulls, objects and mixed arrays as one JSON text; an array of texts, or of numbers and booleans, as a
repeated parameter, and such an array without items as one empty text.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Any, NoReturn

from jsonschema.exceptions import ValidationError

from .command import command_problems
from .errors import ParameterError, ParameterProblem
from .json_schema import near_match
from .kinds import Kind, is_integer, lookup
from .schema import PayloadDefinition
from .values import json_problems, json_text, show, to_text

__all__ = ["HIDDEN", "decode", "encode", "parse_json", "redact", "validate"]

_ROOT = "parameters"
_DALI = frozenset({"VERSION", "REQUEST", "MAXREC", "RESPONSEFORMAT"})
HIDDEN = "***"
"""What stands in the place of a secret value."""

_MISSING = object()


def parse_json(text: str) -> dict[str, Any]:
    """Read the ``parameters`` field of the ``run`` command: a JSON object; "" stands for ``{}``.

    Parameters
    ----------
    text
        What the commander wrote.

    Raises
    ------
    ParameterError
        If the text is not JSON or not an object, or an object in it names a key twice.
    """
    try:
        value = _loads(text) if text.strip() else {}
    except ValueError as error:
        raise ParameterError([ParameterProblem(_ROOT, f"{show(text)} is not JSON: {error}")]) from None
    if not isinstance(value, dict):
        raise ParameterError([ParameterProblem(_ROOT, f"{show(value)} is not a JSON object")])
    return value


def validate(definition: PayloadDefinition, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Check parameters and fill in the defaults.

    Parameters
    ----------
    definition
        The payload.
    parameters
        JSON values by name; left as they are.

    Returns
    -------
    dict
        A deep copy in the order of the definition, with the defaults of missing parameters and of missing
        keys of given objects; whole numbers such as 2.0 are integers where the schema wants integers.

    Raises
    ------
    ParameterError
        If anything is wrong; it lists every problem.
    """
    values, problems = _checked(definition, dict(parameters), set())
    if problems:
        raise ParameterError(problems)
    return values


def encode(definition: PayloadDefinition, parameters: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Turn parameters into the name-value pairs of a UWS request.

    Parameters
    ----------
    definition
        The payload.
    parameters
        What `validate` returned.

    Raises
    ------
    ParameterError
        If a parameter is unknown or cannot travel as its schema says; never after `validate`.
    """
    pairs: list[tuple[str, str]] = []
    problems: list[ParameterProblem] = []
    for name, value in parameters.items():
        match definition.kinds.get(name), value:
            case Kind.TEXT, str():
                pairs.append((name, value))
            case Kind.JSON, _:
                pairs.append((name, json_text(value)))
            case ((Kind.TEXTS | Kind.JSONS), []):
                pairs.append((name, ""))
            case ((Kind.TEXTS | Kind.JSONS), list()):
                pairs.extend((name, to_text(item)) for item in value)
            case None, _:
                problems.append(_unknown(definition, name))
            case _:
                problems.append(ParameterProblem(f"{_ROOT}.{name}", f"{show(value)} is of another type"))
    if problems:
        raise ParameterError(problems)
    return tuple(pairs)


def decode(definition: PayloadDefinition, pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Turn the name-value pairs of a UWS request back into parameters.

    Names are compared ignoring case (DALI 1.1 section 2.3). The service takes its own PHASE, RUNID, ...
    out beforehand; VERSION, REQUEST, MAXREC and RESPONSEFORMAT of DALI are dropped unless declared.

    Parameters
    ----------
    definition
        The payload.
    pairs
        Names and texts, in the order of the request.

    Returns
    -------
    dict
        What was given, not validated yet; defaults are not filled in.

    Raises
    ------
    ParameterError
        For unknown names, repeated single parameters and texts that are not the JSON they must be. It lists
        what `validate` finds in the rest as well.
    """
    spellings = {name.upper(): name for name in definition.properties}
    texts: dict[str, list[str]] = defaultdict(list)
    problems: list[ParameterProblem] = []
    for given, text in pairs:
        if name := spellings.get(given.upper()):
            texts[name].append(text)
        elif given.upper() not in _DALI:
            problems.append(_unknown(definition, given))
    values: dict[str, Any] = {}
    for name, given_texts in texts.items():
        try:
            values[name] = _decode_one(definition, name, given_texts)
        except ValueError as error:
            problems.append(ParameterProblem(f"{_ROOT}.{name}", str(error)))
    if problems:
        # Whoever corrects a request wants to know everything at once.
        skip = set(texts) - set(values)
        raise ParameterError([*dict.fromkeys(problems), *_checked(definition, values, skip)[1]])
    return values


def redact(definition: PayloadDefinition, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """A copy fit for logs and events: values of parameters marked ``writeOnly`` become ``***``.

    Parameters
    ----------
    definition
        The payload.
    parameters
        Values by name.
    """
    return {
        name: HIDDEN if _is_secret(definition, name) else deepcopy(value)
        for name, value in parameters.items()
    }


def _decode_one(definition: PayloadDefinition, name: str, texts: list[str]) -> Any:
    kind = definition.kinds[name]
    schema = definition.properties[name]
    if kind in {Kind.TEXTS, Kind.JSONS}:
        if texts == [""] and not (kind is Kind.TEXTS and lookup(schema, "minItems", definition.parameters)):
            return []
        return texts if kind is Kind.TEXTS else [_decode_json(definition, name, text) for text in texts]
    if len(texts) > 1:
        raise ValueError(f"is given {len(texts)} times and takes one value")
    return texts[0] if kind is Kind.TEXT else _decode_json(definition, name, texts[0])


def _decode_json(definition: PayloadDefinition, name: str, text: str) -> Any:
    try:
        return _loads(text)
    except ValueError:
        wanted = lookup(definition.properties[name], "type", definition.parameters)
        shown = "the text" if _is_secret(definition, name) else show(text)
        of_type = f" of type {wanted!r}" if isinstance(wanted, str) else ""
        raise ValueError(f"{shown} is not{of_type} in JSON notation") from None


def _loads(text: str) -> Any:
    """Read JSON strictly: no NaN, no key twice."""
    try:
        return json.loads(
            text, object_pairs_hook=_object, parse_constant=_refuse_constant, parse_int=_parse_int
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {show(key)} is there twice")
        found[key] = value
    return found


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON value")


def _parse_int(text: str) -> int:
    # Beyond 4300 digits int() itself refuses; whatever is that long is refused later for its size.
    return int(text[:100])


def _checked(
    definition: PayloadDefinition, given: dict[str, Any], skip: set[str]
) -> tuple[dict[str, Any], list[ParameterProblem]]:
    """The values with defaults, and what is wrong with them; nothing is said about names in ``skip``."""
    problems: list[ParameterProblem] = []
    values: dict[Any, Any] = {}
    for name, value in given.items():
        if found := list(json_problems({name: value}, _ROOT)):
            problems.extend(ParameterProblem(*_hide(definition, name, *problem)) for problem in found)
            skip = skip | {name}
        else:
            values[name] = _integers(definition, name, deepcopy(value))
    values = _with_defaults(definition.parameters, values, definition.parameters)
    for error in definition.validator.iter_errors(values):
        problems.extend(p for p in _from_schema(definition, error) if _top(p) not in skip)
    bad = skip | {_top(problem) for problem in problems}
    problems.extend(p for p in _beyond_schema(definition, values) if _top(p) not in bad)
    return values, list(dict.fromkeys(problems))


def _top(problem: ParameterProblem) -> str:
    return problem.path.split(".")[1] if "." in problem.path else ""


def _with_defaults(schema: Any, value: dict[str, Any], root: Mapping[str, Any]) -> dict[str, Any]:
    filled: dict[str, Any] = {}
    properties = lookup(schema, "properties", root) or {}
    for name, sub in properties.items():
        default = lookup(sub, "default", root, _MISSING)
        if name in value or default is not _MISSING:
            filled[name] = value[name] if name in value else deepcopy(default)
            if isinstance(filled[name], dict):
                filled[name] = _with_defaults(sub, filled[name], root)
    return {**filled, **{name: item for name, item in value.items() if name not in filled}}


def _integers(definition: PayloadDefinition, name: str, value: Any) -> Any:
    """Write 2.0 as 2 where the schema wants an integer: the program would not read "2.0"."""
    root = definition.parameters
    match definition.kinds.get(name), value:
        case Kind.JSON, float() if value.is_integer() and is_integer(definition.properties[name], root):
            return int(value)
        case Kind.JSONS, list() if is_integer(lookup(definition.properties[name], "items", root), root):
            return [int(i) if isinstance(i, float) and i.is_integer() else i for i in value]
        case _:
            return value


def _from_schema(definition: PayloadDefinition, error: ValidationError) -> Iterator[ParameterProblem]:
    path = ".".join([_ROOT, *map(str, error.absolute_path)])
    instance: Any = error.instance
    rule: Any = error.validator_value
    match error.validator:
        case "required":
            for name in rule:
                if name not in instance:
                    yield ParameterProblem(f"{path}.{name}", "is required")
        case "additionalProperties" if path == _ROOT:
            yield from (_unknown(definition, n) for n in instance if n not in definition.properties)
        case _:
            name = str(error.absolute_path[0]) if error.absolute_path else ""
            yield ParameterProblem(*_hide(definition, name, path, _reason(error)))


def _reason(error: ValidationError) -> str:
    text = error.message.replace(repr(error.instance), show(error.instance))
    if error.validator in {"anyOf", "oneOf"} and error.context:
        text += f" ({'; '.join(dict.fromkeys(map(_reason, error.context)))})"
    return text


def _hide(definition: PayloadDefinition, name: str, path: str, reason: str) -> tuple[str, str]:
    return path, "is refused (its value is not shown)" if _is_secret(definition, name) else reason


def _is_secret(definition: PayloadDefinition, name: str) -> bool:
    return lookup(definition.properties.get(name), "writeOnly", definition.parameters) is True


def _unknown(definition: PayloadDefinition, name: Any) -> ParameterProblem:
    known = list(definition.properties)
    hint = f"{near_match(str(name), known)} (known: {', '.join(known) or 'none'})"
    return ParameterProblem(f"{_ROOT}.{name}", f"the payload {definition.name} has no such parameter{hint}")


def _beyond_schema(definition: PayloadDefinition, values: Mapping[str, Any]) -> Iterator[ParameterProblem]:
    for name, kind in definition.kinds.items():
        if kind is Kind.TEXTS and values.get(name) == [""]:
            minimum = lookup(definition.properties[name], "minItems", definition.parameters)
            if not minimum:
                reason = "one empty text alone cannot be told from an empty array"
                yield ParameterProblem(f"{_ROOT}.{name}", reason)
    if definition.run is not None:
        yield from command_problems(definition.run, values)
