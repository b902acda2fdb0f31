import pytest

from lsst.ts.ocps.uws.errors import UwsDocumentError
from lsst.ts.ocps.uws.vosi import Availability, parse_availability, parse_uws_version

SPACE = 'xmlns="http://www.ivoa.net/xml/VOSIAvailability/v1.0"'


@pytest.mark.parametrize(
    ("content", "availability"),
    [
        ("<available>true</available>", Availability(is_available=True)),
        ("<available> 1\n</available><note/>", Availability(is_available=True)),
        ("<available>false</available>", Availability(is_available=False)),
        (
            "<available>false</available><backAt>2031-01-01</backAt><note>disk\n full</note><note>b</note>",
            Availability(is_available=False, notes=("disk full", "b")),
        ),
    ],
)
def test_availability_and_its_notes(content: str, availability: Availability) -> None:
    document = f"<availability {SPACE}>{content}</availability>"
    assert parse_availability(document.encode()) == availability


@pytest.mark.parametrize(
    "document", [b"<availability/>", b"<jobs><available>true</available></jobs>", b"", b"ok"]
)
def test_what_does_not_tell_the_availability_is_refused(document: bytes) -> None:
    with pytest.raises(UwsDocumentError, match="availability document"):
        parse_availability(document)


@pytest.mark.parametrize(
    ("attributes", "version"),
    [
        (['standardID="ivo://ivoa.net/std/UWS#rest-1.1"'], "1.1"),
        (
            ['standardID="ivo://ivoa.net/std/UWS#rest-1.0"', 'standardID="ivo://ivoa.net/std/uws#rest-1.10"'],
            "1.10",
        ),
        (['standardid="ivo://ivoa.net/std/UWS#rest-1.1"'], "1.1"),
        (['standardID="ivo://ivoa.net/std/TAP"', ""], ""),
        ([], ""),
    ],
)
def test_the_newest_version_that_is_claimed(attributes: list[str], version: str) -> None:
    content = "".join(f"<capability {one}/>" for one in attributes)
    document = (
        f'<v:capabilities xmlns:v="http://www.ivoa.net/xml/VOSICapabilities/v1.0">{content}</v:capabilities>'
    )
    assert parse_uws_version(document.encode()) == version


@pytest.mark.parametrize("document", [b"<availability/>", b"<capabilities>", b"nothing"])
def test_what_is_no_capabilities_document_is_refused(document: bytes) -> None:
    with pytest.raises(UwsDocumentError, match="capabilities document"):
        parse_uws_version(document)
