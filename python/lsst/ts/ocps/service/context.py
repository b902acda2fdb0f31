"""Everything that a running service consists of, made and closed in order."""

import asyncio
import stat
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog
from starlette.requests import Request

from lsst.ts.ocps import __version__
from lsst.ts.ocps.aio.tasks import TaskSupervisor
from lsst.ts.ocps.executors.base import Executor, ExecutorError
from lsst.ts.ocps.executors.registry import ExecutorRegistry, UnknownExecutorError, default_registry
from lsst.ts.ocps.payloads.catalogue import Catalogue, load_catalogue
from lsst.ts.ocps.payloads.errors import CatalogueError

from .access import Access, open_access
from .config import ServiceConfig
from .dispatch import Dispatcher
from .errors import FetchError, ServiceStartError, StoreError
from .executor_news import ExecutorNews
from .fetching import make_context
from .gate import Gate, caller_of
from .instances import alone_in, own_name
from .jobs import JobService
from .leftovers import Leftovers
from .machine import measure_capacity
from .metrics import Metrics
from .peers import Peers
from .postgresql import PostgresqlDatabase
from .queue import Capacity, JobQueue
from .quotas import Quotas
from .reaper import Reaper
from .runner import JobRunner
from .schema import now
from .store import ALONE, Store
from .uploads import UploadStore
from .watch import PhaseWatch

__all__ = ["ProcessContext", "context_of", "jobs_of", "open_context"]

_LONGEST_PAUSE = 3600.0
"""The reaper looks at the database at least this often (s): clocks are set, and sleeps are long."""

_LONGEST_SHARED_PAUSE = 60.0
"""The same where other processes may set times of destruction, and die (s)."""

