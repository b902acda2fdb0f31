"""The file of bearer tokens: hashes, and whose they are.

::

    # owner  role      hash of the token
    ocps-csc user      sha256:(64 hexadecimal digits)
    night    operator  sha256:(64 hexadecimal digits)

A token is made of 32 random bytes. What cannot be guessed needs no slow hash: one SHA-256 suffices, and the
check of a request stays below a microsecond for each line.
"""

import hashlib
import hmac
import os
import re
import secrets
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .errors import ServiceStartError
from .owners import Caller, check_owner

__all__ = ["Token", "find_caller", "new_token", "read_tokens"]

_PREFIX = "ocps-"
"""Tells searches for leaked secrets what they have found."""

_HASH = re.compile(r"sha256:([0-9a-f]{64})")
_ROLES = {"user": False, "operator": True}
_MAX_FILE = 2**20
_FORBIDDEN = stat.S_IWGRP | stat.S_IROTH | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Token:
    """A line of the file."""

    digest: bytes
    caller: Caller

    def to_line(self) -> str:
        """The line."""
        role = "operator" if self.caller.sees_all else "user"
        return f"{self.caller.owner_id} {role} sha256:{self.digest.hex()}"


def new_token(owner: str, *, is_operator: bool) -> tuple[str, Token]:
    """Make a token.

    Parameters
    ----------
    owner
        Whose it is.
    is_operator
        Whether its owner sees the jobs of everybody.

    Returns
    -------
    tuple
        The token, which is not kept anywhere, and its line.

    Raises
    ------
    ValueError
        If nobody can be called so.
    """
    secret = _PREFIX + secrets.token_urlsafe(32)
    return secret, Token(_digest(secret), Caller(check_owner(owner), sees_all=is_operator))


def find_caller(tokens: Iterable[Token], secret: str) -> Caller | None:
    """Whose token that is; it takes the same time whichever line fits, and if none does."""
    digest = _digest(secret)
    found = None
    for token in tokens:
        if hmac.compare_digest(token.digest, digest):
            found = token.caller
    return found


def read_tokens(path: Path) -> tuple[Token, ...]:
    """Read the file; blocks.

    Raises
    ------
    ServiceStartError
        If it cannot be read, others may read or write it, or a line of it is wrong. Lines are named by their
        numbers and never shown.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise ServiceStartError(f"token file {path}: {error.strerror or error}") from error
    if forbidden := mode & _FORBIDDEN:
        reason = f"its mode is {mode & 0o777:o}: others may {'write' if forbidden & 0o022 else 'read'} it"
        raise ServiceStartError(f"token file {path}: {reason}; chmod 600 it")
    if len(content) > _MAX_FILE:
        raise ServiceStartError(f"token file {path}: it has more than {_MAX_FILE} bytes")
    try:
        return tuple(_parse(content.decode()))
    except ValueError as error:
        reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise ServiceStartError(f"token file {path}: {reason}") from None


def _parse(text: str) -> Iterable[Token]:
    seen: dict[bytes, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.partition("#")[0].split()
        if not fields:
            continue
        if len(fields) != 3:
            raise ValueError(f"line {number} is not 'OWNER user|operator sha256:HASH'")
        owner, role, written = fields
        found = _HASH.fullmatch(written)
        if role not in _ROLES or found is None:
            raise ValueError(f"line {number} is not 'OWNER user|operator sha256:HASH'")
        digest = bytes.fromhex(found[1])
        if digest in seen:
            raise ValueError(f"lines {seen[digest]} and {number} have the same token")
        seen[digest] = number
        try:
            yield Token(digest, Caller(check_owner(owner), sees_all=_ROLES[role]))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="surrogateescape")).digest()
