"""The one XML parser constructor. No DTD, no entities, no network, bounded depth and size.

lxml 6.1 or newer is pinned: older versions did not give `iterparse` the safe default. A document type declaration
is refused outright, whatever it contains (DESIGN section 4; the XXE family of advisories).
"""

from __future__ import annotations

from typing import Final

from lxml import etree

from gateway.errors import TooLarge, Unreadable
from gateway.message import Place

MAX_BYTES: Final = 64 * 1024 * 1024


def _parser() -> etree.XMLParser:
    return etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_blank_text=False,
        strip_cdata=False,
    )


def read(body: bytes, max_bytes: int = MAX_BYTES) -> etree._Element:
    """The root element. Raises `Unreadable` or `TooLarge`, nothing else."""
    if len(body) > max_bytes:
        raise TooLarge("GW-CORE-004", what="bytes", actual=str(len(body)), limit=str(max_bytes))
    try:
        root = etree.fromstring(body, _parser())
    except (etree.XMLSyntaxError, ValueError) as error:
        line = getattr(error, "lineno", 0) or 0
        place = Place(notation="bytes", path=f"line {line}")
        raise Unreadable("GW-CORE-003", place, format="XML", detail=str(error)[:200]) from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise Unreadable("GW-CORE-003", format="XML", detail="a document type declaration is not accepted")
    return root


def write(root: etree._Element, declaration: bool = True) -> bytes:
    """UTF-8 bytes of the tree, nothing reformatted."""
    return etree.tostring(root, encoding="UTF-8", xml_declaration=declaration)
