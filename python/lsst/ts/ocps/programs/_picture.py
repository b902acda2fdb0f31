"""Pictures that an astronomer would like to look at."""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from matplotlib.figure import Figure

__all__ = ["new_figure", "save", "show_image"]

_SIZE = (8.0, 7.2)
"""Of every picture (inch)."""


def new_figure(scratch: "Path | None") -> "Figure":
    """Make an empty figure, without pyplot and without a display.

    Parameters
    ----------
    scratch
        Where matplotlib may keep its list of fonts: a job has no home directory. None: where it likes.
    """
    if scratch is not None:
        # matplotlib reads it when it is imported.
        os.environ.setdefault("MPLCONFIGDIR", str(scratch / ".matplotlib"))  # noqa: TID251 (set, not read)
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 (heavy)
    from matplotlib.figure import Figure  # noqa: PLC0415 (heavy)

    figure = Figure(figsize=_SIZE, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def show_image(figure: "Figure", axes: Any, data: "np.ndarray[Any, Any]", units: str) -> None:
    """Draw an image in negative: zscale limit at the faint end, asinh stretch, and a bar with the scale.

    Parameters
    ----------
    figure, axes
        Where.
    data
        Pixels, shape (ny, nx).
    units
        Units of the pixels, for the bar.
    """
    import numpy as np  # noqa: PLC0415 (heavy)
    from astropy.visualization import AsinhStretch, ImageNormalize, ZScaleInterval  # noqa: PLC0415 (heavy)

    # The noise of the sky (the zscale limits) is light grey; above it asinh keeps faint and bright apart.
    low, faint = ZScaleInterval(contrast=0.5).get_limits(data)
    high = max(float(np.nanpercentile(data, 99.9)), low + 1e-6)
    softening = float(np.clip(0.3 * (faint - low) / (high - low), 0.02, 0.5))
    norm = ImageNormalize(vmin=low, vmax=high, stretch=AsinhStretch(softening), clip=False)
    shown = axes.imshow(data, origin="lower", cmap="gray_r", norm=norm, interpolation="nearest")
    bar = figure.colorbar(shown, ax=axes, shrink=0.85, pad=0.02)
    bar.set_label(units)
    axes.autoscale(enable=False)


def save(figure: "Figure", path: "Path") -> None:
    """Write a figure as PNG.

    Parameters
    ----------
    figure
        What to write.
    path
        Where; the name may have any ending.
    """
    figure.savefig(path, format="png", dpi=110)
