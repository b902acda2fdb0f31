"""What a program tells the world."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from lsst.ts.ocps.programs._report import InputError, OutputError, Report, bounded, make_parser, run_program


def read(path: Path) -> object:
    return json.loads(path.read_text())


def test_progress_is_replaced_whole(tmp_path: Path) -> None:
    report = Report(tmp_path / "out", "probe")
    for fraction in (0.0, 0.5):
        report.progress(fraction, f"at {fraction}")
        assert read(tmp_path / "out" / "progress.json") == {"fraction": fraction, "message": f"at {fraction}"}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["progress.json"]


def test_the_end_leaves_numbers_products_and_versions(tmp_path: Path) -> None:
    report = Report(tmp_path, "probe")
    with report.product("a.txt") as path:
        path.write_text("whole")
        assert not (tmp_path / "a.txt").exists(), "nobody sees a half-written product"
    report.metric("noise", np.float64(1.5), "adu", band="r")
    report.metric("ratio", float("nan"))
    report.finish({"count": np.int64(3), "level": float("inf")}, ["sep"])
    assert read(tmp_path / "metrics.json") == [
        {"name": "noise", "value": 1.5, "units": "adu", "tags": {"band": "r"}},
    ]
    result = read(tmp_path / "result.json")
    assert isinstance(result, dict)
    assert {key: result[key] for key in ("payload", "count", "level", "files")} == {
        "payload": "probe",
        "count": 3,
        "level": None,
        "files": ["a.txt"],
    }
    assert {"python", "ts-ocps", "numpy", "astropy", "sep"} == set(result["versions"])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("a.txt", "metrics.json", "progress.json", "result.json")
    ]


def test_a_product_that_fails_leaves_nothing(tmp_path: Path) -> None:
    report = Report(tmp_path, "probe")

    def write() -> None:
        with report.product("a.txt") as path:
            path.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OutputError, match=r"^a.txt cannot be written to .* byte free\): disk full$"):
        write()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (None, 0, ""),
        (InputError("image", "a\nb", "no such\nfile"), 2, "image: 'a\\nb': no such file"),
        (OutputError("a.txt cannot be written"), 1, "a.txt cannot be written"),
        (ValueError("two\nlines"), 1, "ValueError: two lines"),
    ],
)
def test_the_last_line_says_why(
    error: Exception | None,
    code: int,
    line: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def main(arguments: object) -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(sys, "argv", ["probe"])
    assert run_program(main) == code
    assert (capsys.readouterr().err.strip().splitlines() or [""])[-1] == line


@pytest.mark.parametrize("text", ["abc", "nan", "0.5", "11", "inf"])
def test_numbers_out_of_bounds_are_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = make_parser("A probe.", "builtin:m13")
    parser.add_argument("--clip", type=bounded(float, 1, 10))
    with pytest.raises(SystemExit) as info:
        parser.parse_args([f"--clip={text}"])
    assert info.value.code == 2
    assert f"argument --clip: '{text}' is not" in capsys.readouterr().err.splitlines()[-1]


def test_no_image_means_the_built_in_one() -> None:
    parser = make_parser("A probe.", "builtin:m13")
    assert parser.parse_args([]).image == parser.parse_args(["--image="]).image == "builtin:m13"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"^results cannot be written to .*/file/out: "):
        Report(tmp_path / "file" / "out", "probe")
