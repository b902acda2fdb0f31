"""What can be run, as the CSC tells it."""

import json
from typing import Any

from lsst.ts.ocps import salobj

__all__ = ["parameter_schema"]


async def parameter_schema(
    remote: salobj.Remote,
    payload: str,
    *,
    timeout: float = 2.0,  # noqa: ASYNC109 (a limit, not a cancellation)
) -> dict[str, Any] | None:
    """The JSON Schema of a payload's parameters.

    Parameters
    ----------
    remote
        A started Remote that includes the event ``payloads``.
    payload
        Name of the payload.
    timeout
        Longest wait for the event (s).

    Returns
    -------
    dict | None
        None if the CSC does not tell it: it may not know the payload, or know too many to tell all.
    """
    topic = getattr(remote, "evt_payloads", None)
    if topic is None:
        return None
    try:
        data = topic.get()
        if data is None and not topic.has_callback:
            # A callback forbids waiting.
            data = await topic.aget(timeout=timeout)
        definition = json.loads(data.definitions).get(payload, {})
    except (TimeoutError, ValueError, AttributeError):
        return None
    schema = definition.get("parameters") if isinstance(definition, dict) else None
    return schema if isinstance(schema, dict) else None
