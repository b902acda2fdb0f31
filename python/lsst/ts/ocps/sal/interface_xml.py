"""Interface XML to `~lsst.ts.ocps.sal.interface.ComponentInfo` (sal-on-kafka section 3)."""

import functools
import logging
from collections.abc import Iterator, Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType
from xml.etree.ElementTree import Element, ParseError  # nosec B405 # types; defusedxml parses

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import parse

from .errors import InterfaceError
from .interface import ComponentInfo, FieldInfo, TopicInfo, TopicKind
from .interface_sources import OWN_FIELDS, InterfaceSource, find_ts_xml, open_own, open_ts_xml
from .standard_fields import ACKCMD_DESCRIPTION, ACKCMD_FIELDS, PRIVATE_FIELDS

__all__ = ["load_component"]

_log = logging.getLogger(__name__)

_AVRO_TYPES = {
    "boolean": "boolean",
    **dict.fromkeys(("byte", "short", "int", "long", "unsigned short"), "int"),
    **dict.fromkeys(("unsigned int", "long long"), "long"),
    "float": "float",
    "double": "double",
    "string": "string",
}

_FILE_KINDS = ("Commands", "Events", "Telemetry")


def load_component(name: str, directory: Path | None = None) -> ComponentInfo:
    """Read the interface of a component; the answer is kept, so that all users share one object.

    Blocking (some ms, once per component).

    Parameters
    ----------
    name
        Name of the component, such as ``OCPS``.
    directory
        Folder with the XML files; None: an installed ts_xml for every topic that it has, and the files
        of this package for the rest.

    Raises
    ------
    ~lsst.ts.ocps.sal.errors.InterfaceError
        ``No such component X`` if it is in no ``SALSubsystems.xml``; or if a file is missing or wrong (names
        the file, the topic and the field).
    """
    if directory is not None:
        return _load(name, directory, None)
    return _load(name, None, find_ts_xml())


@functools.cache
def _load(name: str, directory: Path | None, ts_xml: Path | None) -> ComponentInfo:
    if directory is not None:
        component = _read_component(name, InterfaceSource(directory, OWN_FIELDS, {}))
        return _require(name, component)
    own = _read_component(name, open_own())
    if ts_xml is None:
        return _require(name, own)
    return _merge(name, _read_component(name, open_ts_xml(ts_xml)), own)


def _require(name: str, component: ComponentInfo | None) -> ComponentInfo:
    if component is None:
        raise InterfaceError(f"No such component {name}")
    return component


def _merge(name: str, site: ComponentInfo | None, own: ComponentInfo | None) -> ComponentInfo:
    if site is None or own is None:
        return _require(name, site or own)
    if site.is_indexed != own.is_indexed:
        # The site's word counts, and our topics have the wrong fields for it.
        _log.warning(
            "%s: indexed is %s in ts_xml %s; our further topics are left out",
            *(name, site.is_indexed, site.xml_version),
        )
        return site
    missing = {attr_name: topic for attr_name, topic in own.topics.items() if attr_name not in site.topics}
    if missing:
        _log.info("%s: not in ts_xml %s: %s", name, site.xml_version, ", ".join(sorted(missing)))
    return ComponentInfo(
        name=name,
        is_indexed=site.is_indexed,
        topics=MappingProxyType({**site.topics, **missing}),
        description=site.description,
        xml_version=site.xml_version,
        index_enumeration=site.index_enumeration or own.index_enumeration,
    )


# Reading


def _read_component(name: str, source: InterfaceSource) -> ComponentInfo | None:
    entry = _find_subsystem(name, source.directory)
    if entry is None:
        return None
    index_enumeration = _text(entry, "IndexEnumeration").strip()
    is_indexed = index_enumeration != "no"
    elements = [
        *_find_generics(entry, source.directory),
        *(
            (element, f"{name}_{kind}.xml")
            for kind in _FILE_KINDS
            for element in _read_set(name, kind, source)
        ),
    ]
    topics: dict[str, TopicInfo] = {}
    for element, file in elements:
        topic = _read_topic(element, file, name, is_indexed, source)
        if topic.attr_name in topics:
            raise InterfaceError(f"{file}: topic {topic.sal_name} of {name} is defined twice")
        topics[topic.attr_name] = topic
    ackcmd = _make_ackcmd(name, is_indexed, source)
    topics[ackcmd.attr_name] = ackcmd
    return ComponentInfo(
        name=name,
        is_indexed=is_indexed,
        topics=MappingProxyType(topics),
        description=_text(entry, "Description"),
        xml_version=source.xml_version,
        index_enumeration=_read_index_enumeration(index_enumeration, name),
    )


def _find_subsystem(name: str, directory: Traversable) -> Element | None:
    for entry in _parse(directory / "SALSubsystems.xml"):
        if _text(entry, "Name").strip() == name:
            return entry
    return None


