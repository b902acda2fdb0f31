"""Interface XML: our own files, a folder, and an installed ts_xml."""

import importlib
import json
import shutil
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from lsst.ts.ocps.csc import outlet
from lsst.ts.ocps.sal.avro import build_schema, compute_rev_code, rev_code
from lsst.ts.ocps.sal.controller import Controller
from lsst.ts.ocps.sal.errors import InterfaceError
from lsst.ts.ocps.sal.interface import TopicKind
from lsst.ts.ocps.sal.interface_xml import load_component
from lsst.ts.ocps.sal.registry import create_registry
from lsst.ts.ocps.sal.remote import Remote
from lsst.ts.ocps.sal.settings import SalSettings
from support.golden import GOLDEN_COMPONENTS, load_golden

OWN = Path(str(files("lsst.ts.ocps.interfaces")))

NEW_TOPICS = set(outlet.NEW_TOPICS)

TS_XML_FIELDS = """
class Field:
    def __init__(self, description, units):
        self.description = description
        self.units = units

STAMPS = ["sndStamp", "rcvStamp", "efdStamp", "kafkaStamp"]
OTHERS = ["seqNum", "revCode", "identity", "origin"]
PRIVATE_FIELDS = {"salIndex": Field("Site salIndex", "unitless")}
PRIVATE_FIELDS |= {f"private_{name}": Field(f"Site {name}", "second") for name in STAMPS}
PRIVATE_FIELDS |= {f"private_{name}": Field(f"Site {name}", "unitless") for name in OTHERS}
NAMES = ["ack", "error", "result", "identity", "origin", "cmdtype"]
ACKCMD_FIELDS = {name: Field(f"Site {name}", "unitless") for name in NAMES}
ACKCMD_FIELDS["timeout"] = Field("Site timeout", "second")
"""


@pytest.mark.parametrize("name", GOLDEN_COMPONENTS)
def test_our_files_have_every_topic_of_the_deployed_interface(name: str) -> None:
    component = load_component(name)
    golden = load_golden(name)
    assert golden["topics"].keys() <= component.topics.keys()
    assert component.is_indexed is golden["indexed"]
    for attr_name, expected in golden["topics"].items():
        topic = component.topics[attr_name]
        assert topic.attr_name == attr_name
        assert topic.sal_name == expected["sal_name"]
        assert topic.partitions == expected["partitions"]
        public = {n: f.sal_type for n, f in topic.fields.items() if n in expected["sal_types"]}
        assert public == expected["sal_types"]
        assert (topic.kind is TopicKind.EVENT) is (expected["cleanup_policy"] == "compact")


def test_our_interface_adds_exactly_the_new_topics() -> None:
    assert load_component("OCPS").topics.keys() - load_golden("OCPS")["topics"].keys() == NEW_TOPICS


def test_names_of_the_indices() -> None:
    component = load_component("OCPS")
    assert component.index_enumeration == {"LATISS": 1, "LSSTComCam": 2, "LSSTCam": 3, "RA": 101}
    assert load_component("Test").index_enumeration == {}


def test_a_component_is_read_once() -> None:
    assert load_component("OCPS") is load_component("OCPS")


def test_private_fields_come_first_and_salindex_only_where_indexed(tmp_path: Path) -> None:
    assert list(load_component("OCPS").topics["evt_heartbeat"].fields)[:2] == ["salIndex", "private_sndStamp"]
    component = load_component("Single", write_folder(tmp_path))
    topic = component.topics["evt_heartbeat"]
    assert not component.is_indexed
    assert next(iter(topic.fields)) == "private_sndStamp"
    assert topic.key(0) == b'{ "name": "Single", "topic": "logevent_heartbeat" }'


def test_an_unknown_component_is_named() -> None:
    with pytest.raises(InterfaceError, match=r"^No such component Nosuch$"):
        load_component("Nosuch")


