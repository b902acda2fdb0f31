"""Summary states and acknowledgement codes (sal-on-kafka sections 7 and 11)."""

from enum import IntEnum

__all__ = ["SalRetCode", "State", "as_salRetCode", "as_sal_ret_code", "as_state"]


class State(IntEnum):
    """Summary state of a CSC."""

    OFFLINE = 4
    """Not commanded by SAL; the process of most CSCs has ended."""

    STANDBY = 5
    """Alive, not configured."""

    DISABLED = 1
    """Configured; component commands are refused."""

    ENABLED = 2
    """At work."""

    FAULT = 3
    """Stopped by an error; ``standby`` is the way out."""


class SalRetCode(IntEnum):
    """Codes of SAL; those beginning with ``CMD_`` are sent in acknowledgements."""

    OK = 0
    """No error (historic)."""

    ERROR = -1
    """Any error (historic)."""

    ERR = -1
    """Same as `ERROR`."""

    TIMEOUT = -5
    """Time over (historic; commands use `CMD_TIMEOUT`)."""

    CMD_ACK = 300
    """Received; neither ends a command nor gives it more time."""

    CMD_INPROGRESS = 301
    """Under way; ``timeout`` says how much more time it needs (s)."""

    CMD_STALLED = 302
    """Made no progress: a final failure."""

    CMD_COMPLETE = 303
    """Done: the only final success."""

    CMD_NOPERM = -300
    """Not permitted: a final failure."""

    CMD_NOACK = -301
    """Nothing came in time; made by the Remote itself."""

    CMD_FAILED = -302
    """Failed, ``result`` says why: final."""

    CMD_ABORTED = -303
    """Stopped before its end: a final failure."""

    CMD_TIMEOUT = -304
    """The command code ran out of time: a final failure."""

    DATA_AVAIL = 400
    """Data are there (historic)."""


def as_state(value: int) -> State | int:
    """The state of that number, or the number unchanged if it is none."""
    try:
        return State(value)
    except ValueError:
        return value


def as_sal_ret_code(value: int) -> SalRetCode | int:
    """The code of that number, or the number unchanged if it is none."""
    try:
        return SalRetCode(value)
    except ValueError:
        return value


as_salRetCode = as_sal_ret_code  # noqa: N816 (the name that users of ts_salobj know)
