"""FITS files for the tests of the payload programs: simulated ones, whose truth is known, and broken ones."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

__all__ = ["broken_files", "raw_frame", "star_field", "write_fits"]


def write_fits(path: Path, data: NDArray[Any] | None, **header: Any) -> Path:
    """Write one image; ``header`` holds its keywords, with "_" for "-"."""
    hdu = fits.PrimaryHDU(data)
    for keyword, value in header.items():
        hdu.header[keyword.replace("_", "-")] = value
    hdu.writeto(path)
    return path


def raw_frame(
    path: Path,
    *,
    sky: float = 400.0,
    level: float = 1000.0,
    slope: float = 8.0,
    noise: float = 6.0,
    **header: Any,
) -> Path:
    """A raw CCD frame of 200 x 150 pixels with 20 columns of overscan in front.

    Sky and noise in electrons, level and slope of the overscan along the rows in ADU; 2 electrons/ADU.
    """
    random = np.random.default_rng(7)
    electrons = np.zeros((150, 220))
    electrons[:, 20:] = random.poisson(sky, (150, 200))
    electrons += random.normal(0, noise, electrons.shape)
    counts = electrons / 2.0 + level + np.linspace(0, slope, 150)[:, None]
    keywords = {"GAIN": 2.0, "RDNOISE": noise, "BIASSEC": "[1:20,1:150]", "TRIMSEC": "[21:220,1:150]"}
    wanted = {name: value for name, value in {**keywords, **header}.items() if value is not None}
    return write_fits(path, np.round(counts).astype(np.uint16), **wanted)


def star_field(path: Path, positions: NDArray[Any], fluxes: NDArray[Any], **header: Any) -> Path:
    """Gaussian stars (sigma 1.5 pixel) on 300 x 200 pixels of 1 arcsec about 150, +2 deg; sky 100 +- 5."""
    y, x = np.mgrid[:200, :300]
    image = np.random.default_rng(3).normal(100.0, 5.0, x.shape)
    for (star_x, star_y), flux in zip(positions, fluxes, strict=True):
        shape = np.exp(-((x - star_x) ** 2 + (y - star_y) ** 2) / (2 * 1.5**2))
        image += flux * shape / (2 * np.pi * 1.5**2)
    wcs: dict[str, Any] = {
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "RADESYS": "ICRS",
        "CRVAL1": 150.0,
        "CRVAL2": 2.0,
        "CRPIX1": 150.5,
        "CRPIX2": 100.5,
        "CDELT1": -1 / 3600,
        "CDELT2": 1 / 3600,
    }
    wanted = {name: value for name, value in {**wcs, **header}.items() if value is not None}
    return write_fits(path, image.astype(np.float32), **wanted)


def broken_files(folder: Path) -> dict[str, tuple[Path, str]]:
    """Files that hold no usable image: by name, the file and what the message has to say."""
    whole = raw_frame(folder / "whole.fits").read_bytes()
    made = {
        "empty": (b"", "is not a whole FITS file"),
        "text": (b"not FITS at all\n" * 500, "is not a whole FITS file"),
        "header-cut": (whole[:1000], "is not a whole FITS file"),
        "pixels-cut": (whole[: len(whole) // 2], "is not a whole FITS file"),
        "no-pixels": (whole[:2880], "is not a whole FITS file"),
        "zip-cut": (gzip.compress(whole)[:5000], "is not a whole FITS file"),
    }
    found = {}
    for name, (content, reason) in made.items():
        path = folder / f"{name}.fits"
        path.write_bytes(content)
        found[name] = (path, reason)
    found["table"] = (folder / "table.fits", "holds no image in its 2 HDU")
    table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=np.zeros(3))])
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(found["table"][0])
    cube = write_fits(folder / "cube.fits", np.zeros((3, 4, 5), np.float32))
    found["cube"] = (cube, "HDU 0: has 3 dimensions (5 x 4 x 3), an image has 2")
    spectrum = write_fits(folder / "spectrum.fits", np.zeros(5, np.float32))
    found["spectrum"] = (spectrum, "HDU 0: has 1 dimensions (5), an image has 2")
    blank = write_fits(folder / "blank.fits", np.full((4, 5), np.nan, np.float32))
    found["blank"] = (blank, "HDU 0: no pixel has a value")
    found["missing"] = (folder / "missing.fits", "no such file")
    found["folder"] = (folder, "is not a file")
    return found
