"""From parameters to the argument list of a job; pure, and never a shell."""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from .errors import ParameterError, ParameterProblem
from .schema import RunSpec
from .template import Argument, parse_argument
from .values import show, to_text

__all__ = ["MAX_ARGUMENT", "build_command", "command_problems"]

MAX_ARGUMENT = 131_071
"""Longest argument that Linux passes to a program (byte; MAX_ARG_STRLEN of execve(2), less the NUL)."""


def build_command(run: RunSpec, parameters: Mapping[str, Any]) -> tuple[str, ...]:
    """Put parameters into a command.

    A text goes in verbatim, anything else as JSON text. ``{name}`` never becomes more than one argument
    or a part of one. A first argument ``python`` becomes the interpreter that runs this process.

    Parameters
    ----------
    run
        The command with its placeholders.
    parameters
        What `.parameters.validate` returned: every placeholder has a value.

    Raises
    ------
    ParameterError
        If a value would be taken for an option, or does not fit an argument.
    """
    if problems := list(command_problems(run, parameters)):
        raise ParameterError(problems)
    texts = {name: to_text(value) for name, value in parameters.items()}
    program, *arguments = (parse_argument(argument).fill(texts) for argument in run.command)
    for number, argument in enumerate(arguments, start=1):
        if (size := len(argument.encode(errors="surrogatepass"))) > MAX_ARGUMENT:
            reason = f"argument {number} of the command would be {size} bytes long ({MAX_ARGUMENT} at most)"
            raise ParameterError([ParameterProblem("parameters", reason)])
    return (sys.executable if program == "python" else program, *arguments)


def command_problems(run: RunSpec, parameters: Mapping[str, Any]) -> Iterator[ParameterProblem]:
    """Say why values cannot go into a command.

    Parameters
    ----------
    run, parameters
        As for `build_command`.

    Yields
    ------
    ParameterProblem
        One for each value that cannot.
    """
    arguments = [parse_argument(argument) for argument in run.command]
    for name in dict.fromkeys(name for argument in arguments for name in argument.names):
        if name not in parameters:
            yield ParameterProblem(f"parameters.{name}", "has no value, and the command needs one")
        elif reason := _refusal(run, name, to_text(parameters[name]), arguments):
            yield ParameterProblem(f"parameters.{name}", reason)


def _refusal(run: RunSpec, name: str, text: str, arguments: list[Argument]) -> str:
    whole = any(argument.whole == name for argument in arguments)
    if text.startswith("-") and whole and name not in run.allow_dash:
        return f"{show(text)} begins with '-', so that the program could take it for an option"
    if "\0" in text:
        return f"{show(text)} contains U+0000, which no argument can carry"
    size = len(text.encode(errors="surrogatepass"))
    return f"{size} bytes do not fit an argument ({MAX_ARGUMENT} at most)" if size > MAX_ARGUMENT else ""
