"""The service as a process: address, signals, start and stop."""

import asyncio
import gc
import os
import resource
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import structlog
import uvicorn
from typing_extensions import override

from lsst.ts.ocps.aio.open_files import allow_many_files
from lsst.ts.ocps.executors.registry import ExecutorRegistry

from .app import create_app
from .config import ServiceConfig
from .connections import ConnectionLimits, bounded_protocol
from .context import ProcessContext, open_context
from .errors import ServiceError, ServiceStartError
from .logs import configure_logging

__all__ = ["RunningService", "running_service", "serve"]

_BACKLOG = 1024
_GRACE = 5
"""How long answers under way may take when the service stops (s)."""

_KEEP_ALIVE = 75
"""How long an idle connection is kept (s): longer than clients do, because a request that meets the end of
its connection may or may not have been read."""

_UMASK = 0o077
"""Nothing of new files is for other users of the machine."""

_OTHER_FILES = 128
"""So many files are open for database, logs and results that are read."""

_FILES_OF_COMMAND = 4
"""So many are open for each command that runs."""

_log = structlog.stdlib.get_logger(__name__)


class _Server(uvicorn.Server):
    """A server that leaves the signals to us."""

    @override
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class RunningService:
    """A service that answers.

    Parameters
    ----------
    url
        Its root URL as this machine sees it.
    server, server_task
        The HTTP server, and what ends when it does.
    context
        What it works with.
    """

    def __init__(
        self, url: str, server: uvicorn.Server, server_task: asyncio.Task[None], context: ProcessContext
    ) -> None:
        self.url = url
        self.context = context
        self._server = server
        self._server_task = server_task

    def stop(self) -> None:
        """Answer those who wait, take no further requests, and end."""
        # Waiting requests first: the server waits for their answers.
        self.context.watch.close()
        self._server.should_exit = True

    async def wait_for_failure(self) -> None:
        """Return never, as long as all is well.

        Raises
        ------
        ServiceError
            If the service cannot go on.
        """
        watched: set[asyncio.Future[None]] = {self._server_task, self.context.failure}
        await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        if self.context.failure.done():
            error = self.context.failure.exception()
            raise ServiceError(f"an internal task died: {error}") from error
        raise ServiceError("the HTTP server ended by itself")


@asynccontextmanager
async def running_service(
    config: ServiceConfig, registry: ExecutorRegistry | None = None
) -> AsyncIterator[RunningService]:
    """Run a service inside this event loop; signals are left alone.

    Parameters
    ----------
    config
        The configuration.
    registry
        The kinds of executors there are; None: those of this package.

    Raises
    ------
    ServiceStartError
        If the address is taken, the data directory cannot be used or a payload definition is wrong.
    """
    with _bound_socket(config) as listener:
        async with open_context(config, registry) as context:
            server = _Server(
                uvicorn.Config(
                    create_app(config, context),
                    lifespan="on",
                    http=bounded_protocol(_connection_limits(config, context.metrics.note_refusal)),
                    ws="none",
                    log_config=None,
                    access_log=False,
                    server_header=False,
                    # Who is connected is asked of the connection, and not of a header that anybody can send.
                    proxy_headers=False,
                    timeout_graceful_shutdown=_GRACE,
                    timeout_keep_alive=_KEEP_ALIVE,
                )
            )
            task = asyncio.create_task(server.serve([listener]), name="http server")
            try:
                await _until_started(server, task)
                host, port = listener.getsockname()[:2]
                url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
                _log.info("service started", url=url, data=str(config.data_directory))
                service = RunningService(url, server, task, context)
                try:
                    yield service
                finally:
                    service.stop()
            finally:
                server.should_exit = True
                await asyncio.wait({task})
    _log.info("service stopped")


async def serve(config: ServiceConfig) -> None:
    """Run the service as the main program of this process, until SIGINT or SIGTERM.

    Parameters
    ----------
    config
        The configuration.

    Raises
    ------
    ServiceStartError
        If the address is taken, the data directory cannot be used or a payload definition is wrong.
    ServiceError
        If the service cannot go on.
    """
    configure_logging(config.log_level)
    allow_many_files()
    # What it writes belongs to the owners of jobs, and what its commands write does too.
    os.umask(_UMASK)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        async with running_service(config) as service:
            # What is here now stays: looking through it again and again would stop everything for a while.
            gc.freeze()
            stopped = asyncio.create_task(stop.wait(), name="stop signal")
            failed = asyncio.create_task(service.wait_for_failure(), name="failure")
            await asyncio.wait({stopped, failed}, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            if failed.done():
                failed.result()
            failed.cancel()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _connection_limits(config: ServiceConfig, note_refusal: Callable[[str], None]) -> ConnectionLimits:
    """What connections may take, and leave the process files for everything else that it does."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    others = _OTHER_FILES + _FILES_OF_COMMAND * config.max_running
    connections = config.max_connections
    if files != resource.RLIM_INFINITY and files - others < connections:
        connections = max(files - others, files // 4)
        _log.warning("fewer connections than configured: few files may be open", files=files, max=connections)
    per_address = config.max_connections_per_address
    if per_address is None and (config.public_url is None or config.proxies):
        per_address = max(connections // 2, 1)
    return ConnectionLimits(
        connections=connections,
        seconds=config.request_timeout,
        send_seconds=config.send_timeout,
        note_refusal=note_refusal,
        per_address=per_address,
        proxies=config.proxies,
    )


@contextmanager
def _bound_socket(config: ServiceConfig) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    # The protocol is named because asyncio turns off Nagle's delay (40 ms per answer) only where it is.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((config.host, config.port))
        except OSError as error:
            reason = error.strerror or str(error)
            raise ServiceStartError(f"cannot listen on {config.host}:{config.port}: {reason}") from error
        listener.listen(_BACKLOG)
        yield listener
    finally:
        listener.close()


async def _until_started(server: uvicorn.Server, task: asyncio.Task[None]) -> None:
    while not server.started:
        done, _ = await asyncio.wait({task}, timeout=0.005)
        if done:
            task.result()
            raise ServiceStartError("the HTTP server ended while it started")
