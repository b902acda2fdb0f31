"""Configuration of a CSC: layers, wrong files, new files, on a broker of each kind."""

import asyncio

import pytest

from lsst.ts.ocps.sal.enums import SalRetCode, State
from lsst.ts.ocps.sal.testing import assertRaisesAckError
from support.git_command import commit_all
from support.sal_fixtures import WAIT, CscCase, forget_start

pytestmark = pytest.mark.asyncio

BAD_TYPE = "<ValidationError: \"'not an int' is not of type 'integer'\">"


async def test_configuration_is_layered_and_reported(case: CscCase) -> None:
    async with case.make_csc(initial_state=State.STANDBY):
        csc, remote = case.csc, case.remote
        await forget_start(case)
        await remote.cmd_start.set_start(configurationOverride="over.yaml", timeout=WAIT)
        assert csc.config is not None
        assert vars(csc.config) == {
            "string0": "site",
            "int0": 5,
            "nested": {"a": 1, "b": {"c": 7, "d": 3}},
        }
        applied = await case.assert_next_sample(
            remote.evt_configurationApplied,
            configurations="_init.yaml,_test.yaml,over.yaml",
            schemaVersion="v1",
            url=csc.config_dir.as_uri(),
            version="",
            otherInfo="",
        )
        state = await case.assert_next_sample(remote.evt_summaryState, summaryState=State.DISABLED)
        assert applied.private_sndStamp < state.private_sndStamp
        assert ("configure", State.STANDBY) in csc.calls


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("nosuch.yaml", "Failed: Config file '{dir}/nosuch.yaml' does not exist"),
        ("_init.yaml", "Failed: configurationOverride filename='_init.yaml' must not start with '_'"),
        ("bad_type.yaml", f"Failed: Configuration failed validation: {BAD_TYPE}"),
        ("list.yaml", "Failed: list.yaml=[1] is not a dict"),
        ("../x.yaml", "Failed: configurationOverride filename='../x.yaml' must be a name in the directory"),
        ("over.yaml:nosuch", "Failed: Could not read config file {dir}/_init.yaml with git hash nosuch: b'"),
    ],
)
async def test_a_wrong_configuration_fails_the_command_and_keeps_the_state(
    memory_case: CscCase, override: str, text: str
) -> None:
    async with memory_case.make_csc(initial_state=State.STANDBY):
        expected = text.format(dir=memory_case.csc.config_dir)
        with assertRaisesAckError(ack=SalRetCode.CMD_FAILED, error=1, result_contains=expected):
            await memory_case.remote.cmd_start.set_start(configurationOverride=override, timeout=WAIT)
        assert memory_case.csc.summary_state is State.STANDBY
        assert memory_case.csc.config is None


async def test_an_override_with_a_git_reference_takes_all_files_from_there(memory_case: CscCase) -> None:
    commit = await asyncio.to_thread(commit_all, memory_case.config_dir)
    for name in ("_init.yaml", "_test.yaml", "over.yaml"):
        (memory_case.config_dir / name).write_text("string0: changed since\nint0: 99\n", encoding="utf-8")
    async with memory_case.make_csc(initial_state=State.STANDBY):
        remote = memory_case.remote
        available = await remote.evt_configurationsAvailable.aget(timeout=WAIT)
        # As git describes it: the commit, and that there are changes.
        assert commit.startswith(
            available.version.rpartition("/")[2].removesuffix("-dirty").rpartition("-g")[2]
        )
        await remote.cmd_start.set_start(configurationOverride=f"over.yaml:{commit}", timeout=WAIT)
        assert memory_case.csc.config is not None
        assert vars(memory_case.csc.config) == {
            "string0": "site",
            "int0": 5,
            "nested": {"a": 1, "b": {"c": 7, "d": 3}},
        }
        applied = await remote.evt_configurationApplied.aget(timeout=WAIT)
        assert applied.configurations == "_init.yaml,_test.yaml,over.yaml"
        assert applied.version == available.version


async def test_new_override_files_are_offered_in_standby(memory_case: CscCase) -> None:
    async with memory_case.make_csc(initial_state=State.STANDBY):
        remote = memory_case.remote
        await remote.evt_configurationsAvailable.next(flush=False, timeout=WAIT)
        (memory_case.csc.config_dir / "a_new_one.yaml").write_text("int0: 3\n")
        available = await remote.evt_configurationsAvailable.next(flush=False, timeout=WAIT)
        assert available.overrides.startswith("a_new_one.yaml,")
