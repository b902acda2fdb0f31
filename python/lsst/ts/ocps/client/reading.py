"""Check what a UWS service answered, and read it."""

import asyncio
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

from lsst.ts.ocps.uws.codec import is_html, parse_dali_fault
from lsst.ts.ocps.uws.errors import DaliFaultError, UwsDocumentError

from .answers import Answer, error_for_fault, error_for_status
from .errors import BackendError, BackendFailedError, JobNotFoundError, RequestRefusedError
from .transport import HttpTransport

__all__ = ["DocumentReader"]

T = TypeVar("T")

_SMALL = 64 * 1024
"""Larger documents are parsed in a thread (byte); this one takes about 10 ms."""


class DocumentReader:
    """Make documents, or errors, of answers.

    Parameters
    ----------
    http
        Where the answers come from; it words the errors.
    """

    def __init__(self, http: HttpTransport) -> None:
        self._http = http

    async def parse(
        self,
        answer: Answer,
        parse: Callable[[bytes, str], T],
        base_url: str,
        *,
        missing: type[BackendError] = JobNotFoundError,
    ) -> T:
        """Read the document of an answer.

        Parameters
        ----------
        answer
            What was read.
        parse
            Reader of the document, from ``uws.codec``.
        base_url
            What relative links in it begin with.
        missing
            Class of error where nothing is found (404, 410).

        Raises
        ------
        BackendError
            If the answer is an error, or no such document.
        """
        content = self.check_readable(answer, missing=missing).content
        if not answer.is_complete:
            text = f"the document is larger than {len(content)} bytes"
            raise self._http.error(BackendFailedError, answer, text)
        try:
            if len(content) <= _SMALL:
                return parse(content, base_url)
            return await asyncio.to_thread(parse, content, base_url)
        except DaliFaultError as error:
            raise self._http.error(error_for_fault(error.fault), answer) from error
        except UwsDocumentError as error:
            raise self._http.error(BackendFailedError, answer, str(error)) from error

    def check_readable(self, answer: Answer, *, missing: type[BackendError] = JobNotFoundError) -> Answer:
        """Return the answer if it is no error and no login page."""
        kind = error_for_status(answer, reading=True)
        if kind is not None:
            raise self._http.error(missing if kind is JobNotFoundError else kind, answer)
        if answer.status >= 300:
            raise self._http.error(BackendFailedError, answer, "a redirect that leads nowhere")
        self._http.check_page(answer)
        return answer

    def check_result(self, answer: Answer, max_bytes: int) -> bytes:
        """The content of a result, if it is there and was read whole."""
        content = self.check_readable(answer, missing=RequestRefusedError).content
        if not answer.is_complete:
            text = f"the result is larger than {max_bytes} bytes"
            raise self._http.error(RequestRefusedError, answer, text)
        return self._http.redact_bytes(content)

    def check_accepted(self, answer: Answer) -> None:
        """Make sure that a POST or DELETE was carried out: a redirect, or success without complaint.

        Raises
        ------
        BackendError
            If the answer is an error, an error document or page with status 200, or asks to send the
            request elsewhere.
        """
        kind = error_for_status(answer, reading=False)
        if kind is not None:
            raise self._http.error(kind, answer)
        if answer.is_redirect:
            target = self._http.own_url(answer.location)
            self._http.check_redirect(answer, target)
            if _asks_to_repeat(answer, target):
                text = f"nothing was done; the service wants the request sent to {target}"
                raise self._http.error(RequestRefusedError, answer, text)
            return
        self._http.check_page(answer)
        fault = parse_dali_fault(answer.content)
        if fault is not None:
            raise self._http.error(error_for_fault(fault), answer)
        if answer.status >= 300 or is_html(answer.content):
            raise self._http.error(BackendFailedError, answer)


def _asks_to_repeat(answer: Answer, target: str) -> bool:
    """Whether a redirect says that the request was not carried out (RFC 9110 section 15.4).

    307 and 308 say so. Others do if only a trailing slash differs: DaCHS answers so, with 302.
    """
    asked, led = urlsplit(answer.url).path, urlsplit(target).path
    return answer.status in {307, 308} or (asked != led and asked.rstrip("/") == led.rstrip("/"))
