"""A CSC that is given the deployed configuration, version 4, does what the deployed CSC did."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lsst.ts.ocps.client.base import Backend
from lsst.ts.ocps.client.rapid_analysis import RapidAnalysisBackend
from lsst.ts.ocps.client.settings import AnyBackendSettings
from lsst.ts.ocps.csc.ocps_csc import OcpsCsc
from lsst.ts.ocps.salobj import Remote, SalRetCode, State
from support.api_server_double import ApiServerDouble
from support.csc import TIMEOUT, final_ack
from support.deployed import CALIBRATION, deployed_body, sent_body, write_deployed_configuration
from support.redis_server import RememberedLists
from support.served_csc import ServedBench, start

pytestmark = pytest.mark.asyncio


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What DM_CONFIG_OCPS_DIR names: a folder with version 4 alone."""
    (tmp_path / "dm_config_ocps" / "OCPS" / "v4").mkdir(parents=True)
    monkeypatch.setenv("DM_CONFIG_OCPS_DIR", str(tmp_path / "dm_config_ocps"))
    return tmp_path / "dm_config_ocps"


@asynccontextmanager
async def deployed(
    bench: ServedBench, root: Path, index: int = 1, state: State = State.ENABLED, *, simulation_mode: int = 0
) -> AsyncIterator[tuple[OcpsCsc, ApiServerDouble]]:
    """A CSC of that index and its server."""
    async with ApiServerDouble() as server:
        write_deployed_configuration(root, server.base)
        csc = OcpsCsc(
            index,
            initial_state=state,
            opener=bench.open_backend,
            patience=bench.patience,
            simulation_mode=simulation_mode,
        )
        async with csc:
            yield csc, server


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"output_dataset_types": "cpBias,verify*"},
        dict.fromkeys(("pipeline", "config", "data_query", "output_dataset_types", "prereq_jobs"), ""),
    ],
    ids=["calibration", "data set types", "nothing"],
)
async def test_execute_sends_the_job_that_was_sent_before(
    served_bench: ServedBench, root: Path, changes: dict[str, str]
) -> None:
    fields = CALIBRATION | changes
    async with deployed(served_bench, root) as (csc, server), served_bench.remote() as remote:
        assert csc.summary_state is State.ENABLED
        ack = await start(remote, "execute", **fields)
        assert (ack.ack, ack.timeout) == (SalRetCode.CMD_INPROGRESS, 600)
        (request,) = server.sent("PUT")
        assert request.path == "/api/v1/job"
        assert sent_body(request.body, "test") == deployed_body(fields)
        assert json.loads(ack.result) == {"job_id": next(iter(server.jobs))}
        end = await final_ack(remote, "execute", ack)
        assert (end.ack, end.result) == (SalRetCode.CMD_COMPLETE, "Done")


async def test_defect_06_a_version_that_execute_names_reaches_the_scripts(
    served_bench: ServedBench, root: Path
) -> None:
    fields = CALIBRATION | {"version": "w_2026_40"}
    async with deployed(served_bench, root) as (_, server), served_bench.remote() as remote:
        assert (await start(remote, "execute", **fields)).ack == SalRetCode.CMD_INPROGRESS
        (request,) = server.sent("PUT")
        wanted = deployed_body(fields)
        # Nothing reads the deployed IMAGE_TAG; the scripts read this one.
        wanted["environment"].append({"name": "EUPS_TAG", "value": "w_2026_40"})
        assert sent_body(request.body, "test") == wanted
        (job,) = server.jobs.values()
        assert job.variable("EUPS_TAG") == "w_2026_40"


async def test_the_version_is_told_as_v4(served_bench: ServedBench, root: Path) -> None:
    async with deployed(served_bench, root), served_bench.remote() as remote:
        available = await remote.evt_configurationsAvailable.aget(timeout=TIMEOUT)
        applied = await remote.evt_configurationApplied.aget(timeout=TIMEOUT)
        assert (available.schemaVersion, applied.schemaVersion) == ("v4", "v4")
        assert applied.configurations == "_init.yaml"
        assert applied.url == (root / "OCPS" / "v4").as_uri()
        payloads = await remote.evt_payloads.aget(timeout=TIMEOUT)
        assert payloads.names == "pipetask"


async def test_a_file_that_is_wrong_fails_the_start_and_is_named(
    served_bench: ServedBench, root: Path
) -> None:
    async with deployed(served_bench, root, state=State.STANDBY) as (csc, _), served_bench.remote() as remote:
        ack = await start(remote, "start", configurationOverride="LATISS.yaml")
        assert ack.ack == SalRetCode.CMD_FAILED
        assert "LATISS.yaml: butler: unknown key; known are instances" in ack.result
        assert csc.summary_state is State.STANDBY


async def test_each_index_has_its_own_repository(served_bench: ServedBench, root: Path) -> None:
    async with (
        deployed(served_bench, root, index=3) as (csc, server),
        Remote(csc.domain, "OCPS", 3) as remote,
    ):
        await start(remote, "execute", **CALIBRATION)
        (job,) = server.jobs.values()
        assert job.variable("BUTLER_REPO") == "LSSTCam"
        assert job.variable("RUN_OPTIONS").startswith("-i LSSTCam/raw/all -j 8 ")


async def test_index_101_pushes_to_rapid_analysis(
    served_bench: ServedBench, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_HOST", "redis.invalid")
    lists = RememberedLists()
    opened: list[AnyBackendSettings] = []

    async def open_backend(name: str, settings: AnyBackendSettings) -> Backend:
        opened.append(settings)
        return RapidAnalysisBackend(name, lists)

    monkeypatch.setattr(served_bench, "open_backend", open_backend)
    async with (
        deployed(served_bench, root, index=101) as (csc, server),
        Remote(csc.domain, "OCPS", 101) as remote,
    ):
        # The other fields are not read, as before.
        ack = await start(remote, "execute", config='{"A1": "ok"}', pipeline="p", data_query="q")
        assert (ack.ack, ack.result) == (SalRetCode.CMD_COMPLETE, "Done")
        refused = await start(remote, "abort_job", job_id="7")
        assert (refused.ack, refused.result) == (
            SalRetCode.CMD_FAILED,
            "Failed: no run and no job 7 is known",
        )
        assert server.requests == []
    assert lists.pushed == [[("A1", "ok")]]
    assert {settings.url for settings in opened} == {"redis://redis.invalid:6379"}


async def test_an_index_without_an_entry_is_told_the_known_ones(
    served_bench: ServedBench, root: Path
) -> None:
    async with deployed(served_bench, root, state=State.STANDBY) as (csc, _), served_bench.remote() as remote:
        (csc.config_dir / "_test.yaml").write_text("instances: []\n")
        ack = await start(remote, "start")
        assert "instances: has no entry for sal_index 1; those there are: none" in ack.result


async def test_the_deployed_simulation_runs_on_the_deployed_configuration(
    served_bench: ServedBench, root: Path
) -> None:
    async with (
        deployed(served_bench, root, simulation_mode=1) as (_, server),
        served_bench.remote() as remote,
    ):
        ack = await start(remote, "execute", pipeline="true.yaml")
        assert (await final_ack(remote, "execute", ack)).ack == SalRetCode.CMD_COMPLETE
        refused = await start(remote, "execute", pipeline="other.yaml")
        assert refused.ack == SalRetCode.CMD_FAILED
        assert server.requests == []
