"""What the service says of itself is valid, whatever the payloads are called and described as."""

from datetime import UTC, datetime

from lxml import etree, html

from lsst.ts.ocps.payloads.schema import PayloadDefinition
from lsst.ts.ocps.service.vosi import availability_to_xml, capabilities_to_xml, root_to_html
from support.uws_samples import schema_problems
from support.vosi_schema import capabilities_problems

NASTY = "<b> & \"quotes\" 'and' ]]> ünïcode"
DEFINITIONS = [
    PayloadDefinition.model_validate({"name": name, "description": NASTY, "run": {"command": ["true"]}})
    for name in ("one", "two-2")
]
ROOT = "https://proxy.example/uws?a=1&b=2"


def test_availability_is_valid_and_complete() -> None:
    since = datetime(2026, 11, 22, 10, 0, 0, 123_000, tzinfo=UTC)
    document = availability_to_xml(available=False, up_since=since, note=NASTY)
    assert schema_problems(document, "VOSIAvailability-v1.0.xsd") == []
    root = etree.fromstring(document)
    told = {etree.QName(child).localname: child.text for child in root}
    assert told == {"available": "false", "upSince": "2026-11-22T10:00:00.123Z", "note": NASTY}


def test_capabilities_name_every_job_list_and_themselves() -> None:
    root = etree.fromstring(capabilities_to_xml(ROOT, DEFINITIONS))
    found = [
        (capability.get("standardID"), capability.findtext("interface/accessURL"))
        for capability in root.iter("capability")
    ]
    assert found == [
        ("ivo://ivoa.net/std/VOSI#capabilities", f"{ROOT}/capabilities"),
        ("ivo://ivoa.net/std/VOSI#availability", f"{ROOT}/availability"),
        ("ivo://ivoa.net/std/UWS#rest-1.1", f"{ROOT}/one/async"),
        (None, f"{ROOT}/one/sync"),
        ("ivo://ivoa.net/std/UWS#rest-1.1", f"{ROOT}/two-2/async"),
        (None, f"{ROOT}/two-2/sync"),
    ]
    assert root.findtext("capability/description") == NASTY


def test_those_of_a_payload_are_beside_its_lists() -> None:
    document = capabilities_to_xml(ROOT, DEFINITIONS[:1], base_url=f"{ROOT}/one")
    assert capabilities_problems(document) == []
    urls = [url.text for url in etree.fromstring(document).iter("accessURL")]
    assert urls == [f"{ROOT}/one/{name}" for name in ("capabilities", "availability", "async", "sync")]


def test_capabilities_are_valid() -> None:
    assert capabilities_problems(capabilities_to_xml(ROOT, DEFINITIONS)) == []
    assert capabilities_problems(capabilities_to_xml(ROOT, [])) == []
    assert capabilities_problems(b"<capabilities/>")


def test_the_page_shows_descriptions_as_text() -> None:
    page = html.document_fromstring(root_to_html(ROOT, DEFINITIONS))
    assert [entry.text_content() for entry in page.iter("dd")] == [NASTY, NASTY]
    assert not list(page.iter("b"))
    assert f"{ROOT}/two-2/async?LAST=100" in [link.get("href") for link in page.iter("a")]
