"""The shipped payloads as real processes on the real pixels: is the science right?"""

import json
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table

from support.payload_runs import PayloadRun, run_payload

PNG = b"\x89PNG\r\n\x1a\n"


def check_run(run: PayloadRun, payload: str, products: set[str]) -> None:
    assert (run.exit_code, run.stderr) == (0, "")
    assert run.result["payload"] == payload
    assert set(run.result["files"]) == products
    assert {path.name for path in run.outputs.iterdir()} == {
        *products,
        "metrics.json",
        "progress.json",
        "result.json",
    }
    assert json.loads((run.outputs / "progress.json").read_text()) == {"fraction": 1.0, "message": "done"}
    for item in json.loads((run.outputs / "metrics.json").read_text()):
        assert set(item) == {"name", "value", "units", "tags"}
        assert isinstance(item["value"], int | float)
        units.Unit(item["units"], parse_strict="raise")
    for product in products:
        if product.endswith(".fits"):
            with fits.open(run.outputs / product, checksum=True) as hdus:
                hdus.verify("exception")
        if product.endswith(".png"):
            assert (run.outputs / product).read_bytes().startswith(PNG)


def test_the_read_noise_of_the_saao_frame_is_that_of_its_header(tmp_path: Path) -> None:
    run = run_payload(tmp_path, "ccd-reduce")
    check_run(run, "ccd-reduce", {"reduced.fits", "reduced.png"})
    assert run.result["read_noise_header"] == 5.0
    assert 0.9 * 5.0 < run.result["read_noise"] < 1.25 * 5.0
    assert run.metrics["read_noise_ratio"] == pytest.approx(run.result["read_noise"] / 5.0)
    assert run.metrics["overscan_level"] == pytest.approx(214, abs=1)
    with fits.open(run.outputs / "reduced.fits") as hdus:
        header, data, uncertainty = hdus[0].header, hdus[0].data, hdus["UNCERT"].data
    assert (header["BUNIT"], header["GAIN"], header["RAWGAIN"]) == ("electron", 1.0, 1.9)
    assert header["RNMEAS"] == pytest.approx(run.result["read_noise"], abs=1e-3)
    assert "TRIMSEC" not in header
    assert len(header["HISTORY"]) == 3
    assert data.shape == uncertainty.shape == (520, 512)
    # Sky of a real exposure: its noise is that of its photons and of the read-out, and nothing much else.
    sky = data[100:400, 20:120]
    expected = sqrt(np.median(sky) + run.result["read_noise"] ** 2)
    assert 1.4826 * np.median(np.abs(sky - np.median(sky))) == pytest.approx(expected, rel=0.1)
    assert np.median(uncertainty[100:400, 20:120]) == pytest.approx(expected, rel=0.02)


@pytest.mark.system
def test_another_gain_scales_the_electrons(tmp_path: Path) -> None:
    run = run_payload(tmp_path, "ccd-reduce", gain=3.8, overscan_order=0)
    assert run.exit_code == 0, run.stderr
    assert run.result["gain"] == 3.8
    assert run.result["read_noise"] == pytest.approx(2 * 5.76, rel=0.02)


def test_the_sources_of_m13_are_where_m13_is(tmp_path: Path) -> None:
    run = run_payload(tmp_path, "source-catalog")
    check_run(run, "source-catalog", {"catalog.ecsv", "catalog.fits", "sources.png"})
    assert 230 <= run.result["sources"] <= 280
    assert run.metrics["source_count"] == run.result["sources"]
    table = Table.read(run.outputs / "catalog.ecsv", format="ascii.ecsv")
    assert len(table) == run.result["sources"]
    assert {name: str(table[name].unit) for name in ("x", "ra", "dec", "flux", "flux_err", "mag")} == {
        "x": "pix",
        "ra": "deg",
        "dec": "deg",
        "flux": "adu",
        "flux_err": "adu",
        "mag": "mag",
    }
    assert np.all(np.diff(table["flux"]) <= 0), "brightest first"
    # Centre of M13: Goldsbury et al. 2010, AJ 140, 1830.
    centre = SkyCoord(250.421833 * units.deg, 36.459861 * units.deg)
    sources = SkyCoord(table["ra"], table["dec"], unit="deg")
    assert sources.separation(centre).max() < 4 * units.arcmin, "the image is 5 arcmin wide"
    bright = sources[:40]
    mean = SkyCoord(bright.ra.mean(), bright.dec.mean())
    assert mean.separation(centre) < 30 * units.arcsec, "the bright stars gather about the centre"
    with fits.open(run.outputs / "catalog.fits") as hdus:
        np.testing.assert_array_equal(hdus["CATALOG"].data["ra"], table["ra"])


@pytest.mark.system
def test_settings_for_crowded_fields_resolve_the_core_of_m13(tmp_path: Path) -> None:
    run = run_payload(tmp_path, "source-catalog", mesh=16, deblend_contrast=0.0005)
    assert run.result["sources"] > 390, "with the defaults it is about 255"


@pytest.mark.parametrize("frames", [4, pytest.param(30, marks=pytest.mark.system)])
def test_the_noise_of_the_master_bias_falls_as_the_root_of_the_frames(tmp_path: Path, frames: int) -> None:
    run = run_payload(tmp_path, "bias-combine", frames=frames)
    check_run(run, "bias-combine", {"master-bias.fits"})
    assert run.metrics["noise_ratio_expected"] == pytest.approx(1 / sqrt(frames))
    assert run.metrics["noise_ratio"] == pytest.approx(1 / sqrt(frames), rel=0.02)
    assert run.metrics["noise_single"] * 1.9 == pytest.approx(5.76, rel=0.02), (
        "the real noise of the detector"
    )
    with fits.open(run.outputs / "master-bias.fits") as hdus:
        assert hdus[0].header["NCOMBINE"] == frames
        assert hdus[0].data.shape == (520, 536)
        assert hdus[0].data.std() == pytest.approx(run.result["noise_master"], rel=1e-4)
