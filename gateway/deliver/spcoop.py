"""SPCoop: a national message in an e-Gov envelope over SOAP 1.1 (CNIPA, Busta e-Gov 1.1), in its four profiles.

One-way: nothing or a receipt comes back. Synchronous: the answer is in the same exchange. Symmetric asynchronous: a
receipt, and later the answer as a request of the other side at our address (`hear`). Asymmetric asynchronous: a
receipt, and the answer is asked for (`reconcile`) until it is there. An exchange has one Identificatore for all its
tries, so that a domain gateway that passes messages on at most once removes what we send twice.

Options of the destination: `office` and `door` (our administration and domain gateway, the first parts of an
Identificatore), `receiver`, `service`, `action`; `office_kind`, `receiver_kind`, `service_kind` (SPC); `profile`
one-way, synchronous (default), symmetric, asymmetric; `correlated_service`, `correlated_kind`; `collaboration` yes:
said in every profile; `forwarding` once (default) or many, `confirm` yes; `timing` locale (default) or spc;
`expires_minutes`; `soap_action`; `payload` xml (default: the national message is the body's element) or text (JSON and
other text inside an element {`payload_namespace`}`payload_element`); `status_action` (asymmetric: the question's
action); `success`, `rejected` and `pending`, conditions on the answer's body ("$.esito = OK"), `code` and `text`, paths
of an error in it; `duplicates`, exception codes that mean "came before" ("EGOV_IT_109"); `fault_server` unknown
(default) or due; `statuses`. `told_by` says who may bring an asynchronous answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from lxml import etree

from gateway.deliver import judge, paths
from gateway.deliver.wires import Parts
from gateway.errors import GatewayError, Misconfigured, Refused, finding
from gateway.formats import egov, json, xml
from gateway.formats.egov import Envelope, Failure, Hop, Message, Party
from gateway.message import Attempt, Document, Exchange, Finding, Outcome
from gateway.ports import Heard, Reply, Wire

PROTOCOL: Final = "spcoop"
MEDIA: Final = "text/xml"
NAME: Final = "Identificatore"
WARNED: Final = "GW-DELIVER-036"
UNHEARD: Final = "GW-DELIVER-038"
OURS: Final = "GW-DELIVER-039"
PROFILES: Final[Mapping[str, egov.Profile]] = {
    "one-way": egov.ONE_WAY,
    "synchronous": egov.SYNCHRONOUS,
    "symmetric": egov.SYMMETRIC,
    "asymmetric": egov.ASYMMETRIC,
}
_QUESTIONS: Final = 9_000_000  # serials from here on are those of questions, below those of messages
_STEPS: Final = 18_000  # commits in one minute that have serials of their own
_PLACES: Final = 500  # exchanges of one commit that do
_POSITION: Final = 1_000_000


def make(parts: Parts) -> Wire:
    """The SPCoop wire of one destination."""
    return Spcoop(parts)


def serial(position: int) -> int:
    """The serial of an exchange by its position, which is unique: its commit, and its place in that commit.

    Two exchanges of one minute share one only beyond 18,000 commits in that minute or 500 exchanges in one commit.
    """
    return position // _POSITION % _STEPS * _PLACES + position % _POSITION % _PLACES


class Spcoop:
    """One service of one party."""

    subject_receipts: frozenset[str] = frozenset()
    unique_receipts: frozenset[str] = frozenset()

    def __init__(self, parts: Parts) -> None:
        self._parts, option = parts, parts.option
        for name in ("office", "door", "receiver", "service"):
            if not option(name):
                raise Misconfigured(detail=f"destination {parts.destination.id}: options.{name} is needed")
        if option("profile", "synchronous") not in PROFILES:
            raise Misconfigured(detail=f"destination {parts.destination.id}: profile is one of {', '.join(PROFILES)}")
        if not egov.IDENTIFIER.fullmatch(egov.identifier(option("office"), option("door"), 1, parts.clock.now())):
            raise Misconfigured(detail=f"destination {parts.destination.id}: office and door make no Identificatore")
        self.profile = PROFILES[option("profile", "synchronous")]
        self._us = Party(name=option("office"), kind=option("office_kind", "SPC"))
        self._them = Party(name=option("receiver"), kind=option("receiver_kind", "SPC"))
        self._statuses = judge.meanings(option("statuses"))
        self._answer = _Answer(parts)
        self._minutes = _minutes(parts)
        parts.national()

    # --- out -----------------------------------------------------------------------

    def render(
        self, document: Document, exchange: Exchange, receipts: Mapping[str, str], number: int, now: datetime
    ) -> tuple[bytes, str | None]:
        """The envelope around the national message; the id is the Identificatore, the same at every try."""
        option, made = self._parts.option, exchange.created_at or document.made_at
        id = egov.identifier(option("office"), option("door"), serial(exchange.position), made)
        values = {"exchange": exchange.id, **self._parts.options("value."), **receipts}
        national = self._parts.national()(json.reread(document.body), self._parts.destination.body, values)
        together = self.profile in egov.ASYNCHRONOUS or option("collaboration") == "yes"
        envelope = self._envelope(id, now, option("action"), collaboration=id if together else "")
        return self._request(envelope, self._payload(national), now), id

    def _envelope(self, id: str, now: datetime, action: str, collaboration: str = "", reference: str = "") -> Envelope:
        option = self._parts.option
        timing: egov.Timing = "EGOV_IT_SPC" if option("timing") == "spc" else "EGOV_IT_Locale"
        many = option("forwarding", "once") == "many"
        return Envelope(
            sender=self._us,
            receiver=self._them,
            profile=self.profile,
            correlated=option("correlated_service"),
            correlated_kind=option("correlated_kind"),
            collaboration=collaboration,
            service=option("service"),
            service_kind=option("service_kind", "SPC"),
            action=action,
            id=id,
            recorded_at=now,
            timing=timing,
            reference=reference,
            expires_at=now + timedelta(minutes=self._minutes) if self._minutes else None,
            forwarding="EGOV_IT_PIUDIUNAVOLTA" if many else "EGOV_IT_ALPIUUNAVOLTA",
            confirm=option("confirm") == "yes",
            hops=(Hop(origin=self._us, target=self._them, at=now, timing=timing),),
        )

    def _payload(self, national: bytes) -> etree._Element:
        if self._parts.option("payload", "xml") == "xml":
            return xml.read(national)
        space, name = self._parts.option("payload_namespace"), self._parts.option("payload_element", "contenuto")
        made = etree.Element(f"{{{space}}}{name}" if space else name)
        made.text = national.decode("utf-8")
        return made

    def _request(self, envelope: Envelope, payload: etree._Element, now: datetime) -> bytes:
        headers = {
            "Content-Type": f"{MEDIA}; charset=utf-8",
            "SOAPAction": f'"{self._parts.option("soap_action")}"',
            **self._parts.options("header."),
        }
        return self._parts.compose("POST", self._parts.destination.url, headers, egov.build(envelope, payload), now)

    # --- back -----------------------------------------------------------------------

    async def send(self, attempt: Attempt) -> Outcome:
        """Post the envelope; what `delivered` takes is the profile's to say."""
        return self.verdict(await self._parts.post(attempt.request), attempt)

    def verdict(self, reply: Reply, attempt: Attempt) -> Outcome:
        """The outcome of one answer to one attempt; pure."""
        return self._judge(reply, attempt.transport_id or "", attempt.started_at, asked=False)

    def _judge(self, reply: Reply, id: str, at: datetime, asked: bool) -> Outcome:
        if reply.status not in (200, 202, 500) or reply.status in self._statuses:
            meaning = judge.by_status(reply.status, self._statuses)
            return judge.refused(reply, meaning or judge.Meaning("unknown", judge.UNREADABLE), at)
        if reply.status != 500 and not reply.body.strip():
            return self._silence(reply)
        message = _read(reply)
        if message is None:
            fault = _bare_fault(reply)
            if fault:
                return self._fault(reply, fault, at)
            return judge.outcome(reply, "unknown", judge.UNREADABLE if reply.status != 500 else judge.SERVER)
        envelope = message.envelope
        if envelope.sender.name != self._them.name or envelope.receiver.name != self._us.name:
            return judge.outcome(reply, "unknown", judge.NOT_OURS)
        if not self._about(envelope, id):
            return judge.outcome(reply, "unknown", judge.NOT_OURS)
        return self._read(reply, message, at, asked)

    def _about(self, envelope: Envelope, id: str) -> bool:
        """Whether an answer names our message: by reference, or by a receipt where there is nothing else to say."""
        return id in (envelope.reference, *(each.id for each in envelope.receipts))

    def _silence(self, reply: Reply) -> Outcome:
        """An empty answer says something in one profile only, and there only if no receipt was asked for."""
        if self.profile != egov.ONE_WAY:
            return judge.outcome(reply, "unknown", judge.UNREADABLE)
        return judge.outcome(reply, "awaiting" if self._parts.option("confirm") == "yes" else "delivered")

    def _read(self, reply: Reply, message: Message, at: datetime, asked: bool) -> Outcome:
        envelope = message.envelope
        if envelope.grave:
            return self._exceptions(reply, envelope.grave, at)
        fault = _fault_in(message)
        if fault:
            return self._fault(reply, fault, at)
        if reply.status == 500:
            return judge.outcome(reply, "unknown", judge.SERVER)
        warned = tuple(finding(WARNED, detail=_shown(each)) for each in envelope.failures)
        if self.profile in egov.ASYNCHRONOUS and not asked:
            return judge.outcome(reply, "awaiting", receipts={NAME: envelope.reference}, findings=warned)
        if self.profile == egov.ONE_WAY:
            return judge.outcome(reply, "delivered", findings=warned)
        state, found = self._answer.judge(message.body)
        code = {"rejected": judge.REJECTED, "unknown": judge.UNREADABLE}.get(state)
        return judge.outcome(reply, state, code, findings=(*warned, *found))

    def _exceptions(self, reply: Reply, grave: tuple[Failure, ...], at: datetime) -> Outcome:
        """Header and field exceptions are our settings' fault; 3xx may have been processed before they broke."""
        codes = {each.code for each in grave}
        if codes <= frozenset(self._parts.option("duplicates").split()):
            return judge.outcome(reply, "delivered", judge.FOUND)
        if any(each.code >= "EGOV_IT_300" for each in grave):
            return self._server(reply, at, tuple(finding(OURS, detail=_shown(each)) for each in grave))
        return judge.outcome(reply, "parked", OURS, findings=tuple(finding(OURS, detail=_shown(e)) for e in grave))

    def _fault(self, reply: Reply, code: str, at: datetime) -> Outcome:
        """SOAP 1.1 section 4.4.1, as elsewhere: Client and its like were not processed; Server may have been."""
        if code.split(".")[0] in ("Client", "VersionMismatch", "MustUnderstand"):
            return judge.outcome(reply, "parked", judge.REFUSED)
        return self._server(reply, at, ())

    def _server(self, reply: Reply, at: datetime, found: tuple[Finding, ...]) -> Outcome:
        state: judge.State = "due" if self._parts.option("fault_server") == "due" else "unknown"
        return judge.outcome(reply, state, judge.SERVER, at, findings=found)

    # --- asking, and being told -----------------------------------------------------

    async def reconcile(self, exchange: Exchange, attempt: Attempt) -> Outcome | None:
        """Ask for the answer where the profile has a question; elsewhere it cannot be asked, or comes by itself."""
        if self.profile == egov.SYMMETRIC and exchange.state == "awaiting":
            return Outcome(state="awaiting")
        if self.profile != egov.ASYMMETRIC or not self._parts.option("status_action") or not attempt.transport_id:
            return None
        now, option = self._parts.clock.now(), self._parts.option
        number = _QUESTIONS + (int(now.timestamp() * 1000) + exchange.position) % 1_000_000
        id = egov.identifier(option("office"), option("door"), number, now)
        first = attempt.transport_id
        envelope = self._envelope(id, now, option("status_action"), collaboration=first, reference=first)
        question = etree.Element(f"{{{option('payload_namespace', 'urn:gateway:spcoop')}}}richiestaStato")
        reply = await self._parts.post(self._request(envelope, question, now))
        return self._judge(reply, id, now, asked=True)

    def hear(self, headers: Mapping[str, str], body: bytes) -> Heard:
        """The answer of the symmetric profile, or a receipt that was asked for: a request of the other side.

        It is acknowledged with a receipt of ours; `Refused` where it is no envelope of this service.
        """
        try:
            message = egov.parse(body)
        except GatewayError as fault:
            raise Refused(UNHEARD, detail=str(fault.args_.get("detail", fault.code))[:200]) from None
        envelope, now = message.envelope, self._parts.clock.now()
        if (envelope.sender.name, envelope.receiver.name) != (self._them.name, self._us.name):
            raise Refused(UNHEARD, detail="Mittente, Destinatario")
        wrong = next(egov.faults(envelope, now), None)
        if wrong is not None:
            raise Refused(UNHEARD, detail=_shown(wrong))
        first = envelope.reference or envelope.collaboration or next((each.id for each in envelope.receipts), "")
        outcome = self._told(message, body)
        number = _QUESTIONS + int(now.timestamp() * 1000) % 1_000_000
        id = egov.identifier(self._parts.option("office"), self._parts.option("door"), number, now)
        back = egov.answering(envelope, id, now)
        failure = Failure(code="EGOV_IT_110", place="Messaggio/RiferimentoMessaggio")
        refusal = egov.refusal(msgspec.structs.replace(back, failures=(failure,)))
        return Heard(NAME, first, outcome, 200, f"{MEDIA}; charset=utf-8", egov.build(back), refusal)

    def _told(self, message: Message, body: bytes) -> Outcome:
        if message.envelope.grave:
            found = tuple(finding(judge.REJECTED, detail=_shown(each)) for each in message.envelope.grave)
            return Outcome(state="rejected", codes=(judge.REJECTED,), findings=found, reply=body)
        if self.profile == egov.ONE_WAY:
            return Outcome(state="delivered", reply=body)
        state, found = self._answer.judge(message.body)
        codes = (judge.REJECTED,) if state == "rejected" else ()
        return Outcome(state=state, codes=codes, findings=found, reply=body)


