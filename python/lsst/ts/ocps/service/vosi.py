"""What the service says of itself: VOSI availability and capabilities, and a page for people."""

from collections.abc import Iterable
from datetime import datetime
from html import escape
from xml.sax.saxutils import escape as xml_escape  # nosec B406 # it writes, and parses nothing
from xml.sax.saxutils import quoteattr  # nosec B406 # it writes, and parses nothing

from lsst.ts.ocps.payloads.schema import PayloadDefinition
from lsst.ts.ocps.uws.times import format_time

__all__ = ["availability_to_xml", "capabilities_to_xml", "root_to_html"]

_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'


def availability_to_xml(*, available: bool, up_since: datetime, note: str = "") -> bytes:
    """The availability document (VOSI 1.1 section 4).

    Parameters
    ----------
    available
        Whether requests are answered.
    up_since
        When the service started.
    note
        A word for people.
    """
    note_element = f"<vosi:note>{xml_escape(note)}</vosi:note>" if note else ""
    return (
        f'{_DECLARATION}<vosi:availability xmlns:vosi="http://www.ivoa.net/xml/VOSIAvailability/v1.0">'
        f"<vosi:available>{'true' if available else 'false'}</vosi:available>"
        f"<vosi:upSince>{format_time(up_since)}</vosi:upSince>{note_element}</vosi:availability>"
    ).encode()


def capabilities_to_xml(
    root_url: str, definitions: Iterable[PayloadDefinition], *, base_url: str | None = None
) -> bytes:
    """The capabilities document (VOSI 1.1 section 3): itself, availability, and two for each payload.

    One is its UWS job list, the other its synchronous resource, for which no standard has an identifier.

    Parameters
    ----------
    root_url
        Root URL of the service as the client sees it, without trailing slash.
    definitions
        The payloads.
    base_url
        What the document itself is below; None: the root URL.
    """
    base_url = base_url or root_url
    capabilities = [
        _capability("ivo://ivoa.net/std/VOSI#capabilities", f"{base_url}/capabilities", "full"),
        _capability("ivo://ivoa.net/std/VOSI#availability", f"{base_url}/availability", "full"),
    ]
    for definition in definitions:
        url = f"{root_url}/{definition.name}/async"
        capabilities.append(
            _capability("ivo://ivoa.net/std/UWS#rest-1.1", url, "base", definition.description)
        )
        sync = f"{root_url}/{definition.name}/sync"
        capabilities.append(_capability(None, sync, "base", f"{definition.name}, synchronously"))
    return (
        f"{_DECLARATION}<vosi:capabilities"
        ' xmlns:vosi="http://www.ivoa.net/xml/VOSICapabilities/v1.0"'
        ' xmlns:vs="http://www.ivoa.net/xml/VODataService/v1.1"'
        ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f"{''.join(capabilities)}</vosi:capabilities>"
    ).encode()


def _capability(standard_id: str | None, url: str, use: str, description: str = "") -> str:
    described = f"<description>{xml_escape(description)}</description>" if description else ""
    standard = "" if standard_id is None else f" standardID={quoteattr(standard_id)}"
    return (
        f"<capability{standard}>{described}"
        f'<interface xsi:type="vs:ParamHTTP"><accessURL use="{use}">{xml_escape(url)}</accessURL></interface>'
        "</capability>"
    )


def root_to_html(root_url: str, definitions: Iterable[PayloadDefinition]) -> bytes:
    """A page that names the payloads and links to their jobs; parameters as for `capabilities_to_xml`."""
    rows = "".join(
        f'<dt><a href="{escape(root_url)}/{definition.name}/async?LAST=100">{definition.name}</a></dt>'
        f"<dd>{escape(definition.description)}</dd>"
        for definition in definitions
    )
    links = "".join(
        f'<li><a href="{escape(root_url)}/{path}">{title}</a></li>'
        for path, title in (
            ("jobs?LAST=100", "the newest jobs of all payloads"),
            ("availability", "availability"),
            ("capabilities", "capabilities"),
            ("docs", "the interface in OpenAPI"),
            ("metrics", "figures for Prometheus"),
        )
    )
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>OCPS jobs</title></head><body>'
        f"<h1>UWS service of OCPS</h1><h2>Payloads</h2><dl>{rows}</dl><h2>More</h2><ul>{links}</ul>"
        "</body></html>"
    ).encode()
