"""SAL as the CSC and its observers see it: ts_salobj where it is installed, else our runtime.

``OCPS_SAL_RUNTIME=ts_salobj|builtin`` forces one of the two. The names and their types are those of our
runtime; what ts_salobj lacks (its own kinds of errors, for one) is taken from ours, so that it can always be
named.
"""

import importlib
import importlib.metadata
import importlib.util
import os
from typing import TYPE_CHECKING, Any

from lsst.ts.ocps import sal

if TYPE_CHECKING:
    from lsst.ts.ocps.sal import *  # noqa: F403 (the names of our runtime are the names of this module)

__all__ = ["RUNTIME"]
__all__ += sal.__all__

_BUILTIN = "builtin"
_TS_SALOBJ = "ts_salobj"
_FIRST_KAFKA_VERSION = 8


def _choose_runtime() -> str:
    forced = os.environ.get("OCPS_SAL_RUNTIME", "")  # noqa: TID251 (decides what is imported at all)
    if forced not in {"", _BUILTIN, _TS_SALOBJ}:
        raise ImportError(f"OCPS_SAL_RUNTIME={forced!r} is neither {_TS_SALOBJ!r} nor {_BUILTIN!r}")
    if forced:
        return forced
    return _TS_SALOBJ if _has_ts_salobj() else _BUILTIN


def _has_ts_salobj() -> bool:
    """Whether a ts_salobj that speaks Kafka is installed; earlier ones speak DDS."""
    if importlib.util.find_spec("lsst.ts.salobj") is None:
        return False
    try:
        version = importlib.metadata.version("ts-salobj")
    except importlib.metadata.PackageNotFoundError:
        # A development tree without metadata.
        return True
    return int(version.split(".", 1)[0]) >= _FIRST_KAFKA_VERSION


RUNTIME = _choose_runtime()
"""Which runtime is in use: "ts_salobj" or "builtin"."""


def _get_modules() -> tuple[str, ...]:
    builtin = "lsst.ts.ocps.sal"
    if RUNTIME == _BUILTIN:
        return (builtin,)
    # Since version 8 the time functions are in ts_utils.
    return "lsst.ts.salobj", "lsst.ts.utils", builtin


if not TYPE_CHECKING:
    # A type checker sees the imports above, so that a misspelt name is an error to it.

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        for module_name in _get_modules():
            module = importlib.import_module(module_name)
            if hasattr(module, name):
                value = getattr(module, name)
                globals()[name] = value
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