class _Answer:
    """What the body of an answer says, by the destination's conditions on it."""

    def __init__(self, parts: Parts) -> None:
        option = parts.option
        self._success, self._rejected, self._pending = (
            paths.Condition(option(name)) if option(name) else None for name in ("success", "rejected", "pending")
        )
        self._code = paths.compile_path(option("code", "$.codice"))
        self._text = paths.compile_path(option("text", "$.descrizione"))

    def judge(self, body: tuple[etree._Element, ...]) -> tuple[judge.State, tuple[Finding, ...]]:
        """delivered, rejected with its words, awaiting, or unknown where no condition holds."""
        if len(body) != 1:
            return "unknown", ()
        name = etree.QName(body[0])
        answer = {name.localname: _tree(body[0])}
        inner = answer[name.localname]
        if name.namespace == egov.FAILURE:  # MessaggioDiErroreApplicativo: the application says no
            return "rejected", (finding(judge.REJECTED, detail=" ".join(_words(inner))[:500]),)
        inside = inner if isinstance(inner, dict) else {}
        if self._rejected is not None and (self._rejected.holds(inside) or self._rejected.holds(answer)):
            said = f"{self._say(self._code, inside, answer)} {self._say(self._text, inside, answer)}".strip()
            return "rejected", (finding(judge.REJECTED, detail=said[:500]),)
        if self._pending is not None and (self._pending.holds(inside) or self._pending.holds(answer)):
            return "awaiting", ()
        if self._success is None or self._success.holds(inside) or self._success.holds(answer):
            return "delivered", ()
        return "unknown", ()

    def _say(self, path: paths.Path, *documents: Any) -> str:
        return next((said for each in documents if (said := paths.follow(path, each))), "")


