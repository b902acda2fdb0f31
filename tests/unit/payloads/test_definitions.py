"""What a definition file may say: one wrong definition per rule."""

from datetime import timedelta
from typing import Any

import pytest
import yaml

from lsst.ts.ocps.payloads.catalogue import load_catalogue
from lsst.ts.ocps.payloads.errors import CatalogueError, CatalogueProblem
from lsst.ts.ocps.payloads.kinds import Kind

GOOD = """
name: probe
description: A probe.
parameters:
  type: object
  properties:
    image: {type: string, default: x}
    frames: {type: integer}
    tags: {type: array, items: {type: string}}
run:
  command: [python, -m, tool, "--image={image}"]
api_server:
  command: run.sh ${image}
"""


def problems_of(tmp_path: Any, text: str) -> list[CatalogueProblem]:
    (tmp_path / "probe.yaml").write_text(text)
    with pytest.raises(CatalogueError) as info:
        load_catalogue([tmp_path])
    assert all(problem.file == str(tmp_path / "probe.yaml") for problem in info.value.problems)
    return list(info.value.problems)


def change(path: str, value: Any) -> str:
    """The good definition with one value put in at a path."""
    data = yaml.safe_load(GOOD)
    place = data
    *way, last = path.split(".")
    for key in way:
        place = place.setdefault(key, {})
    place[last] = value
    return yaml.safe_dump(data)


def test_a_good_definition_is_read(tmp_path: Any) -> None:
    (tmp_path / "probe.yaml").write_text(GOOD)
    definition = load_catalogue([tmp_path])["probe"]
    assert definition.destruction == timedelta(days=7)
    assert definition.kinds == {"image": Kind.TEXT, "frames": Kind.JSON, "tags": Kind.TEXTS}
    assert definition.parameters["additionalProperties"] is False, "what is not named is refused"


