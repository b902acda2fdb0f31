"""How noisy pixels are."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

__all__ = ["clipped_std"]


def clipped_std(values: "np.ndarray[Any, Any]", clip: float) -> float:
    """The standard deviation without outliers (cosmic rays, trails of charge).

    Parameters
    ----------
    values
        Pixels that saw no light, of any shape.
    clip
        Deviations from the median above this many standard deviations are left out, again and again until
        none is.

    Returns
    -------
    float
        In the units of the pixels; the steps of the converter are among its causes.
    """
    from astropy.stats import sigma_clip  # noqa: PLC0415 (heavy)

    return float(sigma_clip(values, sigma=clip, maxiters=None, masked=False).std(ddof=1))
