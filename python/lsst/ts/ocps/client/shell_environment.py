"""Parameters as environment variables, for servers that paste them into YAML. No I/O."""

import json
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator

from lsst.ts.ocps.payloads.template import parse_argument

from .base import ShellJob, Submission

__all__ = ["build_environment", "escape_yaml", "find_problems"]

_STACK = "EUPS_TAG"
"""What the deployed scripts choose the science pipelines by; nothing reads the deployed ``IMAGE_TAG``."""

_MAX_BYTES = 128 * 1024 - 1
"""Longest ``NAME=value`` that Linux gives to a program (byte, MAX_ARG_STRLEN without the final zero)."""

_NAMES = {'"': "a double quote", "\\": "a backslash", "\n": "a line break", "\r": "a carriage return"}
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def build_environment(submission: Submission, shell: ShellJob) -> list[tuple[str, str]]:
    """The variables of a job, in order.

    First those of the definition, with the parameters that they name; then each parameter that none of them
    names, under its own name; then ``EUPS_TAG`` if there is a ``version`` that is not empty. A list is one
    JSON text.

    Parameters
    ----------
    submission
        Its parameters are as `lsst.ts.ocps.payloads.parameters.encode` makes them.
    shell
        How the payload is run.
    """
    values = defaultdict(str, _join(submission.parameters, shell))
    arguments = [(name, parse_argument(template)) for name, template in shell.environment]
    used = {parameter for _, argument in arguments for parameter in argument.names}
    variables = [(name, argument.fill(values)) for name, argument in arguments]
    variables += [(name, value) for name, value in values.items() if name not in used]
    if values["version"] and _STACK not in {name for name, _ in variables}:
        variables.append((_STACK, values["version"]))
    return variables


def _join(pairs: Iterable[tuple[str, str]], shell: ShellJob) -> dict[str, str]:
    texts: dict[str, list[str]] = {}
    for name, text in pairs:
        texts.setdefault(name, []).append(text)
    joined = {}
    for name, items in texts.items():
        given = [] if items == [""] else items
        if name in shell.text_lists:
            joined[name] = json.dumps(given, ensure_ascii=False)
        elif name in shell.json_lists:
            joined[name] = f"[{', '.join(given)}]"
        else:
            joined[name] = items[-1]
    return joined


def find_problems(variables: Iterable[tuple[str, str]], *, is_escaped: bool) -> Iterator[str]:
    """What cannot become an environment variable as it is meant; each names the variable, not the value.

    Parameters
    ----------
    variables
        Names and values.
    is_escaped
        Whether `escape_yaml` is used.
    """
    for name, value in variables:
        size = len(f"{name}={value}".encode(errors="replace"))
        if size > _MAX_BYTES:
            yield f"{name}: is {size} bytes long; an environment variable ends at {_MAX_BYTES}"
        elif "\0" in value:
            yield f"{name}: holds U+0000, which no environment variable can"
        elif any("\ud800" <= char <= "\udfff" for char in value):
            yield f"{name}: has half of a surrogate pair, which is no text"
        elif not is_escaped and (unsafe := next((char for char in value if _is_unsafe(char)), None)):
            what = _NAMES.get(unsafe, f"the control character U+{ord(unsafe):04X}")
            yield f"{name}: holds {what}, which this server would change (see escape: yaml)"


def _is_unsafe(char: str) -> bool:
    """Whether a character does not stand for itself between double quotes (YAML 1.1 sections 5.1, 5.7)."""
    is_odd = char in "\ufeff\ufffe\uffff" or unicodedata.category(char) in {"Cc", "Zl", "Zp"}
    return char in '"\\' or is_odd


def escape_yaml(value: str) -> str:
    """A text that YAML reads as ``value`` when it stands between double quotes.

    Parameters
    ----------
    value
        Any text without surrogates.
    """
    return "".join(_ESCAPES.get(char, f"\\u{ord(char):04x}") if _is_unsafe(char) else char for char in value)
