"""HL7 v2 over MLLP to a repository: one framed message, one acknowledgement judged by MSA (HL7 v2.5.1 section 2.9).

`url` is mllp://host:port. The message is the national message of `body`; its MSH-10 must be the exchange's id or
whatever the mapping writes there. Options: `accept` AA (default: the application acknowledgement decides) or CA
(the commit acknowledgement is enough).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from gateway.deliver import judge
from gateway.deliver.wires import Parts
from gateway.errors import Misconfigured, finding
from gateway.formats import json
from gateway.message import Attempt, Document, Exchange, Outcome
from gateway.ports import Wire

PROTOCOL: Final = "mllp-out"
START: Final = b"\x0b"
END: Final = b"\x1c\x0d"

_CODES: Final[Mapping[str, judge.State]] = {
    "AA": "delivered",
    "CA": "awaiting",
    "AE": "rejected",
    "CE": "rejected",
    "AR": "rejected",
    "CR": "rejected",
}
_TRANSIENT: Final = frozenset({"206", "207"})  # table 0357: application record locked, application error


class Acknowledgement(NamedTuple):
    """MSA-1, MSA-2, and the first ERR-3 with its ERR-8 or MSA-3."""

    code: str
    control_id: str
    error: str
    text: str


def make(parts: Parts) -> Wire:
    """An MLLP wire."""
    return MllpOut(parts)


class MllpOut:
    """One MLLP listener of a repository."""

    subject_receipts: frozenset[str] = frozenset()
    unique_receipts: frozenset[str] = frozenset()

    def __init__(self, parts: Parts) -> None:
        self._parts, self._national = parts, parts.national()
        address = urlsplit(parts.destination.url)
        if address.scheme != "mllp" or not address.hostname or not address.port:
            raise Misconfigured(detail=f"destination {parts.destination.id}: url is not mllp://host:port")
        self._host, self._port = address.hostname, address.port
        self._commit_is_enough = parts.option("accept", "AA") == "CA"

    def render(
        self, document: Document, exchange: Exchange, receipts: Mapping[str, str], number: int, now: datetime
    ) -> tuple[bytes, str | None]:
        """The frame; the id is MSH-10 as it stands in the message."""
        values = {"exchange": exchange.id, "system_id": self._parts.destination.system_id}
        values |= self._parts.options("value.")
        body = self._national(json.reread(document.body), self._parts.destination.body, {**values, **receipts})
        fields = _segments(body)[:1]
        control_id = fields[0][9] if fields and fields[0][0] == "MSH" and len(fields[0]) > 9 else ""
        if not control_id or START in body or END[:1] in body:
            raise Misconfigured(detail=f"destination {self._parts.destination.id}: not an HL7 message with MSH-10")
        return START + body + END, control_id

    async def send(self, attempt: Attempt) -> Outcome:
        """One frame out, one frame back."""
        parts = self._parts
        peer = parts.destination.peer
        reply = await parts.network.mllp(peer, self._host, self._port, attempt.request, parts.timeout)
        return self.verdict(reply, attempt)

    def verdict(self, reply: bytes, attempt: Attempt) -> Outcome:
        """`delivered` only for a positive acknowledgement that names this message; pure."""
        read = acknowledgement(reply)
        if read is None or read.code not in _CODES:
            return Outcome(state="unknown", codes=(judge.UNREADABLE,), reply=reply)
        if read.control_id != attempt.transport_id:
            return Outcome(state="unknown", codes=(judge.NOT_OURS,), reply=reply)
        state = _CODES[read.code]
        if state == "awaiting" and self._commit_is_enough:
            state = "delivered"
        if state == "rejected" and read.error in _TRANSIENT:
            state = "due"
        found = (finding(judge.REJECTED, detail=f"{read.error} {read.text}".strip()),) if state == "rejected" else ()
        code = {"rejected": judge.REJECTED, "due": judge.BUSY}.get(state)
        return Outcome(state=state, codes=(code,) if code else (), findings=found, reply=reply)

    async def reconcile(self, exchange: Exchange, attempt: Attempt) -> Outcome | None:
        """HL7 v2 has no question that every receiver answers: it cannot be asked."""
        return None


def _segments(body: bytes) -> list[list[str]]:
    """Segments as fields; MSH-1 is put at its place so that MSH-10 is index 9 after the name and the separator."""
    lines = [line for line in body.decode("latin-1").split("\r") if line]
    separator = lines[0][3:4] if lines and len(lines[0]) > 8 else ""
    if not separator or not lines[0].startswith("MSH"):
        return []
    return [line.split(separator) for line in lines]


def acknowledgement(frame: bytes) -> Acknowledgement | None:
    """The acknowledgement in a frame; None where it is not exactly one."""
    if not frame.startswith(START) or not frame.endswith(END) or START in frame[1:]:
        return None
    segments = _segments(frame[1 : -len(END)])
    found = [each for each in segments if each[0] == "MSA"]
    if len(found) != 1 or len([each for each in segments if each[0] == "MSH"]) != 1:
        return None
    msa = [*found[0], "", "", ""]
    err = next(([*each, *[""] * 9] for each in segments if each[0] == "ERR"), [""] * 10)
    return Acknowledgement(msa[1], msa[2], err[3].partition("^")[0], (err[8] or msa[3])[:500])
