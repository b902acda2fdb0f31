"""What the standards ask of a document of the service: the official schemas, and the text of UWS 1.1."""

import re

from lxml import etree

from support.uws_samples import schema_problems
from support.vosi_schema import capabilities_problems

__all__ = ["UWS", "document_problems"]

UWS = "{http://www.ivoa.net/xml/UWS/v1.0}"
_NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"
_LINK = "{http://www.w3.org/1999/xlink}href"
_TIMES = ("quote", "creationTime", "startTime", "endTime", "destruction")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_FINAL = {"COMPLETED", "ERROR", "ABORTED", "ARCHIVED"}


def document_problems(document: bytes) -> list[str]:
    """What is wrong with a document; its root decides by what it is judged. Empty if nothing is."""
    root = etree.fromstring(document, etree.XMLParser(no_network=True, resolve_entities=False))
    name = etree.QName(root).localname
    if name == "capabilities":
        return capabilities_problems(document)
    if name == "availability":
        return schema_problems(document, "VOSIAvailability-v1.0.xsd")
    return [*schema_problems(document), *_rules(root)]


def _rules(root: etree._Element) -> list[str]:
    """What the text of UWS 1.1 says and the schema cannot."""
    found = []
    is_versioned = root.tag in {f"{UWS}job", f"{UWS}jobs"}
    if root.get("version") != ("1.1" if is_versioned else None):
        found.append(f"version {root.get('version')!r} of {root.tag!r}")
    if not {"xlink", "xsi"} <= set(root.nsmap):
        found.append("xlink and xsi are not declared on the root")
    found += [
        f"{name} {element.text!r}"
        for name in _TIMES
        for element in root.iter(f"{UWS}{name}")
        if element.get(_NIL) != "true" and not _TIME.fullmatch(element.text or "")
    ]
    ids = [result.get("id") for result in root.iter(f"{UWS}result")]
    if len(ids) != len(set(ids)):
        found.append(f"result ids {ids}")
    links = [element.get(_LINK, "") for tag in ("result", "jobref") for element in root.iter(f"{UWS}{tag}")]
    found += [f"link {link!r} is not absolute" for link in links if not link.startswith("http")]
    if root.tag == f"{UWS}job":
        found += _job_rules(root)
    return found


def _job_rules(root: etree._Element) -> list[str]:
    phase = root.findtext(f"{UWS}phase")
    found = []
    if not root.findtext(f"{UWS}creationTime"):
        found.append("no creationTime")
    if bool(root.findtext(f"{UWS}endTime")) != (phase in _FINAL):
        found.append(f"{phase} with endTime {root.findtext(f'{UWS}endTime')!r}")
    if phase == "ERROR" and root.find(f"{UWS}errorSummary") is None:
        found.append("ERROR without errorSummary")
    if phase in {"PENDING", "QUEUED", "ARCHIVED"} and root.find(f"{UWS}results/{UWS}result") is not None:
        found.append(f"{phase} with results")
    return found
