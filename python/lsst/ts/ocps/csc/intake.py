"""Takes a request on: what is checked of it before a run begins, and the run."""

import asyncio

from lsst.ts.ocps.client.errors import BackendError

from .backends import BackendPool, to_stored_settings
from .commands import build_run
from .config import CscConfig
from .creation import to_submission
from .errors import RequestRejectedError
from .limits import check_limits
from .records import CommandKey, RunRecord
from .requests import RunRequest
from .secrets import Secrets
from .tracker import Tracker

__all__ = ["take_on"]


async def take_on(
    request: RunRequest,
    key: CommandKey,
    config: CscConfig,
    *,
    pool: BackendPool,
    tracker: Tracker,
    site: str,
    index: int,
) -> RunRecord:
    """Begin a run, and return when it has a job or has ended without one.

    Parameters
    ----------
    request, key
        What is asked for, by which command record.
    config
        The configuration in force.
    pool
        Gives the back ends.
    tracker
        Gets the run.
    site, index
        Become part of the run_id.

    Raises
    ------
    RequestRejectedError
        If its back end cannot be opened or will not have it, or there are too many runs.
    LedgerError
        If it cannot be written down.
    """
    name = config.choose_backend(request.definition.name)
    stored = to_stored_settings(name, config.backends[name])
    try:
        backend = await pool.get(stored)
    except BackendError as error:
        raise RequestRejectedError([str(error)]) from error
    run = build_run(
        request,
        key,
        site=site,
        index=index,
        config=config,
        backend=stored,
        creates_pending=backend.creates_pending,
    )
    try:
        backend.check(to_submission(run, request.pairs))
    except BackendError as error:
        raise RequestRejectedError([Secrets.of(run, request.pairs).hide(str(error))]) from error
    if not backend.has_jobs:
        if request.prerequisites:
            raise RequestRejectedError([f"prereq_jobs: back end {backend.name} waits for no jobs"])
        return await tracker.hand_over(run, request.pairs, backend)
    # Nothing is awaited between this look and the moment the run counts.
    of_payload, of_all = tracker.count_active(request.definition.name), len(tracker.active)
    try:
        check_limits(request, config, index=index, of_payload=of_payload, of_all=of_all)
    except RequestRejectedError:
        # A record that is delivered again is not too many because of the run that it has started.
        if (earlier := await tracker.find_command(key)) is None:
            raise
        return earlier
    try:
        return await tracker.submit(run, request.pairs)
    finally:
        # The SAL layer begins to write what is returned before the loop comes to this.
        _ = asyncio.get_running_loop().call_soon(tracker.release, run.run_id)
