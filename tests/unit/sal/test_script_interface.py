"""Our interface of the component ``Script`` has the topics and fields that ts_xml has."""

from importlib.resources import files
from pathlib import Path

import pytest
from defusedxml.ElementTree import parse

from lsst.ts.ocps.sal.interface_xml import load_component
from lsst.ts.ocps.salobj import ScriptState

OWN = Path(str(files("lsst.ts.ocps.interfaces")))

FIELDS = {
    "cmd_configure": {
        *("config", "logLevel", "pauseCheckpoint", "stopCheckpoint", "blockId", "executionId"),
    },
    "cmd_run": set[str](),
    "cmd_resume": set[str](),
    "cmd_stop": set[str](),
    "cmd_setGroupId": {"groupId"},
    "cmd_setCheckpoints": {"pause", "stop"},
    "cmd_setLogLevel": {"level", "subsystem"},
    "evt_checkpoints": {"pause", "stop"},
    "evt_description": {"classname", "description", "help", "remotes"},
    "evt_metadata": {
        *("coordinateSystem", "position", "rotationSystem", "cameraAngle", "filters", "dome"),
        *("duration", "nimages", "instrument", "survey", "totalCheckpoints"),
    },
    "evt_state": {"state", "reason", "groupId", "lastCheckpoint", "numCheckpoints"},
}


@pytest.mark.parametrize("attr_name", FIELDS)
def test_a_topic_has_its_fields(attr_name: str) -> None:
    topic = load_component("Script").topics[attr_name]
    public = {name for name in topic.fields if name != "salIndex" and not name.startswith("private_")}
    assert public == FIELDS[attr_name]


def test_a_script_has_no_other_commands_and_no_summary_state() -> None:
    topics = load_component("Script").topics
    assert {name for name in topics if name.startswith("cmd_")} == {
        name for name in FIELDS if name.startswith("cmd_")
    }
    assert topics.keys() & {"evt_summaryState", "evt_errorCode"} == set()
    assert {
        "evt_heartbeat",
        "evt_logMessage",
        "evt_logLevel",
        "evt_largeFileObjectAvailable",
    } <= topics.keys()


def test_the_enumeration_is_that_of_the_interface() -> None:
    root = parse(OWN / "Script_Events.xml").getroot()
    assert root is not None
    texts = [each.text or "" for each in root.iter("Enumeration")]
    (text,) = (each for each in texts if each.startswith("ScriptState_"))
    values = dict(entry.strip().removeprefix("ScriptState_").split("=") for entry in text.split(","))
    ours = {state.name.replace("_", ""): str(state.value) for state in ScriptState if state}
    assert {name.upper(): value for name, value in values.items()} == ours
