"""Small functions of the API that belong to no object (salobj-api section 2)."""

import functools
import getpass
import os
import re
import socket

from .errors import WildcardIndexError

__all__ = ["LOCAL_HOST", "MAX_SAL_INDEX", "get_user_host", "name_to_name_index"]

MAX_SAL_INDEX = (1 << 31) - 1
"""Largest index of a component."""

LOCAL_HOST = "127.0.0.1"
"""Address of this machine (obsolete)."""

_NAME_INDEX = re.compile(r"(?P<name>[a-zA-Z_-][a-zA-Z0-9_-]*)(?::(?P<index>\d+|\*))?")


def name_to_name_index(name: str) -> tuple[str, int]:
    """Split ``name`` or ``name:index``; without an index it is 0.

    Parameters
    ----------
    name
        Such as ``Script:15`` or ``MTRotator``; no blanks.

    Raises
    ------
    ~lsst.ts.ocps.sal.errors.WildcardIndexError
        If the index is ``*``.
    ValueError
        If the text is nothing of the kind.
    """
    match = _NAME_INDEX.fullmatch(name)
    if match is None:
        raise ValueError(f"name={name!r} is not of the form name or name:index (an integer >= 0)")
    index = match["index"]
    if index == "*":
        raise WildcardIndexError(match["name"])
    return match["name"], int(index or 0)


@functools.cache
def get_user_host() -> str:
    """``user@fully.qualified.host`` of this process: the identity of those that are no CSC.

    The first call may wait for a name server; call it in a thread where that matters.
    """
    return f"{_get_user()}@{socket.getfqdn()}"


def _get_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a number that no password file knows.
        return f"uid{os.getuid()}"
