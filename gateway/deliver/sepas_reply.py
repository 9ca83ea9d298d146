"""The answer of the SEPAS bill service, read strictly: one ResultVO, or one fault, or nothing that counts.

ResultVO { MessageUID, ErrorMessage, CompositionUID, patientUID }. Errors arrive as text in ErrorMessage; the table
`sepas_errors.toml` turns them into the published categories, and each category into what happens next.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec
from lxml import etree

from gateway.deliver import judge
from gateway.errors import GatewayError, Misconfigured, finding
from gateway.formats import xml
from gateway.message import Finding, Outcome
from gateway.ports import Reply

SOAP: Final = "http://schemas.xmlsoap.org/soap/envelope/"
SERVICE: Final = "http://sepas.behdasht.gov.ir/"
NATIONAL: Final = "GW-DELIVER-017"
FORGOTTEN: Final = "GW-DELIVER-018"
CONTRADICTS: Final = "GW-DELIVER-022"
XML_TYPES: Final = frozenset({"text/xml", "application/xml", "application/soap+xml"})
_FIELDS: Final = {"messageuid": "MessageUID", "compositionuid": "CompositionUID", "patientuid": "PatientUID"}
NOTHING_TO_WITHDRAW: Final = "GW-DELIVER-024"
MAX_TEXT: Final = 1000
_HEAD_ENDS: Final = re.compile(r"[:;\]\n|؛]|\s[-–—]\s")
_NOISE: Final = re.compile(r"[\W\d_]+")


class Answer(NamedTuple):
    """What a readable answer says: a fault code, an error text, or receipts."""

    fault: str | None
    error: str
    receipts: Mapping[str, str]


def read_reply(reply: Reply) -> Answer | None:
    """The answer; None for whatever is not exactly one (a page, a cut body, another charset, two results)."""
    if judge.media_type(reply.headers) not in XML_TYPES:
        return None
    try:
        root = xml.read(reply.body)
    except GatewayError:
        return None
    declared, written = judge.charset(reply.headers), (root.getroottree().docinfo.encoding or "utf-8").lower()
    if declared and declared != written:
        return None
    body = root.find(f"{{{SOAP}}}Body") if root.tag == f"{{{SOAP}}}Envelope" else None
    inside = [each for each in body if isinstance(each.tag, str)] if body is not None else []
    return _content(inside[0]) if len(inside) == 1 else None


def _content(element: etree._Element) -> Answer | None:
    if element.tag == f"{{{SOAP}}}Fault":
        code = (element.findtext("faultcode") or "").strip()
        return Answer(code.rpartition(":")[2], "", {})
    results = [each for each in element if isinstance(each.tag, str)]
    if element.tag != f"{{{SERVICE}}}savePatientBillResponse" or len(results) != 1:
        return None
    return _result(results[0])


def _result(result: etree._Element) -> Answer | None:
    fields: dict[str, str] = {}
    for each in result.iterchildren(tag=etree.Element):
        name = etree.QName(each).localname.lower()
        if name in fields or len(each):
            return None  # two values for one name: nobody knows which one counts
        fields[name] = (each.text or "").strip()[:MAX_TEXT]
    if not fields:
        return None
    receipts = {ours: fields[theirs] for theirs, ours in _FIELDS.items() if fields.get(theirs)}
    return Answer(None, fields.get("errormessage", ""), receipts)


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One category."""

    action: Literal["rejected", "due", "parked"]
    prefix: tuple[str, ...] = ()
    says: tuple[str, ...] = ()
    forget: bool = False


