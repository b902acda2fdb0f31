"""Reading an image, and saying clearly what is wrong with it."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from lsst.ts.ocps.programs._images import find_image, read_image
from lsst.ts.ocps.programs._report import InputError
from support.frames import broken_files, raw_frame, write_fits


@pytest.mark.parametrize(("name", "shape"), [("builtin:m13", (300, 300)), ("builtin:saao", (520, 536))])
def test_the_built_in_images_are_real_files_of_installed_packages(name: str, shape: tuple[int, int]) -> None:
    assert "site-packages" in find_image(name).parts
    assert read_image(name).data.shape == shape


def test_paths_and_file_urls_name_the_same_file(tmp_path: Path) -> None:
    path = raw_frame(tmp_path / "a frame.fits")
    assert find_image(str(path)) == path
    assert find_image(path.as_uri()) == path
    assert find_image(f"file://localhost{path.as_uri().removeprefix('file://')}") == path


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("builtin:m31", "no such built-in image (there are m13, saao)"),
        ("https://example.org/a.fits", "only a path, a file URL or builtin:NAME can be read"),
        ("file://elsewhere/a.fits", "a file URL is file:///PATH, on this machine"),
        ("file:a.fits", "a file URL is file:///PATH, on this machine"),
        ("/nowhere/a.fits", "no such file"),
    ],
)
def test_what_names_no_file_is_refused_with_field_value_and_reason(name: str, reason: str) -> None:
    with pytest.raises(InputError) as info:
        find_image(name)
    assert str(info.value) == f"image: {name!r}: {reason}"


def test_broken_files_are_told_apart(tmp_path: Path) -> None:
    for case, (path, reason) in broken_files(tmp_path).items():
        with pytest.raises(InputError) as info:
            read_image(str(path))
        assert str(info.value).startswith(f"image: {str(path)!r}: {reason}"), case


@pytest.mark.parametrize("keyword", ["BITPIX", "NAXIS1", "END", "SIMPLE"])
def test_damaged_headers_are_refused(tmp_path: Path, keyword: str) -> None:
    content = raw_frame(tmp_path / "whole.fits").read_bytes()
    damaged = tmp_path / "damaged.fits"
    damaged.write_bytes(content.replace(keyword.ljust(8).encode(), b"COMMENT ", 1))
    with pytest.raises(InputError, match="is not a whole FITS file"):
        read_image(str(damaged))


def test_compressed_files_and_images_in_extensions_are_read(tmp_path: Path) -> None:
    plain = raw_frame(tmp_path / "plain.fits")
    expected = fits.getdata(plain)
    zipped = tmp_path / "plain.fits.gz"
    zipped.write_bytes(gzip.compress(plain.read_bytes()))
    tiled = tmp_path / "tiled.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(expected, fits.getheader(plain))]).writeto(tiled)
    for path, hdu in ((zipped, 0), (tiled, 1)):
        image = read_image(str(path))
        assert image.hdu == hdu
        np.testing.assert_array_equal(image.data, expected)
        assert image.number("GAIN") == 2.0


def test_pixels_come_in_the_byte_order_of_this_machine(tmp_path: Path) -> None:
    path = write_fits(tmp_path / "a.fits", np.arange(12, dtype=">f8").reshape(3, 4))
    assert read_image(str(path)).data.dtype.isnative


def test_a_region_counts_from_one_and_includes_its_ends(tmp_path: Path) -> None:
    image = read_image(str(raw_frame(tmp_path / "a.fits", BIASSEC="[  1: 20,  3:150]")))
    assert image.region("BIASSEC") == (slice(2, 150), slice(0, 20))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "the header has no BIASSEC"),
        ("all of it", "BIASSEC = 'all of it' is not a region [x1:x2,y1:y2]"),
        (3, "BIASSEC = 3 is not a region [x1:x2,y1:y2]"),
        ("[0:20,1:150]", "BIASSEC = '[0:20,1:150]' leaves the image of 220 x 150 pixels"),
        ("[1:221,1:150]", "BIASSEC = '[1:221,1:150]' leaves the image of 220 x 150 pixels"),
        ("[20:1,1:150]", "BIASSEC = '[20:1,1:150]' leaves the image of 220 x 150 pixels"),
    ],
)
def test_a_region_that_is_missing_or_wrong_is_named(tmp_path: Path, value: object, reason: str) -> None:
    path = raw_frame(tmp_path / "a.fits", BIASSEC=value)
    with pytest.raises(InputError) as info:
        read_image(str(path)).region("BIASSEC")
    assert str(info.value) == f"image: {str(path)!r}: HDU 0: {reason}"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "the header has no GAIN"),
        ("two", "GAIN = 'two' is not a number"),
        (True, "GAIN = True is not a"),
    ],
)
def test_a_number_that_is_missing_or_wrong_is_named(tmp_path: Path, value: object, reason: str) -> None:
    image = read_image(str(raw_frame(tmp_path / "a.fits", GAIN=value)))
    with pytest.raises(InputError) as info:
        image.number("GAIN")
    assert reason in str(info.value)


def test_an_overscan_that_tells_nothing_is_refused(tmp_path: Path) -> None:
    regions = {"BIASSEC": "[1:2,1:4]", "TRIMSEC": "[3:5,1:4]"}
    flat = write_fits(tmp_path / "flat.fits", np.ones((4, 5), np.float32), **regions)
    with pytest.raises(InputError, match="all pixels of BIASSEC are alike"):
        read_image(str(flat)).overscan()
    holed = np.arange(20, dtype=np.float32).reshape(4, 5)
    holed[1, 1] = np.nan
    with pytest.raises(InputError, match="pixels of BIASSEC have no value"):
        read_image(str(write_fits(tmp_path / "holed.fits", holed, **regions))).overscan()
