"""What is written in one turn of the event loop is sent at the beginning of the next one."""

import asyncio
from typing import Any

import pytest
from typing_extensions import override

from lsst.ts.ocps.service.joined_writes import JoinedTransport, WriteTurn

pytestmark = pytest.mark.asyncio


class Sent(asyncio.Transport):
    """A transport that notes what is asked of it, in a list that may be shared."""

    def __init__(self, calls: list[Any], name: str = "") -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self._calls = calls
        self._name = name

    @override
    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._calls.append((self._name, bytes(data)))

    @override
    def close(self) -> None:
        self._calls.append("close")

    @override
    def abort(self) -> None:
        self._calls.append("abort")

    @override
    def is_closing(self) -> bool:
        return self._calls[-1:] in (["close"], ["abort"])

    @override
    def pause_reading(self) -> None:
        self._calls.append("pause")

    @override
    def resume_reading(self) -> None:
        self._calls.append("resume")


async def test_the_parts_of_an_answer_leave_together_and_the_answers_in_order() -> None:
    calls: list[Any] = []
    turn = WriteTurn()
    first, second = (JoinedTransport(Sent(calls, name), turn) for name in "ab")
    for _ in range(2):
        first.write(b"head ")
        second.write(b"HEAD ")
        second.write(bytearray(b"BODY"))
        first.write(memoryview(b"body"))
        assert not calls
        await asyncio.sleep(0)
        assert calls == [("a", b"head body"), ("b", b"HEAD BODY")]
        calls.clear()
    await asyncio.sleep(0)
    assert not calls


async def test_much_is_not_held_back() -> None:
    calls: list[Any] = []
    transport = JoinedTransport(Sent(calls), WriteTurn())
    transport.write(b"head ")
    transport.write(b"x" * 100_000)
    assert calls == [("", b"head " + b"x" * 100_000)]
    transport.write(b"end")
    await asyncio.sleep(0)
    assert calls[1:] == [("", b"end")]


async def test_what_was_written_is_sent_before_the_end_and_nothing_after_an_abort() -> None:
    calls: list[Any] = []
    turn = WriteTurn()
    transport = JoinedTransport(Sent(calls), turn)
    transport.write(b"last")
    transport.close()
    assert calls == [("", b"last"), "close"]
    assert transport.is_closing()
    calls.clear()
    transport = JoinedTransport(Sent(calls), turn)
    transport.write(b"lost")
    transport.abort()
    await asyncio.sleep(0)
    assert calls == ["abort"]


async def test_everything_else_is_that_of_the_connection() -> None:
    calls: list[Any] = []
    transport = JoinedTransport(Sent(calls), WriteTurn())
    transport.pause_reading()
    transport.resume_reading()
    assert calls == ["pause", "resume"]
    assert not transport.is_closing()
    assert transport.get_extra_info("peername") == ("127.0.0.1", 1)
    assert transport.get_extra_info("nothing", 7) == 7
