"""The Python API of ts_salobj as data, and brokers to try it on.

Everything here and in the ``test_conformance_*`` files uses the names of `lsst.ts.ocps.salobj`, so that it
runs on either runtime; the broker inside the process exists for ours only.
"""

import ast
import functools
import inspect
import json
from pathlib import Path
from typing import Any

import pytest

from lsst.ts.ocps import salobj
from lsst.ts.ocps.sal.settings import SalSettings
from support.broker_kinds import APACHE, parametrize_kinds
from support.brokers import BrokerBench
from support.sal_fixtures import CscCase, make_environment

__all__ = ["find", "load_table", "parse_signature", "read_signature"]

DATA = Path(__file__).parents[1] / "data" / "salobj_api"

_KINDS = ("memory", pytest.param("noida", marks=pytest.mark.system, id="noida"), APACHE)
"""The default suite has the API in memory; what brokers do to it is shown by other tests too."""

Parameter = tuple[str, str, Any]
"""Name ("" for the two variable kinds), kind, and default (or `inspect.Parameter.empty`)."""


def load_table(name: str) -> Any:
    """One of the tables."""
    return json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))


def find(path: str) -> Any:
    """The object of a dotted name in the API."""
    return functools.reduce(getattr, path.split("."), salobj)


def parse_signature(text: str) -> list[Parameter]:
    """The parameters that a signature of the table tells; defaults are literals."""
    function = ast.parse(f"def f({text}): ...").body[0]
    assert isinstance(function, ast.FunctionDef)
    args = function.args
    empty = inspect.Parameter.empty
    defaults = [empty] * (len(args.args) - len(args.defaults)) + [ast.literal_eval(d) for d in args.defaults]
    parameters: list[Parameter] = [
        (arg.arg, "POSITIONAL_OR_KEYWORD", default) for arg, default in zip(args.args, defaults, strict=True)
    ]
    parameters += [
        (arg.arg, "KEYWORD_ONLY", empty if default is None else ast.literal_eval(default))
        for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True)
    ]
    if args.kwarg is not None:
        parameters.append(("", "VAR_KEYWORD", empty))
    return parameters


def read_signature(path: str) -> list[Parameter]:
    """The parameters of a function, a method (without ``self``) or a constructor of the API."""
    parameters = list(inspect.signature(find(path)).parameters.values())
    owner = find(path.rpartition(".")[0]) if "." in path else None
    if inspect.isclass(owner):
        described = inspect.getattr_static(owner, path.rpartition(".")[2])
        if not isinstance(described, staticmethod | classmethod):
            parameters = parameters[1:]
    return [
        ("" if each.kind.name.startswith("VAR") else each.name, each.kind.name, each.default)
        for each in parameters
    ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Choose the brokers of each test of the API."""
    parametrize_kinds(metafunc, "api_kind", _KINDS, with_memory=salobj.RUNTIME == "builtin")


@pytest.fixture
def api_settings(
    api_kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, test_logger: object
) -> SalSettings:
    """Settings for a broker of each kind that the runtime can use, put into the environment."""
    bench = request.getfixturevalue(f"{api_kind}_bench")
    assert isinstance(bench, BrokerBench)
    for name, value in make_environment(bench.settings).items():
        monkeypatch.setenv(name, value)
    return bench.settings


@pytest.fixture
def api_case(api_settings: SalSettings, csc_config_dir: Path) -> CscCase:
    """Makes CSCs on such a broker."""
    return CscCase(csc_config_dir)
