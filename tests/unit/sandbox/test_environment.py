import os
import subprocess
from pathlib import Path

import pytest

from lsst.ts.ocps.sandbox.environment import (
    apply_to_this_process,
    child_environment,
    sandbox_variables,
    shell_exports,
    this_environment,
)


@pytest.fixture
def variables() -> dict[str, str]:
    return sandbox_variables(
        broker="127.0.0.1:9092",
        registry="http://127.0.0.1:8081",
        service="http://127.0.0.1:8080",
        state=Path("/box/state"),
        configuration=Path("/box/config"),
    )


def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in this_environment():
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def test_the_variables_are_those_that_other_programs_need(variables: dict[str, str]) -> None:
    assert set(variables) == {
        "LSST_TOPIC_SUBNAME",
        "LSST_KAFKA_BROKER_ADDR",
        "LSST_SCHEMA_REGISTRY_URL",
        "LSST_SITE",
        "OCPS_SERVICE_URL",
        "OCPS_STATE_DIR",
        "DM_CONFIG_OCPS_DIR",
    }


def test_settings_of_a_real_site_do_not_reach_a_sandbox(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LSST_KAFKA_SECURITY_PASSWORD", "secret")
    monkeypatch.setenv("LSST_SITE", "summit")
    monkeypatch.setenv("OCPS_SAL_RUNTIME", "builtin")
    monkeypatch.setenv("HOME", "/home/observer")
    environment = child_environment(variables)
    assert "LSST_KAFKA_SECURITY_PASSWORD" not in environment
    assert environment["LSST_SITE"] == "sandbox"
    assert environment["OCPS_SAL_RUNTIME"] == "builtin"
    assert environment["HOME"] == "/home/observer"


def test_a_proxy_is_not_asked_for_this_machine(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clean(monkeypatch)
    assert "NO_PROXY" not in child_environment(variables)
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    assert child_environment(variables)["NO_PROXY"] == "127.0.0.1,localhost"
    monkeypatch.setenv("no_proxy", "example.org")
    assert child_environment(variables)["no_proxy"] == "example.org,127.0.0.1,localhost"


def test_this_process_can_be_made_to_speak_to_the_sandbox(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ, LSST_KAFKA_SECURITY_PASSWORD="secret"))  # noqa: TID251 (a copy)
    apply_to_this_process(variables)
    environment = this_environment()
    assert environment["LSST_TOPIC_SUBNAME"] == "sandbox"
    assert "LSST_KAFKA_SECURITY_PASSWORD" not in environment


def test_a_shell_understands_the_exports_whatever_the_folder_is_called() -> None:
    folder = "/tmp/a 'strange' $folder; `x`"  # noqa: S108 (only a text)
    script = shell_exports({"OCPS_STATE_DIR": folder, "LSST_SITE": "sandbox"})
    answer = subprocess.run(
        ("/bin/sh", "-c", 'eval "$(cat)"; printf %s "$OCPS_STATE_DIR"'),
        input=script,
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout == folder
