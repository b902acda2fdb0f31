"""The deployed configuration, version 4, and what it means."""

from pathlib import Path
from typing import Any

import pytest

from lsst.ts.ocps.client.settings import ApiServerSettings, RapidAnalysisSettings
from lsst.ts.ocps.csc.config import CscSettings, RedisSettings, choose_version
from lsst.ts.ocps.csc.config_layers import Layer, read_layers
from lsst.ts.ocps.csc.config_v4 import convert_v4
from lsst.ts.ocps.csc.errors import ConfigurationError
from lsst.ts.ocps.csc.loading import Configured

DATA = Path(__file__).parents[2] / "data" / "config"
V4 = DATA / "OCPS" / "v4"
INSTANCE: dict[str, Any] = {
    "sal_index": 1,
    "instance": "LATISS",
    "url": "http://uws-server/api/v1",
    "poll_interval": 0.5,
    "butler": "/repo/LATISS",
    "output_glob": "*",
}
REDIS = RedisSettings(host="redis.example")


def convert(*instances: dict[str, Any], index: int = 1, redis: RedisSettings = REDIS) -> Configured:
    return Configured(*convert_v4({"instances": list(instances)}, index=index, redis=redis))


def problem_of(*instances: dict[str, Any], index: int = 1, redis: RedisSettings = REDIS) -> str:
    with pytest.raises(ConfigurationError) as caught:
        convert(*instances, index=index, redis=redis)
    return str(caught.value)


def variables_of(**changes: Any) -> dict[str, str]:
    definition = convert(INSTANCE | changes).catalogue["pipetask"]
    assert definition.api_server is not None
    return definition.api_server.environment


@pytest.mark.parametrize(("index", "name"), [(1, "LATISS"), (2, "LSSTComCam"), (3, "LSSTCam")])
def test_the_deployed_file_serves_its_indices(index: int, name: str) -> None:
    (layer,) = read_layers(V4, ["_init.yaml"])
    config, catalogue = convert_v4(layer.values, index=index, redis=REDIS, layers=[layer])
    backend = config.backends[config.default_backend]
    assert isinstance(backend, ApiServerSettings)
    assert (backend.url, backend.poll_interval, backend.required) == ("http://uws-server/api/v1", 0.5, True)
    definition = catalogue[config.execute_payload]
    assert definition.api_server is not None
    assert definition.api_server.command == "cd $JOB_SOURCE_DIR && bash bin/pipetask.sh"
    assert definition.api_server.url == "https://github.com/lsst-dm/uws_scripts"
    assert definition.api_server.commit_ref == "main"
    assert definition.api_server.environment == {
        "IMAGE_TAG": "{version}",
        "PIPELINE_URL": "{pipeline}",
        "BUTLER_REPO": name,
        "RUN_OPTIONS": f"-i {name}/raw/all {{config}}",
        "OUTPUT_GLOB": "{output_dataset_types}",
        "DATA_QUERY": "{data_query}",
    }
    assert definition.properties["output_dataset_types"]["default"] == "*"


def test_limits_and_acknowledgements_are_as_deployed() -> None:
    config, catalogue = convert(INSTANCE)
    definition = catalogue["pipetask"]
    assert (config.limits.max_active, definition.limits.max_active) == (None, None)
    assert definition.expected_duration == 600
    assert definition.execution_duration == 0
    assert not config.execute_reports_failure


def test_options_without_an_input_collection_begin_with_a_blank_as_deployed() -> None:
    assert variables_of()["RUN_OPTIONS"] == " {config}"


def test_braces_of_the_configuration_are_no_placeholders() -> None:
    assert variables_of(butler="a{b}")["BUTLER_REPO"] == "a{{b}}"
    assert variables_of(input_collection="{x}")["RUN_OPTIONS"] == "-i {{x}} {config}"


def test_a_pause_that_is_longer_than_a_minute_is_a_minute() -> None:
    backend = convert(INSTANCE | {"poll_interval": 300}).config.backends["uws"]
    assert isinstance(backend, ApiServerSettings)
    assert backend.poll_interval == 60


def test_index_101_pushes_to_the_redis_server_of_the_environment() -> None:
    redis = RedisSettings.from_environment({"REDIS_HOST": "redis.example", "REDIS_PORT": "6380"})
    config, catalogue = convert(INSTANCE, index=101, redis=redis)
    backend = config.backends[config.default_backend]
    assert isinstance(backend, RapidAnalysisSettings)
    assert backend.url == "redis://redis.example:6380"
    assert backend.password is not None
    assert backend.password.environment == "REDIS_PASSWORD"
    # The other fields of the command are not read, and do not hurt.
    fields = {"pipeline", "version", "config", "data_query", "output_dataset_types"}
    assert catalogue[config.execute_payload].properties.keys() == fields


def test_the_usual_port_of_redis_is_taken_where_none_is_set() -> None:
    assert RedisSettings.from_environment({"REDIS_HOST": "h", "REDIS_PORT": ""}).port == "6379"


@pytest.mark.parametrize(
    ("redis", "words"),
    [
        (RedisSettings(), "REDIS_HOST: is not set"),
        (RedisSettings(host="h", port="x"), "backends.uws.url"),
    ],
)
def test_a_redis_server_that_is_not_named_is_said(redis: RedisSettings, words: str) -> None:
    assert words in problem_of(INSTANCE, index=101, redis=redis)


def test_an_index_without_an_entry_is_told_the_known_ones() -> None:
    problem = problem_of(INSTANCE, index=3)
    assert problem == "instances: has no entry for sal_index 3; those there are: 1 (LATISS)"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"instance": "LSSTCam"}, "instances.0.instance: does not belong to sal_index 1: 1 is LATISS, 2 is"),
        ({"url": "ftp://x"}, "instances.0.url: must be an absolute http or https URL"),
        ({"poll_interval": 0}, "instances.0.poll_interval: Input should be greater than 0"),
        ({"butler": 7}, "instances.0.butler: Input should be a valid string (it is 7)"),
        ({"output_glop": "*"}, "instances.0.output_glop: unknown key; did you mean output_glob?"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(changes: dict[str, Any], words: str) -> None:
    assert words in problem_of(INSTANCE | changes)


def test_a_sal_index_twice_is_refused_as_deployed() -> None:
    assert problem_of(INSTANCE, INSTANCE) == "instances: sal_index 1 is there twice"


def test_the_file_that_is_wrong_is_named() -> None:
    values = {"instance": "LATISS"}
    with pytest.raises(ConfigurationError) as caught:
        convert_v4(
            values, index=1, redis=REDIS, layers=[Layer("_init.yaml", {}), Layer("LATISS.yaml", values)]
        )
    assert "LATISS.yaml: instance: unknown key; did you mean instances?" in caught.value.problems
    assert "_init.yaml+LATISS.yaml: instances: is missing" in caught.value.problems


def test_version_4_is_read_only_where_there_is_no_version_5(tmp_path: Path) -> None:
    settings = CscSettings(site="test", state_dir=tmp_path, config_root=tmp_path)
    assert choose_version(None, settings) == "v5"
    (tmp_path / "OCPS" / "v4").mkdir(parents=True)
    assert choose_version(None, settings) == "v4"
    (tmp_path / "OCPS" / "v5").mkdir()
    assert choose_version(None, settings) == "v5"
    assert choose_version(tmp_path / "OCPS" / "v4", settings) == "v4"
    assert choose_version(str(tmp_path), settings) == "v5"
