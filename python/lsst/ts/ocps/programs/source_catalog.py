"""Detect and measure the sources of an image: a catalogue with positions on the sky, and a picture."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._images import Image, read_image
from ._picture import new_figure, save, show_image
from ._report import InputError, Report, bounded, make_parser, run_program

if TYPE_CHECKING:
    import numpy as np
    from astropy.table import Table

__all__ = ["Detections", "command_line", "detect", "main", "to_table"]


def command_line() -> argparse.ArgumentParser:
    """Make the parser of the arguments."""
    parser = make_parser(__doc__ or "", "builtin:m13")
    parser.add_argument("--threshold", type=bounded(float, 1, 1000), default=4.0, help="sigma of the sky")
    parser.add_argument("--min-area", type=bounded(int, 1, 10_000), default=5, help="pixels of a source")
    parser.add_argument("--aperture", type=bounded(float, 0.5, 100), default=4.0, help="radius (pixel)")
    parser.add_argument("--mesh", type=bounded(int, 8, 1024), default=64, help="of the sky (pixel)")
    parser.add_argument(
        "--deblend-contrast",
        type=bounded(float, 0, 1),
        default=0.005,
        help="share of a blend's light that makes a peak a source of its own",
    )
    parser.add_argument(
        "--zero-point", type=bounded(float, -50, 50), default=25.0, help="magnitude of flux 1"
    )
    return parser


def main(arguments: Sequence[str]) -> None:
    """Make one catalogue.

    Parameters
    ----------
    arguments
        Command line.

    Raises
    ------
    InputError
        If the image has no position on the sky, or the settings do not suit it.
    """
    options = command_line().parse_args(arguments)
    report = Report(options.output, "source-catalog")
    report.progress(0.0, f"reading {options.image}")
    image = read_image(options.image)
    wcs = _read_wcs(image)
    report.progress(0.25, "detecting and measuring")
    found = detect(image, options)
    report.progress(0.4, f"{len(found.objects)} sources; writing the catalogue")
    table = to_table(image, wcs, found, options.zero_point)
    _write(report, image, table, options)
    report.progress(0.6, "drawing")
    _draw(report, image, wcs, found)
    _publish(report, image, table, found)


def _read_wcs(image: Image) -> Any:
    import warnings  # noqa: PLC0415 (with its user)

    from astropy.wcs import WCS, FITSFixedWarning  # noqa: PLC0415 (heavy)

    with warnings.catch_warnings():
        # Old spellings of keywords are corrected; that is no news for whoever reads the log.
        warnings.simplefilter("ignore", FITSFixedWarning)
        try:
            wcs = WCS(image.header).celestial
        except (ValueError, TypeError, KeyError) as error:
            raise image.error(f"the world coordinates cannot be read: {error}") from error
    if not wcs.has_celestial:
        raise image.error("the header has no world coordinates of the sky (CTYPE1, CTYPE2, CRVAL1, ...)")
    return wcs


@dataclass(frozen=True)
class Detections:
    """What was found on one image."""

    objects: "np.ndarray[Any, Any]"
    """One record a source, as `sep.extract` makes them."""

    flux: "np.ndarray[Any, Any]"
    flux_error: "np.ndarray[Any, Any]"
    flags: "np.ndarray[Any, Any]"
    aperture: float
    """Radius (pixel)."""

    sky: float
    noise: float
    """Of the sky, per pixel."""


def detect(image: Image, options: Any) -> Detections:
    """Detect sources above the sky and sum their light in a circle.

    Parameters
    ----------
    image
        What to search.
    options
        The command line: ``threshold`` (sigma of the sky), ``min_area`` (pixels of a source), ``aperture``
        (radius of the circle, pixel), ``mesh`` (size of the squares in which the sky is measured, pixel),
        ``deblend_contrast`` (share of the light of a blend that makes a peak a source of its own).

    Raises
    ------
    InputError
        If the image has no noise to compare with, or so many detections that the settings cannot be meant.
    """
    import numpy as np  # noqa: PLC0415 (heavy)
    import sep  # noqa: PLC0415 (heavy)

    mask = ~np.isfinite(image.data)
    data = np.where(mask, 0, image.data).astype(np.float32)
    # sep calls the noise of a constant 1.
    if not np.ptp(image.data[~mask]) > 0:
        raise image.error("all pixels are alike: there is no noise to compare with")
    background = sep.Background(data, mask=mask, bw=options.mesh, bh=options.mesh)
    noise = float(background.globalrms)
    data -= background.back()
    # The limits of sep are for small images; these hold for any that fits the memory.
    sep.set_extract_pixstack(max(1_000_000, data.size))
    try:
        objects = sep.extract(
            data,
            options.threshold,
            err=noise,
            mask=mask,
            minarea=options.min_area,
            deblend_cont=options.deblend_contrast,
        )
    except Exception as error:
        # sep raises the base class itself for what the settings lead to; anything else is a defect.
        if type(error) is not Exception:
            raise
        raise InputError(
            "threshold", options.threshold, f"the sources cannot be told apart: {error}"
        ) from error
    gain = image.header.get("GAIN")
    flux, flux_error, flags = sep.sum_circle(
        data,
        objects["x"],
        objects["y"],
        options.aperture,
        err=noise,
        mask=mask,
        gain=float(gain) if isinstance(gain, int | float) and gain > 0 else None,
    )
    return Detections(
        objects,
        flux,
        flux_error,
        objects["flag"] | flags,
        options.aperture,
        float(background.globalback),
        noise,
    )


def to_table(image: Image, wcs: Any, found: Detections, zero_point: float) -> "Table":
    """Make the catalogue, brightest first.

    Parameters
    ----------
    image
        Where the sources are.
    wcs
        Its world coordinates.
    found
        The sources.
    zero_point
        Magnitude of a source of flux 1.

    Returns
    -------
    Table
        One row a source; each column with its units and a description.
    """
    import numpy as np  # noqa: PLC0415 (heavy)
    from astropy import units  # noqa: PLC0415 (heavy)
    from astropy.table import Column, Table  # noqa: PLC0415 (heavy)

    order = np.argsort(-found.flux)
    flux, error = found.flux[order], found.flux_error[order]
    x, y = found.objects["x"][order], found.objects["y"][order]
    sky = wcs.pixel_to_world(x, y).icrs
    with np.errstate(divide="ignore", invalid="ignore"):
        magnitude = np.where(flux > 0, zero_point - 2.5 * np.log10(flux), np.nan)
        magnitude_error = np.where(flux > 0, 2.5 / np.log(10) * error / flux, np.nan)
    count = _unit(image)
    columns = {
        "id": (np.arange(1, len(order) + 1), None, "number, brightest first"),
        "x": (x, units.pix, "column of the centroid; the centre of the first pixel is 0"),
        "y": (y, units.pix, "row of the centroid; the centre of the first pixel is 0"),
        "ra": (sky.ra.deg, units.deg, "right ascension (ICRS)"),
        "dec": (sky.dec.deg, units.deg, "declination (ICRS)"),
        "flux": (flux, count, f"sum in a circle of {found.aperture:g} pixel, sky subtracted"),
        "flux_err": (error, count, "standard deviation of flux"),
        "mag": (magnitude, units.mag, f"instrumental, zero point {zero_point:g}"),
        "mag_err": (magnitude_error, units.mag, "standard deviation of mag"),
        "a": (found.objects["a"][order], units.pix, "rms along the major axis"),
        "b": (found.objects["b"][order], units.pix, "rms along the minor axis"),
        "npix": (found.objects["npix"][order], None, "pixels above the threshold"),
        "flags": (found.flags[order], None, "of sep: 1 blended, 2 truncated, 16 aperture truncated"),
    }
    table = Table()
    for name, (values, unit, description) in columns.items():
        table[name] = Column(values, unit=unit, description=description)
    return table


def _unit(image: Image) -> Any:
    from astropy import units  # noqa: PLC0415 (heavy)

    try:
        return units.Unit(str(image.header.get("BUNIT", "adu")))
    except ValueError:
        return units.adu


def _write(report: Report, image: Image, table: "Table", options: Any) -> None:
    # Names that are FITS keywords as well.
    table.meta.update(
        {"IMAGE": image.path.name, "THRESH": options.threshold, "MINAREA": options.min_area}
        | {"APERTURE": options.aperture, "MESH": options.mesh, "DEBLEND": options.deblend_contrast}
        | {"ZEROPT": options.zero_point}
    )
    with report.product("catalog.ecsv") as path:
        table.write(path, format="ascii.ecsv")
    from astropy.io import fits  # noqa: PLC0415 (heavy)

    hdu = fits.table_to_hdu(table)
    hdu.name = "CATALOG"
    with report.product("catalog.fits") as path:
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, checksum=True)


def _draw(report: Report, image: Image, wcs: Any, found: Detections) -> None:
    # First of all, because it tells matplotlib where it may write.
    figure = new_figure(report.scratch)

    from astropy.visualization.wcsaxes import WCSAxes  # noqa: PLC0415 (heavy)
    from matplotlib.collections import PatchCollection  # noqa: PLC0415 (heavy)
    from matplotlib.patches import Circle  # noqa: PLC0415 (heavy)

    axes: Any = figure.add_subplot(axes_class=WCSAxes, wcs=wcs)
    show_image(figure, axes, image.data, str(image.header.get("BUNIT", "adu")))
    for flagged, colour in ((False, "tab:red"), (True, "tab:orange")):
        chosen = found.objects[(found.flags != 0) == flagged]
        circles = [Circle((source["x"], source["y"]), found.aperture) for source in chosen]
        marks = PatchCollection(circles, facecolor="none", edgecolor=colour, linewidth=0.7)
        axes.add_collection(marks)
    axes.set_xlabel("RA")
    axes.set_ylabel("Dec")
    axes.coords.grid(color="tab:blue", alpha=0.25, linestyle=":")
    axes.set_title(f"{image.title()}: {len(found.objects)} sources")
    with report.product("sources.png") as path:
        save(figure, path)


def _publish(report: Report, image: Image, table: "Table", found: Detections) -> None:
    import numpy as np  # noqa: PLC0415 (heavy)

    units = str(_unit(image))
    report.metric("source_count", len(table))
    report.metric("flagged_fraction", float(np.mean(found.flags != 0)) if len(table) else 0.0)
    report.metric("sky_level", found.sky, units)
    report.metric("sky_noise", found.noise, units)
    brightest = {name: float(table[name][0]) for name in ("ra", "dec", "mag")} if len(table) else None
    numbers = {
        "image": image.name,
        "sources": len(table),
        "sky_level": found.sky,
        "sky_noise": found.noise,
        "units": units,
        "brightest": brightest,
    }
    report.finish(numbers, ["sep", "matplotlib"])


if __name__ == "__main__":
    sys.exit(run_program(main))
