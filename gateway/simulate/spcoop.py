"""What a SPCoop domain gateway checks of an e-Gov envelope, and what it answers: by XPath, apart from formats/egov.

Exceptions have the codes of the specification. A message that came before (same Identificatore, at most once) is
answered as it was and not taken again. A symmetric message's answer is worded by `answer`, to be brought by a tester.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from xml.sax.saxutils import escape
from zoneinfo import ZoneInfo

from lxml import etree

from gateway.errors import GatewayError
from gateway.formats import xml
from gateway.simulate.arrivals import Arrival
from gateway.simulate.faults import Answer, Order
from gateway.simulate.server import Judged

MEDIA: Final = "text/xml; charset=utf-8"
NAMES: Final = {
    "s": "http://schemas.xmlsoap.org/soap/envelope/",
    "e": "http://www.cnipa.it/schemas/2003/eGovIT/Busta1_0/",
}
FAILURE: Final = "http://www.cnipa.it/schemas/2003/eGovIT/Exception1_0/"
ACTOR: Final = "http://www.cnipa.it/eGov_it/portadominio"
ANSWER: Final = "urn:gateway:simulate:cart"
ROME: Final = ZoneInfo("Europe/Rome")
PROFILES: Final = {
    "EGOV_IT_MessaggioSingoloOneWay": "one-way",
    "EGOV_IT_ServizioSincrono": "synchronous",
    "EGOV_IT_ServizioAsincronoSimmetrico": "symmetric",
    "EGOV_IT_ServizioAsincronoAsimmetrico": "asymmetric",
}
_ID: Final = re.compile(r"[^_\s]+_[^_\s]+_[0-9]{7}_[0-9]{4}-[0-9]{2}-[0-9]{2}_[0-9]{2}:[0-9]{2}")


class Read(NamedTuple):
    """What an envelope says, as far as it can be read."""

    id: str
    sender: str
    receiver: str
    profile: str
    service: str
    service_kind: str
    action: str
    reference: str
    collaboration: str
    confirm: bool
    once: bool


class Spcoop:
    """One domain gateway: which services it has, who it is, what came."""

    def __init__(self, services: tuple[str, ...] = (), office: str = "") -> None:
        self._services, self._office = services, office
        self.messages: dict[str, int] = {}
        self.asked: dict[str, int] = {}
        self._answers: dict[str, Answer] = {}
        self._serial = 0

    def judge(self, arrival: Arrival) -> Judged:
        """The answer of the envelope's profile, or a fault with a list of exceptions."""
        try:
            root = xml.read(arrival.body)
        except GatewayError:
            body = self._fault(None, ["EGOV_IT_001 Envelope"], arrival.time)
            return Judged(body, {"result": "refused", "problems": ["not XML"]})
        read = _read(root)
        found = list(self._problems(root, read, arrival.time))
        if found:
            return Judged(self._fault(read, found, arrival.time), {"result": "refused", "problems": found})
        if read.id in self.messages and read.once:
            return Judged(self._answers[read.id], {"result": "repeated", "message": read.id})
        answer = self._answer(read, arrival.time)
        keep: list[tuple[dict[Any, Any], Any, Any]] = [(self._answers, read.id, answer)]
        if not read.reference:  # a question about another message is none itself
            keep.append((self.messages, read.id, arrival.number))
        return Judged(answer, {"result": "created", "message": read.id, "profile": PROFILES[read.profile]}, keep)

    def _problems(self, root: etree._Element, read: Read, now: datetime) -> Iterator[str]:
        blocks = root.xpath("/s:Envelope/s:Header/e:Intestazione", namespaces=NAMES)
        if not isinstance(blocks, list) or len(blocks) != 1:
            yield "EGOV_IT_001 Intestazione"
            return
        for where, code, wanted in (
            ("@s:actor", "EGOV_IT_001 Intestazione/actor", ACTOR),
            ("@s:mustUnderstand", "EGOV_IT_001 Intestazione/mustUnderstand", "1"),
        ):
            if _text(blocks[0], where) != wanted:
                yield code
        if not read.sender or not read.id.startswith(f"{read.sender}_"):
            yield "EGOV_IT_101 Mittente/IdentificativoParte"
        if not read.receiver or (self._office and read.receiver != self._office):
            yield "EGOV_IT_102 Destinatario/IdentificativoParte"
        if read.profile not in PROFILES:
            yield "EGOV_IT_103 ProfiloCollaborazione"
        if not read.service or (self._services and read.service not in self._services):
            yield "EGOV_IT_105 Servizio"
        if not _ID.fullmatch(read.id):
            yield "EGOV_IT_109 Messaggio/Identificatore"
        if read.reference and read.reference not in self.messages:
            yield "EGOV_IT_110 Messaggio/RiferimentoMessaggio"
        expires = _text(blocks[0], "e:IntestazioneMessaggio/e:Messaggio/e:Scadenza")
        if expires and datetime.fromisoformat(expires).replace(tzinfo=ROME) + timedelta(seconds=5) < now:
            yield "EGOV_IT_301 Messaggio/Scadenza"
        body = root.xpath("/s:Envelope/s:Body/*", namespaces=NAMES)
        if not isinstance(body, list) or len(body) != 1:
            yield "EGOV_IT_003 Body"

    # --- answers -----------------------------------------------------------------------

    def _answer(self, read: Read, now: datetime) -> Answer:
        kind = PROFILES[read.profile]
        if kind == "one-way":
            receipt = self._envelope(read, now, "", receipt=read.id) if read.confirm else b""
            return Answer(200, MEDIA, receipt) if receipt else Answer(202, MEDIA, b"")
        if kind == "asymmetric" and read.reference:
            self.asked[read.reference] = self.asked.get(read.reference, 0) + 1
            outcome = "OK" if self.asked[read.reference] > 1 else "IN_CORSO"
            return Answer(200, MEDIA, self._envelope(read, now, result(outcome)))
        if kind == "synchronous":
            return Answer(200, MEDIA, self._envelope(read, now, result("OK")))
        return Answer(
            200, MEDIA, self._envelope(read, now, f'<p:presaInCarico xmlns:p="{ANSWER}">OK</p:presaInCarico>')
        )

    def answer(self, request: bytes, now: datetime, outcome: str = "OK", text: str = "") -> bytes:
        """The request that brings the answer to a symmetric message back to who sent it."""
        return self._envelope(_read(xml.read(request)), now, result(outcome, text), own=True)

    def _identifier(self, office: str, now: datetime) -> str:
        self._serial += 1
        return f"{office}_{office}SPCoopIT_{self._serial:07d}_{now.astimezone(ROME):%Y-%m-%d_%H:%M}"

    def _envelope(
        self,
        read: Read,
        now: datetime,
        body: str,
        receipt: str = "",
        exceptions: tuple[str, ...] = (),
        own: bool = False,
    ) -> bytes:
        """An envelope from the receiver of what was read to its sender."""
        office, at = read.receiver or self._office or "CART", f"{now.astimezone(ROME):%Y-%m-%dT%H:%M:%S.000}"
        parts = [
            f"<e:Mittente>{_party(office)}</e:Mittente>",
            f"<e:Destinatario>{_party(read.sender or '?')}</e:Destinatario>",
            f"<e:ProfiloCollaborazione>{read.profile}</e:ProfiloCollaborazione>" if read.profile in PROFILES else "",
            f"<e:Collaborazione>{escape(read.collaboration)}</e:Collaborazione>" if read.collaboration else "",
            f'<e:Servizio tipo="{escape(read.service_kind or "SPC")}">{escape(read.service or "?")}</e:Servizio>',
            f"<e:Azione>{escape(read.action)}</e:Azione>" if read.action else "",
            f"<e:Messaggio><e:Identificatore>{escape(self._identifier(office, now))}</e:Identificatore>",
            f'<e:OraRegistrazione tempo="EGOV_IT_Locale">{at}</e:OraRegistrazione>',
            f"<e:RiferimentoMessaggio>{escape(read.id)}</e:RiferimentoMessaggio>" if read.id else "",
            "</e:Messaggio>",
            '<e:ProfiloTrasmissione confermaRicezione="false" inoltro="EGOV_IT_ALPIUUNAVOLTA"/>' if own else "",
        ]
        lists = _receipts(receipt, at) + _exceptions(exceptions)
        return (
            f'<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="{NAMES["s"]}" xmlns:e="{NAMES["e"]}">'
            f'<s:Header><e:Intestazione s:actor="{ACTOR}" s:mustUnderstand="1"><e:IntestazioneMessaggio>'
            f"{''.join(parts)}</e:IntestazioneMessaggio>{lists}</e:Intestazione></s:Header><s:Body>{body}</s:Body></s:Envelope>"
        ).encode()

    def _fault(self, read: Read | None, found: list[str], now: datetime) -> Answer:
        processing = all(each.startswith("EGOV_IT_3") for each in found)
        code, text = ("Server", "EGOV_IT_300 - Errore nel processamento del Messaggio SPCoop")
        if not processing:
            code, text = ("Client", "EGOV_IT_001 - Formato Busta non corretto")
        body = f"<s:Fault><faultcode>s:{code}</faultcode><faultstring>{text}</faultstring></s:Fault>"
        nobody = Read("", "", "", "", "", "", "", "", "", confirm=False, once=True)
        return Answer(500, MEDIA, self._envelope(read or nobody, now, body, exceptions=tuple(found)))

    def lie(self, order: Order, arrival: Arrival, true: Judged) -> Answer:
        """An exception by its code, an application's error, another message's answer, a fault in a 200."""
        read = _read(xml.read(arrival.body))
        if order.name == "category":
            code = f"{order.value or 'EGOV_IT_300'} SOAPBody"
            return self._fault(read, [code], arrival.time)
        if order.name == "wrong-id":
            other = read._replace(id="ALTRO_AltroSPCoopIT_0000001_2026-01-01_00:00")
            return Answer(200, MEDIA, self._envelope(other, arrival.time, result("OK")))
        if order.name == "unknown-code":
            return Answer(200, MEDIA, self._envelope(read, arrival.time, result("FORSE")))
        wrong = (
            f'<x:MessaggioDiErroreApplicativo xmlns:x="{FAILURE}"><x:OraRegistrazione>{arrival.time.isoformat()}'
            f"</x:OraRegistrazione><x:IdentificativoPorta>CART</x:IdentificativoPorta><x:Eccezione>"
            f'<x:EccezioneProcessamento codiceEccezione="E1" descrizioneEccezione="su richiesta"/></x:Eccezione>'
            f"</x:MessaggioDiErroreApplicativo>"
        )
        return Answer(200, MEDIA, self._envelope(read, arrival.time, wrong))


