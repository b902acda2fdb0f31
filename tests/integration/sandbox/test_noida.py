"""The sandbox's broker: started from our argument list, waited for, ended by its pid."""

import asyncio
from pathlib import Path

import psutil
import pytest

from lsst.ts.ocps.aio.deadline import Deadline, DeadlineExceededError
from lsst.ts.ocps.sandbox.noida import make_arguments, wait_until_ready
from support.brokers import NoidaProcess
from support.ports import free_port
from support.serving import serving

pytestmark = pytest.mark.asyncio


async def test_the_arguments_start_kafka_only_on_the_given_port(tmp_path: Path) -> None:
    program, *arguments = make_arguments(port=1234, data_directory=tmp_path)
    assert Path(program).is_file()  # noqa: ASYNC240 (a test may wait for the disk)
    assert arguments == [*("start", "--only", "kafka", "--kafka-port", "1234", "--data-dir", str(tmp_path))]


async def test_the_broker_is_the_started_process_itself_so_that_its_pid_ends_it(tmp_path: Path) -> None:
    process = NoidaProcess(tmp_path)
    await asyncio.to_thread(process.start)
    assert process.process is not None
    started = psutil.Process(process.process.pid)
    assert started.children(recursive=True) == []
    ports = {connection.laddr.port for connection in started.net_connections("tcp")}
    assert process.port in ports
    await asyncio.to_thread(process.stop)
    assert not started.is_running()


async def test_waiting_ends_when_a_broker_answers(tmp_path: Path) -> None:
    process = NoidaProcess(tmp_path)
    waiting = asyncio.create_task(wait_until_ready(process.address, Deadline("start", 30)))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await asyncio.to_thread(process.start)
    await waiting
    await asyncio.to_thread(process.stop)


async def test_waiting_for_nobody_ends_at_the_deadline() -> None:
    with pytest.raises(DeadlineExceededError, match="start of the broker"):
        await wait_until_ready(f"127.0.0.1:{free_port()}", Deadline("start of the broker", 0.3))


async def test_somebody_who_does_not_speak_kafka_is_not_taken_for_a_broker() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serving(talk) as port:
        with pytest.raises(DeadlineExceededError):
            await wait_until_ready(f"127.0.0.1:{port}", Deadline("start of the broker", 0.5))
