"""Values of secret parameters are found again in whatever is said of a run."""

import json
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest

from lsst.ts.ocps.csc.deposit_plan import Deposit
from lsst.ts.ocps.csc.results import Metric, RunResults
from lsst.ts.ocps.csc.runs import (
    CreateGivenUp,
    CreateIntended,
    CreateRefused,
    GivenUp,
    JobCreated,
    JobSeen,
    StartRefused,
)
from lsst.ts.ocps.csc.secrets import MIN_LENGTH, Secrets
from lsst.ts.ocps.uws.jobs import ErrorSummary, Result
from lsst.ts.ocps.uws.phases import ExecutionPhase
from support.runs import URL, make_job, make_run

SECRET = 'pl\u00e4nted "token"/1'


def make_secrets(secret: str = SECRET) -> Secrets:
    run = make_run(pairs=(("text", "hello"), ("secret", "***")), has_secrets=True)
    return Secrets.of(run, (("text", "hello"), ("secret", secret)))


@pytest.mark.parametrize("form", [SECRET, json.dumps(SECRET), repr(SECRET), quote(SECRET, "")])
def test_a_secret_is_hidden_however_it_is_spelled(form: str) -> None:
    hidden = make_secrets().hide(f"hello, {form} is wrong")
    assert "nted" not in hidden
    assert hidden.startswith("hello, ")
    assert hidden.endswith(" is wrong")


@pytest.mark.parametrize("kind", [CreateRefused, CreateGivenUp, StartRefused, GivenUp])
def test_messages_of_news_are_hidden(kind: Any) -> None:
    assert make_secrets().hide_news(kind(f"no {SECRET}")) == kind("no ***")


def test_error_and_results_of_a_job_are_hidden_and_its_url_is_not() -> None:
    job = make_job(
        ExecutionPhase.ERROR, error=ErrorSummary(f"no {SECRET}"), results=(Result("a", f"{URL}/{SECRET}"),)
    )
    hidden = replace(job, error=ErrorSummary("no ***"), results=(Result("a", f"{URL}/***"),))
    assert make_secrets().hide_news(JobSeen(job)) == JobSeen(hidden)
    assert make_secrets().hide_news(JobCreated(URL, job)) == JobCreated(URL, hidden)
    bare = make_job(results=(Result("a"),))
    assert make_secrets().hide_news(JobSeen(bare)) == JobSeen(bare)


def test_other_news_are_as_they_were() -> None:
    news = CreateIntended()
    assert make_secrets().hide_news(news) is news


def test_value_and_metrics_are_hidden_at_any_depth() -> None:
    results = RunResults({"a": [{SECRET: 1, "b": f"x{SECRET}"}]}, (Metric("m", 1.5, SECRET, {"t": SECRET}),))
    assert make_secrets().hide_results(results) == RunResults(
        {"a": [{"***": 1, "b": "x***"}]}, (Metric("m", 1.5, "***", {"t": "***"}),)
    )


def test_what_a_server_said_to_a_deposit_is_hidden() -> None:
    failed = RunResults(deposit=Deposit("failed", "file:///d/", f"400: no such thing: {SECRET}"))
    hidden = make_secrets().hide_results(failed)
    assert hidden.deposit == Deposit("failed", "file:///d/", "400: no such thing: ***")


def test_a_secret_that_is_part_of_another_leaves_nothing_of_it() -> None:
    assert Secrets(["token", "token-of-mine"]).hide("token-of-mine") == "***"


def test_the_beginning_of_a_secret_that_a_quotation_cuts_off_is_hidden() -> None:
    secrets = Secrets(["planted-token"])
    assert secrets.hide("500: 'key=planted-to…'") == "500: 'key=***…'"
    assert secrets.hide("one…, plan… and pla…") == "one…, ***… and pla…"
    assert secrets.hide("planted") == "planted"


def test_a_short_value_is_not_looked_for() -> None:
    short = "7" * (MIN_LENGTH - 1)
    assert make_secrets(short).hide(f"job {short}") == f"job {short}"


def test_nothing_is_hidden_where_nothing_is_known() -> None:
    results, news = RunResults({"a": SECRET}), GivenUp(SECRET)
    secrets = Secrets.of(make_run(), None)
    assert secrets.hide_results(results) is results
    assert secrets.hide_news(news) is news
