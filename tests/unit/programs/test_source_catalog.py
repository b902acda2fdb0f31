"""Detection and photometry, on simulated stars whose truth is known."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy import units
from astropy.io import fits
from astropy.wcs import WCS

from lsst.ts.ocps.programs._images import read_image
from lsst.ts.ocps.programs._report import InputError
from lsst.ts.ocps.programs.source_catalog import detect, main, to_table
from support.frames import star_field, write_fits

POSITIONS = np.array([(40.3, 50.7), (120.0, 30.2), (200.6, 150.1), (260.5, 60.5)])
FLUXES = np.array([50_000.0, 20_000.0, 8_000.0, 4_000.0])


def options(**changed: Any) -> argparse.Namespace:
    usual = {"threshold": 5.0, "min_area": 5, "aperture": 6.0, "mesh": 64, "deblend_contrast": 0.005}
    return argparse.Namespace(**{**usual, **changed})


def test_positions_and_fluxes_are_recovered(tmp_path: Path) -> None:
    path = star_field(tmp_path / "a.fits", POSITIONS, FLUXES, BUNIT="electron")
    image = read_image(str(path))
    found = detect(image, options())
    assert found.sky == pytest.approx(100, abs=0.5)
    assert found.noise == pytest.approx(5, rel=0.03)
    table = to_table(image, WCS(image.header), found, 25.0)
    assert len(table) == 4
    np.testing.assert_allclose(table["x"], POSITIONS[:, 0], atol=0.1)
    np.testing.assert_allclose(table["y"], POSITIONS[:, 1], atol=0.1)
    # The circle of 4 sigma holds all but a few parts in ten thousand.
    pulls = (table["flux"] - FLUXES) / np.hypot(table["flux_err"], 0.005 * FLUXES)
    assert np.abs(pulls).max() < 4
    np.testing.assert_allclose(table["mag"], 25 - 2.5 * np.log10(FLUXES), atol=0.1)
    assert np.all(table["mag_err"] > 0)
    assert (table["flux"].unit, table["ra"].unit, table["mag"].unit) == (units.electron, units.deg, units.mag)


def test_positions_on_the_sky_follow_the_header(tmp_path: Path) -> None:
    path = star_field(
        tmp_path / "a.fits", np.array([(149.5, 99.5), (249.5, 99.5)]), np.array([50_000.0, 30_000.0])
    )
    image = read_image(str(path))
    table = to_table(image, WCS(image.header), detect(image, options()), 25.0)
    assert table["ra"][0] == pytest.approx(150.0, abs=0.1 / 3600)
    assert table["dec"][0] == pytest.approx(2.0, abs=0.1 / 3600)
    east = (table["ra"][0] - table["ra"][1]) * np.cos(np.radians(2.0)) * 3600
    assert east == pytest.approx(100.0, abs=0.2), "100 pixels of one arcsec to the west"


def test_an_empty_sky_is_an_empty_catalogue(tmp_path: Path) -> None:
    path = star_field(tmp_path / "a.fits", np.empty((0, 2)), np.empty(0))
    main([f"--image={path}", f"--output={tmp_path / 'out'}", "--threshold=6"])
    table = fits.getdata(tmp_path / "out" / "catalog.fits", "CATALOG")
    assert len(table) == 0
    assert (tmp_path / "out" / "sources.png").stat().st_size > 0


def test_pixels_without_a_value_are_left_out(tmp_path: Path) -> None:
    path = star_field(tmp_path / "a.fits", POSITIONS, FLUXES)
    with fits.open(path, mode="update") as hdus:
        hdus[0].data[140:160, 190:210] = np.nan
    found = detect(read_image(str(path)), options())
    assert len(found.objects) == 3
    assert np.isfinite(found.flux).all()


def test_an_image_without_noise_is_refused(tmp_path: Path) -> None:
    path = write_fits(tmp_path / "a.fits", np.ones((100, 100), np.float32))
    with pytest.raises(InputError, match="all pixels are alike"):
        detect(read_image(str(path)), options())


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"CTYPE1": None, "CTYPE2": None}, "the header has no world coordinates of the sky"),
        ({"CTYPE1": "RA---XYZ", "CTYPE2": "DEC--XYZ"}, "the world coordinates cannot be read"),
        ({"CDELT1": 0.0}, "the world coordinates cannot be read"),
    ],
)
def test_an_image_without_a_place_on_the_sky_is_refused(
    tmp_path: Path, header: dict[str, object], reason: str
) -> None:
    path = star_field(tmp_path / "a.fits", POSITIONS, FLUXES, **header)
    with pytest.raises(InputError) as info:
        main([f"--image={path}", f"--output={tmp_path / 'out'}"])
    assert str(info.value).startswith(f"image: {str(path)!r}: HDU 0: {reason}")
