"""Reading folders of definitions."""

from pathlib import Path

import pytest

from lsst.ts.ocps.payloads.catalogue import MAX_FILE_SIZE, Catalogue, load_catalogue
from lsst.ts.ocps.payloads.errors import CatalogueError, UnknownPayloadError
from lsst.ts.ocps.payloads.parameters import validate

SHIPPED = Path(__file__).parents[3] / "config" / "payloads"


def write(directory: Path, name: str, text: str | None = None) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / f"{name}.yaml"
    file.write_text(f"name: {name}\ndescription: A probe.\n" if text is None else text)
    return file


def message(*directories: Path) -> str:
    with pytest.raises(CatalogueError) as info:
        load_catalogue(directories)
    return str(info.value)


def test_the_shipped_payloads_load_and_run_without_parameters() -> None:
    catalogue = load_catalogue([SHIPPED])
    assert {"bias-combine", "ccd-reduce", "source-catalog"} <= set(catalogue)
    for definition in catalogue.values():
        for schema in definition.properties.values():
            assert schema["description"], "a person has to know what it means"
            assert "default" in schema
        assert set(validate(definition, {})) == set(definition.properties)


def test_several_folders_make_one_catalogue(tmp_path: Path) -> None:
    write(tmp_path / "a", "one")
    write(tmp_path / "b", "two")
    (tmp_path / "b" / ".hidden.yaml").write_text("[")
    (tmp_path / "b" / "README.rst").write_text("text")
    assert list(load_catalogue([tmp_path / "a", str(tmp_path / "b")])) == ["one", "two"]


def test_no_folder_is_an_empty_catalogue() -> None:
    assert len(load_catalogue([])) == 0


def test_a_payload_defined_twice_is_refused_and_both_files_are_named(tmp_path: Path) -> None:
    first = write(tmp_path / "a", "one")
    second = write(tmp_path / "b", "one")
    assert message(tmp_path / "a", tmp_path / "b") == (
        f"{second}: name: this payload is defined in {first} already (it is 'one')"
    )


def test_a_file_is_named_after_its_payload(tmp_path: Path) -> None:
    file = write(tmp_path, "one", "name: two\ndescription: x\n")
    assert message(tmp_path) == f"{file}: name: the file of this payload is named two.yaml (it is 'two')"


def test_the_problems_of_all_files_are_listed(tmp_path: Path) -> None:
    broken = write(tmp_path, "a", "name: a\n  description: b\n")
    wrong = write(tmp_path, "b", "name: b\n")
    lines = message(tmp_path, tmp_path / "missing").splitlines()
    assert lines == [
        f"{broken}: is not YAML at line 2, column 14: mapping values are not allowed here",
        f"{wrong}: description: is required",
        f"{tmp_path / 'missing'}: cannot be read as a payload directory: No such file or directory",
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "a payload definition is a mapping of keys to values (it is None)"),
        ("- a\n", "a payload definition is a mapping of keys to values (it is ['a'])"),
        ("name: a\nname: b\n", "is not YAML at line 2, column 1: the key 'name' is there twice"),
        ("run:\n  command: [a]\n  command: [b]\n", "line 3, column 3: the key 'command' is there twice"),
        (
            "name: !!python/object/apply:os.system [ls]\n",
            "is not YAML at line 1, column 7: could not determine",
        ),
        ("name: \x00\n", "is not YAML"),
        ("[" * 5000, "is not YAML"),
        ("#" * (MAX_FILE_SIZE + 1), "is larger than 1048576 bytes"),
    ],
)
def test_a_file_that_is_no_definition_is_named(tmp_path: Path, text: str, reason: str) -> None:
    file = write(tmp_path, "probe", text)
    found = message(tmp_path)
    assert found.startswith(f"{file}: ")
    assert reason in found


def test_a_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    (tmp_path / "probe.yaml").write_bytes(b"name: \xff\xfe\n")
    assert message(tmp_path).startswith(f"{tmp_path}/probe.yaml: is not YAML: ")


def test_a_folder_that_holds_no_definition_is_a_mistake(tmp_path: Path) -> None:
    assert message(tmp_path) == f"{tmp_path}: this payload directory holds no definition (*.yaml)"


def test_a_file_in_place_of_a_folder_is_a_mistake(tmp_path: Path) -> None:
    file = write(tmp_path, "one")
    assert message(file) == f"{file}: cannot be read as a payload directory: Not a directory"


def test_yaml_that_refers_to_itself_is_refused(tmp_path: Path) -> None:
    write(
        tmp_path,
        "probe",
        "name: probe\ndescription: x\nparameters: &p\n  type: object\n  properties: {a: *p}\n",
    )
    assert "is nested more than" in message(tmp_path)


def test_an_unknown_payload_is_answered_with_those_there_are(tmp_path: Path) -> None:
    write(tmp_path, "source-catalog")
    catalogue = load_catalogue([tmp_path])
    assert catalogue.find("source-catalog") is catalogue["source-catalog"]
    with pytest.raises(UnknownPayloadError) as info:
        catalogue.find("sorce-catalog")
    assert str(info.value) == (
        "payload: 'sorce-catalog' is not configured; did you mean 'source-catalog'?"
        " (configured: source-catalog)"
    )
    with pytest.raises(UnknownPayloadError, match=r"\(configured: none\)$"):
        Catalogue([]).find("x")