def write_folder(folder: Path, *, item: str = "", generics: str = "") -> Path:
    """A folder with one unindexed component and our generics."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(OWN / "SALGenerics.xml", folder)
    (folder / "SALSubsystems.xml").write_text(
        "<SALSubsystemSet><SALSubsystem><Name>Single</Name><IndexEnumeration> no </IndexEnumeration>"
        f"<AddedGenerics>{generics}</AddedGenerics></SALSubsystem></SALSubsystemSet>"
    )
    (folder / "Single_Events.xml").write_text(
        "<SALEventSet><Enumeration>A, B</Enumeration><SALEvent>"
        f"<EFDB_Topic>Single_logevent_two_words</EFDB_Topic>{item}</SALEvent></SALEventSet>"
    )
    return folder


def write_item(**tags: str) -> str:
    return f"<item>{''.join(f'<{tag}>{text}</{tag}>' for tag, text in tags.items())}</item>"


def test_only_mandatory_generics_come_without_being_asked_for(tmp_path: Path) -> None:
    topics = load_component("Single", write_folder(tmp_path)).topics
    assert topics.keys() == {
        *("ack_ackcmd", "evt_heartbeat", "evt_logLevel", "evt_logMessage", "evt_softwareVersions"),
        "evt_two_words",
    }


def test_generics_are_added_by_category_and_by_name(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, generics="configurable, command_enterControl")
    topics = load_component("Single", folder).topics
    assert {"evt_configurationApplied", "evt_configurationsAvailable", "cmd_enterControl"} <= topics.keys()
    assert "cmd_start" not in topics


def test_what_the_xml_leaves_out_has_defaults_and_texts_are_kept_as_they_are(tmp_path: Path) -> None:
    folder = write_folder(
        tmp_path,
        item=write_item(EFDB_Name="plain", IDL_Type="long")
        + write_item(
            EFDB_Name="many", IDL_Type="unsigned int", Count="3", Units="m", Description=" two\n lines "
        )
        + write_item(EFDB_Name="words", IDL_Type="string", IDL_Size="20", Count="5"),
    )
    topic = load_component("Single", folder).topics["evt_two_words"]
    fields = {field["name"]: field for field in build_schema(topic)["fields"]}
    assert fields["plain"] == {
        "name": "plain",
        "type": "int",
        "default": 0,
        "description": "",
        "units": "unitless",
    }
    assert fields["many"]["type"] == {"type": "array", "items": "long"}
    assert fields["many"]["default"] == [0, 0, 0]
    assert fields["many"]["description"] == " two\n lines "
    assert fields["many"]["units"] == "m"
    assert fields["words"]["type"] == "string"


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (write_item(IDL_Type="long"), "without EFDB_Name"),
        (write_item(EFDB_Name="x", IDL_Type="octet"), "field x has IDL_Type 'octet'"),
        (write_item(EFDB_Name="x"), "field x has IDL_Type ''"),
        (write_item(EFDB_Name="x", IDL_Type="int", Count="0"), "field x has Count '0'"),
        (write_item(EFDB_Name="x", IDL_Type="int", Count="many"), "field x has Count 'many'"),
        (2 * write_item(EFDB_Name="x", IDL_Type="int"), "two fields x"),
        (write_item(EFDB_Name="private_seqNum", IDL_Type="int"), "two fields private_seqNum"),
    ],
)
def test_a_wrong_field_is_named_with_file_topic_and_reason(item: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(InterfaceError) as caught:
        load_component("Single", write_folder(tmp_path, item=item))
    assert str(caught.value).startswith("Single_Events.xml: logevent_two_words")
    assert reason in str(caught.value)


@pytest.mark.parametrize("generics", ["nosuch", "logevent_nosuch"])
def test_unknown_generics_are_named(generics: str, tmp_path: Path) -> None:
    with pytest.raises(InterfaceError, match=f"Single adds generics '{generics}'"):
        load_component("Single", write_folder(tmp_path, generics=generics))


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InterfaceError, match=r"SALSubsystems\.xml"):
        load_component("Single", tmp_path)
    folder = write_folder(tmp_path / "broken")
    (folder / "Single_Events.xml").write_text("<SALEventSet>")
    with pytest.raises(InterfaceError, match=r"Single_Events\.xml"):
        load_component("Single", folder)


def test_entities_in_a_file_are_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    (folder / "Single_Events.xml").write_text('<!DOCTYPE x [<!ENTITY a "b">]><SALEventSet>&a;</SALEventSet>')
    with pytest.raises(InterfaceError, match=r"Single_Events\.xml"):
        load_component("Single", folder)


# An installed ts_xml ------------------------------------------------------------------------------------


@pytest.fixture
def ts_xml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed ts_xml with OCPS as deployed, other texts than ours, and one more component."""
    package = tmp_path / "site" / "lsst" / "ts" / "xml"
    data = package / "data" / "sal_interfaces"
    write_folder(data)
    for name in ("OCPS_Commands.xml", "OCPS_Events.xml"):
        (data / "OCPS").mkdir(exist_ok=True)
        shutil.copy(OWN / name, data / "OCPS")
    _keep_topics(data / "OCPS" / "OCPS_Commands.xml", ("command_execute", "command_abort_job"))
    _keep_topics(data / "OCPS" / "OCPS_Events.xml", ("logevent_job_result", "logevent_job_id"))
    subsystems = data / "SALSubsystems.xml"
    entry = (
        "<SALSubsystem><Name>OCPS</Name><Description>Site</Description><IndexEnumeration>any"
        "</IndexEnumeration><AddedGenerics>csc, configurable</AddedGenerics></SALSubsystem></SALSubsystemSet>"
    )
    subsystems.write_text(subsystems.read_text().replace("</SALSubsystemSet>", entry))
    (package / "__init__.py").write_text("")
    (package / "version.py").write_text('__version__ = "99.1"')
    (package / "topic_info.py").write_text(TS_XML_FIELDS)
    monkeypatch.syspath_prepend(tmp_path / "site")
    # Where a package of the stack is installed, `lsst` has looked for its parts once, when it was imported.
    lsst = importlib.import_module("lsst")
    monkeypatch.setattr(lsst, "__path__", [str(tmp_path / "site" / "lsst"), *lsst.__path__])
    for name in [name for name in sys.modules if name.startswith("lsst.ts.xml")]:
        monkeypatch.delitem(sys.modules, name)
    yield data
    for name in [name for name in sys.modules if name.startswith("lsst.ts.xml")]:
        del sys.modules[name]


