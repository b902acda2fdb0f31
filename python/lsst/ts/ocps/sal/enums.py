"""Summary states and acknowledgement codes (sal-on-kafka sections 7 and 11)."""

from enum import IntEnum

__all__ = ["SalRetCode", "ScriptState", "State", "as_salRetCode", "as_sal_ret_code", "as_state"]


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
    """Codes of SAL; those beginning with ``CMD_`` are sent in acknowledgements (sal-on-kafka section 7).

    The others are what the C library of SAL returned before Kafka. Nothing here sends or expects them; they
    exist for programs that name them.
    """

    OK = 0
    """No error (historic)."""

    ERROR = -1
    """Any error (historic)."""

    ERR = -1
    """Same as `ERROR`."""

    ILLEGAL_REVCODE = -2
    """The record belongs to another version of the interface (historic)."""

    TOO_MANY_HANDLES = -3
    """Too many connections (historic)."""

    NOT_DEFINED = -4
    """No such thing (historic)."""

    TIMEOUT = -5
    """Time over (historic; commands use `CMD_TIMEOUT`)."""

    SIGNAL_INTERRUPT = -6
    """Interrupted by a signal (historic)."""

    STATE_DISABLED = 1
    """Historic name of `State.DISABLED`."""

    STATE_ENABLED = 2
    """Historic name of `State.ENABLED`."""

    STATE_FAULT = 3
    """Historic name of `State.FAULT`."""

    STATE_OFFLINE = 4
    """Historic name of `State.OFFLINE`."""

    STATE_STANDBY = 5
    """Historic name of `State.STANDBY`."""

    WAIT_FOR_NEXT_UPDATE = -10000
    """Wait for the next sample (historic)."""

    WAIT_FOR_CHANGE = -10001
    """Wait for a changed sample (historic)."""

    NO_UPDATES = -100
    """No new sample (historic)."""

    WAITING_FOR_NEXT = 100
    """Waiting for a sample (historic)."""

    GOT_UPDATE = 101
    """There is a new sample (historic)."""

    SYNC_IN = 102
    """Synchronised input (historic)."""

    SYNC_OUT = 103
    """Synchronised output (historic)."""

    SYNC_SET = 104
    """Synchronisation is set (historic)."""

    SYNC_CLEAR = 105
    """Synchronisation is cleared (historic)."""

    SYNC_READ = 106
    """Synchronisation is read (historic)."""

    EVENT_INFO = 200
    """An event that informs (historic)."""

    EVENT_WARN = -200
    """An event that warns (historic)."""

    EVENT_ERROR = -201
    """An event that tells of an error (historic)."""

    EVENT_ABORT = -202
    """An event that tells of an abort (historic)."""

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

    DEADLINE_MISS = 401
    """A sample came too late (historic)."""

    INCOMPAT_QOS = 402
    """The two sides do not fit (historic)."""

    SAMPLE_REJ = 403
    """A sample was refused (historic)."""

    LIVELINESS_CHG = 404
    """A writer has come or gone (historic)."""

    SAMPLELOST = 405
    """A sample was lost (historic)."""

    SUBSCR_MATCH = 406
    """The two sides have found each other (historic)."""


class ScriptState(IntEnum):
    """State of a SAL script (salobj-api section 14)."""

    UNKNOWN = 0
    """Nothing is known of the script."""

    UNCONFIGURED = 1
    """Alive, waiting for ``configure``."""

    CONFIGURED = 2
    """Waiting for ``setGroupId`` and ``run``."""

    RUNNING = 3
    """At work."""

    PAUSED = 4
    """At a checkpoint, waiting for ``resume``."""

    ENDING = 5
    """Has done its work, tidies up."""

    STOPPING = 6
    """Was told to stop, tidies up."""

    FAILING = 7
    """Has failed, tidies up."""

    DONE = 8
    """Has done its work: an end."""

    STOPPED = 9
    """Was told to stop: an end."""

    FAILED = 10
    """Has failed: an end."""

    CONFIGURE_FAILED = 11
    """Could not be configured: an end."""


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
