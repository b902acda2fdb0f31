"""What of the log reaches the terminal: little, as the commands say themselves what is wrong."""

import logging
import sys

from typing_extensions import override

__all__ = ["configure_logging"]

_LEVELS = (logging.CRITICAL, logging.WARNING, logging.INFO, logging.DEBUG)
_OWN = "lsst.ts.ocps.sandbox"


class _Gate(logging.Filter):
    """Lets records pass by level; those of the sandbox, which nobody else tells, from WARNING on."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self._level = level

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        is_own = record.name.startswith(_OWN) and record.levelno >= logging.WARNING
        return is_own or record.levelno >= self._level


def configure_logging(verbosity: int) -> None:
    """Send log records to standard error.

    Parameters
    ----------
    verbosity
        0: only what nobody else tells; 1: warnings; 2: what happens; 3: everything.
    """
    level = _LEVELS[min(verbosity, len(_LEVELS) - 1)]
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_Gate(level))
    logging.basicConfig(handlers=[handler], level=min(level, logging.WARNING), format="%(message)s")
