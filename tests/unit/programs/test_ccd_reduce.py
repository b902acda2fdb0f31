"""CCD reduction, on simulated frames whose truth is known."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsst.ts.ocps.programs._images import read_image
from lsst.ts.ocps.programs._noise import clipped_std
from lsst.ts.ocps.programs._report import InputError
from lsst.ts.ocps.programs.ccd_reduce import reduce_frame
from support.frames import raw_frame


def test_level_slope_gain_and_read_noise_are_recovered(tmp_path: Path) -> None:
    image = read_image(str(raw_frame(tmp_path / "a.fits", sky=400, level=1000, slope=8, noise=6)))
    reduction = reduce_frame(image, 1, 2.0, 5.0)
    assert reduction.frame.shape == (150, 200)
    assert reduction.frame.unit == "electron"
    assert np.median(reduction.frame.data) == pytest.approx(400, abs=1)
    assert reduction.read_noise == pytest.approx(6, rel=0.05)
    assert reduction.overscan[0] == pytest.approx(1000, abs=0.5)
    assert reduction.overscan[-1] - reduction.overscan[0] == pytest.approx(8, abs=0.5)
    expected = np.sqrt(400 + 36)
    assert np.median(reduction.frame.uncertainty.array) == pytest.approx(expected, rel=0.02)
    assert reduction.frame.data.std() == pytest.approx(expected, rel=0.02), "the errors are honest"


def test_a_constant_leaves_the_slope_in_the_frame(tmp_path: Path) -> None:
    image = read_image(str(raw_frame(tmp_path / "a.fits", slope=40)))
    rows = {order: reduce_frame(image, order, 2.0, 5.0).frame.data.mean(axis=1) for order in (0, 1)}
    assert rows[0][-1] - rows[0][0] == pytest.approx(80, abs=8)
    assert rows[1][-1] - rows[1][0] == pytest.approx(0, abs=8)


@pytest.mark.parametrize(
    ("header", "order", "reason"),
    [
        ({"BIASSEC": None}, 1, "the header has no BIASSEC"),
        ({"TRIMSEC": None}, 1, "the header has no TRIMSEC"),
        ({"BIASSEC": "[1:20,11:150]"}, 1, "BIASSEC = '[1:20,11:150]' does not span all 150 rows"),
        ({}, 150, "overscan_order: '150': too high for the 150 rows of the image"),
    ],
)
def test_frames_that_cannot_be_reduced_are_refused(
    tmp_path: Path, header: dict[str, Any], order: int, reason: str
) -> None:
    image = read_image(str(raw_frame(tmp_path / "a.fits", **header)))
    with pytest.raises(InputError) as info:
        reduce_frame(image, order, 2.0, 5.0)
    assert reason in str(info.value)


def test_cosmic_rays_do_not_count_as_noise() -> None:
    pixels = np.random.default_rng(2).normal(0, 3, (500, 10))
    pixels[::50, 3] = 5000
    assert clipped_std(pixels, 5.0) == pytest.approx(3, rel=0.05)
    assert pixels.std() > 100
