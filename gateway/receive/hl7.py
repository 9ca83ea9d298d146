"""Which acknowledgement code says what (HL7 chapter 2, section 2.9.2; table 0008). The bytes are made in formats."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

from gateway import errors
from gateway.errors import Unreadable
from gateway.formats import hl7v2
from gateway.message import Finding, Language
from gateway.receive.ids import random_hex

MEDIA_TYPE: Final = "application/hl7-v2"
Code = Literal["AA", "AE", "AR", "CA", "CE", "CR"]

_HEADER_ERRORS: Final = frozenset({"200", "201", "202", "203"})
"""Table 0357: type, event, processing id, version."""
_NOT_REPEATED: Final = bytes(n for n in range(32) if n not in (0x09, 0x0D, 0x1B))
"""Everything below space but TAB, CR and ESC (ISO 2022 character sets need it); no encoding we write uses the rest."""
_STRANGERS: Final = frozenset({"GW-RECEIVE-005", "GW-RECEIVE-015", "GW-RECEIVE-016"})


def header(body: bytes) -> hl7v2.Header | None:
    """MSH, or None where these bytes have none that can be read."""
    try:
        return hl7v2.header(body)
    except Unreadable:
        return None


def original(findings: Sequence[Finding], refused: bool) -> Code:
    """The acknowledgement code of original mode: AR where the header is unacceptable, AE for the content."""
    if refused or any(each.severity == "error" for each in findings):
        return "AR" if _header_fault(findings) else "AE"
    return "AA"


def commit(findings: Sequence[Finding], refused: bool) -> Code:
    """The accept acknowledgement of enhanced mode: CR where the header is unacceptable, CE for the rest."""
    if not refused:
        return "CA"
    return "CR" if _header_fault(findings) else "CE"


def _header_fault(findings: Sequence[Finding]) -> bool:
    """MSH-9, MSH-11 or MSH-12 not acceptable, not HL7 at all, or nobody we know."""
    return any(_is_header_fault(each) for each in findings if each.severity == "error")


def _is_header_fault(found: Finding) -> bool:
    row = errors.codes().get(found.code)
    number = row.hl7 if row is not None else ""
    in_header = found.place is not None and found.place.path.startswith("MSH")
    return found.code in _STRANGERS or number in _HEADER_ERRORS or (number == "100" and in_header)


def acknowledge(
    to: hl7v2.Header | None, code: Code, found: Sequence[Finding], at: datetime, language: Language
) -> bytes:
    """The acknowledgement, unframed, under a new control id of ours.

    It repeats fields of the message as they came. Control characters are left out of them: a block end in MSH-10
    would end our own block in its middle.
    """
    made = hl7v2.acknowledge(to, code, control_id(), found, at=at, language=language)
    return made.translate(None, _NOT_REPEATED)


def control_id() -> str:
    """MSH-10 of a message of ours: at most 20 characters (the limit before version 2.7)."""
    return random_hex().upper()
