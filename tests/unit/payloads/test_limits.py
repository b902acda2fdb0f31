from typing import Any

import pytest
from pydantic import ValidationError

from lsst.ts.ocps.payloads.limits import Limits, LimitSettings

QUEUE_OF_5 = {"max_active": 2, "max_queued": 5}


def limits_of(**keys: Any) -> Limits:
    return LimitSettings(**keys).limits


def most_accepted(limits: Limits) -> int | None:
    """How many runs are accepted before one is refused; None if a thousand are."""
    return next((active for active in range(1000) if limits.find_excess(active)), None)


@pytest.mark.parametrize(
    ("keys", "max_active", "accepted", "allows_detach"),
    [
        ({}, None, None, True),
        ({"max_active": 3}, 3, None, True),
        ({"max_active": 3, "when_busy": "queue"}, 3, None, True),
        ({"max_active": 3, "when_busy": "reject"}, 3, 3, True),
        ({"when_busy": "reject"}, None, None, True),
        (QUEUE_OF_5, 2, 7, True),
        ({"max_active": 2, "max_queued": 0}, 2, 2, True),
        ({"mode": "synchronous"}, 1, 1, False),
        ({"mode": "synchronous", "max_active": 1, "when_busy": "reject"}, 1, 1, False),
        ({"mode": "asynchronous", "max_active": 2}, 2, 102, True),
        ({"mode": "asynchronous"} | QUEUE_OF_5, 2, 7, True),
    ],
)
def test_what_the_keys_amount_to(
    keys: dict[str, Any], max_active: int | None, accepted: int | None, allows_detach: bool
) -> None:
    limits = limits_of(**keys)
    assert (limits.max_active, limits.allows_detach) == (max_active, allows_detach)
    assert most_accepted(limits) == accepted


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"mode": "synchronous", "max_active": 2}, "max_active: is 1 in mode synchronous"),
        ({"mode": "synchronous", "when_busy": "queue"}, "when_busy: is reject in mode synchronous"),
        ({"mode": "synchronous", "max_queued": 3}, "max_queued: is 0 in mode synchronous"),
        ({"mode": "asynchronous"}, "max_active: mode asynchronous needs it"),
        ({"mode": "asynchronous", "max_active": 1, "when_busy": "reject"}, "when_busy: is queue in mode"),
        ({"max_queued": 3}, "max_queued: needs max_active"),
        ({"max_active": 1, "when_busy": "reject", "max_queued": 3}, "max_queued: is 0 where when_busy"),
        ({"mode": "exclusive"}, "'synchronous' or 'asynchronous'"),
        ({"max_active": 0}, "greater than 0"),
        ({"max_active": True}, "valid integer"),
        ({"max_queued": -1}, "greater than or equal to 0"),
    ],
)
def test_keys_that_contradict_each_other_are_refused_by_name(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        LimitSettings(**keys)


@pytest.mark.parametrize(
    ("keys", "active", "text"),
    [
        ({"mode": "synchronous"}, 1, "1 run is active, mode synchronous allows 1"),
        (
            {"max_active": 2, "when_busy": "reject"},
            2,
            "2 runs are active, max_active allows 2 (when_busy: reject)",
        ),
        (QUEUE_OF_5, 7, "7 runs are active or waiting, max_active allows 2 and max_queued 5 more"),
    ],
)
def test_an_excess_is_told_with_limit_and_value(keys: dict[str, Any], active: int, text: str) -> None:
    assert limits_of(**keys).find_excess(active) == text
