"""The master bias, on simulated frames whose truth is known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from lsst.ts.ocps.programs.bias_combine import combine, draw_frame


def frames(count: int) -> NDArray[np.float32]:
    return np.random.default_rng(5).normal(200, 3, (count, 100, 120)).astype(np.float32)


@pytest.mark.parametrize("count", [2, 3, 10, 40])
def test_noise_falls_as_the_root_of_the_number_of_frames(count: int) -> None:
    master, rejected = combine(frames(count), 3.0, 5.0)
    assert master.std() == pytest.approx(3 / np.sqrt(count), rel=0.03)
    assert master.mean() == pytest.approx(200, abs=0.1)
    assert rejected < 1e-4


@pytest.mark.parametrize("count", [3, 5, 20])
def test_cosmic_rays_are_left_out_even_of_few_frames(count: int) -> None:
    clean, hit = frames(count), frames(count)
    hit[1, ::10, ::10] += 1000.0
    master, rejected = combine(hit, 3.0, 5.0)
    assert rejected == pytest.approx(1 / (100 * count), rel=0.05)
    assert np.abs(master - combine(clean, 3.0, 5.0)[0]).max() < 15.0, (
        "without clipping it would be 50 and more"
    )


def test_strips_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    cube = frames(7)
    whole, _ = combine(cube, 3.0, 5.0)
    for size in (1, 5000):
        monkeypatch.setattr("lsst.ts.ocps.programs.bias_combine._STRIP", size)
        np.testing.assert_array_equal(combine(cube, 3.0, 5.0)[0], whole)


def test_frames_are_drawn_from_the_given_pixels_and_repeat_with_the_seed() -> None:
    pixels = np.array([210, 213, 219], np.float32)
    first, again, other = (draw_frame(pixels, (50, 60), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert set(np.unique(first)) == set(pixels)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