_MODE = 0o700
"""Nobody but the user of the service reads what owners have sent and their jobs have made."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ProcessContext:
    """What the handlers of requests need."""

    config: ServiceConfig
    jobs: JobService
    """The jobs of everybody; requests get `jobs_of`."""

    gate: Gate
    store: Store
    watch: PhaseWatch
    metrics: Metrics
    dispatcher: Dispatcher
    started: datetime
    failure: asyncio.Future[None]
    """Gets an exception if a task without which the service is none has died."""


def context_of(request: Request) -> ProcessContext:
    """What the handler of a request needs."""
    context: ProcessContext = request.app.state.context
    return context


def jobs_of(request: Request) -> JobService:
    """The jobs as whoever makes a request may see and use them."""
    return context_of(request).jobs.seen_by(caller_of(request))


@asynccontextmanager
async def open_context(
    config: ServiceConfig, registry: ExecutorRegistry | None = None
) -> AsyncIterator[ProcessContext]:
    """Start everything but the HTTP server, and stop it at the end.

    Parameters
    ----------
    config
        The configuration.
    registry
        The kinds of executors there are; None: those of this package.

    Raises
    ------
    ServiceStartError
        If a payload definition, the data directory, the database, the token file, the authorities for
        uploads or an executor cannot be used, or a payload asks for more than this machine has.
    """
    registry = registry or default_registry(grace=config.kill_grace)
    async with AsyncExitStack() as stack:
        access = await open_access(config.access)
        if config.uploads.ca_bundle is not None:
            await _check_authorities(config)
        catalogue = await _load(config)
        await asyncio.to_thread(_prepare_data_directory, config)
        instance = stack.enter_context(_owning(config))
        watch = PhaseWatch()
        metrics = Metrics(__version__)
        store = await _open_store(config, watch, metrics, instance)
        stack.push_async_callback(store.aclose)
        news = ExecutorNews()
        executors = await _start_executors(catalogue, registry, news, stack)
        removable = asyncio.Event()
        uploads = UploadStore(config.uploads, config.jobs_directory)
        runner = _make_runner(config, catalogue, store, executors, news, removable, uploads)
        failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        note_death = _reporting_to(failure)
        dispatcher = await _make_dispatcher(config, store, runner, catalogue, executors, on_death=note_death)
        tasks = TaskSupervisor("service", on_death=note_death)
        peers = await _join_peers(config, store, watch, dispatcher, removable)
        if peers is not None:
            stack.push_async_callback(peers.leave)
        stack.push_async_callback(dispatcher.aclose)
        await dispatcher.start()
        if config.on_stop == "abort":
            stack.push_async_callback(dispatcher.abort_running, timeout=config.kill_grace + 5)
        reaper = Reaper(
            store=store,
            dispatcher=dispatcher,
            folder=runner.folder,
            retention=config.archive_retention,
            wake=removable,
            # Another process that knew of an earlier destruction may have died.
            longest_pause=_LONGEST_PAUSE if peers is None else _LONGEST_SHARED_PAUSE,
        )
        stack.push_async_callback(tasks.aclose)
        _ = tasks.start(reaper.run(), name="reaper")
        _ = tasks.start(Leftovers(store, config.jobs_directory).run(), name="leftovers")
        _ = tasks.start(access.run(), name="access")
        if peers is not None:
            peers.start(tasks)
        jobs = JobService(
            definitions=catalogue,
            store=store,
            watch=watch,
            dispatcher=dispatcher,
            reaper=reaper,
            jobs_directory=config.jobs_directory,
            quotas=Quotas(store, config.limits),
            uploads=uploads,
            max_retention=config.max_retention,
        )
        gate = _make_gate(config, access)
        # Waiting requests are answered first, while everything is still there.
        stack.callback(watch.close)
        yield ProcessContext(config, jobs, gate, store, watch, metrics, dispatcher, now(), failure)


def _make_gate(config: ServiceConfig, access: Access) -> Gate:
    return Gate(
        access,
        config.limits,
        public_host=config.public_host,
        known_hosts=config.known_hosts,
        origins=frozenset(config.origins),
    )


def _make_runner(  # noqa: PLR0917 (called once, by names of the same order)
    config: ServiceConfig,
    catalogue: Catalogue,
    store: Store,
    executors: Mapping[str, Executor],
    news: ExecutorNews,
    removable: asyncio.Event,
    uploads: UploadStore,
) -> JobRunner:
    return JobRunner(
        store=store,
        definitions=catalogue,
        executors=executors,
        news=news,
        jobs_directory=config.jobs_directory,
        attach_patience=config.attach_patience,
        follow_patience=config.follow_patience,
        max_output=config.max_output,
        max_results=config.max_results,
        removable=removable,
        uploads=uploads,
    )


async def _check_authorities(config: ServiceConfig) -> None:
    """Look at the start at what is read again for each URL: it may be renewed meanwhile."""
    try:
        await asyncio.to_thread(make_context, config.uploads)
    except FetchError as error:
        raise ServiceStartError(str(error)) from error


async def _load(config: ServiceConfig) -> Catalogue:
    try:
        return await asyncio.to_thread(load_catalogue, config.payload_directories)
    except CatalogueError as error:
        raise ServiceStartError(str(error)) from error


def _prepare_data_directory(config: ServiceConfig) -> None:
    try:
        config.data_directory.mkdir(_MODE, parents=True, exist_ok=True)
        config.jobs_directory.mkdir(_MODE, exist_ok=True)
        for path in (config.jobs_directory, *config.data_directory.glob("jobs.sqlite*")):
            _close_to_others(path)
        with tempfile.TemporaryFile(dir=config.jobs_directory):
            pass
    except OSError as error:
        raise ServiceStartError(
            f"the data directory {config.data_directory} cannot be written: {error}"
        ) from error


def _close_to_others(path: Path) -> None:
    """Let no other user of the machine read what belongs to owners, as earlier versions did."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & ~_MODE:
        try:
            path.chmod(mode & _MODE)
        except PermissionError as error:
            _log.warning("others may read the data of owners", path=str(path), reason=str(error))


@contextmanager
def _owning(config: ServiceConfig) -> Iterator[str]:
    """Hold the lock of the data directory; gives the name of this process."""
    if config.database_url is not None:
        with own_name(config.data_directory) as name:
            yield name
    else:
        with alone_in(config.data_directory):
            yield ALONE


