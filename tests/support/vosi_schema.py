"""The official schema of VOSI capabilities, with those of the types that such documents use."""

from functools import cache
from pathlib import Path
from typing import Any

from lxml import etree
from typing_extensions import override

__all__ = ["capabilities_problems"]

_XSD = Path(__file__).parents[1] / "data" / "xsd"
_COPIES = {
    "xlink.xsd": "xlink.xsd",
    "xml.xsd": "xmlnamespace.xsd",
    "VOResource/v1.0": "VOResource-v1.1.xsd",
    "VODataService/v1.1": "VODataService-v1.2.xsd",
    "STC/stc-v1.30.xsd": "stc-v1.30.xsd",
}
# Documents name types of schemas that the schema of their root does not import.
_DRIVER = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:driver">
<xs:import namespace="http://www.ivoa.net/xml/VOSICapabilities/v1.0"
  schemaLocation="VOSICapabilities-v1.0.xsd"/>
<xs:import namespace="http://www.ivoa.net/xml/VOResource/v1.0"
  schemaLocation="http://www.ivoa.net/xml/VOResource/v1.0"/>
<xs:import namespace="http://www.ivoa.net/xml/VODataService/v1.1"
  schemaLocation="http://www.ivoa.net/xml/VODataService/v1.1"/>
</xs:schema>"""


class _LocalOnly(etree.Resolver):
    """The schemas import one another by their official URLs; the copies are here."""

    @override
    def resolve(self, system_url: str | None, public_id: str | None, context: Any) -> Any:
        for end, copy in _COPIES.items():
            if (system_url or "").endswith(end):
                return self.resolve_filename(str(_XSD / "stilts" / copy), context)
        return None


@cache
def _schema() -> etree.XMLSchema:
    parser = etree.XMLParser(no_network=True)
    parser.resolvers.add(_LocalOnly())
    driver = etree.fromstring(_DRIVER.encode(), parser, base_url=str(_XSD / "driver.xsd"))
    return etree.XMLSchema(etree.ElementTree(driver))


def capabilities_problems(document: bytes) -> list[str]:
    """What the official schemas find wrong with a capabilities document; empty if it is valid."""
    root = etree.fromstring(document, etree.XMLParser(no_network=True, resolve_entities=False))
    validator = _schema()
    return [] if validator.validate(root) else [str(entry.message) for entry in validator.error_log]
