"""``ocps config``: what files say before a CSC is started with them."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import ValidationError

from lsst.ts.ocps.cli.main import run_command_line
from lsst.ts.ocps.cli.schemas import make_schemas
from lsst.ts.ocps.service.config import ServiceConfig

ROOT = Path(__file__).parents[3]
COMMAND = "cd $JOB_SOURCE_DIR && bash bin/pipetask.sh"
DEPLOYED = ROOT / "tests" / "data" / "config"
BIAS = ROOT / "config" / "payloads" / "bias-combine.yaml"
DEFINITION: dict[str, Any] = {
    "name": "probe",
    "description": "Looks.",
    "parameters": {
        "type": "object",
        "properties": {"version": {"type": "string"}, "text": {"type": "string"}},
    },
    "mode": "synchronous",
    "api_server": {
        "command": "look",
        "url": "https://git.example/x",
        "commit_ref": "main",
        "environment": {"A": "x {text}"},
    },
}
INIT: dict[str, Any] = {
    "backends": {
        "default": {"kind": "api_server", "url": "http://h/api/v1", "required": True},
        "other": {"url": "http://other"},
    },
    "default_backend": "default",
    "payload_directories": ["../../payloads"],
    "execute_payload": "probe",
    "instances": [
        {"sal_index": 1, "name": "LATISS", "mode": "asynchronous", "max_active": 3, "max_queued": 9},
        {"sal_index": 2, "backend": "other", "payloads": {"probe": {"environment": {"A": "two"}}}},
    ],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A configuration folder of version 5 and its payloads."""
    (tmp_path / "OCPS" / "v5").mkdir(parents=True)
    (tmp_path / "payloads").mkdir()
    write(tmp_path / "OCPS" / "v5" / "_init.yaml", INIT)
    write(tmp_path / "payloads" / "probe.yaml", DEFINITION)
    return tmp_path / "OCPS" / "v5"


def write(file: Path, values: Any) -> None:
    file.write_text(yaml.safe_dump(values, sort_keys=False))


