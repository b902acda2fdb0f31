"""A service that cannot start says what to change."""

import asyncio
import stat
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from lsst.ts.ocps.executors.registry import ExecutorRegistry
from lsst.ts.ocps.service.app import create_app
from lsst.ts.ocps.service.config import ServiceConfig
from lsst.ts.ocps.service.context import open_context
from lsst.ts.ocps.service.errors import ServiceError, ServiceStartError
from lsst.ts.ocps.service.main import running_service
from lsst.ts.ocps.service.reaper import Reaper
from support.service_process import PAYLOADS, make_config

SLEEP = {"sleep": PAYLOADS["sleep"]}


async def start_error(config: ServiceConfig, registry: ExecutorRegistry | None = None) -> str:
    with pytest.raises(ServiceStartError) as raised:
        async with open_context(config, registry):
            pass
    return str(raised.value)


@pytest.mark.asyncio
async def test_a_broken_payload_file_is_told_by_file_path_value_and_reason(tmp_path: Path) -> None:
    config = make_config(tmp_path, {"sleep": {"run": {"command": ["sleep"], "cpu": 2}}})
    message = await start_error(config)
    assert "sleep.yaml" in message
    assert "run.cpu" in message
    assert "cpus" in message


@pytest.mark.asyncio
async def test_a_data_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    config = make_config(tmp_path, SLEEP, data_directory=tmp_path / "file" / "data")
    assert f"{tmp_path}/file/data cannot be written" in await start_error(config)


@pytest.mark.asyncio
async def test_authorities_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    for name, reason in (("empty.pem", "no readable PEM file"), ("none.pem", "No such file or directory")):
        config = make_config(tmp_path, SLEEP, uploads={"ca_bundle": tmp_path / name})
        assert await start_error(config) == f"uploads.ca_bundle: {tmp_path / name}: {reason}"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.asyncio
async def test_the_data_are_for_the_user_of_the_service_only(tmp_path: Path) -> None:
    config = make_config(tmp_path, SLEEP)
    async with open_context(config):
        assert (mode(config.data_directory), mode(config.jobs_directory)) == (0o700, 0o700)


@pytest.mark.asyncio
async def test_the_data_of_an_earlier_version_are_closed_to_others(tmp_path: Path) -> None:
    config = make_config(tmp_path, SLEEP)
    async with open_context(config):
        pass
    database = config.data_directory / "jobs.sqlite"
    config.jobs_directory.chmod(0o755)
    database.chmod(0o644)
    # The directory itself may have something else in it, of which we know nothing.
    config.data_directory.chmod(0o755)
    async with open_context(config):
        assert (mode(config.jobs_directory), mode(database)) == (0o700, 0o600)
        assert mode(config.data_directory) == 0o755


@pytest.mark.asyncio
async def test_data_that_belong_to_somebody_else_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(tmp_path, SLEEP)
    config.jobs_directory.mkdir(parents=True)
    config.jobs_directory.chmod(0o750)

    def refuse(path: Path, _: int) -> None:
        raise PermissionError(f"{path} is not yours")

    monkeypatch.setattr(Path, "chmod", refuse)
    with capture_logs() as records:
        async with open_context(config):
            pass
    (record,) = [one for one in records if one["event"] == "others may read the data of owners"]
    assert record["path"] == str(config.jobs_directory)


@pytest.mark.asyncio
async def test_a_data_directory_has_one_service_at_a_time(tmp_path: Path) -> None:
    config = make_config(tmp_path, SLEEP)
    async with open_context(config):
        assert "used by another service" in await start_error(config)
    async with open_context(config):
        pass


@pytest.mark.asyncio
async def test_a_damaged_database_is_told_by_its_path(tmp_path: Path) -> None:
    config = make_config(tmp_path, SLEEP)
    config.data_directory.mkdir()
    (config.data_directory / "jobs.sqlite").write_text("not a database " * 100)
    assert "jobs.sqlite" in await start_error(config)


@pytest.mark.asyncio
async def test_a_payload_with_an_unknown_executor_is_told(tmp_path: Path) -> None:
    config = make_config(tmp_path, {"far": {"run": {"command": ["true"], "executor": "mars"}}})
    message = await start_error(config)
    assert "payload far" in message
    assert "'mars'" in message
    assert "local" in message


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("run", "reason"),
    [
        ({"cpus": 3}, "run.cpus asks for 3, jobs can have 2 here (cpus of the service)"),
        ({"memory": "2KiB"}, "run.memory asks for 2048, jobs can have 1024 here (memory of the service)"),
    ],
)
async def test_a_payload_that_asks_for_more_than_there_is_is_told(
    tmp_path: Path, run: dict[str, Any], reason: str
) -> None:
    payloads = {"large": {"run": {"command": ["true"]} | run}}
    assert (
        await start_error(make_config(tmp_path, payloads, cpus=2, memory=1024)) == f"payload large: {reason}"
    )


@pytest.mark.asyncio
async def test_a_port_in_use_is_told_by_address(tmp_path: Path) -> None:
    async with running_service(make_config(tmp_path, SLEEP)) as service:
        port = int(service.url.rpartition(":")[2])
        second = make_config(tmp_path, SLEEP, data_directory=tmp_path / "other", port=port)
        with pytest.raises(ServiceStartError, match=rf"127\.0\.0\.1:{port}: Address already in use"):
            async with running_service(second):
                pass


@pytest.mark.asyncio
async def test_an_address_that_is_not_ours_is_told(tmp_path: Path) -> None:
    config = make_config(
        tmp_path, SLEEP, host="192.0.2.1", access={"mode": "anonymous", "allow_network": True}
    )
    with pytest.raises(ServiceStartError, match=r"192\.0\.2\.1"):
        async with running_service(config):
            pass


@pytest.mark.asyncio
async def test_the_death_of_an_internal_task_ends_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(_reaper: Reaper) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr(Reaper, "run", die)
    async with running_service(make_config(tmp_path, SLEEP)) as service:
        with pytest.raises(ServiceError, match="an internal task died: out of order"):
            async with asyncio.timeout(20):
                await service.wait_for_failure()


@pytest.mark.asyncio
async def test_the_application_opens_and_closes_its_context_itself_when_given_none(tmp_path: Path) -> None:
    app = create_app(make_config(tmp_path, SLEEP))
    async with app.router.lifespan_context(app):
        assert [payload.name for payload in app.state.context.jobs.definitions] == ["sleep"]


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"port": 70_000}, "port"),
        ({"max_wait": 60}, "max_wait"),
        ({"max_running": 0}, "max_running"),
        ({"cpus": 0}, "cpus"),
        ({"memory": "much"}, "memory"),
        ({"payload_directories": ()}, "payload_directories"),
        ({"on_stop": "panic"}, "on_stop"),
        ({"prot": 80}, "prot"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(tmp_path: Path, values: dict[str, Any], name: str) -> None:
    with pytest.raises(ValidationError, match=name):
        make_config(tmp_path, SLEEP, **values)
