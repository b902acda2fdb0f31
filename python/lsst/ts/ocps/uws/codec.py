"""Read UWS and DALI documents of any server (UWS 1.1 section 3.1, DALI 1.1 section 4.2).

Elements are found by their local names, in any order and among elements of other namespaces, so that
nothing is lost of documents that the schema would refuse. What a document must have is its job id and its
phase; a time, a duration or a size that cannot be read counts as not told, because it must not stop anybody
from following the job. Pure: no I/O.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from html import unescape
from urllib.parse import urljoin

from .errors import DaliFault, DaliFaultError, UwsDocumentError, quoted
from .jobs import ErrorSummary, Job, JobRef, Parameter, Result
from .phases import parse_phase
from .progress import PROGRESS_NAMESPACE, Progress
from .times import parse_time
from .xmltree import Node, beginning, decode, parse_xml

__all__ = [
    "CUSTOM_NAMESPACE",
    "check_job_info",
    "html_title",
    "is_html",
    "parse_dali_fault",
    "parse_job",
    "parse_job_list",
    "parse_parameters",
    "parse_progress",
    "parse_results",
]

CUSTOM_NAMESPACE = "urn:uwscustom"
"""Attributes of results that the standard does not know; its schema allows them in this namespace."""

_UWS = "http://www.ivoa.net/xml/UWS/"
"""What the namespaces of all versions begin with; 1.0 and 1.1 share ``…/v1.0``."""

_CODES = (
    "AuthenticationError",
    "AuthorizationError",
    "ServiceUnavailable",
    "UsageError",
    "MultiValuedParamNotSupported",
    "Error",
)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FAULT = re.compile(rf"({'|'.join(_CODES)})\b(?:\s*(?::|\n|$)\s*(.*))?", re.DOTALL)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)


def parse_job(data: bytes, base_url: str) -> Job:
    """Read a job document.

    Parameters
    ----------
    data
        The document.
    base_url
        URL of the job; relative links are resolved against it and a slash.

    Raises
    ------
    DaliFaultError
        If it is an error document.
    UwsDocumentError
        If it is anything else than a job document, or one without job id or phase.
    """
    root = _root(data, "job")
    job_id, phase = _value(root, "jobId"), _value(root, "phase")
    if job_id is None or phase is None:
        missing = "jobId" if job_id is None else "phase"
        raise UwsDocumentError(f"the job document has no {missing}: {beginning(data)}")
    info = next(_children(root, "jobInfo"), None)
    return Job(
        job_id=job_id,
        phase=parse_phase(phase),
        run_id=_value(root, "runId"),
        owner_id=_value(root, "ownerId"),
        quote=_time(root, "quote"),
        creation_time=_time(root, "creationTime"),
        start_time=_time(root, "startTime"),
        end_time=_time(root, "endTime"),
        execution_duration=_duration(root),
        destruction=_time(root, "destruction"),
        parameters=tuple(_parameters(root)),
        results=tuple(_results(root, base_url)),
        error=_error(root),
        job_info=None if info is None else info.to_xml(),
        version=root.attribute("version"),
        phase_text=phase,
    )


def parse_job_list(data: bytes, base_url: str) -> tuple[JobRef, ...]:
    """Read a job list.

    Parameters
    ----------
    data
        The document.
    base_url
        URL of the list, without query; relative links are resolved against it and a slash.

    Raises
    ------
    DaliFaultError
        If it is an error document.
    UwsDocumentError
        If it is anything else than a job list, or an entry has no id or no phase.
    """
    root = _root(data, "jobs")
    refs = []
    for node in _children(root, "jobref"):
        job_id, phase = node.attribute("id"), _value(node, "phase")
        if not job_id or phase is None:
            raise UwsDocumentError(f"an entry of the job list has no id or no phase: {quoted(node.to_xml())}")
        ref = JobRef(
            job_id=job_id,
            phase=parse_phase(phase),
            url=_link(node, base_url),
            run_id=_value(node, "runId"),
            owner_id=_value(node, "ownerId"),
            creation_time=_time(node, "creationTime"),
        )
        refs.append(ref)
    return tuple(refs)


def parse_results(data: bytes, base_url: str) -> tuple[Result, ...]:
    """Read a results list; arguments and errors as for `parse_job`."""
    return tuple(_result(node, base_url) for node in _children(_root(data, "results"), "result"))


def parse_parameters(data: bytes) -> tuple[Parameter, ...]:
    """Read a parameter list; errors as for `parse_job`."""
    return tuple(map(_parameter, _children(_root(data, "parameters"), "parameter")))


def parse_progress(job_info: str | None) -> Progress | None:
    """Read how far a job of our own service is.

    Parameters
    ----------
    job_info
        `Job.job_info`.

    Returns
    -------
    Progress or None
        None if the text holds no progress that can be read.
    """
    if job_info is None:
        return None
    for node in parse_xml(job_info.encode(), expected="jobInfo").walk():
        if (node.namespace, node.name) == (PROGRESS_NAMESPACE, "progress"):
            with suppress(ValueError):
                return Progress(float(node.attribute("fraction") or ""), node.text.strip())
    return None


def check_job_info(text: str) -> str:
    """Make sure that a text is one ``jobInfo`` element that stands by itself, and return it.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    try:
        root = parse_xml(text.encode("utf-8", "replace"), expected="jobInfo")
    except UwsDocumentError as error:
        raise ValueError(str(error)) from error
    if root.name != "jobInfo" or not root.namespace.startswith(_UWS):
        raise ValueError(f"not a jobInfo element: {quoted(text)}")
    return root.to_xml()


