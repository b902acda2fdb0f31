"""What every back end must do, the fake one like those that speak to real servers.

A subclass gives the fixture ``bench``.
"""

import asyncio
import json
import time

import pytest

from lsst.ts.ocps.client.errors import BackendUnavailableError, JobNotFoundError, RequestRefusedError
from lsst.ts.ocps.uws.phases import ExecutionPhase

from .backend_bench import LONG, BackendBench, finished, reached

__all__ = ["BackendBasics", "BackendContract"]

P = ExecutionPhase


class BackendBasics:
    """The suite for every kind, also for one that has no jobs."""

    async def test_a_probe_finds_the_service(self, bench: BackendBench) -> None:
        assert (await bench.backend.probe()).version == bench.version
        assert (await bench.backend.probe()).version == bench.version

    async def test_what_is_asked_for_is_taken_under_its_run_id(self, bench: BackendBench) -> None:
        submission = bench.submission()
        bench.backend.check(submission)
        created = await bench.backend.create(submission)
        assert created.job.run_id == submission.run_id
        assert created.job.phase in {P.PENDING, P.COMPLETED}
        assert (created.job.phase is P.COMPLETED) == (not bench.backend.has_jobs)

    async def test_a_submission_that_is_wrong_is_refused(self, bench: BackendBench) -> None:
        with pytest.raises(RequestRefusedError, match=bench.backend.name):
            await bench.create(refuse=True)

    async def test_one_that_is_closed_takes_nothing_and_takes_nothing_away_from_the_others(
        self, bench: BackendBench
    ) -> None:
        other = bench.open_another()
        await other.aclose()
        await other.aclose()
        with pytest.raises(BackendUnavailableError, match="closed"):
            await other.create(bench.submission())
        with pytest.raises(BackendUnavailableError, match="closed"):
            await other.probe()
        await bench.create()