def _read_index_enumeration(text: str, name: str) -> Mapping[str, int]:
    """``LATISS=1, RA=101`` as a mapping; names without a number count up from 1; "any" and "no" are empty."""
    names: dict[str, int] = {}
    previous = 0
    for item in text.split(",") if text not in {"any", "no", ""} else ():
        label, _, number = (part.strip() for part in item.partition("="))
        try:
            previous = int(number, 0) if number else previous + 1
        except ValueError as error:
            raise InterfaceError(
                f"SALSubsystems.xml: {name} has IndexEnumeration {text!r}: {error}"
            ) from error
        names[label] = previous
    return MappingProxyType(names)


def _find_generics(entry: Element, directory: Traversable) -> Iterator[tuple[Element, str]]:
    file = "SALGenerics.xml"
    generics = [
        element
        for topic_set in _parse(directory / file)
        for element in topic_set
        if element.tag != "Enumeration"
    ]
    wanted = ["mandatory", *(item.strip() for item in _text(entry, "AddedGenerics").split(","))]
    for item in filter(None, wanted):
        if "_" in item:
            found = [element for element in generics if _topic_name(element, file) == f"SALGeneric_{item}"]
        else:
            found = [element for element in generics if _text(element, "Category").strip() == item]
        if not found:
            raise InterfaceError(
                f"SALSubsystems.xml: {_text(entry, 'Name')} adds generics {item!r}, unknown in {file}"
            )
        yield from ((element, file) for element in found)


def _read_set(name: str, kind: str, source: InterfaceSource) -> list[Element]:
    file = f"{name}_{kind}.xml"
    tag = f"SAL{kind.rstrip('s')}"
    for path in (source.directory / name / file, source.directory / file):
        if path.is_file():
            return _parse(path).findall(tag)
    return []


def _read_topic(
    element: Element, file: str, component_name: str, is_indexed: bool, source: InterfaceSource
) -> TopicInfo:
    _, _, sal_name = _topic_name(element, file).partition("_")
    fields = _private_fields(is_indexed, source)
    for item in element.findall("item"):
        info = _read_field(item, f"{file}: {sal_name}")
        if info.name in fields:
            raise InterfaceError(f"{file}: {sal_name} has two fields {info.name}")
        fields[info.name] = info
    return TopicInfo(
        component_name=component_name,
        kind=_kind_of(sal_name),
        sal_name=sal_name,
        is_indexed=is_indexed,
        fields=MappingProxyType(fields),
        description=_text(element, "Description"),
        pinned_rev_code=source.rev_codes.get(component_name, {}).get(sal_name),
        is_definitive=source.is_definitive,
    )


def _make_ackcmd(component_name: str, is_indexed: bool, source: InterfaceSource) -> TopicInfo:
    public = {name: source.standard_fields[name] for name in ACKCMD_FIELDS}
    return TopicInfo(
        component_name=component_name,
        kind=TopicKind.ACKCMD,
        sal_name="ackcmd",
        is_indexed=is_indexed,
        fields=MappingProxyType({**_private_fields(is_indexed, source), **public}),
        description=ACKCMD_DESCRIPTION,
        pinned_rev_code=source.rev_codes.get(component_name, {}).get("ackcmd"),
        is_definitive=source.is_definitive,
    )


def _private_fields(is_indexed: bool, source: InterfaceSource) -> dict[str, FieldInfo]:
    return {name: source.standard_fields[name] for name in PRIVATE_FIELDS if is_indexed or name != "salIndex"}


def _kind_of(sal_name: str) -> TopicKind:
    if sal_name.startswith("command_"):
        return TopicKind.COMMAND
    return TopicKind.EVENT if sal_name.startswith("logevent_") else TopicKind.TELEMETRY


def _read_field(item: Element, where: str) -> FieldInfo:
    name = _text(item, "EFDB_Name").strip()
    if not name:
        raise InterfaceError(f"{where}: a field without EFDB_Name")
    sal_type = _text(item, "IDL_Type").strip()
    if sal_type not in _AVRO_TYPES:
        raise InterfaceError(
            f"{where}: field {name} has IDL_Type {sal_type!r}; known are {sorted(_AVRO_TYPES)}"
        )
    count_text = _text(item, "Count").strip() or "1"
    if not count_text.isdigit() or int(count_text) < 1:
        raise InterfaceError(f"{where}: field {name} has Count {count_text!r}; a number from 1 on is needed")
    return FieldInfo(
        name=name,
        sal_type=sal_type,
        avro_type=_AVRO_TYPES[sal_type],
        count=1 if sal_type == "string" else int(count_text),
        units=_text(item, "Units") or "unitless",
        description=_text(item, "Description"),
    )


def _topic_name(element: Element, file: str) -> str:
    name = _text(element, "EFDB_Topic").strip()
    if not all(name.partition("_")):
        raise InterfaceError(f"{file}: EFDB_Topic {name!r} is not <component>_<topic>")
    return name


def _text(element: Element, tag: str) -> str:
    """Text of a child as it stands (the revCode depends on every blank); "" if it is absent or empty."""
    return element.findtext(tag) or ""


def _parse(path: Traversable) -> Element:
    try:
        with path.open("rb") as stream:
            root: Element | None = parse(stream).getroot()
    except (OSError, ParseError, DefusedXmlException) as error:
        raise InterfaceError(f"interface file {path}: {error}") from error
    if root is None:
        raise InterfaceError(f"interface file {path}: empty")
    return root
