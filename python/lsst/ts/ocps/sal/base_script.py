"""What other programs have to know of SAL scripts (salobj-api section 1).

Scripts themselves (``BaseScript``, salobj-api section 14) need ts_salobj.
"""

__all__ = ["HEARTBEAT_INTERVAL"]

HEARTBEAT_INTERVAL = 5
"""Time between two heartbeats of a script (s)."""
