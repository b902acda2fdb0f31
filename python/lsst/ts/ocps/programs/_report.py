"""What a payload program tells the world: products, numbers, progress, and one clear line on failure."""

import argparse
import json
import math
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

__all__ = ["InputError", "OutputError", "Report", "bounded", "make_parser", "run_program"]


class InputError(Exception):
    """The input is at fault.

    Parameters
    ----------
    field
        Which parameter led to it.
    value
        What was given.
    reason
        Why that cannot be used.
    """

    def __init__(self, field: str, value: object, reason: str) -> None:
        super().__init__(f"{field}: {str(value)!r}: {reason}")


class OutputError(Exception):
    """A result cannot be written; the message names it, the place and the reason."""


class Report:
    """Writes everything into one directory, each file by rename, so that nobody reads a half-written one.

    Parameters
    ----------
    directory
        Where the results go; made if it is absent.
    program
        Name of the payload.
    """

    def __init__(self, directory: Path, program: str) -> None:
        self.directory = directory
        self._program = program
        self._start = time.monotonic()
        self._metrics: list[dict[str, Any]] = []
        self._files: list[str] = []
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"results cannot be written to {directory}: {error}") from error
        job = os.environ.get("JOB_DIR")  # noqa: TID251 (the one reader in this package)
        self.scratch = Path(job) if job else None
        """A folder for what is nobody's result; None outside a job."""

    def progress(self, fraction: float, message: str) -> None:
        """Say how far the work is.

        Parameters
        ----------
        fraction
            0 to 1.
        message
            What is done now.
        """
        print(f"{time.monotonic() - self._start:7.3f} s  {message}", flush=True)
        self._write_json("progress.json", {"fraction": round(fraction, 3), "message": message})

    def metric(self, name: str, value: float, units: str = "", **tags: str) -> None:
        """Keep one number for ``metrics.json``; what could not be measured (NaN) is left out.

        Parameters
        ----------
        name, value, units
            What was measured; units as astropy writes them, "" for a pure number.
        tags
            What it belongs to, such as the filter.
        """
        if math.isfinite(value):
            self._metrics.append({"name": name, "value": _number(value), "units": units, "tags": tags})

    @contextmanager
    def product(self, name: str) -> Iterator[Path]:
        """Make one result file: the body writes to the path given, which becomes NAME when it is complete.

        Parameters
        ----------
        name
            Name of the file.

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        with self._complete(name) as path:
            yield path
        self._files.append(name)

    def finish(self, result: Mapping[str, Any], packages: Sequence[str]) -> None:
        """Write ``metrics.json``, then ``result.json``.

        Parameters
        ----------
        result
            The main numbers.
        packages
            Distributions whose versions belong to the result.
        """
        self._write_json("metrics.json", self._metrics)
        versions = {name: version(name) for name in ("ts-ocps", "numpy", "astropy", *packages)}
        whole = {
            "payload": self._program,
            **{name: _number(value) for name, value in result.items()},
            "files": self._files,
            "versions": {"python": ".".join(map(str, sys.version_info[:3])), **versions},
            "elapsed": round(time.monotonic() - self._start, 3),
        }
        self._write_json("result.json", whole)
        self.progress(1.0, "done")

    def _write_json(self, name: str, value: Any) -> None:
        with self._complete(name) as path:
            path.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n")

    @contextmanager
    def _complete(self, name: str) -> Iterator[Path]:
        part = self.directory / f".{os.getpid()}.{name}"
        try:
            yield part
            part.replace(self.directory / name)
        except OSError as error:
            # numpy says only how many values it could not write, so the space left is told as well.
            free = shutil.disk_usage(self.directory).free
            raise OutputError(
                f"{name} cannot be written to {self.directory} ({free} byte free): {error}"
            ) from error
        finally:
            part.unlink(missing_ok=True)


def _number(value: Any) -> Any:
    """A value that JSON can carry: numpy scalars become numbers, what is not finite becomes null."""
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def make_parser(description: str, image: str) -> argparse.ArgumentParser:
    """Make the command line that all programs share.

    Parameters
    ----------
    description
        What the program does.
    image
        The image to use if none is named.
    """
    parser = argparse.ArgumentParser(description=description, allow_abbrev=False)
    parser.add_argument(
        "--image",
        type=lambda text: text or image,
        default=image,
        help=f"path, file URL or builtin:NAME (default, and for an empty text: {image})",
    )
    # What every job finds in its environment; by hand, the results go into ./out.
    output = os.environ.get("JOB_OUTPUT_DIR", "out")  # noqa: TID251 (the one reader in this package)
    parser.add_argument("--output", type=Path, default=Path(output), help="folder of the results")
    return parser


def bounded(kind: Callable[[str], float], low: float, high: float) -> Callable[[str], float]:
    """A type of argument: a number within bounds.

    Parameters
    ----------
    kind
        int or float.
    low, high
        The smallest and the largest value allowed.
    """

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number of type {kind.__name__}") from None
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not within {low} to {high}")
        return value

    return parse


def run_program(main: Callable[[Sequence[str]], None]) -> int:
    """Run a program and explain its failure in the last line on standard error.

    Parameters
    ----------
    main
        The program; it gets the arguments.

    Returns
    -------
    int
        The exit code: 0, 1 or 2.
    """
    try:
        main(sys.argv[1:])
    except InputError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2
    except OutputError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 1
    except Exception as error:  # noqa: BLE001 (the whole traceback is printed, then the line that people read)
        traceback.print_exc()
        print(" ".join(f"{type(error).__name__}: {error}".split()), file=sys.stderr)
        return 1
    return 0
