"""Secret parameters of a run, taken out of what a back end or a payload says of it. No I/O.

A server may quote in an error what it was sent, and a program may print its arguments.
"""

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus

from lsst.ts.ocps.payloads.parameters import HIDDEN
from lsst.ts.ocps.uws.jobs import Job

from .records import Run
from .results import Metric, RunResults
from .runs import CreateGivenUp, CreateRefused, GivenUp, JobCreated, JobSeen, News, StartRefused

__all__ = ["MIN_LENGTH", "Secrets"]

T = TypeVar("T")

MIN_LENGTH = 4
"""A shorter value is not looked for (characters): it would be found in every other word, and in job ids."""

_CUT = "…"
"""Where a long answer is quoted, its end looks so."""


class Secrets:
    """The secret values of one run; only the process that took the command knows any.

    Parameters
    ----------
    values
        As they are sent.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        forms = {form for value in values if len(value) >= MIN_LENGTH for form in _spell(value)}
        # The longest first: one secret may be a part of another.
        self._forms = tuple(sorted(forms, key=len, reverse=True))

    @classmethod
    def of(cls, run: Run, pairs: Iterable[tuple[str, str]] | None) -> "Secrets":
        """The values that the record of a run does not show.

        Parameters
        ----------
        run
            The run.
        pairs
            Its encoded parameters, secrets in the clear; None where they are not known any more.
        """
        shown = set(run.pairs)
        return cls(value for name, value in pairs or () if (name, value) not in shown)

    def hide(self, text: str) -> str:
        """The text with asterisks in the place of secrets, of one that was cut short at its end too."""
        for form in self._forms:
            text = text.replace(form, HIDDEN)
        for form in self._forms if _CUT in text else ():
            text = _CUT.join(_hide_beginning(part, form) for part in text.split(_CUT))
        return text

    def hide_news(self, news: News) -> News:
        """The same news without secrets."""
        match news:
            case CreateRefused(message) | CreateGivenUp(message) | StartRefused(message) | GivenUp(message):
                return replace(news, message=self.hide(message)) if self._forms else news
            case JobSeen(job) | JobCreated(job=job):
                return replace(news, job=self._hide_job(job)) if self._forms else news
            case _:
                return news

    def hide_results(self, results: RunResults) -> RunResults:
        """What was read of the results, without secrets."""
        if not self._forms:
            return results
        metrics = (
            Metric(self.hide(one.name), one.value, self.hide(one.units), self._hide_json(one.tags))
            for one in results.metrics
        )
        deposit = results.deposit and replace(results.deposit, message=self.hide(results.deposit.message))
        return replace(results, value=self._hide_json(results.value), metrics=tuple(metrics), deposit=deposit)

    def _hide_job(self, job: Job) -> Job:
        error = job.error and replace(job.error, message=self.hide(job.error.message))
        results = (
            replace(one, result_id=self.hide(one.result_id), url=one.url and self.hide(one.url))
            for one in job.results
        )
        return replace(job, error=error, results=tuple(results))

    def _hide_json(self, value: T) -> T:
        hidden: Any = value
        if isinstance(value, str):
            hidden = self.hide(value)
        elif isinstance(value, list):
            hidden = [self._hide_json(item) for item in value]
        elif isinstance(value, dict):
            hidden = {self.hide(key): self._hide_json(item) for key, item in value.items()}
        return hidden  # type: ignore[no-any-return]


def _spell(value: str) -> tuple[str, ...]:
    """The value as it stands in a text, in JSON, in a Python message and in a URL."""
    return value, json.dumps(value)[1:-1], repr(value)[1:-1], quote(value, ""), quote_plus(value)


def _hide_beginning(text: str, form: str) -> str:
    """The text without the beginning of a secret at its end."""
    for length in range(min(len(form), len(text)), MIN_LENGTH - 1, -1):
        if text.endswith(form[:length]):
            return text[:-length] + HIDDEN
    return text
