import subprocess
import sys

import pytest

from lsst.ts.ocps.sal.data_type import data_type
from lsst.ts.ocps.sal.enums import SalRetCode, State, as_sal_ret_code, as_salRetCode, as_state
from lsst.ts.ocps.sal.errors import AckError, AckTimeoutError, WildcardIndexError
from lsst.ts.ocps.sal.functions import get_user_host, name_to_name_index
from lsst.ts.ocps.sal.interface_xml import load_component


def test_states_and_codes_have_the_numbers_of_the_wire() -> None:
    assert [(state.name, int(state)) for state in State] == [
        ("OFFLINE", 4),
        ("STANDBY", 5),
        ("DISABLED", 1),
        ("ENABLED", 2),
        ("FAULT", 3),
    ]
    assert repr(State.STANDBY) == "<State.STANDBY: 5>"
    assert [int(SalRetCode[f"CMD_{name}"]) for name in ("ACK", "INPROGRESS", "STALLED", "COMPLETE")] == [
        300,
        301,
        302,
        303,
    ]
    assert [
        int(SalRetCode[f"CMD_{name}"]) for name in ("NOPERM", "NOACK", "FAILED", "ABORTED", "TIMEOUT")
    ] == [
        -300,
        -301,
        -302,
        -303,
        -304,
    ]


def test_unknown_numbers_stay_numbers() -> None:
    assert as_state(5) is State.STANDBY
    assert as_state(77) == 77
    assert as_sal_ret_code(303) is SalRetCode.CMD_COMPLETE
    assert as_salRetCode(77) == 77


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Script", ("Script", 0)), ("Script:15", ("Script", 15)), ("a_b-c1:0", ("a_b-c1", 0))],
)
def test_name_and_index_are_split(text: str, expected: tuple[str, int]) -> None:
    assert name_to_name_index(text) == expected


@pytest.mark.parametrize(
    "text", ["", " Script", "Script ", "Script:", "Script:-1", "1Script", "Script:1.5", "a:b", "é"]
)
def test_other_texts_are_no_names(text: str) -> None:
    with pytest.raises(ValueError, match="name="):
        name_to_name_index(text)


def test_a_wildcard_index_has_an_error_of_its_own() -> None:
    with pytest.raises(WildcardIndexError) as caught:
        name_to_name_index("Script:*")
    assert caught.value.name == "Script"
    assert isinstance(caught.value, ValueError)


def test_user_and_host_are_joined() -> None:
    user, _, host = get_user_host().partition("@")
    assert user
    assert host


def test_ack_errors_show_the_acknowledgement() -> None:
    ackcmd = data_type(load_component("Test").topics["ack_ackcmd"])(
        private_seqNum=7, ack=-302, error=1, result="Failed: x"
    )
    error = AckError("Command failed", ackcmd)
    text = (
        "msg='Command failed', ackcmd=(ackcmd private_seqNum=7, ack=<SalRetCode.CMD_FAILED: -302>, "
        "error=1, result='Failed: x')"
    )
    assert str(error) == text
    assert repr(error) == f"AckError({text})"
    assert error.args == ("Command failed",)
    assert not isinstance(AckTimeoutError("x", ackcmd), TimeoutError)
    ackcmd.ack = 12345
    assert "ack=12345," in str(error)


def test_importing_the_runtime_leaves_numpy_and_astropy_alone() -> None:
    code = (
        "import sys; from lsst.ts.ocps.salobj import ConfigurableCsc, Remote, set_summary_state; "
        "print(sorted({'numpy', 'astropy', 'jsonschema', 'logging'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # Logging is imported by everything; it shows that the check sees what there is.
    assert done.stdout.strip() == "['logging']"
