import pytest

from lsst.ts.ocps.sal.enums import State
from lsst.ts.ocps.sal.states import get_expected_summary_states, make_state_transition_dict

OFFLINE, STANDBY, DISABLED, ENABLED, FAULT = (
    State.OFFLINE,
    State.STANDBY,
    State.DISABLED,
    State.ENABLED,
    State.FAULT,
)

# sal-on-kafka section 14
TABLE = {
    (OFFLINE, OFFLINE): "",
    (OFFLINE, STANDBY): "enterControl",
    (OFFLINE, DISABLED): "enterControl start",
    (OFFLINE, ENABLED): "enterControl start enable",
    (STANDBY, OFFLINE): "exitControl",
    (STANDBY, STANDBY): "",
    (STANDBY, DISABLED): "start",
    (STANDBY, ENABLED): "start enable",
    (DISABLED, OFFLINE): "standby exitControl",
    (DISABLED, STANDBY): "standby",
    (DISABLED, DISABLED): "",
    (DISABLED, ENABLED): "enable",
    (ENABLED, OFFLINE): "disable standby exitControl",
    (ENABLED, STANDBY): "disable standby",
    (ENABLED, DISABLED): "disable",
    (ENABLED, ENABLED): "",
    (FAULT, OFFLINE): "standby exitControl",
    (FAULT, STANDBY): "standby",
    (FAULT, DISABLED): "standby start",
    (FAULT, ENABLED): "standby start enable",
}


def test_every_way_between_states_is_that_of_the_protocol() -> None:
    steps = make_state_transition_dict()
    assert {way: " ".join(name for name, _ in commands) for way, commands in steps.items()} == TABLE


def test_every_way_ends_in_its_goal() -> None:
    for (_, goal), commands in make_state_transition_dict().items():
        assert not commands or commands[-1][1] is goal


def test_states_on_the_way_include_both_ends() -> None:
    assert get_expected_summary_states(FAULT, ENABLED) == [FAULT, STANDBY, DISABLED, ENABLED]
    assert get_expected_summary_states(STANDBY, STANDBY) == [STANDBY]


def test_fault_is_no_goal() -> None:
    with pytest.raises(KeyError):
        get_expected_summary_states(STANDBY, FAULT)