class BackendContract(BackendBasics):
    """The suite for every kind that has jobs."""

    async def test_a_new_job_is_pending_and_holds_what_was_sent(self, bench: BackendBench) -> None:
        texts = [("text", "a"), ("text", "b é <&> \n \"'"), ("text", "")]
        submission = bench.submission(duration=LONG, extra=tuple(texts))
        bench.backend.check(submission)
        created = await bench.backend.create(submission)
        job = created.job
        assert job.phase is P.PENDING
        assert job.run_id == submission.run_id
        assert created.url.startswith("http")
        assert "?" not in created.url
        assert created.url.rpartition("/")[2] == job.job_id
        assert (job.creation_time is not None) == bench.tells_creation
        assert (job.start_time, job.end_time, job.results, job.error) == (None, None, (), None)
        sent = [value for _, value in texts]
        told = [one.value for one in job.parameters if one.name.lower() == "text"]
        assert (json.loads(told[0]) if bench.list_text else told) == sent
        if bench.backend.creates_pending:
            assert await bench.backend.read(created.url) == job

    async def test_a_job_waits_until_it_is_started_or_starts_when_it_is_created(
        self, bench: BackendBench
    ) -> None:
        created = await bench.create(duration=LONG)
        if bench.backend.creates_pending:
            assert (await bench.backend.wait(created.url, phase=P.PENDING, seconds=1)).phase is P.PENDING
        else:
            await reached(bench.backend, created.url, P.EXECUTING)

    async def test_a_job_succeeds_and_gives_its_results(self, bench: BackendBench) -> None:
        created = await bench.run(duration=0.1)
        job = await finished(bench.backend, created.url)
        assert job.phase is P.COMPLETED
        assert job.error is None
        assert job.start_time is not None
        assert job.end_time is not None
        assert job.start_time <= job.end_time
        (result,) = (one for one in job.results if one.result_id == "result.json")
        data = await bench.backend.fetch(created.url, "result.json", result.url, max_bytes=10_000)
        assert json.loads(data) == json.loads(bench.value)
        assert await bench.backend.fetch(created.url, "result.json", None, max_bytes=10_000) == data
        pieces: list[bytes] = []

        async def receive(piece: bytes) -> None:
            pieces.append(piece)

        await bench.backend.download(
            created.url, "result.json", result.url, receive=receive, max_bytes=10_000, seconds=LONG
        )
        assert b"".join(pieces) == data
        with pytest.raises(RequestRefusedError, match="larger than 5 bytes"):
            await bench.backend.download(
                created.url, "result.json", result.url, receive=receive, max_bytes=5, seconds=LONG
            )

    async def test_a_job_fails_and_says_why(self, bench: BackendBench) -> None:
        created = await bench.run(fail="no such image: x.fits")
        job = await finished(bench.backend, created.url)
        assert job.phase is P.ERROR
        if bench.tells_errors:
            assert job.error is not None
            assert job.error.message == "no such image: x.fits"

    async def test_waiting_ends_with_the_phase(self, bench: BackendBench) -> None:
        created = await bench.run(duration=0.5)
        await reached(bench.backend, created.url, P.EXECUTING)
        begin = time.monotonic()
        job = await bench.backend.wait(created.url, phase=P.EXECUTING, seconds=LONG)
        assert job.phase is P.COMPLETED
        assert time.monotonic() - begin < LONG / 2

    async def test_waiting_for_another_phase_than_the_present_one_does_not_wait(
        self, bench: BackendBench
    ) -> None:
        created = await bench.create(duration=LONG)
        begin = time.monotonic()
        job = await bench.backend.wait(created.url, phase=P.SUSPENDED, seconds=LONG)
        assert job.phase is P.PENDING or not bench.backend.creates_pending
        assert time.monotonic() - begin < LONG / 2

    async def test_control_calls_are_not_held_up_by_waiting(self, bench: BackendBench) -> None:
        created = await bench.run(duration=LONG)
        await reached(bench.backend, created.url, P.EXECUTING)
        waiting = asyncio.create_task(bench.backend.wait(created.url, phase=P.EXECUTING, seconds=LONG))
        await asyncio.sleep(0.05)
        await bench.backend.abort(created.url)
        async with asyncio.timeout(LONG / 2):
            if bench.keeps_aborted:
                assert (await waiting).phase is P.ABORTED
            else:
                with pytest.raises(JobNotFoundError):
                    await waiting

    async def test_a_running_job_is_aborted(self, bench: BackendBench) -> None:
        created = await bench.run(duration=LONG)
        await reached(bench.backend, created.url, P.EXECUTING)
        await bench.backend.abort(created.url)
        await bench.check_aborted(created.url)

    async def test_a_job_is_aborted_before_it_was_started(self, bench: BackendBench) -> None:
        created = await bench.create(duration=LONG)
        await bench.backend.abort(created.url)
        await bench.check_aborted(created.url)

    async def test_aborting_what_has_ended_changes_nothing(self, bench: BackendBench) -> None:
        created = await bench.run()
        before = await finished(bench.backend, created.url)
        await bench.backend.abort(created.url)
        assert await bench.backend.read(created.url) == before

    async def test_a_job_is_not_started_twice(self, bench: BackendBench) -> None:
        created = await bench.run(duration=LONG)
        with pytest.raises(RequestRefusedError, match=bench.backend.name):
            await bench.backend.start(created.url)
        await bench.backend.abort(created.url)
        await bench.check_aborted(created.url)
        with pytest.raises(RequestRefusedError if bench.keeps_aborted else JobNotFoundError):
            await bench.backend.start(created.url)

    async def test_a_deleted_job_is_gone_and_may_be_deleted_again(self, bench: BackendBench) -> None:
        created = await bench.run(duration=LONG)
        await bench.backend.delete(created.url)
        with pytest.raises(JobNotFoundError):
            await bench.backend.read(created.url)
        await bench.backend.delete(created.url)

    async def test_an_unknown_job_is_not_found(self, bench: BackendBench) -> None:
        created = await bench.create()
        url = f"{created.url}0000000"
        with pytest.raises(JobNotFoundError) as caught:
            await bench.backend.read(url)
        assert caught.value.status == 404
        assert url.partition("//")[2].partition("/")[2] in str(caught.value)
        with pytest.raises(JobNotFoundError):
            await bench.backend.start(url)
        with pytest.raises(JobNotFoundError):
            await bench.backend.abort(url)
        with pytest.raises(JobNotFoundError):
            await bench.backend.wait(url, phase=P.QUEUED, seconds=1)

    async def test_jobs_are_listed_the_newest_first(self, bench: BackendBench) -> None:
        created = []
        for _ in range(3):
            created.append(await bench.create(duration=LONG))
            await asyncio.sleep(0.002 if bench.tells_times_exactly else 1.0)
        payload = bench.submission().payload
        listed = {ref.job_id: ref for ref in await bench.backend.list_jobs(payload)}
        for one in created:
            ref = listed[one.job.job_id]
            assert (ref.url, ref.run_id) == (one.url, one.job.run_id if bench.lists_run_ids else None)
            assert ref.phase is P.PENDING or not bench.backend.creates_pending
        newest = await bench.backend.list_jobs(payload, last=2)
        if not bench.tells_creation:
            assert {ref.job_id for ref in newest} == listed.keys()
            return
        assert [ref.job_id for ref in newest] == [one.job.job_id for one in reversed(created[1:])]

    async def test_jobs_under_way_are_listed_with_their_phases_or_not(self, bench: BackendBench) -> None:
        pending, active, ended = [await bench.create(duration=seconds) for seconds in (LONG, LONG, 0)]
        if bench.backend.creates_pending:
            await bench.backend.start(active.url)
            await bench.backend.start(ended.url)
        await reached(bench.backend, active.url, P.EXECUTING)
        await finished(bench.backend, ended.url)
        phases = await bench.backend.list_under_way(bench.submission().payload)
        if phases is not None:
            assert phases[active.job.job_id] is P.EXECUTING
            assert {pending.job.job_id, ended.job.job_id}.isdisjoint(phases)

    async def test_limits_are_asked_for(self, bench: BackendBench) -> None:
        created = await bench.create(execution_duration=77)
        assert created.job.execution_duration == (77 if bench.takes_limits else 0)

    async def test_a_result_that_is_too_large_or_not_there_is_refused(self, bench: BackendBench) -> None:
        created = await bench.run()
        (result,) = [
            one
            for one in (await finished(bench.backend, created.url)).results
            if one.result_id == "result.json"
        ]
        with pytest.raises(RequestRefusedError, match="larger than 5 bytes"):
            await bench.backend.fetch(created.url, "result.json", result.url, max_bytes=5)
        with pytest.raises(RequestRefusedError):
            await bench.backend.fetch(created.url, "nothing.json", None, max_bytes=5)

    async def test_a_second_connection_sees_the_same_jobs(self, bench: BackendBench) -> None:
        created = await bench.create(duration=LONG)
        other = bench.open_another()
        try:
            seen = await other.read(created.url)
        finally:
            await other.aclose()
        assert (seen.job_id, seen.run_id) == (created.job.job_id, created.job.run_id)
        # A closed one takes nothing away from the others.
        assert (await bench.backend.read(created.url)).job_id == seen.job_id

    async def test_many_jobs_run_at_once(self, bench: BackendBench) -> None:
        created = await asyncio.gather(*(bench.run() for _ in range(20)))
        ended = await asyncio.gather(*(finished(bench.backend, one.url) for one in created))
        assert [job.phase for job in ended] == [P.COMPLETED] * 20
        assert len({job.job_id for job in ended}) == 20

    async def test_calls_under_way_end_when_the_back_end_is_closed(self, bench: BackendBench) -> None:
        created = await bench.run(duration=LONG)
        await reached(bench.backend, created.url, P.EXECUTING)
        other = bench.open_another()
        waiting = asyncio.create_task(other.wait(created.url, phase=P.EXECUTING, seconds=LONG))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await other.aclose()
        async with asyncio.timeout(LONG / 2):
            with pytest.raises(BackendUnavailableError, match="closed"):
                await waiting
        with pytest.raises(BackendUnavailableError, match="closed"):
            await other.read(created.url)
        await other.aclose()