def result(outcome: str, text: str = "") -> str:
    """The body of an application's answer."""
    said = f"<p:descrizione>{escape(text)}</p:descrizione>" if text else ""
    return f'<p:risposta xmlns:p="{ANSWER}"><p:esito>{outcome}</p:esito>{said}</p:risposta>'


def _party(name: str) -> str:
    return f'<e:IdentificativoParte tipo="SPC">{escape(name)}</e:IdentificativoParte>'


def _receipts(id: str, at: str) -> str:
    if not id:
        return ""
    time = f'<e:OraRegistrazione tempo="EGOV_IT_Locale">{at}</e:OraRegistrazione>'
    one = f"<e:Riscontro><e:Identificatore>{escape(id)}</e:Identificatore>{time}</e:Riscontro>"
    return f"<e:ListaRiscontri>{one}</e:ListaRiscontri>"


def _exceptions(found: tuple[str, ...]) -> str:
    made = ""
    for each in found:
        code, _, place = each.partition(" ")
        context = "ErroreProcessamento" if code.startswith("EGOV_IT_3") else "ErroreIntestazione"
        made += (
            f'<e:Eccezione contestoCodifica="{context}MessaggioSPCoop" codiceEccezione="{escape(code)}" '
            f'rilevanza="GRAVE" posizione="{escape(place)}"/>'
        )
    return f"<e:ListaEccezioni>{made}</e:ListaEccezioni>" if made else ""


def _text(element: Any, path: str) -> str:
    found = element.xpath(path, namespaces=NAMES)
    first = found[0] if isinstance(found, list) and found else ""
    text = first.text if isinstance(first, etree._Element) else first
    return str(text or "").strip()


def _read(root: etree._Element) -> Read:
    at = "/s:Envelope/s:Header/e:Intestazione/e:IntestazioneMessaggio/"
    names = {
        "id": "e:Messaggio/e:Identificatore",
        "sender": "e:Mittente/e:IdentificativoParte",
        "receiver": "e:Destinatario/e:IdentificativoParte",
        "profile": "e:ProfiloCollaborazione",
        "service": "e:Servizio",
        "service_kind": "e:Servizio/@tipo",
        "action": "e:Azione",
        "reference": "e:Messaggio/e:RiferimentoMessaggio",
        "collaboration": "e:Collaborazione",
    }
    told = {name: _text(root, at + path) for name, path in names.items()}
    confirm = _text(root, f"{at}e:ProfiloTrasmissione/@confermaRicezione") == "true"
    once = _text(root, f"{at}e:ProfiloTrasmissione/@inoltro") != "EGOV_IT_PIUDIUNAVOLTA"
    return Read(**told, confirm=confirm, once=once)
