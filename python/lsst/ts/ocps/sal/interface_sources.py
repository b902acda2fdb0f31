"""Where interface XML comes from: this package, and an installed ts_xml (sal-on-kafka section 3)."""

import functools
import importlib
import importlib.metadata
import importlib.util
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType

from .interface import FieldInfo
from .standard_fields import ACKCMD_FIELDS, PRIVATE_FIELDS

__all__ = ["OWN_FIELDS", "InterfaceSource", "find_ts_xml", "open_own", "open_ts_xml"]

_log = logging.getLogger(__name__)

_OWN_PACKAGE = "lsst.ts.ocps.interfaces"
_TS_XML = "lsst.ts.xml"

OWN_FIELDS = MappingProxyType({**PRIVATE_FIELDS, **ACKCMD_FIELDS})
"""The standard fields with our own descriptions."""


@dataclass(frozen=True)
class InterfaceSource:
    """One folder with interface XML."""

    directory: Traversable
    standard_fields: Mapping[str, FieldInfo]
    """The private fields and those of ackcmd, with the descriptions that belong to this folder."""

    rev_codes: Mapping[str, Mapping[str, str]]
    """Pinned revCodes by component and sal name."""

    xml_version: str = "builtin"
    is_definitive: bool = False
    """Whether all texts are those of the site, so that a computed revCode is the site's."""


@functools.cache
def open_own() -> InterfaceSource:
    """The XML of this package."""
    directory = files(_OWN_PACKAGE)
    rev_codes = json.loads((directory / "rev_codes.json").read_text(encoding="utf-8"))
    return InterfaceSource(directory, OWN_FIELDS, rev_codes)


def find_ts_xml() -> Path | None:
    """The folder with the interfaces of an installed ts_xml, found without importing it; None without one."""
    spec = importlib.util.find_spec(_TS_XML)
    for root in (spec.submodule_search_locations or ()) if spec is not None else ():
        for folder in ("interfaces", "sal_interfaces"):
            candidate = Path(root) / "data" / folder
            if (candidate / "SALSubsystems.xml").is_file():
                return candidate
    return None


def open_ts_xml(directory: Path) -> InterfaceSource:
    """The XML of an installed ts_xml.

    Parameters
    ----------
    directory
        What `find_ts_xml` has found.
    """
    fields = _read_ts_xml_fields()
    if fields is not None:
        return InterfaceSource(directory, fields, {}, _get_ts_xml_version(), is_definitive=True)
    # Without its texts a computed revCode cannot be right; the pinned one may be.
    _log.warning("no descriptions of the private fields in %s.topic_info: revCodes are ours", _TS_XML)
    return InterfaceSource(directory, OWN_FIELDS, open_own().rev_codes, _get_ts_xml_version())


def _read_ts_xml_fields() -> Mapping[str, FieldInfo] | None:
    """Our standard fields with the descriptions of the installed ts_xml, which its XML does not hold."""
    try:
        topic_info = importlib.import_module(f"{_TS_XML}.topic_info")
        theirs = {**topic_info.PRIVATE_FIELDS, **topic_info.ACKCMD_FIELDS}
        return MappingProxyType(
            {
                name: FieldInfo(
                    name=name,
                    sal_type=info.sal_type,
                    avro_type=info.avro_type,
                    units=theirs[name].units,
                    description=theirs[name].description,
                )
                for name, info in OWN_FIELDS.items()
            }
        )
    except (ImportError, AttributeError, KeyError, TypeError) as error:
        _log.debug("%s.topic_info cannot be used: %r", _TS_XML, error)
        return None


def _get_ts_xml_version() -> str:
    for distribution in ("ts-xml", "lsst-ts-xml"):
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    try:
        return str(importlib.import_module(f"{_TS_XML}.version").__version__)
    except (ImportError, AttributeError):
        return "?"
