"""Reduce a raw CCD frame: subtract the overscan, trim, convert to electrons; measure the read noise."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._images import Image, read_image
from ._noise import clipped_std
from ._picture import new_figure, save, show_image
from ._report import InputError, Report, bounded, make_parser, run_program

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Reduction", "command_line", "main", "reduce_frame"]


def command_line() -> argparse.ArgumentParser:
    """Make the parser of the arguments."""
    parser = make_parser(__doc__ or "", "builtin:saao")
    parser.add_argument(
        "--overscan-order", type=bounded(int, 0, 10), default=1, help="order of the fit along the rows"
    )
    parser.add_argument("--gain", type=bounded(float, 0, 1000), default=0.0, help="e-/ADU; 0: of the header")
    parser.add_argument("--clip", type=bounded(float, 2, 20), default=5.0, help="for the read noise (sigma)")
    return parser


def main(arguments: Sequence[str]) -> None:
    """Reduce one frame.

    Parameters
    ----------
    arguments
        Command line.

    Raises
    ------
    InputError
        If the image cannot be reduced.
    """
    options = command_line().parse_args(arguments)
    report = Report(options.output, "ccd-reduce")
    report.progress(0.0, f"reading {options.image}")
    image = read_image(options.image)
    gain = options.gain or image.number("GAIN")
    if gain <= 0:
        raise image.error(f"GAIN = {gain} is not positive")
    report.progress(0.2, "subtracting the overscan, trimming, converting to electrons")
    reduction = reduce_frame(image, options.overscan_order, gain, options.clip)
    report.progress(0.5, f"read noise {reduction.read_noise:.2f} e-; writing the reduced frame")
    _write(report, image, reduction)
    report.progress(0.7, "drawing the quick look")
    _draw(report, image, reduction)
    _publish(report, image, reduction)


@dataclass(frozen=True)
class Reduction:
    """A reduced frame, and what was learned on the way."""

    frame: Any
    """CCDData (electron)."""

    gain: float
    """Electrons per ADU."""

    read_noise: float
    """From the overscan (electron)."""

    overscan: "np.ndarray[Any, Any]"
    """Fitted level of each row (ADU), shape (rows,)."""


def reduce_frame(image: Image, order: int, gain: float, clip: float) -> Reduction:
    """Subtract the overscan level, cut the overscan off, convert to electrons.

    Parameters
    ----------
    image
        A raw frame (ADU) whose header names BIASSEC and TRIMSEC.
    order
        Order of the Chebyshev polynomial that is fitted to the medians of the overscan rows.
    gain
        Electrons per ADU.
    clip
        Outliers of the overscan beyond this (sigma) do not count for the read noise.

    Raises
    ------
    InputError
        If a region is missing or wrong, or has too few rows for the fit.
    """
    bias, science = image.region("BIASSEC"), image.region("TRIMSEC")
    image.overscan()
    rows = len(image.data)
    if bias[0] != slice(0, rows):
        raise image.error(f"BIASSEC = {image.header['BIASSEC']!r} does not span all {rows} rows")
    if rows <= order:
        raise InputError("overscan_order", order, f"too high for the {rows} rows of the image")

    import ccdproc  # noqa: PLC0415 (heavy)
    from astropy import units  # noqa: PLC0415 (heavy)
    from astropy.modeling.models import Chebyshev1D  # noqa: PLC0415 (heavy)
    from astropy.nddata import CCDData  # noqa: PLC0415 (heavy)

    raw = CCDData(image.data, unit="adu")
    model = Chebyshev1D(order, domain=[0, max(rows - 1, 1)])
    level = ccdproc.subtract_overscan(
        raw, overscan=raw[bias], overscan_axis=1, median=True, model=model, add_keyword=False
    )
    trimmed = ccdproc.trim_image(level[science], add_keyword=False)
    frame = ccdproc.gain_correct(trimmed, gain * units.electron / units.adu, add_keyword=False)
    noise = clipped_std(level.data[bias], clip) * gain
    # Single precision holds what a converter of 16 bits and a fit can tell.
    frame.data = frame.data.astype("float32")
    frame = ccdproc.create_deviation(
        frame, readnoise=noise * units.electron, disregard_nan=True, add_keyword=False
    )
    column = bias[1].start
    return Reduction(frame, gain, noise, raw.data[:, column] - level.data[:, column])


def _write(report: Report, image: Image, reduction: Reduction) -> None:
    header = image.header.copy()
    rows, columns = image.region("TRIMSEC")
    header.add_history(f"ccd-reduce: overscan {header['BIASSEC']} fitted and subtracted")
    header.add_history(f"ccd-reduce: trimmed to {header['TRIMSEC']}")
    header.add_history(f"ccd-reduce: multiplied by {reduction.gain:g} electron/adu")
    for stale in ("BIASSEC", "TRIMSEC", "CHECKSUM", "DATASUM"):
        header.remove(stale, ignore_missing=True)
    for keyword, cut in (("CRPIX1", columns.start), ("CRPIX2", rows.start)):
        if keyword in header:
            header[keyword] -= cut
    header["GAIN"] = (1.0, "[electron] per unit of these pixels")
    header["RAWGAIN"] = (reduction.gain, "[electron/adu] gain applied")
    header["RNMEAS"] = (round(reduction.read_noise, 4), "[electron] read noise from the overscan")
    header["OVERSCAN"] = (round(float(reduction.overscan.mean()), 3), "[adu] mean level subtracted")
    frame = reduction.frame
    frame.header = header
    with report.product("reduced.fits") as path:
        frame.to_hdu().writeto(path, checksum=True)


def _draw(report: Report, image: Image, reduction: Reduction) -> None:
    figure = new_figure(report.scratch)
    axes = figure.add_subplot()
    show_image(figure, axes, reduction.frame.data, "electron")
    axes.set_title(f"{image.title()}: overscan subtracted, trimmed")
    axes.set_xlabel("x (pixel)")
    axes.set_ylabel("y (pixel)")
    with report.product("reduced.png") as path:
        save(figure, path)


def _publish(report: Report, image: Image, reduction: Reduction) -> None:
    import numpy as np  # noqa: PLC0415 (heavy)

    stated = image.header.get("RDNOISE")
    known = isinstance(stated, int | float) and stated > 0
    level, slope = float(reduction.overscan.mean()), float(reduction.overscan[-1] - reduction.overscan[0])
    sky = float(np.nanmedian(reduction.frame.data))
    report.metric("read_noise", reduction.read_noise, "electron", source="overscan")
    if known:
        report.metric("read_noise_ratio", reduction.read_noise / float(stated), "", reference="RDNOISE")
    report.metric("overscan_level", level, "adu")
    report.metric("overscan_slope", slope, "adu", along="rows")
    report.metric("sky_level", sky, "electron")
    numbers = {
        "image": image.name,
        "shape": list(reduction.frame.shape),
        "gain": reduction.gain,
        "read_noise": reduction.read_noise,
        "read_noise_header": float(stated) if known else None,
        "overscan_level": level,
        "sky_level": sky,
        "units": "electron",
    }
    report.finish(numbers, ["ccdproc", "matplotlib"])


if __name__ == "__main__":
    sys.exit(run_program(main))
