"""Which part of a file a request wants, and whether it wants any (RFC 9110 sections 13 and 14). No I/O."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

__all__ = ["Choice", "Version", "choose"]

_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_RANGE = re.compile(r"bytes=\s*([0-9]{0,18})-([0-9]{0,18})\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Version:
    """What tells a file from what it was, or will be, at another time."""

    size: int
    """Size (byte)."""

    modified: float
    """When it was written last (s since 1970)."""

    mark: str
    """Differs whenever the content may differ; ASCII without quotes."""

    sha256: str | None = None
    """SHA-256 that the whole content had when its job ended, in hexadecimal digits."""

    @property
    def etag(self) -> str:
        """The entity tag, a strong one."""
        return f'"{self.mark}"'

    @property
    def last_modified(self) -> datetime:
        """The time of modification as headers can tell it: whole seconds."""
        return datetime.fromtimestamp(int(self.modified), UTC)

    @staticmethod
    def _repr_digest(sha256: str) -> str:
        """The value of the header (RFC 9530): that of the whole content, also where a part is sent."""
        return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:"

    @property
    def headers(self) -> dict[str, str]:
        """What every answer about the file tells."""
        digest = {} if self.sha256 is None else {"Repr-Digest": self._repr_digest(self.sha256)}
        return {
            **digest,
            "ETag": self.etag,
            "Last-Modified": format_datetime(self.last_modified, usegmt=True),
            "Accept-Ranges": "bytes",
            # A job can be destroyed at any time: what is kept is to be asked for again before it is used.
            "Cache-Control": "private, no-cache",
        }


@dataclass(frozen=True, slots=True)
class Choice:
    """What to answer."""

    status: int
    """200: everything; 206: a part; 304: nothing, it has not changed; 412, 416: it cannot be done."""

    start: int = 0
    """First byte to send."""

    length: int = 0
    """How many bytes to send."""


def choose(headers: Mapping[str, str], version: Version) -> Choice:
    """Decide what a GET is answered by.

    Only single ranges are served. For several at once, and for what is no range of bytes, everything is sent,
    as RFC 9110 section 14.2 allows.

    Parameters
    ----------
    headers
        Those of the request; names are looked up in lower case.
    version
        The file as it is now.
    """
    everything = Choice(200, 0, version.size)
    if _fails(headers, version):
        return Choice(412)
    if _is_known(headers, version):
        return Choice(304)
    wanted = _RANGE.fullmatch(headers.get("range", ""))
    if wanted is None or not _may_be_part(headers.get("if-range"), version):
        return everything
    first, last = wanted.groups()
    if first:
        start, end = int(first), min(int(last) if last else version.size, version.size - 1)
        if last and int(last) < start:
            return everything
    elif last:
        start, end = max(0, version.size - int(last)), version.size - 1
    else:
        return everything
    return Choice(206, start, end - start + 1) if start <= end else Choice(416)


def _fails(headers: Mapping[str, str], version: Version) -> bool:
    """Whether the client wants nothing but a version that this is not."""
    if (tags := headers.get("if-match")) is not None:
        return tags.strip() != "*" and version.etag not in _TAG.findall(tags)
    since = _time(headers.get("if-unmodified-since"))
    return since is not None and version.last_modified > since


def _is_known(headers: Mapping[str, str], version: Version) -> bool:
    """Whether the client has this version already."""
    if (tags := headers.get("if-none-match")) is not None:
        return tags.strip() == "*" or version.etag in {tag.removeprefix("W/") for tag in _TAG.findall(tags)}
    since = _time(headers.get("if-modified-since"))
    return since is not None and version.last_modified <= since


def _may_be_part(condition: str | None, version: Version) -> bool:
    """Whether a part fits to what the client has; only a strong tag or the very time tells."""
    if condition is None:
        return True
    if '"' in condition:
        return condition.strip() == version.etag
    return _time(condition) == version.last_modified


def _time(text: str | None) -> datetime | None:
    """Read a time; what is none is as if it were not there."""
    if text is None:
        return None
    try:
        time = parsedate_to_datetime(text)
    except ValueError:
        return None
    # "-0000" is read as a time without zone; it is UTC all the same.
    return time if time.tzinfo else time.replace(tzinfo=UTC)