class ErrorTable:
    """The categories, ready to be looked up."""

    def __init__(self, rows: Mapping[str, Row]) -> None:
        self._rows = rows
        self._prefixes = {_head(text.casefold()): name for name, row in rows.items() for text in row.prefix}
        self._says = [(text.casefold(), name) for name, row in rows.items() for text in row.says]

    @classmethod
    def load(cls, path: str = "") -> ErrorTable:
        """The table beside this file, or the site's own; an unusable one is `Misconfigured`."""
        file = Path(path) if path else Path(__file__).with_name("sepas_errors.toml")
        try:
            raw = tomllib.loads(file.read_text(encoding="utf-8"))
            return cls(msgspec.convert(raw, dict[str, Row]))
        except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
            raise Misconfigured(detail=f"error table {file.name}: {error}") from None

    def category(self, message: str) -> str:
        """The category of an error text; named errors first, then what stands at its head, else `unknown`.

        Letter case, digits, spaces and the word "error" do not count.
        """
        text = message.casefold()
        for said, name in self._says:
            if said in text:
                return name
        return self._prefixes.get(_head(text), "unknown")

    def judge(self, reply: Reply, answer: Answer, at: datetime) -> Outcome:
        """What an error leads to. An error beside a CompositionUID contradicts itself: nobody knows."""
        name = self.category(answer.error)
        row = self._rows.get(name, Row(action="parked"))
        found = (finding(NATIONAL, category=name, detail=answer.error),)
        if answer.receipts.get("CompositionUID"):
            return judge.outcome(reply, "unknown", CONTRADICTS, findings=found)
        if row.forget:
            gone = ("PatientUID", "CompositionUID")
            return judge.outcome(reply, "due", FORGOTTEN, at, findings=found, forget=gone)
        code = judge.BUSY if row.action == "due" else NATIONAL
        return judge.outcome(reply, row.action, code, at, findings=found)

    def said(self, answers: Iterable[Answer]) -> tuple[Finding, ...]:
        """The national words of every error, each with its category."""
        wrong = [each.error for each in answers if each.error]
        return tuple(finding(NATIONAL, category=self.category(each), detail=each) for each in wrong)

    def judge_all(self, reply: Reply, answers: Sequence[Answer], at: datetime) -> Outcome:
        """Several results of one batch. Where some were taken and some not, an operator has to look."""
        if len(answers) == 1:
            return self.judge(reply, answers[0], at)
        if not all(each.error for each in answers):
            return judge.outcome(reply, "parked", NATIONAL, findings=self.said(answers))
        rank = {"parked": 0, "rejected": 1, "due": 2}
        worst = min((self.judge(reply, each, at) for each in answers), key=lambda made: rank.get(made.state, -1))
        return msgspec.structs.replace(worst, findings=self.said(answers))


def rest_answer(found: Any) -> list[Answer]:
    """What a JSON answer of the REST gateway says, one for each result in it; none where it is not one.

    A ResultVO at the top or under `data` (alone or in a list), the gateway's own { data, isSuccess, statusCode,
    message[] }, or an error { Code, Error, Error_Description, violations[] }. Letter case of names does not count.
    """
    top = _lower(found)
    if top is None:
        return []
    if "error" in top or "violations" in top:
        words = [_said(top.get(name)) for name in ("error", "error_description", "violations")]
        return [Answer(None, ": ".join(filter(None, words))[:MAX_TEXT] or "Unknown", {})]
    if "issuccess" in top and top["issuccess"] is not True:
        return [Answer(None, _said(top.get("message"))[:MAX_TEXT] or "Unknown", {})]
    data = top.get("data", found if _RESULT & top.keys() else None)
    results = [_lower(each) for each in (data if isinstance(data, list) else [data]) if each is not None]
    if any(each is None for each in results) and not top.get("issuccess"):
        return []
    answers = [_of_result(each) for each in results if each is not None]
    return answers or ([Answer(None, "", {})] if top.get("issuccess") is True else [])


_RESULT: Final = frozenset({"messageuid", "errormessage", "compositionuid", "patientuid"})


def _lower(found: Any) -> dict[str, Any] | None:
    return {str(name).lower(): value for name, value in found.items()} if isinstance(found, dict) else None


def _of_result(result: Mapping[str, Any]) -> Answer:
    texts = {name: str(value)[:MAX_TEXT] for name, value in result.items() if isinstance(value, str) and value}
    receipts = {ours: texts[theirs] for theirs, ours in _FIELDS.items() if theirs in texts}
    return Answer(None, texts.get("errormessage", ""), receipts)


def _said(value: Any) -> str:
    """Any JSON as one line of text."""
    if isinstance(value, dict):
        return " ".join(filter(None, map(_said, value.values())))
    if isinstance(value, list):
        return "; ".join(filter(None, map(_said, value)))
    return str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _head(text: str) -> str:
    """The letters before the first separator, without the word "error" at their end."""
    letters = _NOISE.sub("", _HEAD_ENDS.split(text.lstrip(" [("), maxsplit=1)[0])
    return re.sub(r"(errors?|exceptions?)$", "", letters)


def accepted(
    reply: Reply,
    given: Mapping[str, str],
    sent: Mapping[str, str],
    pattern: re.Pattern[str],
    needed: Iterable[str],
    gone: bool = False,
) -> Outcome:
    """An answer without an error: `delivered` with the UIDs that it must have, and that are the ones we sent.

    `gone`: the record was taken back, and its CompositionUID is not used again.
    """
    uids = {name: given.get(name, "") for name in needed}
    if not all(pattern.fullmatch(value) for value in uids.values()):
        return judge.outcome(reply, "unknown", judge.UNREADABLE)
    if any(given.get(name, value) != value for name, value in sent.items()):
        return judge.outcome(reply, "unknown", judge.NOT_OURS)
    forget = ("CompositionUID",) if gone else ()
    receipts = {name: value for name, value in given.items() if value and name not in forget}
    return judge.outcome(reply, "delivered", receipts=receipts, forget=forget)


def nothing_to_withdraw() -> Outcome:
    """What was never accepted need not be taken back: nothing leaves, and that is said."""
    return Outcome(state="delivered", codes=(NOTHING_TO_WITHDRAW,))