async def _open_store(config: ServiceConfig, watch: PhaseWatch, metrics: Metrics, instance: str) -> Store:
    try:
        return await Store.open(config.database, watch, metrics.note_phase, instance=instance)
    except StoreError as error:
        raise ServiceStartError(f"the jobs of earlier times cannot be read: {error}") from error


async def _make_dispatcher(
    config: ServiceConfig,
    store: Store,
    runner: JobRunner,
    catalogue: Catalogue,
    executors: Mapping[str, Executor],
    *,
    on_death: Callable[[str, BaseException], None],
) -> Dispatcher:
    queue, local_executors = await _make_queue(config, catalogue, executors)
    return Dispatcher(
        store=store,
        runner=runner,
        definitions=catalogue,
        queue=queue,
        local_executors=local_executors,
        on_death=on_death,
    )


async def _join_peers(
    config: ServiceConfig, store: Store, watch: PhaseWatch, dispatcher: Dispatcher, wake: asyncio.Event
) -> Peers | None:
    """What keeps this process in step with others; None if the database is its own."""
    if not isinstance(store.database, PostgresqlDatabase):
        return None
    peers = Peers(
        database=store.database,
        store=store,
        data_directory=config.data_directory,
        lease=config.lease,
        abandon_after=config.abandon_after,
        watch=watch,
        dispatcher=dispatcher,
        wake=wake,
    )
    try:
        await peers.join()
    except StoreError as error:
        raise ServiceStartError(str(error)) from error
    return peers


async def _start_executors(
    catalogue: Catalogue, registry: ExecutorRegistry, news: ExecutorNews, stack: AsyncExitStack
) -> Mapping[str, Executor]:
    """Start the executors that the payloads name."""
    executors: dict[str, Executor] = {}
    for definition in catalogue.values():
        if definition.run is None or definition.run.executor in executors:
            continue
        kind = definition.run.executor
        try:
            executor = registry.create(kind, news.put)
            stack.push_async_callback(executor.aclose)
            await executor.start()
        except (UnknownExecutorError, ExecutorError) as error:
            raise ServiceStartError(f"payload {definition.name}: {error}") from error
        executors[kind] = executor
    return executors


async def _make_queue(
    config: ServiceConfig, catalogue: Catalogue, executors: Mapping[str, Executor]
) -> tuple[JobQueue, Collection[str]]:
    """The queue, and the executors whose jobs share what this machine has.

    That is what the configuration gives to jobs, else what this process may use.
    """
    local_executors = [kind for kind, executor in executors.items() if executor.uses_this_machine]
    measured = await asyncio.to_thread(measure_capacity)
    told = Capacity.of(config.cpus or 0, config.memory)
    capacity = Capacity(told.millicpus or measured.millicpus, told.memory or measured.memory)
    _check_demands(catalogue, local_executors, capacity)
    return JobQueue(slots=config.max_running, capacity=capacity), local_executors


def _check_demands(catalogue: Catalogue, local_executors: Collection[str], capacity: Capacity) -> None:
    """Refuse payloads that ask for more than there is: their jobs would never be started."""
    for definition in catalogue.values():
        run = definition.run
        if run is None or run.executor not in local_executors:
            continue
        demand = Capacity.of(run.cpus, run.memory)
        for key, asked, has in (
            ("cpus", demand.millicpus / 1000, capacity.millicpus / 1000),
            ("memory", demand.memory, capacity.memory),
        ):
            if asked > has:
                reason = f"run.{key} asks for {asked:g}, jobs can have {has:g} here ({key} of the service)"
                raise ServiceStartError(f"payload {definition.name}: {reason}")


def _reporting_to(failure: asyncio.Future[None]) -> Callable[[str, BaseException], None]:
    def note_death(name: str, error: BaseException) -> None:
        _log.error("an internal task died", task=name, exc_info=error)
        if not failure.done():
            failure.set_exception(error)
            # Whoever does not look at it has the log.
            failure.exception()

    return note_death
