"""The shipped payloads as real processes on input that they cannot use: one clear line, exit code 2."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.frames import broken_files, raw_frame, star_field
from support.payload_runs import run_payload

PAYLOADS = ["bias-combine", "ccd-reduce", "source-catalog"]


def reason_of(folder: Path, payload: str, **parameters: Any) -> str:
    run = run_payload(folder, payload, **parameters)
    assert run.exit_code == 2, run.stderr
    assert not (run.outputs / "result.json").exists()
    assert not list(run.outputs.glob(".*")), "nothing half-written is left"
    return run.reason


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_missing_file_is_named(tmp_path: Path, payload: str) -> None:
    assert reason_of(tmp_path, payload, image="/nowhere/a.fits") == "image: '/nowhere/a.fits': no such file"


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_truncated_file_is_named(tmp_path: Path, payload: str) -> None:
    path, reason = broken_files(tmp_path)["pixels-cut"]
    found = reason_of(tmp_path / "job", payload, image=path.as_uri())
    assert found.startswith(f"image: {path.as_uri()!r}: {reason}: File may have been truncated")


def test_a_header_without_the_gain_is_named(tmp_path: Path) -> None:
    path = raw_frame(tmp_path / "a.fits", GAIN=None)
    found = reason_of(tmp_path / "job", "ccd-reduce", image=str(path))
    assert found == f"image: {str(path)!r}: HDU 0: the header has no GAIN"
    assert run_payload(tmp_path / "other", "ccd-reduce", image=str(path), gain=2).exit_code == 0


@pytest.mark.parametrize("payload", ["bias-combine", "ccd-reduce"])
def test_a_frame_without_overscan_is_named(tmp_path: Path, payload: str) -> None:
    assert reason_of(
        tmp_path, payload, image="builtin:m13", **({"gain": 1} if payload == "ccd-reduce" else {})
    ) == ("image: 'builtin:m13': HDU 0: the header has no BIASSEC")


def test_an_image_without_world_coordinates_is_named(tmp_path: Path) -> None:
    assert reason_of(tmp_path, "source-catalog", image="builtin:saao") == (
        "image: 'builtin:saao': HDU 0: "
        "the header has no world coordinates of the sky (CTYPE1, CTYPE2, CRVAL1, ...)"
    )


def test_a_name_with_odd_characters_stays_one_argument(tmp_path: Path) -> None:
    positions, fluxes = np.array([(50.0, 60.0), (200.0, 90.0)]), np.array([50_000.0, 30_000.0])
    path = star_field(tmp_path / "--a 'b' $(touch c); ü.fits", positions, fluxes)
    run = run_payload(tmp_path / "job", "source-catalog", image=str(path))
    assert run.exit_code == 0, run.stderr
    assert run.result["sources"] == 2
    assert not (tmp_path / "job" / "c").exists()


def test_a_full_disk_is_a_failure_of_the_run_not_of_its_input(tmp_path: Path) -> None:
    run = run_payload(tmp_path, "bias-combine", file_size_limit=100_000, frames=2)
    assert run.exit_code == 1
    assert run.reason.startswith(f"master-bias.fits cannot be written to {run.outputs} (")
    assert {path.name for path in run.outputs.iterdir()} == {"progress.json"}