@pytest.mark.parametrize(
    ("path", "value", "where", "reason"),
    [
        # The definition itself
        ("name", "Probe", "name", "a payload name is 1 to 63 characters"),
        ("nmae", "x", "nmae", "unknown key; did you mean 'name'?"),
        ("expected_duration", 0, "expected_duration", "greater than 0"),
        ("expected_duration", True, "expected_duration", "valid number"),
        ("expected_duration", float("nan"), "expected_duration", "finite"),
        ("execution_duration", 1.5, "execution_duration", "valid integer"),
        ("destruction", "P0D", "destruction", "cannot be destroyed before it is created"),
        ("destruction", "soon", "destruction", "valid timedelta"),
        ("max_active", 0, "max_active", "greater than 0"),
        ("when_busy", "wait", "when_busy", "'queue' or 'reject'"),
        # The command
        ("run.command", [], "run.command", "at least 1 item"),
        ("run.command", ["python", "{frams}"], "run.command.1", "{frams} is no parameter"),
        ("run.command", ["python", "{frames}"], "run.command.1", "{frames} may be without a value"),
        ("run.command", ["python", "{image"], "run.command.1", "has no partner"),
        ("run.command", ["{image}"], "run.command.0", "the program itself cannot be a parameter"),
        ("run.command", ["/bin/sh", "-c", "ls {image}"], "run.command.2", "part of a shell script"),
        ("run.command", ["tool", "a\0"], "run.command.1", "U+0000"),
        ("run.command", "python -m tool", "run.command", "valid tuple"),
        ("run.allow_dash", ["imgae"], "run.allow_dash.0", "is no parameter"),
        ("run.environment", {"JOB_DIR": "x"}, "run.environment", "JOB_DIR is set for every job"),
        ("run.environment", {"A-B": "x"}, "run.environment", "'A-B' is not the name of a variable"),
        ("run.outputs", "../out", "run.outputs", "a folder below the job's directory"),
        ("run.outputs", "/out", "run.outputs", "a folder below the job's directory"),
        ("run.outputs", ".", "run.outputs", "a folder below the job's directory"),
        ("run.cpus", 0, "run.cpus", "greater than 0"),
        ("run.memory", "much", "run.memory", "byte"),
        ("run.disk", 0, "run.disk", "greater than 0"),
        ("run.priority", 1.5, "run.priority", "integer"),
        ("run.results", [{"pattern": "/out/*"}], "run.results.0.pattern", "no path below the output folder"),
        ("run.results", [{"pattern": "a/../*"}], "run.results.0.pattern", "no path below the output folder"),
        ("run.results", [{"pattern": ""}], "run.results.0.pattern", "at least 1 character"),
        ("run.results", [{"pattern": "*", "mime_type": "a\nb/c"}], "run.results.0.mime_type", "match"),
        ("run.comand", [], "run.comand", "unknown key; did you mean 'command'?"),
        ("api_server.command", "run.sh {image}", "api_server.command", "the environment variable $image"),
        ("api_server.command", "", "api_server.command", "at least 1 character"),
        ("api_server.command", "run: it", "api_server.command", "the server reads this as YAML"),
        ("api_server.command", "run # it", "api_server.command", "the server reads this as YAML"),
        ("api_server.command", "'run it'", "api_server.command", "the server reads this as YAML"),
        ("api_server.command", "true", "api_server.command", "the server reads this as YAML"),
        ("api_server.command", "a\nb", "api_server.command", "the server reads this as YAML"),
        (
            "api_server.environment",
            {"A": "{nothing}"},
            "api_server.environment.A",
            "{nothing} is no parameter",
        ),
        ("api_server.environment", {"frames": "7"}, "api_server.environment.frames", "hides the parameter"),
        (
            "parameters.properties.JOB_ID",
            {"type": "string"},
            "parameters.properties.JOB_ID",
            "sets a variable",
        ),
        ("api_server.environment", {"A": "{"}, "api_server.environment", "A: the brace"),
        (
            "api_server.environment",
            {"SRC_GIT_URL": "x"},
            "api_server.environment",
            "SRC_GIT_URL is set by the server",
        ),
        # The parameters
        ("parameters.type", "array", "parameters.type", "write type: object"),
        ("parameters.type", "objet", "parameters.type", "is not valid under any of the given schemas"),
        ("parameters.additionalProperties", True, "parameters.additionalProperties", "must be false"),
        ("parameters.patternProperties", {"^a": {}}, "parameters.patternProperties", "name every parameter"),
        ("parameters.$schema", "http://json-schema.org/draft-07/schema#", "parameters.$schema", "2020-12"),
        (
            "parameters.required",
            ["framse"],
            "parameters.required.0",
            "is no parameter; did you mean 'frames'?",
        ),
        ("parameters.properties.IMAGE", {"type": "string"}, "parameters.properties.IMAGE", "is there twice"),
        (
            "parameters.properties.runid",
            {"type": "string"},
            "parameters.properties.runid",
            "belongs to the UWS",
        ),
        (
            "parameters.properties.Upload",
            {"type": "string"},
            "parameters.properties.Upload",
            "belongs to the UWS",
        ),
        ("parameters.properties.a-b", {"type": "string"}, "parameters.properties.a-b", "a parameter name is"),
        ("parameters.properties.frames.minimun", 1, "parameters.properties.frames.minimun", "'minimum'"),
        (
            "parameters.properties.frames.minimum",
            "1",
            "parameters.properties.frames.minimum",
            "not of type 'number'",
        ),
        (
            "parameters.properties.frames.default",
            "x",
            "parameters.properties.frames.default",
            "not of type 'integer'",
        ),
        (
            "parameters.properties.image.pattern",
            "(",
            "parameters.properties.image.pattern",
            "regular expression",
        ),
        (
            "parameters.properties.image.format",
            "url",
            "parameters.properties.image.format",
            "is not checked here",
        ),
        ("parameters.properties.image", {}, "parameters.properties.image", "does not say of which type"),
        ("parameters.properties.image", True, "parameters.properties.image", "does not say of which type"),
        ("parameters.properties.frames", False, "parameters.properties.frames", "no value can satisfy this"),
        (
            "parameters.properties.frames",
            {"type": ["integer", "string"]},
            "parameters.properties.frames",
            "is a string or something else (integer)",
        ),
        (
            "parameters.properties.frames",
            {"enum": ["auto", 1]},
            "parameters.properties.frames",
            "is a string or something else (integer)",
        ),
        (
            "parameters.properties.frames",
            {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "parameters.properties.frames",
            "is a string or something else (null)",
        ),
        (
            "parameters.properties.frames",
            {"$ref": "https://example.org/frames.json"},
            "parameters.properties.frames.$ref",
            "refers to nothing inside this schema",
        ),
        (
            "parameters.properties.frames",
            {"$ref": "#/$defs/missing"},
            "parameters.properties.frames.$ref",
            "refers to nothing inside this schema",
        ),
        (
            "parameters.properties.frames",
            {"$ref": "#/properties/frames"},
            "parameters.properties.frames.$ref",
            "refers to itself",
        ),
        (
            "parameters.properties.tags.default",
            [""],
            "parameters.properties.tags.default",
            "cannot be told from an empty array",
        ),
        (
            "parameters.properties.frames.items",
            {"typ": "x"},
            "parameters.properties.frames.items.typ",
            "unknown keyword; did you mean 'type'?",
        ),
    ],
)
def test_each_rule_names_the_place_and_the_reason(
    tmp_path: Any, path: str, value: Any, where: str, reason: str
) -> None:
    found = problems_of(tmp_path, change(path, value))
    assert any(problem.path == where and reason in problem.reason for problem in found), list(map(str, found))


def test_the_value_is_shown(tmp_path: Any) -> None:
    (problem,) = problems_of(tmp_path, change("execution_duration", "long"))
    assert str(problem) == (
        f"{tmp_path}/probe.yaml: execution_duration: Input should be a valid integer (it is 'long')"
    )


def test_all_problems_of_a_file_are_listed(tmp_path: Any) -> None:
    data = yaml.safe_load(GOOD)
    data["parameters"]["properties"]["frames"]["minimun"] = 1
    data["execution_duration"] = -1
    data["colour"] = "red"
    found = problems_of(tmp_path, yaml.safe_dump(data))
    assert sorted(problem.path for problem in found) == [
        "colour",
        "execution_duration",
        "parameters.properties.frames.minimun",
    ]


def test_values_that_yaml_makes_of_unquoted_dates_are_named(tmp_path: Any) -> None:
    text = GOOD.replace("default: x", "default: 2026-11-22")
    (problem,) = problems_of(tmp_path, text)
    assert problem.path == "parameters.properties.image.default"
    assert "of type date, which is not a JSON value" in problem.reason


def test_references_and_unknown_annotations_inside_the_schema_are_allowed(tmp_path: Any) -> None:
    data = yaml.safe_load(GOOD)
    data["parameters"]["$defs"] = {"count": {"type": "integer", "minimum": 1, "default": 3}}
    data["parameters"]["properties"]["frames"] = {"$ref": "#/$defs/count", "x-units": "frames"}
    data["run"]["command"].append("{frames}")
    (tmp_path / "probe.yaml").write_text(yaml.safe_dump(data))
    assert load_catalogue([tmp_path])["probe"].kinds["frames"] is Kind.JSON
