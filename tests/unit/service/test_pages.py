"""What the pages about the service name is there."""

import ast
import importlib.util
import re
from pathlib import Path
from typing import Any

import click
import yaml
from prometheus_client.parser import text_string_to_metric_families

from lsst.ts.ocps.cli.service import service
from lsst.ts.ocps.service.config import ServiceConfig
from lsst.ts.ocps.service.metrics import Metrics, Present
from support.pages import DOC, read_files, read_page, read_rows

TESTS = Path(__file__).parents[2]
_TEST = re.compile(r"``((?:unit|integration|acceptance)/[\w/]+\.py)::([\w:]+)``")


def names_in(file: Path) -> set[str]:
    """The names of all tests in a file, those of classes behind the name of the class."""
    found = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{inner.name}" for inner in node.body if hasattr(inner, "name")}
    return found


def test_every_test_that_shows_conformance_exists() -> None:
    named = set(_TEST.findall(read_page("uws-conformance.rst")))
    assert len(named) > 80
    there = {file: names_in(TESTS / file) for file, _ in named}
    assert [f"{file}::{name}" for file, name in sorted(named) if name not in there[file]] == []


def test_every_requirement_is_shown_by_a_test() -> None:
    page = read_page("uws-conformance.rst")
    rows = page.count("\n   * - ") - page.count("\n   * - requirement")
    assert rows == page.count("\n     - * ``") > 40


def load_config_table() -> Any:
    """The module beside the pages that makes the table of what can be configured."""
    spec = importlib.util.spec_from_file_location("config_table", DOC / "config_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_the_configuration_has_every_field_with_its_meaning() -> None:
    module = load_config_table()
    rows = {row[0].strip("`"): row[1:] for row in read_rows("\n".join(module.to_table(ServiceConfig)))}
    del rows["name"]
    assert [name for name in rows if "." not in name] == list(ServiceConfig.model_fields)
    assert [name for name, (_, meaning) in rows.items() if not meaning] == []
    assert rows["port"] == ["``8080``", "Port to listen on; 0 takes a free one."]
    assert rows["archive_retention"][0] == "``P30D``"
    assert "One of ``leave``, ``abort``." in rows["on_stop"][1]


def test_the_table_of_figures_is_that_of_the_service() -> None:
    text = Metrics("1").to_text(Present({("work", "PENDING"): 1}, 0, 0, 0)).decode()
    families = {family.name for family in text_string_to_metric_families(text)}
    # Their times of creation are none of ours.
    own = {name for name in families if name.startswith("ocps_") and not name.endswith("_created")}
    rows = read_rows(read_page("service-operator.rst"))
    assert {row[0].strip("`") for row in rows if row[0].startswith("``ocps_")} == own


def test_the_configuration_of_the_page_is_one() -> None:
    ((_, text),) = read_files(read_page("service-operator.rst"))
    config = ServiceConfig.model_validate(yaml.safe_load(text))
    assert config.limits.max_stored == 50 * 2**30


def test_every_option_that_the_page_names_is_one() -> None:
    named = set(re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", read_page("service-operator.rst"))) - {
        "--help",
        "--operator",
    }
    there = {name for one in service.params if isinstance(one, click.Option) for name in one.opts}
    assert len(named) > 5
    assert named <= there