def _keep_topics(file: Path, sal_names: tuple[str, ...]) -> None:
    head, *topics = file.read_text().split("  <SAL")
    kept = [topic for topic in topics if any(f"_{name}<" in topic for name in sal_names)]
    root = head.rpartition("<SAL")[2].partition(">")[0].partition("\n")[0]
    body = "".join(f"  <SAL{topic}" for topic in kept).replace("Identifier of", "Site's identifier of")
    closing = "" if body.rstrip().endswith(f"</SAL{root}>") else f"</SAL{root}>\n"
    file.write_text(head + body + closing)


def test_an_installed_ts_xml_wins_for_every_topic_that_it_has(ts_xml: Path) -> None:
    component = load_component("OCPS")
    assert component.xml_version == "99.1"
    assert component.description == "Site"
    topic = component.topics["evt_job_result"]
    assert topic.fields["job_id"].description == "Site's identifier of the UWS job."
    assert topic.fields["private_sndStamp"].description == "Site sndStamp"
    assert topic.pinned_rev_code is None
    assert topic.is_definitive
    assert component.topics["ack_ackcmd"].is_definitive
    assert rev_code(topic) == compute_rev_code(build_schema(topic))
    assert rev_code(topic) != load_golden("OCPS")["topics"]["evt_job_result"]["rev_code"]
    assert component.topics["ack_ackcmd"].fields["timeout"].description == "Site timeout"


def test_our_topics_that_ts_xml_lacks_are_added(ts_xml: Path) -> None:
    component = load_component("OCPS")
    assert component.topics.keys() >= NEW_TOPICS
    assert component.topics["cmd_run"].fields["private_sndStamp"].description != "Site sndStamp"
    assert not component.topics["cmd_run"].is_definitive
    assert component.index_enumeration["LATISS"] == 1


@pytest.mark.asyncio
async def test_records_bear_the_codes_of_ts_xml_whatever_the_registry_has(
    ts_xml: Path, memory_environment: SalSettings
) -> None:
    names = ("evt_job_result", "evt_job_phase")
    registry = create_registry(memory_environment)
    others = {}
    for name in names:
        topic = load_component("OCPS").topics[name]
        schema = build_schema(topic) | {"description": "words of somebody else"}
        await registry.register(topic.avro_subject(memory_environment.topic_subname), json.dumps(schema))
        others[name] = compute_rev_code(schema)
    async with Controller("OCPS", 1) as controller, Remote(controller.domain, "OCPS", 1) as remote:
        await controller.evt_job_result.set_write(job_id="1")
        await controller.evt_job_phase.set_write(job_id="1")
        result = await remote.evt_job_result.next(flush=False, timeout=20)
        phase = await remote.evt_job_phase.next(flush=False, timeout=20)
    assert result.private_revCode == compute_rev_code(
        build_schema(load_component("OCPS").topics["evt_job_result"])
    )
    # The site's ts_xml does not know this one; perhaps somebody else's does.
    assert phase.private_revCode == others["evt_job_phase"]


def test_components_that_only_ts_xml_has_are_found_and_ours_remain(ts_xml: Path) -> None:
    assert "evt_two_words" in load_component("Single").topics
    assert "cmd_wait" in load_component("Test").topics
    with pytest.raises(InterfaceError, match="No such component Nosuch"):
        load_component("Nosuch")


def test_a_ts_xml_without_its_python_keeps_the_pinned_rev_codes(
    ts_xml: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (ts_xml.parents[1] / "topic_info.py").unlink()
    topic = load_component("OCPS").topics["evt_job_result"]
    assert rev_code(topic) == load_golden("OCPS")["topics"]["evt_job_result"]["rev_code"]
    assert "revCodes are ours" in caplog.text
    assert not topic.is_definitive


def test_a_ts_xml_that_disagrees_about_the_index_is_taken_as_it_is(
    ts_xml: Path, caplog: pytest.LogCaptureFixture
) -> None:
    subsystems = ts_xml / "SALSubsystems.xml"
    subsystems.write_text(subsystems.read_text().replace(">any<", ">no<"))
    component = load_component("OCPS")
    assert not component.is_indexed
    assert not NEW_TOPICS & component.topics.keys()
    assert "our further topics are left out" in caplog.text
