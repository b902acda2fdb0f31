"""Options that several commands share."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = ["folder_option", "index_option"]

F = TypeVar("F", bound=Callable[..., Any])


def index_option(command: F) -> F:
    """``--index``: which CSC."""
    return click.option(
        "--index", type=click.IntRange(min=1), default=1, show_default=True, help="SAL index of the CSC."
    )(command)


def folder_option(command: F) -> F:
    """``--folder``: which sandbox."""
    return click.option(
        "--folder",
        type=click.Path(file_okay=False),
        default=None,
        help="Sandbox folder  [default: $OCPS_SANDBOX, else .sandbox]",
    )(command)
