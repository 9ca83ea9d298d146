"""The e-Gov envelope of SPCoop (CNIPA, Busta e-Gov 1.1 of 14 October 2005): a header block of a SOAP 1.1 message.

`build` writes an envelope, `parse` reads one, `faults` says by the codes of the specification what a reader of an
envelope has to refuse. One header block, each element once and at its place, known values only: an envelope that
could be read in two ways is not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple, TypeVar, cast
from zoneinfo import ZoneInfo

import msgspec
from lxml import etree

from gateway.errors import Unreadable
from gateway.formats import xml
from gateway.value import Value

SOAP: Final = "http://schemas.xmlsoap.org/soap/envelope/"
EGOV: Final = "http://www.cnipa.it/schemas/2003/eGovIT/Busta1_0/"
FAILURE: Final = "http://www.cnipa.it/schemas/2003/eGovIT/Exception1_0/"
ACTOR: Final = "http://www.cnipa.it/eGov_it/portadominio"
ROME: Final = ZoneInfo("Europe/Rome")
_Word = TypeVar("_Word", bound=str)

Profile = Literal[
    "EGOV_IT_MessaggioSingoloOneWay",
    "EGOV_IT_ServizioSincrono",
    "EGOV_IT_ServizioAsincronoSimmetrico",
    "EGOV_IT_ServizioAsincronoAsimmetrico",
]
Timing = Literal["EGOV_IT_SPC", "EGOV_IT_Locale"]
Forwarding = Literal["EGOV_IT_ALPIUUNAVOLTA", "EGOV_IT_PIUDIUNAVOLTA"]
Severity = Literal["GRAVE", "LIEVE", "INFO"]
ONE_WAY: Final[Profile] = "EGOV_IT_MessaggioSingoloOneWay"
SYNCHRONOUS: Final[Profile] = "EGOV_IT_ServizioSincrono"
SYMMETRIC: Final[Profile] = "EGOV_IT_ServizioAsincronoSimmetrico"
ASYMMETRIC: Final[Profile] = "EGOV_IT_ServizioAsincronoAsimmetrico"
PROFILES: Final[tuple[Profile, ...]] = (ONE_WAY, SYNCHRONOUS, SYMMETRIC, ASYMMETRIC)
ASYNCHRONOUS: Final = frozenset({SYMMETRIC, ASYMMETRIC})

HEADER_FAULT: Final = "ErroreIntestazioneMessaggioSPCoop"
PROCESSING_FAULT: Final = "ErroreProcessamentoMessaggioSPCoop"
IDENTIFIER: Final = re.compile(
    r"(?P<office>[^_\s]{1,60})_(?P<door>[^_\s]{1,60})_(?P<serial>[0-9]{7})_"
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})_(?P<time>[0-9]{2}:[0-9]{2})"
)
MAX_LIST: Final = 200


class Party(Value, frozen=True, kw_only=True):
    """A party: an identifier of some kind (SPC, AOO …), and where it can be reached."""

    name: str
    kind: str = "SPC"
    address: str = ""


class Receipt(Value, frozen=True, kw_only=True):
    """A Riscontro: that a message of this identifier arrived."""

    id: str
    at: datetime
    timing: Timing = "EGOV_IT_Locale"


class Hop(Value, frozen=True, kw_only=True):
    """A Trasmissione: from where to where, when."""

    origin: Party
    target: Party
    at: datetime
    timing: Timing = "EGOV_IT_Locale"


class Failure(Value, frozen=True, kw_only=True):
    """An Eccezione. `code` is EGOV_IT_nnn, `place` names the element."""

    code: str
    severity: Severity = "GRAVE"
    place: str = ""
    context: str = HEADER_FAULT


class Envelope(Value, frozen=True, kw_only=True):
    """One header. Times are aware; they are written in Italian local time to the second, as gateways do."""

    sender: Party
    receiver: Party
    service: str
    id: str
    recorded_at: datetime
    profile: Profile | None = None
    service_kind: str = "SPC"
    action: str = ""
    collaboration: str = ""
    correlated: str = ""  # servizioCorrelato of the symmetric profile, and its kind
    correlated_kind: str = ""
    timing: Timing = "EGOV_IT_Locale"
    reference: str = ""
    expires_at: datetime | None = None
    forwarding: Forwarding | None = None
    confirm: bool = False
    sequence: int | None = None
    receipts: tuple[Receipt, ...] = ()
    hops: tuple[Hop, ...] = ()
    failures: tuple[Failure, ...] = ()

    @property
    def grave(self) -> tuple[Failure, ...]:
        """The failures that stop a message."""
        return tuple(each for each in self.failures if each.severity == "GRAVE")


class Message(NamedTuple):
    """An envelope and what is in the SOAP body."""

    envelope: Envelope
    body: tuple[etree._Element, ...]


def identifier(office: str, door: str, serial: int, at: datetime) -> str:
    """The identifier of a message: administration, domain gateway, seven digits, local day and minute."""
    return f"{office}_{door}_{serial:07d}_{at.astimezone(ROME):%Y-%m-%d_%H:%M}"


# --- building ----------------------------------------


def _tag(name: str) -> str:
    return f"{{{EGOV}}}{name}"


def _said(at: datetime) -> str:
    return f"{at.astimezone(ROME):%Y-%m-%dT%H:%M:%S}"


def _add(parent: etree._Element, name: str, text: str | None = None, **attributes: str) -> etree._Element:
    made = etree.SubElement(parent, _tag(name), {key: value for key, value in attributes.items() if value})
    made.text = text
    return made


def _party(parent: etree._Element, name: str, party: Party) -> None:
    within = _add(parent, name)
    _add(within, "IdentificativoParte", party.name, tipo=party.kind, indirizzoTelematico=party.address)


def build(envelope: Envelope, *body: etree._Element) -> bytes:
    """The SOAP message with the header block and the elements in its body."""
    root = etree.Element(f"{{{SOAP}}}Envelope", nsmap={"SOAP_ENV": SOAP})
    header = etree.SubElement(root, f"{{{SOAP}}}Header")
    block = etree.SubElement(header, _tag("Intestazione"), nsmap={"eGov_IT": EGOV})
    block.set(f"{{{SOAP}}}actor", ACTOR)
    block.set(f"{{{SOAP}}}mustUnderstand", "1")
    _message(_add(block, "IntestazioneMessaggio"), envelope)
    _lists(block, envelope)
    etree.SubElement(root, f"{{{SOAP}}}Body").extend(body)
    return xml.write(root)


def _message(head: etree._Element, envelope: Envelope) -> None:
    _party(head, "Mittente", envelope.sender)
    _party(head, "Destinatario", envelope.receiver)
    if envelope.profile:
        kind, correlated = envelope.correlated_kind, envelope.correlated
        _add(head, "ProfiloCollaborazione", envelope.profile, tipo=kind, servizioCorrelato=correlated)
    if envelope.collaboration:
        _add(head, "Collaborazione", envelope.collaboration)
    _add(head, "Servizio", envelope.service, tipo=envelope.service_kind)
    if envelope.action:
        _add(head, "Azione", envelope.action)
    within = _add(head, "Messaggio")
    _add(within, "Identificatore", envelope.id)
    _add(within, "OraRegistrazione", _said(envelope.recorded_at), tempo=envelope.timing)
    if envelope.reference:
        _add(within, "RiferimentoMessaggio", envelope.reference)
    if envelope.expires_at is not None:
        _add(within, "Scadenza", _said(envelope.expires_at))
    if envelope.forwarding:
        confirm = "true" if envelope.confirm else "false"
        _add(head, "ProfiloTrasmissione", inoltro=envelope.forwarding, confermaRicezione=confirm)
    if envelope.sequence is not None:
        _add(head, "Sequenza", numeroProgressivo=str(envelope.sequence))


def _lists(block: etree._Element, envelope: Envelope) -> None:
    if envelope.receipts:
        within = _add(block, "ListaRiscontri")
        for receipt in envelope.receipts:
            one = _add(within, "Riscontro")
            _add(one, "Identificatore", receipt.id)
            _add(one, "OraRegistrazione", _said(receipt.at), tempo=receipt.timing)
    if envelope.hops:
        within = _add(block, "ListaTrasmissioni")
        for hop in envelope.hops:
            one = _add(within, "Trasmissione")
            _party(one, "Origine", hop.origin)
            _party(one, "Destinazione", hop.target)
            _add(one, "OraRegistrazione", _said(hop.at), tempo=hop.timing)
    if envelope.failures:
        within = _add(block, "ListaEccezioni")
        for each in envelope.failures:
            named = {"codiceEccezione": each.code, "rilevanza": each.severity, "posizione": each.place}
            _add(within, "Eccezione", contestoCodifica=each.context, **named)


def refusal(envelope: Envelope, processing: bool = False) -> bytes:
    """The SOAP fault that goes with an envelope of failures (HTTP status 500)."""
    fault = etree.Element(f"{{{SOAP}}}Fault")
    code, text = ("Server", "EGOV_IT_300 - Errore nel processamento del Messaggio SPCoop")
    if not processing:
        code, text = ("Client", "EGOV_IT_001 - Formato Busta non corretto")
    etree.SubElement(fault, "faultcode").text = f"SOAP_ENV:{code}"
    etree.SubElement(fault, "faultstring").text = text
    return build(envelope, fault)


# --- parsing ----------------------------------------


class Malformed(Unreadable):
    """An envelope that cannot be read, with the failures of the specification that say why."""

    default = "GW-FMT-130"

    def __init__(self, *failures: Failure) -> None:
        shown = ", ".join(f"{each.code} {each.place}".strip() for each in failures)
        super().__init__(detail=shown[:300])
        self.failures = failures


def _bad(code: str, place: str) -> Malformed:
    return Malformed(Failure(code=f"EGOV_IT_{code}", place=place))


def parse(message: bytes, max_bytes: int = xml.MAX_BYTES) -> Message:
    """The envelope and the body. Raises `Malformed`, `Unreadable` or `TooLarge`, nothing else."""
    root = xml.read(message, max_bytes)
    if root.tag != f"{{{SOAP}}}Envelope":
        raise _bad("001", "Envelope")
    children = list(root.iterchildren(tag=etree.Element))
    if [each.tag for each in children] != [f"{{{SOAP}}}Header", f"{{{SOAP}}}Body"]:
        raise _bad("001", "Header")
    blocks = [each for each in children[0].iterchildren(tag=etree.Element) if etree.QName(each).namespace == EGOV]
    if len(blocks) != 1 or blocks[0].tag != _tag("Intestazione"):
        raise _bad("001", "Intestazione")
    if sum(1 for _ in root.iter(_tag("Intestazione"))) != 1:
        raise _bad("001", "Intestazione")  # a second one deeper down: somebody may read that instead
    block = blocks[0]
    if block.get(f"{{{SOAP}}}actor") != ACTOR:
        raise _bad("001", "Intestazione/actor")
    if block.get(f"{{{SOAP}}}mustUnderstand") != "1":
        raise _bad("001", "Intestazione/mustUnderstand")
    envelope = _Reader(block).envelope()
    return Message(envelope, tuple(children[1].iterchildren(tag=etree.Element)))


def present(message: bytes) -> bool:
    """Whether there is an e-Gov header at all: a plain SOAP fault of some proxy has none."""
    header = xml.read(message).find(f"{{{SOAP}}}Header")
    return header is not None and header.find(_tag("Intestazione")) is not None


_BLOCK: Final = ("IntestazioneMessaggio", "ListaRiscontri", "ListaTrasmissioni", "ListaEccezioni")
_HEAD: Final = {  # name -> the code where it is wrong
    "Mittente": "101",
    "Destinatario": "102",
    "ProfiloCollaborazione": "103",
    "Collaborazione": "104",
    "Servizio": "105",
    "Azione": "106",
    "Messaggio": "002",
    "ProfiloTrasmissione": "112",
    "Sequenza": "113",
}
_MESSAGE: Final = {
    "Identificatore": "109",
    "OraRegistrazione": "002",
    "RiferimentoMessaggio": "110",
    "Scadenza": "111",
}


class _Reader:
    """One header block."""

    def __init__(self, block: etree._Element) -> None:
        self.block = block

    def envelope(self) -> Envelope:
        parts = self._parts(self.block, dict.fromkeys(_BLOCK, "002"), ("IntestazioneMessaggio",))
        head = self._parts(parts["IntestazioneMessaggio"], _HEAD, ("Mittente", "Destinatario", "Servizio", "Messaggio"))
        message = self._parts(head["Messaggio"], _MESSAGE, ("Identificatore", "OraRegistrazione"), "Messaggio/")
        at, timing = self._time(message["OraRegistrazione"], "002", "Messaggio/OraRegistrazione")
        profile, forwarding = head.get("ProfiloCollaborazione"), head.get("ProfiloTrasmissione")
        expires, sequence = message.get("Scadenza"), head.get("Sequenza")
        return Envelope(
            sender=self._party(head["Mittente"], "101", "Mittente"),
            receiver=self._party(head["Destinatario"], "102", "Destinatario"),
            profile=None if profile is None else self._one_of(_text(profile), PROFILES, "103", "ProfiloCollaborazione"),
            correlated="" if profile is None else profile.get("servizioCorrelato", ""),
            correlated_kind="" if profile is None else profile.get("tipo", ""),
            collaboration=self._told(head.get("Collaborazione"), "104", "Collaborazione"),
            service=self._told(head["Servizio"], "105", "Servizio"),
            service_kind=self._needed(head["Servizio"].get("tipo"), "105", "Servizio/tipo"),
            action=self._told(head.get("Azione"), "106", "Azione"),
            id=self._told(message["Identificatore"], "109", "Messaggio/Identificatore"),
            recorded_at=at,
            timing=timing,
            reference=self._told(message.get("RiferimentoMessaggio"), "110", "Messaggio/RiferimentoMessaggio"),
            expires_at=None if expires is None else self._instant(_text(expires), "111", "Messaggio/Scadenza"),
            forwarding=None if forwarding is None else self._forwarding(forwarding),
            confirm=forwarding is not None and self._confirm(forwarding),
            sequence=None if sequence is None else self._number(sequence),
            receipts=tuple(self._receipts(parts.get("ListaRiscontri"))),
            hops=tuple(self._hops(parts.get("ListaTrasmissioni"))),
            failures=tuple(self._failures(parts.get("ListaEccezioni"))),
        )

    def _parts(
        self, parent: etree._Element, known: dict[str, str], needed: Sequence[str], at: str = ""
    ) -> dict[str, etree._Element]:
        """The children by name: each once, none unknown, in the order of the specification."""
        found: dict[str, etree._Element] = {}
        order = list(known)
        for child in parent.iterchildren(tag=etree.Element):
            name = etree.QName(child).localname
            if etree.QName(child).namespace != EGOV or name not in known:
                raise _bad("002", at + name[:60])
            if name in found or any(order.index(each) > order.index(name) for each in found):
                raise _bad(known[name], at + name)
            found[name] = child
        for name in needed:
            if name not in found:
                raise _bad(known[name], at + name)
        return found

    def _told(self, element: etree._Element | None, code: str, place: str) -> str:
        return "" if element is None else self._needed(_text(element), code, place)

    def _needed(self, value: str | None, code: str, place: str) -> str:
        if not value or len(value) > 300 or not value.isprintable() or value != value.strip():
            raise _bad(code, place)
        return value

    def _one_of(self, value: str, known: Sequence[_Word], code: str, place: str) -> _Word:
        if value not in known:
            raise _bad(code, place)
        return cast("_Word", value)

    def _party(self, element: etree._Element, code: str, place: str) -> Party:
        named = list(element.iterchildren(tag=etree.Element))
        if [each.tag for each in named] != [_tag("IdentificativoParte")]:
            raise _bad(code, f"{place}/IdentificativoParte")
        one = named[0]
        return Party(
            name=self._told(one, code, f"{place}/IdentificativoParte"),
            kind=self._needed(one.get("tipo"), code, f"{place}/IdentificativoParte/tipo"),
            address=one.get("indirizzoTelematico", ""),
        )

    def _instant(self, value: str, code: str, place: str) -> datetime:
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            raise _bad(code, place) from None
        try:
            return (found if found.tzinfo else found.replace(tzinfo=ROME)).astimezone(UTC)
        except OverflowError:
            raise _bad(code, place) from None

    def _time(self, element: etree._Element, code: str, place: str) -> tuple[datetime, Timing]:
        timing = self._one_of(element.get("tempo", ""), _TIMINGS, code, f"{place}/tempo")
        return self._instant(_text(element), code, place), timing

    def _forwarding(self, element: etree._Element) -> Forwarding:
        return self._one_of(element.get("inoltro", ""), _FORWARDINGS, "112", "ProfiloTrasmissione/inoltro")

    def _confirm(self, element: etree._Element) -> bool:
        value = element.get("confermaRicezione", "false")
        return self._one_of(value, ("true", "false"), "112", "ProfiloTrasmissione/confermaRicezione") == "true"

    def _number(self, element: etree._Element) -> int:
        value = element.get("numeroProgressivo", "")
        if not re.fullmatch(r"[0-9]{1,9}", value):
            raise _bad("113", "Sequenza/numeroProgressivo")
        return int(value)

    def _items(self, block: etree._Element | None, name: str, place: str) -> Sequence[etree._Element]:
        if block is None:
            return ()
        found = list(block.iterchildren(tag=etree.Element))
        if not found or len(found) > MAX_LIST or any(each.tag != _tag(name) for each in found):
            raise _bad("002", place)
        return found

    def _receipts(self, block: etree._Element | None) -> Iterator[Receipt]:
        place = "ListaRiscontri/Riscontro"
        for each in self._items(block, "Riscontro", "ListaRiscontri"):
            parts = self._parts(each, dict.fromkeys(_RECEIPT, "002"), _RECEIPT, f"{place}/")
            at, timing = self._time(parts["OraRegistrazione"], "002", f"{place}/OraRegistrazione")
            yield Receipt(id=self._told(parts["Identificatore"], "002", place), at=at, timing=timing)

    def _hops(self, block: etree._Element | None) -> Iterator[Hop]:
        place = "ListaTrasmissioni/Trasmissione"
        for each in self._items(block, "Trasmissione", "ListaTrasmissioni"):
            parts = self._parts(each, dict.fromkeys(_HOP, "002"), _HOP, f"{place}/")
            origin = self._party(parts["Origine"], "002", f"{place}/Origine")
            target = self._party(parts["Destinazione"], "002", f"{place}/Destinazione")
            at, timing = self._time(parts["OraRegistrazione"], "002", f"{place}/OraRegistrazione")
            yield Hop(origin=origin, target=target, at=at, timing=timing)

    def _failures(self, block: etree._Element | None) -> Iterator[Failure]:
        place = "ListaEccezioni/Eccezione"
        for each in self._items(block, "Eccezione", "ListaEccezioni"):
            code = each.get("codiceEccezione", "")
            if not re.fullmatch(r"EGOV_IT_[0-9]{3}", code):
                raise _bad("002", f"{place}/codiceEccezione")
            severity = self._one_of(each.get("rilevanza", ""), _SEVERITIES, "002", f"{place}/rilevanza")
            context = each.get("contestoCodifica", "")[:100]
            yield Failure(code=code, severity=severity, place=each.get("posizione", "")[:200], context=context)


_TIMINGS: Final[tuple[Timing, ...]] = ("EGOV_IT_SPC", "EGOV_IT_Locale")
_FORWARDINGS: Final[tuple[Forwarding, ...]] = ("EGOV_IT_ALPIUUNAVOLTA", "EGOV_IT_PIUDIUNAVOLTA")
_SEVERITIES: Final[tuple[Severity, ...]] = ("GRAVE", "LIEVE", "INFO")
_RECEIPT: Final = ("Identificatore", "OraRegistrazione")
_HOP: Final = ("Origine", "Destinazione", "OraRegistrazione")


def _text(element: etree._Element) -> str:
    """The text of an element that has nothing else in it; empty otherwise."""
    return "" if len(element) else (element.text or "").strip()


# --- what is wrong with an envelope that can be read ----------------------------------------


def faults(envelope: Envelope, now: datetime) -> Iterator[Failure]:
    """What the receiver of an envelope has to refuse: identifiers, references, times, what its profile wants."""
    found = IDENTIFIER.fullmatch(envelope.id)
    if found is None or found["office"] != envelope.sender.name:
        yield Failure(code="EGOV_IT_109", place="Messaggio/Identificatore")
    if envelope.reference and not IDENTIFIER.fullmatch(envelope.reference):
        yield Failure(code="EGOV_IT_110", place="Messaggio/RiferimentoMessaggio")
    if envelope.expires_at is not None and envelope.expires_at <= now:
        yield Failure(code="EGOV_IT_301", place="Messaggio/Scadenza", context=PROCESSING_FAULT)
    if envelope.profile in ASYNCHRONOUS and not envelope.collaboration:
        yield Failure(code="EGOV_IT_104", place="Collaborazione")


def answering(request: Envelope, id: str, now: datetime) -> Envelope:
    """The envelope that answers a request: parties exchanged, its identifier as reference."""
    return msgspec.structs.replace(
        request,
        sender=request.receiver,
        receiver=request.sender,
        id=id,
        recorded_at=now,
        reference=request.id,
        expires_at=None,
        sequence=None,
        receipts=(),
        hops=(Hop(origin=request.receiver, target=request.sender, at=now, timing=request.timing),),
        failures=(),
    )
