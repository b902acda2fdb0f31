"""Our interface obeys the rules that ts_xml's own tests enforce, so that it can be proposed there."""

import re
from collections import Counter
from importlib.resources import files
from pathlib import Path
from xml.etree.ElementTree import Element

import pytest
from astropy.units import Unit
from defusedxml.ElementTree import parse

OWN = Path(str(files("lsst.ts.ocps.interfaces")))
FILES = sorted(OWN.glob("*_*.xml"))
GENERIC_AND_DEPLOYED = {"name", "duration"}
"""Field names that ts_xml itself has although its rules forbid them: logMessage.name, Test_command_wait."""

IDL_WORDS = """
ABSTRACT ANY ATTRIBUTE BOOLEAN CASE CHAR COMPONENT CONST CONSUMES CONTEXT CUSTOM DEC DEFAULT
DOUBLE EMITS ENUM EVENTTYPE EXCEPTION EXIT FACTORY FALSE FINDER FIXED FLOAT GETRAISES HOME
IMPORT IN INOUT INTERFACE LIMIT LOCAL LONG MODULE MULTIPLE NATIVE OBJECT OCTET ONEWAY OUT
PRIMARYKEY PRIVATE PROVIDES PUBLIC PUBLISHES RAISES READONLY SEQUENCE SETRAISES SHORT STRING
STRUCT SUPPORTS SWITCH TRUE TRUNCATABLE TYPEDEF TYPEID TYPEPREFIX UNION UNSIGNED USES VALUEBASE
VALUETYPE VOID WCHAR WSTRING
"""
DATABASE_WORDS = """
TIME ALL ALTER ANALYZE ANY AS ASC BEGIN BY CREATE CONTINUOUS DATABASE DATABASES DEFAULT DELETE
DESC DESTINATIONS DIAGNOSTICS DISTINCT DROP DURATION END EVERY EXPLAIN FIELD FOR FROM GRANT
GRANTS GROUP GROUPS IN INF INSERT INTO KEY KEYS KILL LIMIT SHOW MEASUREMENT MEASUREMENTS NAME
OFFSET ON ORDER PASSWORD POLICY POLICIES PRIVILEGES QUERIES QUERY READ REPLICATION RESAMPLE
RETENTION REVOKE SELECT SERIES SET SHARD SHARDS SLIMIT SOFFSET STATS SUBSCRIPTION SUBSCRIPTIONS
TAG TO USER USERS VALUES WHERE WITH WRITE
"""
SAL_RESERVED = frozenset({"SALINDEX"})
RESERVED = frozenset([*IDL_WORDS.split(), *DATABASE_WORDS.split(), *SAL_RESERVED])

SAL_TYPES = frozenset(
    {
        *("boolean", "byte", "short", "int", "long", "long long", "unsigned short", "unsigned int"),
        *("float", "double", "string"),
    }
)
TOPIC_PREFIX = {"Commands": "command_", "Events": "logevent_", "Telemetry": ""}


def read_root(file: Path) -> Element:
    root: Element | None = parse(file).getroot()
    assert root is not None
    return root


def read_topics(file: Path) -> list[Element]:
    return [topic for topic in read_root(file) if topic.tag != "Enumeration"]


def read_items() -> list[tuple[str, Element]]:
    return [
        (f"{file.stem}:{topic.findtext('EFDB_Topic')}:{item.findtext('EFDB_Name')}", item)
        for file in FILES
        for topic in read_topics(file)
        for item in topic.findall("item")
    ]


ITEMS = read_items()


def test_there_is_something_to_check() -> None:
    assert {file.stem for file in FILES} >= {"OCPS_Commands", "OCPS_Events", "OCPS_Telemetry"}
    assert len(ITEMS) > 50


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_names_of_topics(file: Path) -> None:
    component, _, kind = file.stem.partition("_")
    names = [topic.findtext("EFDB_Topic") or "" for topic in read_topics(file)]
    assert names
    for topic, name in zip(read_topics(file), names, strict=True):
        assert topic.findtext("Subsystem") == component
        assert re.fullmatch(rf"{component}_{TOPIC_PREFIX[kind]}[a-z][A-Za-z0-9_]*", name)
        assert (topic.findtext("Description") or "").strip()
    assert max(Counter(names).values()) == 1


