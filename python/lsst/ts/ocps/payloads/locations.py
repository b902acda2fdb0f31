"""Where results may be deposited: the one syntax of configuration and payload definitions. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from .template import parse_argument

__all__ = ["FIELDS", "Location", "check_location", "parse_location", "safe_part"]

FIELDS = frozenset({"payload", "site", "index", "day"})
"""What may stand in braces: name of the payload, site, SAL index, observing day (yyyymmdd)."""

_BUCKET = re.compile(r"([A-Za-z0-9_-]+@)?[A-Za-z0-9][A-Za-z0-9._:-]*")
_INSTANCE = re.compile(r"(?=.{1,50}$)[A-Za-z0-9]([A-Za-z0-9.]*[A-Za-z0-9])?")
_UNSAFE = re.compile(r"[^A-Za-z0-9._=+-]+")
_MAX_PART = 120


def safe_part(text: str) -> str:
    """A name for one file or folder: letters, digits and ``._=+-``, no dot in front, never empty.

    Parameters
    ----------
    text
        Any text; what may not stand in a name becomes ``_``, and the middle of a long one is left out.
    """
    part = _UNSAFE.sub("_", text)
    if len(part) > _MAX_PART:
        half = _MAX_PART // 2
        part = f"{part[:half]}_{part[1 - half :]}"
    return "_" + part.lstrip(".") if part.startswith(".") or not part else part


@dataclass(frozen=True, slots=True)
class Location:
    """A place for results, as a template."""

    scheme: str
    """``file``, ``s3`` or ``lfa`` (the large file annex)."""

    root: str
    """What has to exist: an absolute folder, ``bucket``, or the instance of the annex."""

    folder: str = ""
    """What is made below it, without slashes at its ends; placeholders in braces."""

    def render(self, fields: Mapping[str, str]) -> "Location":
        """The same place with names instead of the placeholders.

        Parameters
        ----------
        fields
            A value for each of `FIELDS`.
        """
        # Names are made safe first: a slash in one would be another folder.
        values = {name: safe_part(fields[name]) for name in FIELDS}
        parts = (parse_argument(part).fill(values) for part in self.folder.split("/") if part)
        return Location(self.scheme, self.root, "/".join(parts))


def parse_location(text: str) -> Location:
    """Read the template of a location.

    Parameters
    ----------
    text
        ``/folder/…``, ``file:///folder/…``, ``s3://bucket/…``, ``s3://profile@bucket/…`` (a profile of
        lsst-resources) or ``lfa://instance``.

    Raises
    ------
    ValueError
        If it is none of these; says why.
    """
    if text.startswith("/"):
        return _parse_folder(text)
    parts = urlsplit(text)
    if parts.query or parts.fragment or parts.password is not None:
        raise ValueError("a location has no query, no fragment and no password")
    match parts.scheme:
        case "file" if not parts.netloc and parts.path.startswith("/"):
            return _parse_folder(unquote(parts.path))
        case "s3" if _BUCKET.fullmatch(parts.netloc):
            return Location("s3", parts.netloc, "/".join(_check_parts(parts.path)))
        case "lfa" if _INSTANCE.fullmatch(parts.netloc) and not parts.path.strip("/"):
            return Location("lfa", parts.netloc)
    raise ValueError("a location is /FOLDER…, s3://BUCKET/PREFIX… or lfa://INSTANCE (large file annex)")


def check_location(text: str) -> str:
    """Return the text if it is a location, or empty; for models."""
    if text:
        _ = parse_location(text)
    return text


def _parse_folder(path: str) -> Location:
    """What stands before the first placeholder has to exist: a volume that is not mounted is noticed then."""
    parts = _check_parts(path)
    fixed = next((number for number, part in enumerate(parts) if "{" in part), len(parts))
    if not fixed:
        raise ValueError("a location begins with a folder that exists, not with a placeholder")
    return Location("file", "/" + "/".join(parts[:fixed]), "/".join(parts[fixed:]))


def _check_parts(path: str) -> list[str]:
    parts = [part for part in path.split("/") if part]
    for part in parts:
        names = parse_argument(part).names
        if unknown := sorted(set(names) - FIELDS):
            raise ValueError(f"{{{unknown[0]}}} is unknown (known: {', '.join(sorted(FIELDS))})")
        if part in {".", ".."} or not part.isprintable():
            raise ValueError(f"{part!r} cannot be part of a location")
    return parts
