"""HL7 v2 conformance in the flow: what the sender's options make of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from maplab import MAPPINGS, Apply

from gateway.errors import Misconfigured
from gateway.message import ItemResult
from gateway.settings import parse

_ADMISSION = (MAPPINGS / "sepas" / "samples" / "adt-a01.hl7").read_bytes()
_WITHOUT_EVN = b"\r".join(line for line in _ADMISSION.split(b"\r") if not line.startswith(b"EVN"))
_MISSING = "GW-FMT-022"


def _found(result: ItemResult, code: str) -> list[str]:
    return [each.severity for each in result.findings if each.code == code]


def test_by_default_a_fault_is_told_and_refuses_nothing(apply: Apply) -> None:
    """A feed that has worked for years is not stopped by a rule that nobody ever checked."""
    (result,) = apply("sepas", _WITHOUT_EVN)
    assert _found(result, _MISSING) == ["warning"]
    assert not result.refused


def test_a_sender_may_be_held_to_the_standard(apply: Apply) -> None:
    """During certification a fault must stop the message."""
    (result,) = apply("sepas", _WITHOUT_EVN, sender_options={"conformance": "refuse"})
    assert _found(result, _MISSING) == ["error"]
    assert result.refused
    (good,) = apply("sepas", _ADMISSION, sender_options={"conformance": "refuse"})
    assert not good.refused, "what conforms passes"


def test_the_check_can_be_left_out(apply: Apply) -> None:
    """Off means off: no finding of the check, and the same resources."""
    (off,) = apply("sepas", _WITHOUT_EVN, sender_options={"conformance": "off"})
    (on,) = apply("sepas", _WITHOUT_EVN)
    assert not [each for each in off.findings if each.code.startswith("GW-FMT-02")]
    assert off.resources == on.resources


def test_another_word_stops_the_start(tmp_path: Path) -> None:
    """A misspelt policy must not silently be the lenient one."""
    text = '[[sender]]\nid = "a"\nprogrammes = []\noptions = {conformance = "strict"}\n'
    with pytest.raises(Misconfigured):
        parse(text, tmp_path)


def test_a_message_without_charset_is_read_in_the_senders(apply: Apply) -> None:
    """Old systems write Windows-1256 and say nothing: their option says it for them, MSH-18 goes before it."""
    text = _ADMISSION.decode().replace("UNICODE UTF-8", "")
    old = text.replace("ی", "ي").encode("cp1256", "replace")
    (result,) = apply("sepas", old, sender_options={"charset": "WINDOWS-1256"})
    same = apply("sepas", text.replace("ی", "ي").encode("cp1256", "replace").decode("cp1256").encode())[0]
    assert result.resources == same.resources
    assert not result.refused
    (told,) = apply("sepas", _ADMISSION, sender_options={"charset": "WINDOWS-1256"})
    assert told.resources == apply("sepas", _ADMISSION)[0].resources
