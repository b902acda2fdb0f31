"""Names and signatures of the API are those that programs rely on (salobj-api sections 1 to 14)."""

from typing import Any

import pytest

from lsst.ts.ocps import salobj
from lsst.ts.ocps.sal.settings import SalSettings
from support.conformance import find, load_table, parse_signature, read_signature
from support.sal_fixtures import CscCase

NAMES = load_table("names")
SIGNATURES = load_table("signatures")


def missing(owner: object, names: list[str]) -> list[str]:
    return [name for name in names if not hasattr(owner, name)]


def test_every_name_of_the_api_exists() -> None:
    assert missing(salobj, NAMES["names"]) == []
    assert missing(salobj.topics, NAMES["topics"]) == []


def test_a_star_import_brings_the_names() -> None:
    space: dict[str, Any] = {}
    exec("from lsst.ts.ocps.salobj import *", space)  # noqa: S102 (an import star cannot be in a function)
    assert sorted(set(NAMES["names"]) - space.keys()) == []


@pytest.mark.parametrize(("path", "name"), NAMES["same"].items())
def test_submodules_hold_the_same_objects(path: str, name: str) -> None:
    assert find(path) is find(name)


@pytest.mark.parametrize(("path", "value"), NAMES["constants"].items())
def test_constants_have_the_usual_values(path: str, value: object) -> None:
    assert find(path) == value


@pytest.mark.parametrize(("name", "value"), NAMES["codes"].items())
def test_codes_have_the_usual_numbers(name: str, value: int) -> None:
    assert salobj.SalRetCode[name] == value


def test_obsolete_names_are_the_present_ones() -> None:
    assert salobj.BaseDdsDataType is salobj.BaseMsgType
    # A commander, a Controller and a CSC are what programs subclass.
    assert issubclass(salobj.ConfigurableCsc, salobj.BaseCsc)
    assert issubclass(salobj.BaseCsc, salobj.Controller)
    assert issubclass(salobj.TestCsc, salobj.ConfigurableCsc)
    assert issubclass(salobj.TestCscCommander, salobj.CscCommander)
    assert issubclass(salobj.BaseScript, salobj.Controller)
    assert issubclass(salobj.TestScript, salobj.BaseScript)


@pytest.mark.parametrize(("path", "text"), SIGNATURES.items())
def test_signatures_are_the_usual_ones(path: str, text: str) -> None:
    assert read_signature(path) == parse_signature(text)


@pytest.mark.asyncio
async def test_objects_have_the_usual_attributes(api_case: CscCase) -> None:
    attributes, gone = NAMES["attributes"], NAMES["gone"]
    async with api_case.make_csc(initial_state=salobj.State.STANDBY):
        csc, remote = api_case.csc, api_case.remote
        topic = csc.evt_scalars.topic_info
        commander = salobj.TestCscCommander(index=csc.salinfo.index)
        async with commander, salobj.TestScript(index=csc.salinfo.index) as script:
            objects = {
                "Domain": csc.domain,
                "SalInfo": csc.salinfo,
                "component_info": csc.salinfo.component_info,
                "topic_info": topic,
                "field": topic.fields["int0"],
                "csc": csc,
                "Remote": remote,
                "event": csc.evt_scalars,
                "remote_event": remote.evt_scalars,
                "controller_command": csc.cmd_wait,
                "commander": commander,
                "script": script,
            }
            assert objects.keys() == attributes.keys()
            lacking = {name: missing(each, attributes[name]) for name, each in objects.items()}
        assert not any(lacking.values()), lacking
        assert missing(remote, gone["Remote"]) == gone["Remote"]
        assert missing(csc, gone["Controller"]) == gone["Controller"]
        assert missing(csc.evt_scalars, gone["event"]) == gone["event"]
        with pytest.raises(TypeError, match="tel_max_history"):
            salobj.Remote(csc.domain, "Test", 1, tel_max_history=1)  # type: ignore[call-arg]


@pytest.mark.asyncio
async def test_topics_describe_themselves(api_case: CscCase, api_settings: SalSettings) -> None:
    async with api_case.make_csc(initial_state=salobj.State.STANDBY):
        info = api_case.csc.evt_arrays.topic_info
        assert info.array_fields["int0"] == 5
        assert "salIndex" not in info.array_fields
        assert info.fields["salIndex"].units == "unitless"
        assert info.fields["private_sndStamp"].units == "second"
        schema = info.make_avro_schema()
        assert [field["name"] for field in schema["fields"]] == list(info.fields)
        assert schema["namespace"] == "lsst.sal.Test"
        assert api_case.csc.evt_arrays.rev_code == info.get_revcode()
        data = info.make_dataclass()()
        assert list(vars(data)) == list(info.fields)
        names = api_case.csc.salinfo.component_info
        assert names.indexed
        assert {"evt_arrays", "cmd_start", "tel_arrays", "ack_ackcmd"} <= names.topics.keys()


def test_the_version_is_a_text() -> None:
    assert salobj.__version__[0].isdigit()