def _tree(element: etree._Element) -> Any:
    """Nested members by local name; repeats make it no plain value."""
    children = list(element.iterchildren(tag=etree.Element))
    if not children:
        return (element.text or "").strip()
    made: dict[str, Any] = {}
    for child in children:
        name = etree.QName(child).localname
        made[name] = [made[name], _tree(child)] if name in made else _tree(child)
    return made


def _words(tree: Any) -> list[str]:
    if isinstance(tree, dict):
        return [word for each in tree.values() for word in _words(each)]
    if isinstance(tree, list):
        return [word for each in tree for word in _words(each)]
    return [str(tree)] if tree else []


def _shown(failure: Failure) -> str:
    return f"{failure.code} {failure.place}".strip()


def _read(reply: Reply) -> Message | None:
    """The e-Gov message of a reply; None where it is not one."""
    if judge.media_type(reply.headers) != MEDIA or judge.charset(reply.headers) not in ("", "utf-8"):
        return None
    try:
        return egov.parse(reply.body)
    except GatewayError:
        return None


def _bare_fault(reply: Reply) -> str:
    """The fault code of a SOAP message without an e-Gov header; empty where it is not one."""
    if judge.media_type(reply.headers) != MEDIA or judge.charset(reply.headers) not in ("", "utf-8"):
        return ""
    try:
        root = xml.read(reply.body)
        if root.tag != f"{{{egov.SOAP}}}Envelope" or egov.present(reply.body):
            return ""
    except GatewayError:
        return ""
    return _local(root.findtext(f"{{{egov.SOAP}}}Body/{{{egov.SOAP}}}Fault/faultcode"))


def _fault_in(message: Message) -> str:
    fault = next((each for each in message.body if each.tag == f"{{{egov.SOAP}}}Fault"), None)
    return "" if fault is None else _local(fault.findtext("faultcode")) or "Server"


def _local(code: str | None) -> str:
    return (code or "").strip().rpartition(":")[2]


def _minutes(parts: Parts) -> int:
    text = parts.option("expires_minutes", "0")
    if not text.isascii() or not text.isdigit() or int(text) > 100_000:
        raise Misconfigured(detail=f"destination {parts.destination.id}: expires_minutes")
    return int(text)
