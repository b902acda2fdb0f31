"""Reading one image, and saying clearly what is wrong with it."""

import importlib.util
import re
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from ._report import InputError

if TYPE_CHECKING:
    import numpy as np
    from astropy.io.fits import Header

__all__ = ["Image", "find_image", "read_image"]

# Real pixels that come inside packages: the package and the path in it.
_BUILTIN = {
    "m13": ("astropy", "io/fits/hdu/compressed/tests/data/m13.fits"),
    "saao": ("ccdproc", "tests/data/a8280271.fits"),
}
# What a damaged file makes astropy raise.
_UNREADABLE = (
    *(OSError, EOFError, ValueError, TypeError, LookupError, ArithmeticError, MemoryError, Warning),
    zlib.error,
)
_REGION = re.compile(r"\s*\[\s*(\d+)\s*:\s*(\d+)\s*,\s*(\d+)\s*:\s*(\d+)\s*\]\s*")


@dataclass(frozen=True)
class Image:
    """A two-dimensional image with its header."""

    name: str
    """As the user named it."""

    path: Path
    hdu: int
    """Number of the HDU, from 0."""

    data: "np.ndarray[Any, Any]"
    """Pixels, shape (NAXIS2, NAXIS1), floating point."""

    header: "Header"

    def error(self, reason: str) -> InputError:
        """Make the error that says what is wrong with this image.

        Parameters
        ----------
        reason
            What is wrong.
        """
        return InputError("image", self.name, f"HDU {self.hdu}: {reason}")

    def number(self, keyword: str) -> float:
        """A number of the header that the work cannot do without.

        Raises
        ------
        InputError
            If the header lacks it or it is something else.
        """
        value = self.header.get(keyword)
        if value is None:
            raise self.error(f"the header has no {keyword}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(f"{keyword} = {value!r} is not a number")
        return float(value)

    def region(self, keyword: str) -> tuple[slice, slice]:
        """A region that the header names, such as BIASSEC: ``[x1:x2,y1:y2]``, from 1, ends included.

        Returns
        -------
        tuple of slice
            Rows and columns.

        Raises
        ------
        InputError
            If the header lacks it, it is no region, or it leaves the image.
        """
        text = self.header.get(keyword)
        if text is None:
            raise self.error(f"the header has no {keyword}")
        found = _REGION.fullmatch(str(text))
        if not found:
            raise self.error(f"{keyword} = {text!r} is not a region [x1:x2,y1:y2]")
        x1, x2, y1, y2 = map(int, found.groups())
        rows, columns = self.data.shape
        if not (1 <= x1 <= x2 <= columns and 1 <= y1 <= y2 <= rows):
            raise self.error(f"{keyword} = {text!r} leaves the image of {columns} x {rows} pixels")
        return slice(y1 - 1, y2), slice(x1 - 1, x2)

    def overscan(self) -> "np.ndarray[Any, Any]":
        """The pixels of BIASSEC (ADU), which saw no light; shape (rows, columns).

        Raises
        ------
        InputError
            If the region is missing or wrong, or its pixels tell nothing about noise.
        """
        import numpy as np  # noqa: PLC0415 (heavy)

        pixels = self.data[self.region("BIASSEC")]
        if not np.isfinite(pixels).all():
            raise self.error("pixels of BIASSEC have no value")
        if not np.ptp(pixels) > 0:
            raise self.error("all pixels of BIASSEC are alike: an overscan has noise")
        return pixels

    def title(self) -> str:
        """What the header tells about the exposure, for pictures; the name of the file if nothing."""
        words = [str(self.header.get(key, "")).strip() for key in ("TELESCOP", "OBJECT", "DATE-OBS")]
        return " ".join(filter(None, words)) or self.path.name


def find_image(name: str) -> Path:
    """Where an image is.

    Parameters
    ----------
    name
        A path, a file URL, or ``builtin:NAME``.

    Raises
    ------
    InputError
        If that leads to no file.
    """
    scheme, _, rest = name.partition(":")
    path = Path(name)
    if scheme == "builtin":
        path = _find_builtin(name, rest)
    elif scheme == "file":
        url = urlsplit(name)
        if url.netloc not in {"", "localhost"} or not url.path.startswith("/"):
            raise InputError("image", name, "a file URL is file:///PATH, on this machine")
        path = Path(unquote(url.path))
    elif "://" in name:
        raise InputError("image", name, "only a path, a file URL or builtin:NAME can be read")
    if not path.exists():
        raise InputError("image", name, "no such file")
    if not path.is_file():
        raise InputError("image", name, "is not a file")
    return path


def _find_builtin(name: str, key: str) -> Path:
    if key not in _BUILTIN:
        raise InputError("image", name, f"no such built-in image (there are {', '.join(_BUILTIN)})")
    package, inside = _BUILTIN[key]
    # The specification tells the place without importing the package, let alone its tests.
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise InputError("image", name, f"needs the package {package}, which is not installed")
    return Path(spec.origin).parent / inside


def read_image(name: str) -> Image:
    """Read the first image of a FITS file.

    Parameters
    ----------
    name
        As for `find_image`.

    Raises
    ------
    InputError
        If there is no such file, or no whole two-dimensional image in it.
    """
    from astropy.io import fits  # noqa: PLC0415 (heavy)
    from astropy.io.fits.verify import VerifyWarning  # noqa: PLC0415 (heavy)

    path = find_image(name)
    with warnings.catch_warnings():
        # astropy warns of a truncated file or a damaged card and goes on; we do not.
        warnings.simplefilter("error", VerifyWarning)
        warnings.filterwarnings("error", message=".*truncated.*")
        try:
            # astropy leaves a file open that it could not read, unless it is ours.
            with path.open("rb") as file, fits.open(file, lazy_load_hdus=False) as hdus:
                index, hdu = _first_image(name, hdus)
                data, header = hdu.data, hdu.header.copy()
        except PermissionError as error:
            raise InputError("image", name, "this user may not read it") from error
        except _UNREADABLE as error:
            reason = " ".join(str(error).split())
            if not isinstance(error, OSError | Warning):
                reason = f"{type(error).__name__} {reason}"
            raise InputError("image", name, f"is not a whole FITS file: {reason}") from error
    return Image(name, path, index, _as_image(name, index, data), header)


def _first_image(name: str, hdus: Any) -> tuple[int, Any]:
    for index, hdu in enumerate(hdus):
        if hdu.is_image and hdu.header.get("NAXIS", 0) > 0:
            return index, hdu
    raise InputError("image", name, f"holds no image in its {len(hdus)} HDU")


def _as_image(name: str, index: int, data: Any) -> "np.ndarray[Any, Any]":
    import numpy as np  # noqa: PLC0415 (heavy)

    if data is None or data.size == 0:
        raise InputError("image", name, f"HDU {index}: has no pixels")
    if data.ndim != 2:
        shape = " x ".join(map(str, data.shape[::-1]))
        raise InputError("image", name, f"HDU {index}: has {data.ndim} dimensions ({shape}), an image has 2")
    # In the byte order of this machine; 16-bit integers are exact in single precision.
    pixels = np.ascontiguousarray(data, dtype=np.float32 if data.dtype.itemsize <= 2 else np.float64)
    if not np.isfinite(pixels).any():
        raise InputError("image", name, f"HDU {index}: no pixel has a value")
    return pixels
