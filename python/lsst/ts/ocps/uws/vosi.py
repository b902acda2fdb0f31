"""Read what a service says of itself (VOSI 1.1): availability and capabilities."""

import re
from dataclasses import dataclass

from .errors import UwsDocumentError
from .xmltree import beginning, parse_xml

__all__ = ["Availability", "parse_availability", "parse_uws_version"]

_UWS_STANDARD = re.compile(r"ivo://ivoa\.net/std/UWS#rest-(\d+\.\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Availability:
    """The availability document (VOSI 1.1 section 2)."""

    is_available: bool
    """Whether the service takes requests."""

    notes: tuple[str, ...] = ()
    """Remarks for people."""


def parse_availability(data: bytes) -> Availability:
    """Read an availability document.

    Raises
    ------
    UwsDocumentError
        If it is none, or does not say whether the service is available.
    """
    root = parse_xml(data, expected="the availability document")
    values = [node.text.strip().lower() for node in root.children if node.name == "available"]
    if root.name != "availability" or not values:
        raise UwsDocumentError(f"not an availability document: {beginning(data)}", found=root.name)
    notes = tuple(" ".join(node.text.split()) for node in root.children if node.name == "note")
    return Availability(is_available=values[0] in {"true", "1"}, notes=tuple(filter(None, notes)))


def parse_uws_version(data: bytes) -> str:
    """Read the newest UWS version that a capabilities document claims; "" if it claims none.

    Raises
    ------
    UwsDocumentError
        If it is no capabilities document.
    """
    root = parse_xml(data, expected="the capabilities document")
    if root.name != "capabilities":
        raise UwsDocumentError(f"not a capabilities document: {beginning(data)}", found=root.name)
    # SODA's own example, and services made after it, write the attribute in lower case.
    names = [node.attribute("standardID") or node.attribute("standardid") or "" for node in root.children]
    versions = [match[1] for match in map(_UWS_STANDARD.match, names) if match]
    return max(versions, default="", key=lambda version: tuple(map(int, version.split("."))))
