from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from lsst.ts.ocps.sal.configuration import (
    ConfigDirectory,
    find_config_dir,
    get_schema_version,
    get_site,
    hierarchical_update,
    read_config_files,
    split_override,
)
from lsst.ts.ocps.sal.errors import ExpectedError
from support.git_command import commit_all
from support.sal_csc import CONFIG_SCHEMA

VALIDATOR = Draft7Validator(CONFIG_SCHEMA)


def read(directory: Path, *names: str, git_hash: str = "") -> dict[str, Any]:
    return vars(read_config_files(VALIDATOR, directory, names, git_hash))


def test_layers_are_merged_and_metadata_dropped(csc_config_dir: Path) -> None:
    assert read(csc_config_dir, "_init.yaml", "_test.yaml", "over.yaml") == {
        "string0": "site",
        "int0": 5,
        "nested": {"a": 1, "b": {"c": 7, "d": 3}},
    }


def test_empty_names_and_empty_files_are_skipped(csc_config_dir: Path) -> None:
    assert read(csc_config_dir, "_init.yaml", "", "empty.yaml")["int0"] == 1


@pytest.mark.parametrize(
    ("name", "error", "text"),
    [
        ("nosuch.yaml", ExpectedError, "Config file '{dir}/nosuch.yaml' does not exist"),
        ("broken.yaml", ExpectedError, "Could not parse data in {dir}/broken.yaml as a dict: "),
        (
            "bad_type.yaml",
            ExpectedError,
            "Configuration failed validation: <ValidationError: \"'not an int' is not of type 'integer'\">",
        ),
        ("bad_name.yaml", ExpectedError, "Configuration failed validation: <ValidationError: "),
        ("list.yaml", ValueError, "list.yaml=[1] is not a dict"),
        ("scalar_over_mapping.yaml", ValueError, "nested is a mapping in "),
    ],
)
def test_wrong_files_are_refused_with_the_usual_texts(
    csc_config_dir: Path, name: str, error: type[Exception], text: str
) -> None:
    with pytest.raises(error) as caught:
        read(csc_config_dir, "_init.yaml", name)
    assert type(caught.value) is error
    assert str(caught.value).startswith(text.format(dir=csc_config_dir))


def test_files_can_be_taken_from_a_commit(csc_config_dir: Path) -> None:
    commit = commit_all(csc_config_dir)
    (csc_config_dir / "over.yaml").write_text("int0: 99\n")
    assert read(csc_config_dir, "_init.yaml", "over.yaml")["int0"] == 99
    assert read(csc_config_dir, "_init.yaml", "over.yaml", git_hash=commit)["int0"] == 5
    with pytest.raises(ExpectedError, match=r"Could not read config file .* with git hash nosuch: b"):
        read(csc_config_dir, "_init.yaml", git_hash="nosuch")
    with pytest.raises(ExpectedError, match=r"with git hash --output=x"):
        read(csc_config_dir, "_init.yaml", git_hash="--output=x")


def test_the_override_is_a_name_and_a_git_reference() -> None:
    assert split_override("") == ("", "")
    assert split_override("a.yaml") == ("a.yaml", "")
    assert split_override("a.yaml:v1:x") == ("a.yaml", "v1:x")
    with pytest.raises(ExpectedError, match=r"filename='_init\.yaml' must not start with '_'"):
        split_override("_init.yaml")
    with pytest.raises(ExpectedError, match=r"filename='\.\./x.yaml' must be a name in the directory"):
        split_override("../x.yaml")


def test_mappings_are_merged_and_other_values_replaced() -> None:
    main: dict[str, Any] = {"a": {"b": 1, "c": [1, 2]}, "d": 1}
    hierarchical_update(main, {"a": {"c": [3]}, "e": {"f": 1}}, "main", "over")
    assert main == {"a": {"b": 1, "c": [3]}, "d": 1, "e": {"f": 1}}


@pytest.mark.parametrize("override", [{"a": 1}, {"a": None}, {"d": {"x": 1}}])
def test_a_mapping_against_something_else_is_an_error(override: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is a mapping in"):
        hierarchical_update({"a": {"b": 1}, "d": 1}, override, "main", "over")


@pytest.mark.parametrize(
    "schema", [None, {}, {"title": "v1"}, {"title": "Test 1"}, {"title": "Test"}, {"title": 1}]
)
def test_a_schema_without_a_version_is_refused(schema: Any) -> None:
    with pytest.raises(ValueError, match=r"Schema .* invalid: "):
        get_schema_version(schema)


def test_the_version_is_the_last_word_of_the_title() -> None:
    assert get_schema_version({"title": "OCPS v5"}) == "v5"


def test_the_directory_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_CONFIG_DIR", raising=False)
    with pytest.raises(RuntimeError, match=r"\$SOME_CONFIG_DIR not defined"):
        find_config_dir("some_config", "OCPS", "v5")
    monkeypatch.setenv("SOME_CONFIG_DIR", str(tmp_path / "nosuch"))
    with pytest.raises(RuntimeError, match=r"nosuch.* is not a directory"):
        find_config_dir("some_config", "OCPS", "v5")
    monkeypatch.setenv("SOME_CONFIG_DIR", str(tmp_path))
    with pytest.raises(RuntimeError, match="OCPS/v5 is not a directory"):
        find_config_dir("some_config", "OCPS", "v5")
    (tmp_path / "OCPS" / "v5").mkdir(parents=True)
    assert find_config_dir("some_config", "OCPS", "v5") == (tmp_path / "OCPS" / "v5").resolve()


def test_the_site_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSST_SITE", "")
    with pytest.raises(RuntimeError, match=r"^Environment variable \$LSST_SITE not defined\.$"):
        get_site()


@pytest.mark.asyncio
async def test_the_offer_follows_the_directory(csc_config_dir: Path) -> None:
    directory = ConfigDirectory(csc_config_dir)
    offer = await directory.read()
    assert offer.version == ""
    assert offer.overrides[0] == "bad_name.yaml"
    assert not any(name.startswith("_") for name in offer.overrides)
    _ = commit_all(csc_config_dir)
    (csc_config_dir / "new.yaml").write_text("int0: 3\n")
    offer = await directory.read()
    assert "new.yaml" in offer.overrides
    assert offer.version.startswith("heads/main-0-g")
    (csc_config_dir / "over.yaml").write_text("int0: 12345\n")
    assert (await directory.read()).version.endswith("-dirty")