@pytest.mark.parametrize(("where", "item"), ITEMS, ids=[where for where, _ in ITEMS])
def test_fields(where: str, item: Element) -> None:
    name = item.findtext("EFDB_Name") or ""
    assert re.fullmatch(r"[a-z][a-zA-Z0-9_]*", name)
    assert name.upper() not in RESERVED or name in GENERIC_AND_DEPLOYED
    assert (item.findtext("Description") or "").strip()
    sal_type = item.findtext("IDL_Type") or ""
    assert sal_type in SAL_TYPES
    count = int(item.findtext("Count") or "")
    assert count == 1 or (count > 1 and sal_type != "string")
    units = item.findtext("Units") or ""
    assert units == "unitless" or Unit(units).to_string()
    assert units == "unitless" or sal_type != "string"


def test_no_new_field_has_a_reserved_name() -> None:
    assert [where for where, _ in ITEMS if where.startswith("OCPS") and is_reserved(where)] == []


def is_reserved(where: str) -> bool:
    return where.rpartition(":")[2].upper() in RESERVED


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_no_topic_has_a_field_twice(file: Path) -> None:
    for topic in read_topics(file):
        names = Counter(item.findtext("EFDB_Name") for item in topic.findall("item"))
        assert all(count == 1 for count in names.values())


@pytest.mark.parametrize(("where", "item"), ITEMS, ids=[where for where, _ in ITEMS])
def test_times_are_doubles(where: str, item: Element) -> None:
    text = f"{item.findtext('EFDB_Name')} {item.findtext('Description')}"
    is_time = "timestamp" in text.lower() or re.search(r"\bTAI\b", text) is not None
    assert not is_time or item.findtext("IDL_Type") == "double"
    assert not is_time or item.findtext("Units") == "second"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_enumerations(file: Path) -> None:
    for enumeration in read_root(file).findall("Enumeration"):
        for entry in (enumeration.text or "").split(","):
            assert re.fullmatch(r"[A-Z][a-zA-Z0-9_]*(\s*=\s*(0[xX][0-9a-fA-F]+|-?\d+))?", entry.strip())


@pytest.mark.parametrize("file", sorted(OWN.glob("*.xml")), ids=lambda file: file.stem)
def test_names_have_no_blanks_around_or_in_them(file: Path) -> None:
    tags = ("Name", "Subsystem", "EFDB_Topic", "EFDB_Name", "Category")
    names = [element.text or "" for element in read_root(file).iter() if element.tag in tags]
    assert names
    assert [name for name in names if name != "".join(name.split()) or not name] == []


def test_generic_topics_are_named_and_described_as_ours() -> None:
    topics = [topic for kind in read_root(OWN / "SALGenerics.xml") for topic in kind]
    names = [topic.findtext("EFDB_Topic") or "" for topic in topics if topic.tag != "Enumeration"]
    assert max(Counter(names).values()) == 1
    for name in names:
        assert re.fullmatch(r"SALGeneric_(command|logevent)_[a-z][A-Za-z0-9]*", name)
    for topic in topics:
        for element in [topic, *topic.findall("item")]:
            assert topic.tag == "Enumeration" or (element.findtext("Description") or "").strip()


def test_components_are_described_once_and_their_indices_have_names_or_none() -> None:
    components = list(read_root(OWN / "SALSubsystems.xml"))
    assert max(Counter(component.findtext("Name") for component in components).values()) == 1
    for component in components:
        assert (component.findtext("Description") or "").strip()
        indices = component.findtext("IndexEnumeration") or ""
        assert re.fullmatch(r"no|any|[A-Za-z]\w*(=\d+)?(, [A-Za-z]\w*(=\d+)?)*", indices)


def test_the_phase_enumeration_has_every_phase_of_the_standard_once() -> None:
    text = read_root(OWN / "OCPS_Events.xml").findtext("Enumeration") or ""
    names = dict(entry.strip().split("=") for entry in text.split(","))
    phases = {name.removeprefix("PhaseCode_").upper() for name in names}
    assert phases == {
        *("PENDING", "QUEUED", "EXECUTING", "COMPLETED", "ERROR", "ABORTED"),
        *("UNKNOWN", "HELD", "SUSPENDED", "ARCHIVED"),
    }
    assert len(set(names.values())) == len(names)
