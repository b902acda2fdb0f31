from pathlib import Path
from typing import Any

import pytest

from lsst.ts.ocps.csc.config import CscConfig, CscSettings, parse_config
from lsst.ts.ocps.csc.config_layers import Layer, read_layers
from lsst.ts.ocps.csc.errors import ConfigurationError, SettingsError

GOOD: dict[str, Any] = {
    "backends": {"default": {"kind": "uws", "url": "http://127.0.0.1:8080"}},
    "default_backend": "default",
    "payload_directories": ["../../payloads"],
}
ENVIRONMENT = {
    "LSST_TOPIC_SUBNAME": "test",
    "LSST_SITE": "summit",
    "OCPS_STATE_DIR": "/var/lib/ocps",
    "DM_CONFIG_OCPS_DIR": "/config",
}


def problems_of(values: dict[str, Any], *layers: Layer) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        parse_config(values, layers)
    return caught.value.problems


def test_a_small_configuration_is_enough() -> None:
    config = parse_config(GOOD)
    assert config.execute_payload == ""
    assert config.execute_reports_failure is False
    assert config.backends["default"].url == "http://127.0.0.1:8080"


def test_the_configuration_that_is_shipped_is_right() -> None:
    folder = Path(__file__).parents[3] / "config" / "OCPS" / "v5"
    (layer,) = read_layers(folder, ["_init.yaml"])
    assert isinstance(parse_config(layer.values, [layer]), CscConfig)
    # The guide says that each key is explained where it stands.
    text = (folder / "_init.yaml").read_text(encoding="utf-8")
    assert [name for name in CscConfig.model_fields if name not in text] == []


def test_an_unknown_key_is_named_with_its_file_and_what_was_meant() -> None:
    site = {"backends": {"default": {"requird": True}}}
    values = GOOD | {"backends": {"default": GOOD["backends"]["default"] | site["backends"]["default"]}}
    (problem,) = problems_of(values, Layer("_init.yaml", GOOD), Layer("_summit.yaml", site))
    assert problem == "_summit.yaml: backends.default.requird: unknown key; did you mean required?"


def test_an_unknown_key_of_a_back_end_is_compared_with_the_keys_of_its_kind() -> None:
    backend = {"kind": "api_server", "url": "http://127.0.0.1/api/v1", "pol_interval": 1, "max_wait": 3}
    problems = problems_of(GOOD | {"backends": {"default": backend}}, Layer("_init.yaml", {"backends": {}}))
    assert problems[0].endswith("backends.default.pol_interval: unknown key; did you mean poll_interval?")
    assert "backends.default.max_wait: unknown key; known are call_timeout, " in problems[1]
    assert "job_list" not in problems[1]


def test_a_wrong_value_of_a_back_end_is_shown_at_its_place() -> None:
    site = {"backends": {"default": {"call_timeout": -1}}}
    backend = {"kind": "rapid_analysis", "url": "redis://host", "call_timeout": -1}
    (problem,) = problems_of(GOOD | {"backends": {"default": backend}}, Layer("_summit.yaml", site))
    assert problem.startswith("_summit.yaml: backends.default.call_timeout: ")
    assert problem.endswith("(it is -1)")


def test_a_kind_that_does_not_exist_is_answered_with_those_that_do() -> None:
    (problem,) = problems_of(GOOD | {"backends": {"default": {"kind": "uvs", "url": "http://host"}}})
    assert "backends.default: kind must be one of uws, api_server, rapid_analysis" in problem


def test_an_unknown_key_does_not_show_its_value() -> None:
    (problem,) = problems_of(GOOD | {"token": "planted-secret"})
    assert "planted-secret" not in problem
    assert problem.startswith("token: unknown key; known are backends, ")


def test_a_url_with_a_password_is_refused_without_showing_it() -> None:
    (problem,) = problems_of(
        GOOD | {"backends": {"default": {"kind": "uws", "url": "http://u:planted@host"}}}
    )
    assert "planted" not in problem
    assert "backends.default" in problem


def test_a_missing_key_is_said_to_be_missing_from_all_files() -> None:
    values = {name: value for name, value in GOOD.items() if name != "default_backend"}
    (problem,) = problems_of(values, Layer("_init.yaml", values), Layer("_summit.yaml", {}))
    assert problem == "_init.yaml+_summit.yaml: default_backend: is missing"


def test_a_wrong_value_is_shown_with_the_reason() -> None:
    (problem,) = problems_of(GOOD | {"fault_after": -3}, Layer("night.yaml", {"fault_after": -3}))
    assert problem.startswith("night.yaml: fault_after: ")
    assert problem.endswith("(it is -3)")


def test_the_default_back_end_must_exist() -> None:
    (problem,) = problems_of(GOOD | {"default_backend": "other"})
    assert "'other' is not one of default" in problem


def test_every_problem_is_listed() -> None:
    assert len(problems_of({"backends": {}, "fault_after": 0, "x": 1})) == 5


def test_configuration_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse_config(GOOD).default_backend = "x"  # type: ignore[misc]


def test_layers_that_cannot_be_read_are_not_named(tmp_path: Path) -> None:
    (tmp_path / "_init.yaml").write_text("a: 1")
    (tmp_path / "list.yaml").write_text("[1]")
    (tmp_path / "broken.yaml").write_text("a: [")
    layers = read_layers(tmp_path, ["_init.yaml", "absent.yaml", "broken.yaml", "list.yaml"])
    assert layers == [Layer("_init.yaml", {"a": 1}), Layer("list.yaml", {})]


def test_the_environment_is_read() -> None:
    settings = CscSettings.from_environment(ENVIRONMENT)
    assert (settings.site, settings.state_dir) == ("summit", Path("/var/lib/ocps"))


@pytest.mark.parametrize("name", sorted(ENVIRONMENT))
def test_a_missing_variable_is_named(name: str) -> None:
    environment = ENVIRONMENT | {name: ""}
    with pytest.raises(SettingsError, match=name):
        CscSettings.from_environment(environment)


def test_all_missing_variables_are_named_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        CscSettings.from_environment({})
    assert all(name in str(caught.value) for name in ENVIRONMENT)


def test_the_configuration_folder_may_come_from_the_command_line() -> None:
    environment = {name: value for name, value in ENVIRONMENT.items() if name != "DM_CONFIG_OCPS_DIR"}
    assert CscSettings.from_environment(environment, needs_config_dir=False).site == "summit"
