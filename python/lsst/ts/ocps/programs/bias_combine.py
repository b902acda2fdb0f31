"""Combine bias frames into a master bias and measure its noise.

No package ships several bias frames, so that each frame is drawn, pixel by pixel and with replacement, from
the overscan of a real raw frame: real read-out noise, real steps of the converter, independent frames.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ._images import Image, read_image
from ._noise import clipped_std
from ._report import InputError, Report, bounded, make_parser, run_program

if TYPE_CHECKING:
    import numpy as np

__all__ = ["combine", "command_line", "draw_frame", "main"]

_MAX_VALUES = 250_000_000
_STRIP = 4_000_000


def command_line() -> argparse.ArgumentParser:
    """Make the parser of the arguments."""
    parser = make_parser((__doc__ or "").splitlines()[0], "builtin:saao")
    parser.add_argument("--frames", type=bounded(int, 2, 200), default=20, help="how many to combine")
    parser.add_argument("--clip", type=bounded(float, 2, 20), default=5.0, help="of each pixel (sigma)")
    parser.add_argument("--seed", type=bounded(int, 0, 2**32 - 1), default=1, help="of the random draws")
    return parser


def main(arguments: Sequence[str]) -> None:
    """Make one master bias.

    Parameters
    ----------
    arguments
        Command line.

    Raises
    ------
    InputError
        If the image has no usable overscan, or so many frames of it do not fit the memory.
    """
    options = command_line().parse_args(arguments)
    report = Report(options.output, "bias-combine")
    report.progress(0.0, f"reading {options.image}")
    image = read_image(options.image)
    pixels = image.overscan().ravel()
    count = options.frames
    if count * image.data.size > _MAX_VALUES:
        shape = "{1} x {0}".format(*image.data.shape)
        raise InputError("frames", count, f"too many of {shape} pixels: {_MAX_VALUES} values fit the memory")

    import numpy as np  # noqa: PLC0415 (heavy)

    random = np.random.default_rng(options.seed)
    cube = np.empty((count, *image.data.shape), np.float32)
    for number in range(count):
        cube[number] = draw_frame(pixels, image.data.shape, random)
        report.progress(0.1 + 0.5 * number / count, f"bias frame {number + 1} of {count}")
    report.progress(0.6, f"combining {count} frames")
    noise = clipped_std(pixels, 20.0)
    master, rejected = combine(cube, noise, options.clip)
    report.progress(0.9, "writing the master bias")
    _write(report, image, master, options)
    single = float(np.mean([frame.std() for frame in cube]))
    measured = float(master.std())
    numbers = {
        "frames": count,
        "level": float(master.mean()),
        "noise_single": single,
        "noise_master": measured,
        "noise_expected": single / math.sqrt(count),
        "noise_ratio": measured / single,
        "noise_ratio_expected": 1 / math.sqrt(count),
        "rejected_fraction": rejected,
    }
    _publish(report, image, numbers)


def draw_frame(
    pixels: "np.ndarray[Any, Any]", shape: tuple[int, ...], random: "np.random.Generator"
) -> "np.ndarray[Any, Any]":
    """Draw one bias frame.

    Parameters
    ----------
    pixels
        Pixels of a real overscan (ADU).
    shape
        Shape of the frame.
    random
        Source of randomness.
    """
    return pixels[random.integers(len(pixels), size=shape)]


def combine(cube: "np.ndarray[Any, Any]", noise: float, clip: float) -> "tuple[np.ndarray[Any, Any], float]":
    """Average frames without the values that deviate too much from the median of their pixel.

    Parameters
    ----------
    cube
        Frames (ADU), shape (n, ny, nx).
    noise
        Noise of a single frame (ADU). It is the same for all pixels, and the deviation of a few values about
        their own mean would tell it badly: of n values none deviates by more than (n - 1) / sqrt(n) of it,
        so that 5 sigma would reject nothing from fewer than 27 frames.
    clip
        How much is too much (noise).

    Returns
    -------
    ndarray
        The master bias (ADU), shape (ny, nx).
    float
        Fraction of the values that were left out.
    """
    import numpy as np  # noqa: PLC0415 (heavy)
    from astropy.nddata import CCDData  # noqa: PLC0415 (heavy)
    from ccdproc import Combiner  # noqa: PLC0415 (heavy)

    def deviation(values: "np.ndarray[Any, Any]", axis: int) -> float:  # noqa: ARG001 (asked for by Combiner)
        return noise

    master = np.empty(cube.shape[1:], np.float32)
    rejected = 0
    # In strips of rows: the work needs some ten times the memory of what it works on.
    strips = min(math.ceil(cube.size / _STRIP), len(master))
    for rows in np.array_split(np.arange(len(master)), strips):
        strip = cube[:, rows]
        combiner = Combiner([CCDData(frame, unit="adu") for frame in strip], dtype=np.float32)
        combiner.sigma_clipping(low_thresh=clip, high_thresh=clip, func="median", dev_func=deviation)
        master[rows] = combiner.average_combine().data
        rejected += int(np.sum(combiner.data_arr.mask))
    return master, rejected / cube.size


def _write(report: Report, image: Image, master: "np.ndarray[Any, Any]", options: Any) -> None:
    from astropy.io import fits  # noqa: PLC0415 (heavy)

    header = fits.Header()
    for keyword in ("TELESCOP", "INSTRUME", "GAIN", "RDNOISE", "CCD-TEMP", "BIASSEC", "TRIMSEC"):
        if keyword in image.header:
            header[keyword] = (image.header[keyword], image.header.comments[keyword])
    header["BUNIT"] = "adu"
    header["IMAGETYP"] = "master bias"
    header["NCOMBINE"] = (options.frames, "frames averaged")
    header["CLIP"] = (options.clip, "[sigma] values beyond are left out")
    header["SEED"] = (options.seed, "of the random draws")
    header.add_history(f"bias-combine: {options.frames} frames drawn from the overscan of {image.path.name}")
    with report.product("master-bias.fits") as path:
        fits.PrimaryHDU(master, header).writeto(path, checksum=True)


def _publish(report: Report, image: Image, numbers: dict[str, float]) -> None:
    for name in ("noise_single", "noise_master", "noise_expected", "level"):
        report.metric(name, numbers[name], "adu")
    for name in ("noise_ratio", "noise_ratio_expected", "rejected_fraction"):
        report.metric(name, numbers[name])
    report.finish({"image": image.name, **numbers, "units": "adu"}, ["ccdproc"])


if __name__ == "__main__":
    sys.exit(run_program(main))
