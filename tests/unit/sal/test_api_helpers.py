"""Validators, functions of ts_utils, and the base class for tests of configuration files."""

import asyncio
import itertools
import os
import unittest
from pathlib import Path
from typing import Any

import pytest
from astropy.time import Time
from jsonschema import Draft7Validator, ValidationError

from lsst.ts.ocps import salobj

SCHEMA: dict[str, Any] = {
    "title": "Test v1",
    "type": "object",
    "properties": {
        "a": {"type": "integer", "default": 1},
        "b": {
            "type": "object",
            "properties": {
                "c": {"type": "integer", "default": 2},
                "d": {"type": "object", "properties": {"e": {"type": "integer", "default": 3}}},
            },
        },
        "f": {"type": "array", "default": [1]},
    },
    "additionalProperties": False,
}


def test_the_standard_validator_fills_in_nothing() -> None:
    assert salobj.StandardValidator is Draft7Validator
    config: dict[str, Any] = {}
    salobj.StandardValidator(schema=SCHEMA).validate(config)
    assert config == {}


def test_defaults_are_filled_in_two_levels_deep() -> None:
    validator = salobj.DefaultingValidator(schema=SCHEMA)
    assert validator.validate(None) == {"a": 1, "b": {"c": 2}, "f": [1]}
    given = {"a": 5, "b": {"d": {}}}
    assert validator.validate(given) == {"a": 5, "b": {"c": 2, "d": {}}, "f": [1]}
    assert given == {"a": 5, "b": {"d": {}}}
    validator.validate({})["f"].append(2)
    assert validator.validate({})["f"] == [1]
    with pytest.raises(ValidationError, match="nosuch"):
        validator.validate({"nosuch": 1})
    with pytest.raises(ValidationError, match="integer"):
        validator.validate({"b": {"c": "x"}})


def test_indices_count_up_and_begin_again() -> None:
    assert list(itertools.islice(salobj.index_generator(1, 3, 2), 5)) == [2, 3, 1, 2, 3]
    assert next(salobj.index_generator()) == 1
    for arguments in ((3, 3), (1, 3, 0), (1, 3, 4)):
        with pytest.raises(ValueError, match="imin="):
            salobj.index_generator(*arguments)


def test_the_environment_is_changed_for_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAL_TEST_OLD", "old")
    environment = os.environ  # noqa: TID251 (what is tested)
    with salobj.modify_environ(SAL_TEST_OLD=None, SAL_TEST_NEW="new"):
        assert "SAL_TEST_OLD" not in environment
        assert environment["SAL_TEST_NEW"] == "new"
    assert environment["SAL_TEST_OLD"] == "old"
    assert "SAL_TEST_NEW" not in environment
    with pytest.raises(RuntimeError, match="SAL_TEST_NEW=5"), salobj.modify_environ(SAL_TEST_NEW=5):
        pass


@pytest.mark.asyncio
async def test_a_done_future_is_done() -> None:
    future = salobj.make_done_future()
    assert future.done()
    assert await asyncio.wait_for(future, 0) is None  # type: ignore[func-returns-value]


def test_times_are_converted_as_astropy_does() -> None:
    moment = Time("2023-11-14T22:13:20.25", scale="utc")
    tai = 1_700_000_037.25
    assert salobj.tai_from_utc(1_700_000_000.25) == tai
    assert salobj.tai_from_utc("2023-11-14T22:13:20.25", format="isot") == tai
    assert salobj.tai_from_utc("2023-11-14 22:13:20.25", format="iso") == tai
    assert salobj.tai_from_utc(moment, format=None) == pytest.approx(tai, abs=1e-6)
    assert salobj.tai_from_utc(moment.tai) == pytest.approx(tai, abs=1e-6)
    assert salobj.tai_from_utc(moment.mjd, format="mjd") == pytest.approx(tai, abs=1e-4)
    with pytest.raises(ValueError, match="1972"):
        salobj.tai_from_utc(0.0)
    back = salobj.astropy_time_from_tai_unix(tai)
    assert (back.scale, back.format) == ("tai", "mjd")
    assert abs((back - moment).sec) < 1e-6
    assert back.mjd * salobj.SECONDS_PER_DAY + salobj.MJD_MINUS_UNIX_SECONDS == pytest.approx(tai, abs=1e-4)


def test_obsolete_names_warn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSST_TOPIC_SUBNAME", "before")
    with pytest.warns(DeprecationWarning, match="set_test_topic_subname"):
        salobj.set_random_lsst_dds_partition_prefix()
    assert os.environ["LSST_TOPIC_SUBNAME"].startswith("test_")  # noqa: TID251 (what is tested)


# Configuration files


@pytest.fixture
def config_root(tmp_path: Path) -> Path:
    directory = tmp_path / "Test" / "v1"
    directory.mkdir(parents=True)
    files = {
        "_init.yaml": "string0: a\n",
        "_summit.yaml": "int0: 1\n",
        "_base.yaml": "int0: 2\n",
        "over.yaml": "int0: 3\n",
    }
    for name, text in files.items():
        (directory / name).write_text(text)
    (tmp_path / "schema").mkdir()
    (tmp_path / "schema" / "Test.yaml").write_text("title: Test v1\ntype: object\n")
    return tmp_path


class Case(salobj.BaseConfigTestCase, unittest.TestCase):
    """As the author of a configuration package writes it."""


def test_every_site_with_every_override_is_checked(config_root: Path) -> None:
    case = Case()
    directory = case.get_config_dir(config_root, "Test", salobj.CONFIG_SCHEMA)
    assert directory == config_root / "Test" / "v1"
    with pytest.raises(AssertionError, match=r"_init\.yaml: .*'int0' is a required property"):
        # Without a site the file is not complete.
        case.check_config_files(directory, salobj.CONFIG_SCHEMA)
    (directory / "_init.yaml").write_text("string0: a\nint0: 0\n")
    case.check_config_files(directory, salobj.CONFIG_SCHEMA)
    case.check_standard_config_files("lsst.ts.ocps.salobj", sal_name="Test", config_package_root=config_root)
    (directory / "_summit.yaml").write_text("nested: {x: 1}\n")
    (directory / "bad.yaml").write_text("nested: 5\n")
    with pytest.raises(AssertionError, match=r"_init\.yaml, bad\.yaml: "):
        case.check_config_files(directory, salobj.CONFIG_SCHEMA)
    case.check_config_files(directory, salobj.CONFIG_SCHEMA, exclude_glob="bad*")
    case.check_config_files(directory, None)
    with pytest.raises(AssertionError, match="has no _init"):
        case.check_config_files(config_root, salobj.CONFIG_SCHEMA)


def test_schemas_are_found_in_packages(config_root: Path) -> None:
    case = Case()
    assert case.get_schema(config_root, "Test") == {"title": "Test v1", "type": "object"}
    assert case.get_schema(config_root, schema_subpath="schema/Test.yaml")["title"] == "Test v1"
    with pytest.raises(AssertionError, match="does not exist"):
        case.get_schema(config_root, "Other")
    with pytest.raises(RuntimeError, match="schema_subpath"):
        case.get_schema(config_root)
    with pytest.raises(unittest.SkipTest, match="nosuch"):
        case.check_standard_config_files("nosuch_package", config_dir=config_root)
    with pytest.raises(ModuleNotFoundError, match="config_schema"):
        case.check_standard_config_files("lsst.ts.ocps.salobj", "NO_SCHEMA", config_dir=config_root)
    with pytest.raises(RuntimeError, match="config_dir"):
        case.check_standard_config_files("lsst.ts.ocps.salobj")
