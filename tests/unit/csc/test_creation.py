"""Asking for a job where creating it starts it: again only if nothing was sent, else it is looked for."""

import time
from dataclasses import replace
from typing import ClassVar

import pytest

from lsst.ts.ocps.client.base import ShellJob
from lsst.ts.ocps.client.errors import (
    BackendAuthenticationError,
    BackendError,
    BackendFailedError,
    BackendUnavailableError,
    RequestRefusedError,
)
from lsst.ts.ocps.client.testing import FakeBackend
from lsst.ts.ocps.csc.creation import JobCreation, to_submission
from lsst.ts.ocps.csc.logs import get_logger
from lsst.ts.ocps.csc.patience import Patience
from lsst.ts.ocps.csc.records import RECORD, RunRecord
from lsst.ts.ocps.csc.runs import (
    AbortAsked,
    CreateGivenUp,
    CreateIntended,
    CreateRefused,
    JobCreated,
    News,
    observe,
)
from support.runs import make_run

pytestmark = pytest.mark.asyncio

NOT_SENT = BackendUnavailableError("x", "no connection", was_sent=False)
LOST = BackendUnavailableError("x", "the connection broke")


class StartingBackend(FakeBackend):
    """Creating is starting here."""

    creates_pending: ClassVar[bool] = False


class Asking:
    """One run that asks for its job."""

    def __init__(
        self, *, is_restored: bool = False, backend: FakeBackend | None = None, **patience: float
    ) -> None:
        self.backend = backend or StartingBackend()
        self.record = RunRecord(make_run(creates_pending=self.backend.creates_pending))
        self.news: list[News] = []
        self.locked: list[BackendError] = []
        """Why the back end cannot be opened, once for each."""

        self.full_for = 0
        """How many more times the ledger cannot be written."""

        self._creation = JobCreation(
            self._note,
            self._is_written,
            patience=replace(Patience(create=0.6, lookup=0.6), **patience),
            pairs=None if is_restored else (),
            log=get_logger("test"),
        )

    async def _is_written(self) -> bool:
        assert isinstance(self.news[-1], CreateIntended)
        self.full_for -= 1
        return self.full_for < 0

    async def _note(self, news: News) -> None:
        self.news.append(news)
        self.record = observe(self.record, news)

    async def _open(self) -> FakeBackend:
        if self.locked:
            raise self.locked.pop()
        return self.backend

    async def run(self) -> News:
        await self._creation.run(lambda: self.record, self._open)
        await self.backend.aclose()
        return self.news[-1]

    @property
    def asked(self) -> int:
        return self.backend.service.calls["create"]


async def test_what_was_not_sent_is_asked_for_again() -> None:
    asking = Asking(create=20.0)
    asking.backend.service.fail("create", NOT_SENT, NOT_SENT)
    assert isinstance(await asking.run(), JobCreated)
    assert asking.asked == 3
    assert asking.record.create_attempts == 1
    assert asking.backend.service.calls["list_jobs"] == 0


@pytest.mark.parametrize("is_restored", [False, True])
async def test_it_is_asked_for_as_soon_as_the_intent_is_on_the_disk(is_restored: bool) -> None:
    asking = Asking(create=20.0, is_restored=is_restored)
    asking.full_for = 2
    assert isinstance(await asking.run(), JobCreated)
    assert asking.full_for == -1
    assert (asking.asked, asking.record.create_attempts) == (1, 1)


async def test_without_room_for_the_intent_there_is_no_job() -> None:
    asking = Asking()
    asking.full_for = 20
    text = "it is not asked for a job before the ledger can be written"
    assert await asking.run() == CreateRefused(f"back end fake: {text}")
    assert asking.asked == 0


async def test_a_back_end_that_stays_away_means_that_there_is_no_job() -> None:
    asking = Asking()
    asking.backend.service.fail("create", *[NOT_SENT] * 20)
    assert await asking.run() == CreateRefused("back end x: no connection")


async def test_what_may_have_been_sent_is_looked_for_and_never_asked_for_again() -> None:
    asking = Asking()
    asking.backend.service.lose_answers("create")
    news = await asking.run()
    assert isinstance(news, JobCreated)
    assert news.job.run_id == asking.record.run.run_id
    assert asking.asked == 1


async def test_what_is_not_found_is_given_up_and_both_errors_are_told() -> None:
    asking = Asking(create=20.0, lookup=0.6)
    asking.backend.service.fail("create", NOT_SENT, LOST)
    began = time.monotonic()
    news = await asking.run()
    assert isinstance(news, CreateGivenUp)
    # The first attempt was answered at once, the second a quarter of a second later.
    assert time.monotonic() - began > 0.2 + 0.6
    assert news.message.startswith("outcome unknown, not resubmitted: back end x: the connection broke; ")
    assert "not in the list" in news.message
    assert asking.asked == 2


