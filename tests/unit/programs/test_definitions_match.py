"""The shipped definitions and the programs agree on names, defaults and bounds of the parameters."""

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from lsst.ts.ocps.payloads.catalogue import load_catalogue
from lsst.ts.ocps.payloads.command import build_command
from lsst.ts.ocps.payloads.errors import ParameterError
from lsst.ts.ocps.payloads.parameters import validate
from lsst.ts.ocps.payloads.schema import PayloadDefinition
from lsst.ts.ocps.programs._report import InputError
from support.payload_runs import SHIPPED

CATALOGUE = load_catalogue([SHIPPED])
PROGRAMS = [
    name for name, found in CATALOGUE.items() if found.run and "ocps.programs" in found.run.command[2]
]
BOUNDS = [
    (name, parameter, schema["minimum"], schema["maximum"])
    for name in PROGRAMS
    for parameter, schema in CATALOGUE[name].properties.items()
    if "minimum" in schema
]


def call(definition: PayloadDefinition, folder: Path, **parameters: Any) -> None:
    """Call the program with the arguments that its job would get."""
    assert definition.run is not None
    values = {**validate(definition, {}), **parameters}
    _, _, module, *arguments = build_command(definition.run, values)
    main: Callable[[Sequence[str]], None] = importlib.import_module(module).main
    main([*arguments, f"--output={folder}"])


def test_there_are_bounds_to_compare() -> None:
    assert {"bias-combine", "ccd-reduce", "source-catalog"} <= set(PROGRAMS)
    assert len(BOUNDS) >= 12


@pytest.mark.parametrize(("name", "parameter", "low", "high"), BOUNDS)
def test_the_program_takes_what_the_definition_allows_and_nothing_beyond(
    name: str, parameter: str, low: float, high: float, tmp_path: Path
) -> None:
    definition = CATALOGUE[name]
    for value in (low, high):
        with pytest.raises(InputError, match="no such file"):
            call(definition, tmp_path, image="/nowhere", **{parameter: value})
    for value in (low - 1, high + 1):
        with pytest.raises(ParameterError, match=rf"parameters\.{parameter}: "):
            validate(definition, {parameter: value})
        with pytest.raises(SystemExit):
            call(definition, tmp_path, image="/nowhere", **{parameter: value})


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_defaults_of_the_program_are_those_of_the_definition(name: str) -> None:
    definition = CATALOGUE[name]
    assert definition.run is not None
    _, _, module, *arguments = build_command(definition.run, validate(definition, {}))
    parser = importlib.import_module(module).command_line()
    assert parser.parse_args([]) == parser.parse_args(arguments)
