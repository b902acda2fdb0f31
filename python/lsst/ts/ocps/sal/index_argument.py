"""The SAL index on the command line of a program."""

import argparse
from enum import IntEnum
from typing import Any

__all__ = ["IndexRule", "add_index", "take_index"]

IndexRule = int | bool | type[IntEnum] | None
"""True: any index, required; an IntEnum class: one of these, required; an int: this one; None or 0: none."""


def add_index(parser: argparse.ArgumentParser, rule: IndexRule) -> None:
    """Add the argument, if the rule asks for one."""
    if isinstance(rule, type):
        names = ", ".join(f"{member.value}: {member.name}" for member in rule)
        choices = [member.value for member in rule]
        parser.add_argument("index", type=int, choices=choices, help=f"SAL index; one of {names}")
    elif rule is True:
        parser.add_argument("index", type=int, help="SAL index")


def take_index(args: argparse.Namespace, rule: IndexRule) -> dict[str, Any]:
    """The argument ``index`` of a constructor; empty if there is none."""
    if hasattr(args, "index"):
        return {"index": int(args.index)}
    return {"index": rule} if rule else {}