async def test_it_is_looked_for_as_long_as_it_should_be_from_the_moment_of_doubt() -> None:
    asking = Asking(create=0.1, lookup=30.0)
    asking.backend.service.lose_answers("create")
    asking.backend.service.fail("list_jobs", *[BackendFailedError("x", "busy")] * 3)
    assert isinstance(await asking.run(), JobCreated)
    assert asking.asked == 1


async def test_an_earlier_life_that_had_asked_is_not_repeated() -> None:
    asking = Asking(is_restored=True)
    asking.record = observe(asking.record, CreateIntended())
    assert isinstance(await asking.run(), CreateGivenUp)
    assert asking.asked == 0


@pytest.mark.parametrize(
    "error", [RequestRefusedError("x", "no list"), BackendAuthenticationError("x", "who are you?")]
)
async def test_a_list_that_is_refused_does_not_mean_that_there_is_no_job(error: BackendError) -> None:
    asking = Asking(lookup=0.3)
    asking.backend.service.lose_answers("create")
    asking.backend.service.fail("list_jobs", *[error] * 20)
    news = await asking.run()
    assert isinstance(news, CreateGivenUp)
    assert news.message.startswith("outcome unknown, not resubmitted: ")
    assert news.message.endswith(error.message)
    again = Asking(lookup=20.0)
    again.backend.service.lose_answers("create")
    again.backend.service.fail("list_jobs", error)
    assert isinstance(await again.run(), JobCreated)
    assert again.asked == 1


async def test_credentials_that_are_not_there_yet_do_not_mean_that_there_is_no_job() -> None:
    asking = Asking(is_restored=True, lookup=20.0)
    asking.record = observe(asking.record, CreateIntended())
    await asking.backend.create(to_submission(asking.record.run, ()))
    asking.locked.append(BackendAuthenticationError("x", "file /run/token: No such file or directory"))
    assert isinstance(await asking.run(), JobCreated)
    assert asking.asked == 1


@pytest.mark.parametrize("error", [RequestRefusedError("x", "no"), BackendAuthenticationError("x", "no")])
async def test_a_creation_that_is_refused_is_over(error: BackendError) -> None:
    asking = Asking(lookup=20.0)
    asking.backend.service.fail("create", error)
    assert await asking.run() == CreateRefused("back end x: no")
    assert (asking.asked, asking.backend.service.calls["list_jobs"]) == (1, 0)


async def test_an_earlier_life_that_had_not_asked_is_continued() -> None:
    asking = Asking(is_restored=True, create=20.0)
    asking.backend.service.fail("create", NOT_SENT)
    assert isinstance(await asking.run(), JobCreated)
    assert asking.asked == 2


async def test_an_abort_waits_for_a_job_that_may_run_and_for_no_other() -> None:
    asking = Asking()
    asking.record = observe(observe(asking.record, CreateIntended()), AbortAsked())
    assert await asking.run() == CreateRefused("aborted before it had a job")
    restored = Asking(is_restored=True)
    restored.record = observe(observe(restored.record, CreateIntended()), AbortAsked())
    assert isinstance(await restored.run(), CreateGivenUp)


async def test_where_jobs_wait_to_be_started_the_time_is_counted_from_the_first_attempt() -> None:
    asking = Asking(backend=FakeBackend(), create=1.0)
    asking.backend.service.delay = 0.4
    asking.backend.service.fail("create", *[LOST] * 20)
    assert isinstance(await asking.run(), CreateGivenUp)
    assert asking.asked <= 2


async def test_how_a_job_is_run_is_kept_with_the_run() -> None:
    shell = ShellJob("run", "u", "main", (("A", "{a}"),), frozenset({"a"}), frozenset({"b"}))
    record = RunRecord(make_run(shell=shell))
    assert RECORD.validate_json(RECORD.dump_json(record)) == record
    assert to_submission(record.run, ()).shell == shell


async def test_a_job_that_a_full_disk_has_made_us_forget_is_taken_up() -> None:
    asking = Asking(is_restored=True)
    created = await asking.backend.create(to_submission(asking.record.run, ()))
    # As after a kill: the ledger says that nothing was asked for yet.
    assert asking.record.state.step == "accepted"
    assert isinstance(await asking.run(), JobCreated)
    assert asking.record.handle is not None
    assert (asking.record.handle.url, asking.asked) == (created.url, 1)
