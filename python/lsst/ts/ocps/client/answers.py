"""What a server's answer means, whatever was asked: which error, in which words."""

import re
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import urljoin, urlsplit, urlunsplit

import httpx

from lsst.ts.ocps.uws.codec import html_title, is_html, parse_dali_fault
from lsst.ts.ocps.uws.errors import DaliFault, quoted

from .errors import (
    BackendAuthenticationError,
    BackendError,
    BackendFailedError,
    BackendUnavailableError,
    JobNotFoundError,
    RequestRefusedError,
)

__all__ = [
    "MAX_EXPLANATION",
    "Answer",
    "error_for_fault",
    "error_for_status",
    "error_text",
    "is_login_page",
    "is_login_path",
    "quote",
    "show_url",
]

MAX_EXPLANATION = 64 * 1024
"""A longer answer is no explanation, and is not parsed as one (byte)."""

_LOGIN_WORD = re.compile(
    r"(log[-_]?[io]n|sign[-_]?in|auth|authori[sz]e|cas|sso|saml2?|oauth2?|oidc|openid-connect)(\.\w+)?",
    re.IGNORECASE,
)
_PASSWORD_FIELD = re.compile(rb"""<input[^>]*type\s*=\s*["']?password""", re.IGNORECASE)
_LOGIN_TITLE = re.compile(r"\b(log[ -]?in|sign[ -]?in|log[ -]?on|authenticat|authoriz)", re.IGNORECASE)
_UNAVAILABLE = {408, 425, 429, 502, 503, 504}


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, read as far as was allowed."""

    method: str
    url: str
    """What was asked, in the end of all redirects that were followed."""

    status: int
    headers: httpx.Headers = field(repr=False)
    content: bytes = field(repr=False)
    """The body, decoded, cut at the limit."""

    is_complete: bool = True
    """Whether the whole body was read."""

    @property
    def is_redirect(self) -> bool:
        """Whether the answer leads elsewhere."""
        return self.status in {301, 302, 303, 307, 308} and "location" in self.headers

    @property
    def location(self) -> str:
        """Where the answer leads, absolute, without fragment; "" if nowhere (RFC 9110 section 10.2.2)."""
        location = str(self.headers.get("location", "")).strip()
        if not location:
            return ""
        try:
            return urljoin(self.url, location).partition("#")[0]
        except ValueError:
            return ""


def show_url(url: str) -> str:
    """A URL for messages: without user, query and fragment, which may hold secrets."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return repr(url[:100])
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def quote(content: bytes) -> str:
    """What an answer says, in one short line for messages."""
    if is_html(content):
        title = html_title(content)
        return f"an HTML page titled {quoted(title)}" if title else "an HTML page without title"
    fault = _fault(content)
    text = f"{fault.code}: {fault.message}" if fault else content[:2000].decode("utf-8", "replace").strip()
    return quoted(text, length=200) if text else "no explanation"


def error_text(content: bytes) -> str | None:
    """The explanation in an ``error`` resource (DALI 1.1 section 4.2); None if it is empty."""
    fault = _fault(content)
    if fault is not None:
        return fault.message
    return content.decode("utf-8", "replace").strip() or None


def is_login_path(path: str) -> bool:
    """Whether a path looks like that of a login page."""
    return any(_LOGIN_WORD.fullmatch(segment) for segment in path.split("/"))


def is_login_page(content: bytes) -> bool:
    """Whether an HTML page asks for a login."""
    return is_html(content) and bool(
        _PASSWORD_FIELD.search(content[:100_000]) or _LOGIN_TITLE.search(html_title(content))
    )


def error_for_fault(fault: DaliFault) -> type[BackendError]:
    """The class of error that an error document stands for (SODA 1.0 section 5)."""
    if fault.is_authentication:
        return BackendAuthenticationError
    return BackendUnavailableError if fault.is_transient else RequestRefusedError


def error_for_status(answer: Answer, *, reading: bool) -> type[BackendError] | None:
    """The class of error that an answer stands for; None if it is none.

    Parameters
    ----------
    answer
        The answer; redirects are no errors here.
    reading
        Whether something was read. Reading is legal in every state of a job, so that 403 then concerns who
        asks; else it may concern the state (UWS 1.1 section 2.2.3).
    """
    status = answer.status
    if status < 400:
        return None
    fault = _fault(answer.content)
    if status in {401, 407} or (fault is not None and fault.is_authentication):
        return BackendAuthenticationError
    if status == HTTPStatus.FORBIDDEN and (reading or "www-authenticate" in answer.headers):
        return BackendAuthenticationError
    if status in {404, 410}:
        return JobNotFoundError
    if status in _UNAVAILABLE or (status >= 500 and fault is not None and fault.is_transient):
        return BackendUnavailableError
    return BackendFailedError if status >= 500 else RequestRefusedError


def _fault(content: bytes) -> DaliFault | None:
    return parse_dali_fault(content) if len(content) <= MAX_EXPLANATION else None