def parse_dali_fault(data: bytes) -> DaliFault | None:
    """Find out what an answer says if it is an error document, as VOTable or as text.

    Parameters
    ----------
    data
        Any answer.

    Returns
    -------
    DaliFault or None
        None if it is no error document.
    """
    try:
        if not _is_xml(data):
            return _fault(decode(data))
        return None if is_html(data) else _votable_fault(parse_xml(data, expected="the answer"))
    except UwsDocumentError:
        return None


def is_html(data: bytes) -> bool:
    """Whether an answer is a page for people."""
    start = data[:1000].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return start.startswith((b"<!doctype html", b"<html")) or (start.startswith(b"<") and b"<html" in start)


def html_title(data: bytes) -> str:
    """The title of a page, "" if it has none."""
    match = _TITLE.search(data[:20_000].decode("utf-8", "replace"))
    return " ".join(unescape(match[1]).split())[:200] if match else ""


def _is_xml(data: bytes) -> bool:
    return data[:100].lstrip(b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n").startswith(b"<")


def _root(data: bytes, name: str) -> Node:
    """Parse a document whose root must have a name; another one is explained."""
    expected = {"job": "the job document", "jobs": "the job list"}.get(name, f"the list of {name}")
    if not _is_xml(data):
        fault = parse_dali_fault(data)
        if fault is not None:
            raise DaliFaultError(fault)
        raise UwsDocumentError(f"{expected} is not XML: {beginning(data)}")
    if is_html(data):
        title = html_title(data)
        page = quoted(title) if title else beginning(data)
        raise UwsDocumentError(f"instead of {expected} there is an HTML page: {page}", found="html")
    root = parse_xml(data, expected=expected)
    fault = _votable_fault(root)
    if fault is not None:
        raise DaliFaultError(fault)
    if root.name != name:
        message = f"instead of {expected} there is a {root.name!r} element: {beginning(data)}"
        raise UwsDocumentError(message, found=root.name)
    return root


def _votable_fault(root: Node) -> DaliFault | None:
    if root.name != "VOTABLE":
        return None
    for node in root.walk():
        is_status = node.name == "INFO" and node.attributes.get("name") == "QUERY_STATUS"
        if is_status and (node.attributes.get("value") or "").strip().upper() == "ERROR":
            text = node.text.strip()
            return _fault(text) or DaliFault(text or "no explanation")
    return None


def _fault(text: str) -> DaliFault | None:
    text = text.strip()
    match = _FAULT.match(text)
    # Without a colon or a line end after it, the code word is part of the sentence.
    return None if match is None else DaliFault(match[2] or text, match[1])


def _children(node: Node, name: str) -> Iterator[Node]:
    """The children of a name: in the namespace of their parent, in none, or in another version of UWS."""
    for child in node.children:
        if child.name == name and (
            child.namespace in {"", node.namespace} or child.namespace.startswith(_UWS)
        ):
            yield child


def _is_nil(node: Node) -> bool:
    return (node.attribute("nil") or "").strip() in {"true", "1"}


def _value(node: Node, name: str) -> str | None:
    """The text of a child, stripped; None if it is absent, nil or empty."""
    child = next(_children(node, name), None)
    return None if child is None or _is_nil(child) else child.text.strip() or None


def _time(node: Node, name: str) -> datetime | None:
    text = _value(node, name)
    with suppress(ValueError):
        return None if text is None else parse_time(text)
    return None


def _duration(root: Node) -> int:
    """Limit of the execution time (s); absent, negative and unreadable mean unlimited."""
    with suppress(ValueError, OverflowError):
        return max(0, int(float(_value(root, "executionDuration") or "0")))
    return 0


def _link(node: Node, base_url: str) -> str | None:
    href = (node.attribute("href") or "").strip()
    with suppress(ValueError):
        return urljoin(f"{base_url.rstrip('/')}/", href) if href else None
    return None


def _boolean(text: str | None) -> bool:
    return (text or "").strip().lower() in {"true", "1"}


def _parameters(root: Node) -> Iterator[Parameter]:
    for node in _children(root, "parameters"):
        yield from map(_parameter, _children(node, "parameter"))


def _parameter(node: Node) -> Parameter:
    # A job description in XML is one parameter whose content has elements: it is kept as it was written.
    value = node.inner_source() if node.children else node.text
    by_reference = _boolean(node.attribute("byReference"))
    return Parameter(
        name=node.attribute("id") or "",
        value=value.strip() if by_reference else value,
        by_reference=by_reference,
        is_post=_boolean(node.attribute("isPost")),
    )


def _results(root: Node, base_url: str) -> Iterator[Result]:
    for node in _children(root, "results"):
        for result in _children(node, "result"):
            yield _result(result, base_url)


def _result(node: Node, base_url: str) -> Result:
    result = Result(result_id=node.attribute("id") or "", url=_link(node, base_url))
    with suppress(ValueError):
        result = replace(result, size=int(node.attribute("size") or ""))
    digest = node.attribute(f"{{{CUSTOM_NAMESPACE}}}sha256") or ""
    sha256 = digest if _SHA256.fullmatch(digest) else None
    return replace(result, mime_type=node.attribute("mime-type") or None, sha256=sha256)


def _error(root: Node) -> ErrorSummary | None:
    """The error summary; servers without failure write none, a nil one, or an empty one."""
    node = next(_children(root, "errorSummary"), None)
    if node is None or _is_nil(node):
        return None
    messages = [" ".join(part.text for part in child.walk()) for child in _children(node, "message")]
    message = "\n".join(messages).strip() or node.text.strip()
    if not message and not messages:
        return None
    return ErrorSummary(
        message=message,
        is_transient=(node.attribute("type") or "").strip().lower() == "transient",
        has_detail=_boolean(node.attribute("hasDetail")),
    )
