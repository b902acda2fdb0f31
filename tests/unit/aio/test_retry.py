import asyncio
import logging

import pytest

from lsst.ts.ocps.aio.deadline import Deadline
from lsst.ts.ocps.aio.retry import retry

pytestmark = pytest.mark.asyncio


class Flaky:
    """Fails some times, then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def is_transient(error: Exception) -> bool:
    return isinstance(error, ConnectionError)


async def test_it_tries_until_it_succeeds() -> None:
    call = Flaky(ConnectionError("1"), ConnectionError("2"))
    assert (
        await retry(call, deadline=Deadline("x", 60), is_transient=is_transient, first_delay=0.001) == "done"
    )
    assert call.calls == 3


async def test_an_error_for_good_is_raised_at_once() -> None:
    call = Flaky(ValueError("never"))
    with pytest.raises(ValueError, match="never"):
        await retry(call, deadline=Deadline("x", 60), is_transient=is_transient)
    assert call.calls == 1


async def test_the_last_error_is_raised_when_no_time_is_left() -> None:
    call = Flaky(*(ConnectionError(str(number)) for number in range(1000)))
    with pytest.raises(ConnectionError) as caught:
        await retry(
            call, deadline=Deadline("x", 0.2), is_transient=is_transient, first_delay=0.02, max_delay=0.02
        )
    assert 2 <= call.calls < 1000
    assert str(caught.value) == str(call.calls - 1)


async def test_no_pause_is_begun_that_the_deadline_would_cut() -> None:
    call = Flaky(ConnectionError("1"), ConnectionError("2"))
    async with asyncio.timeout(10):
        with pytest.raises(ConnectionError, match="1"):
            await retry(call, deadline=Deadline("x", 1), is_transient=is_transient, first_delay=60)
    assert call.calls == 1


async def test_pauses_double_up_to_their_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def note(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", note)
    call = Flaky(*(ConnectionError(str(number)) for number in range(6)))
    await retry(call, deadline=Deadline("x", 600), is_transient=is_transient, first_delay=1, max_delay=8)
    for pause, middle in zip(pauses, (1, 2, 4, 8, 8, 8), strict=True):
        assert 0.8 * middle <= pause <= 1.2 * middle
    assert len(set(pauses)) > 1


async def test_each_failed_attempt_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    call = Flaky(ConnectionError("refused"))
    deadline = Deadline("reaching the service", 60)
    log = logging.getLogger("test")
    await retry(call, deadline=deadline, is_transient=is_transient, first_delay=0.001, log=log)
    assert "reaching the service: refused; next attempt in" in caplog.text


async def test_a_cancellation_is_no_error_to_retry() -> None:
    async def call() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await retry(call, deadline=Deadline("x", 60), is_transient=lambda _: True)