def check(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Exit status and what was said."""
    status = run_command_line(["config", "check", *map(str, arguments)])
    return status, capsys.readouterr().out


def test_what_would_be_run_is_said_for_each_instance(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(capsys, folder) == (
        0,
        f"""\
{folder}/_init.yaml: valid
  OCPS:1 (LATISS)
    back end default: api_server at http://h/api/v1, required
    limits: 3 at once, others wait, up to 9
    payload probe: on default; limits: 1 at once, others are refused; no detach
      api_server: look of https://git.example/x main
        A=x {{text}}
        version={{version}}
        EUPS_TAG={{version}}
    execute: runs payload probe; waits where a limit refuses other commands
  OCPS:2
    back end other: uws at http://other
    limits: none
    payload probe: on other; limits: 1 at once, others are refused; no detach
    execute: runs payload probe; waits where a limit refuses other commands
""",
    )


def test_the_deployed_configuration_runs_the_deployed_job(capsys: pytest.CaptureFixture[str]) -> None:
    status, shown = check(capsys, DEPLOYED)
    assert status == 0
    assert [line for line in shown.splitlines() if line.startswith("  OCPS")] == [
        "  OCPS:1 (LATISS)",
        "  OCPS:2 (LSSTComCam)",
        "  OCPS:3 (LSSTCam)",
    ]
    for line in (
        "back end uws: api_server at http://uws-server/api/v1, required",
        f"api_server: {COMMAND} of https://github.com/lsst-dm/uws_scripts main",
        "IMAGE_TAG={version}",
        "PIPELINE_URL={pipeline}",
        "BUTLER_REPO=LSSTCam",
        "RUN_OPTIONS=-i LSSTCam/raw/all {config}",
        "OUTPUT_GLOB={output_dataset_types}",
        "DATA_QUERY={data_query}",
    ):
        assert f" {line}\n" in shown


def test_index_101_of_a_deployed_configuration_is_shown_where_its_server_is_known(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_HOST", "redis.example")
    _, shown = check(capsys, DEPLOYED)
    assert "  OCPS:101 (RA)\n    back end uws: rapid_analysis at redis://redis.example:6379" in shown


def test_the_configuration_that_is_shipped_is_valid(capsys: pytest.CaptureFixture[str]) -> None:
    status, shown = check(capsys, ROOT / "config")
    assert status == 0
    assert "OCPS:1 (and every other index)" in shown
    assert "execute: refused, as execute_payload is empty" in shown


def test_files_are_merged_as_the_command_start_merges_them(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder / "_summit.yaml", {"backends": {"default": {"url": "http://summit/api/v1"}}})
    write(folder / "_base.yaml", {"execute_payload": ""})
    write(folder / "night.yaml", {"default_backend": "other"})
    _, shown = check(capsys, folder)
    assert [line for line in shown.splitlines() if not line.startswith(" ")] == [
        f"{folder}/_init.yaml + _base.yaml: valid",
        f"{folder}/_init.yaml + _summit.yaml: valid",
        f"{folder}/_init.yaml + _base.yaml + night.yaml: valid",
        f"{folder}/_init.yaml + _summit.yaml + night.yaml: valid",
    ]
    status, shown = check(capsys, "--site", "summit", folder / "night.yaml")
    assert (status, shown.count("valid")) == (0, 1)
    assert "_init.yaml + _summit.yaml + night.yaml: valid" in shown
    _, shown = check(capsys, folder / "_base.yaml")
    assert "execute: refused, as execute_payload is empty" in shown


def test_errors_are_those_of_the_command_start(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder / "_summit.yaml", {"backends": {"default": {"requird": True}}, "fault_after": -1})
    status, shown = check(capsys, folder / "_summit.yaml")
    assert status == 2
    assert shown == (
        f"{folder}/_init.yaml + _summit.yaml: refused\n"
        "  _summit.yaml: backends.default.requird: unknown key; did you mean required?\n"
        "  _summit.yaml: fault_after: Input should be greater than 0 (it is -1)\n"
    )


def test_where_results_go_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder / "_summit.yaml", {"deposit": {"location": "/data/{payload}"}})
    write(folder / "night.yaml", {"deposit": {"enabled": False}})
    assert check(capsys, folder / "_summit.yaml")[1].count("      deposit: /data/{payload}\n") == 2
    assert "deposit" not in check(capsys, folder / "night.yaml")[1]


def test_an_instance_that_is_wrong_does_not_hide_the_others(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    instances = [{"sal_index": 1, "payloads": {"prob": {}}}, {"sal_index": 2}]
    write(folder / "_init.yaml", INIT | {"instances": instances})
    status, shown = check(capsys, folder / "_init.yaml")
    assert status == 2
    assert "_init.yaml: refused\n  OCPS:1\n    payloads.prob: there is no such payload; did you mean" in shown
    assert "  OCPS:2\n    back end default" in shown


@pytest.mark.parametrize(
    ("text", "words"),
    [("a: [", "Could not parse data in"), ("[1]", "is not a dict"), ("backends: 1", "is a mapping in")],
)
def test_a_file_that_cannot_be_merged_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    (folder / "night.yaml").write_text(text)
    status, shown = check(capsys, folder / "night.yaml")
    assert status == 2
    assert "night.yaml" in shown
    assert words in shown


def test_payload_definitions_are_checked_alone_and_in_folders(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(capsys, BIAS)[0] == 0
    payloads = folder.parents[1] / "payloads"
    status, shown = check(capsys, payloads)
    assert (status, shown.splitlines()[1]) == (0, "  payload probe: Looks.")
    write(payloads / "probe.yaml", DEFINITION | {"max_active": 2})
    status, shown = check(capsys, payloads / "probe.yaml", BIAS)
    assert status == 2
    assert f"{payloads}/probe.yaml: max_active: is 1 in mode synchronous; leave it out (it is 2)" in shown
    assert f"{BIAS}: valid" in shown


def test_a_file_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, shown = check(capsys, tmp_path / "nothing.yaml")
    assert status == 2
    assert "nothing.yaml: cannot be read: No such file or directory" in shown


@pytest.mark.parametrize("name", sorted(make_schemas()))
def test_the_schemas_of_the_documentation_are_not_stale(name: str) -> None:
    text = (ROOT / "doc" / "schemas" / name).read_text(encoding="utf-8")
    assert text == make_schemas()[name], "call `make schemas`"


def test_the_documentation_has_no_other_schemas() -> None:
    assert {path.name for path in (ROOT / "doc" / "schemas").iterdir()} == set(make_schemas())


def test_schemas_accept_what_is_right_and_describe_every_key() -> None:
    schemas = {name: json.loads(text) for name, text in make_schemas().items()}
    shipped = yaml.safe_load((ROOT / "config" / "OCPS" / "v5" / "_init.yaml").read_text())
    for document in (INIT, shipped):
        jsonschema.Draft202012Validator(schemas["config-v5.json"]).validate(document)
    for document in (DEFINITION, yaml.safe_load(BIAS.read_text())):
        jsonschema.Draft202012Validator(schemas["payload.json"]).validate(document)
    with pytest.raises(jsonschema.ValidationError, match="'bakends' was unexpected"):
        jsonschema.Draft202012Validator(schemas["config-v5.json"]).validate(INIT | {"bakends": {}})
    described = schemas["config-v5.json"]["properties"]
    assert [name for name, field in described.items() if "description" not in field] == []


SERVICE = {
    "payload_directories": ["/opt/payloads"],
    "data_directory": "/var/lib/ocps",
    "archive_retention": "P90D",
    "access": {"mode": "tokens", "file": "/etc/ocps/tokens"},
    "limits": {"max_active": 20, "max_stored": "50GiB", "owners": {"ocps": {"max_active": None}}},
}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"access": {"mode": "anonymous", "hosts": ["ocps"]}}, None),
        ({"access": {"mode": "proxy", "networks": ["10.42.0.0/16"]}}, None),
        ({"prot": 80}, "'prot' was unexpected"),
        ({"port": 70_000}, "70000 is greater than the maximum"),
        ({"access": {"hosts": ["ocps"]}}, "is not valid under any"),
        ({"access": {"mode": "tokens"}}, "is not valid under any"),
        ({"limits": {"max_aktive": 1}}, "'max_aktive' was unexpected"),
    ],
)
def test_the_schema_of_the_service_and_the_service_agree(changes: dict[str, Any], reason: str | None) -> None:
    schema = json.loads(make_schemas()["service.json"])
    validator = jsonschema.Draft202012Validator(schema)
    problems = [error.message for error in validator.iter_errors(SERVICE | changes)]
    if reason is None:
        assert problems == []
        ServiceConfig.model_validate(SERVICE | changes)
    else:
        assert [problem for problem in problems if reason in problem] == problems
        assert problems
        with pytest.raises(ValidationError):
            ServiceConfig.model_validate(SERVICE | changes)
    for name in ("port", "access", "max_connections"):
        assert schema["properties"][name]["description"]
    assert (
        "Names by which clients" in schema["$defs"]["AnonymousAccess"]["properties"]["hosts"]["description"]
    )


def test_without_a_service_installed_there_are_the_other_schemas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lsst.ts.ocps.cli.schemas.find_spec", lambda _: None)
    assert set(make_schemas()) == {"config-v5.json", "payload.json"}


def test_schemas_are_written_where_they_are_wanted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["config", "schema", "--output", str(tmp_path / "new")]) == 0
    assert {path.name: path.read_text() for path in (tmp_path / "new").iterdir()} == make_schemas()
    assert run_command_line(["config", "schema"]) == 0
    assert capsys.readouterr().out == "".join(make_schemas().values())
