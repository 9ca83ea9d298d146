"""The CART stand-in, in the dialects that it is spoken to.

`fhir` (default): a FHIR message endpoint (`$process-message`) that checks the evidence over the exact bytes. `modi`:
the same content as a REST service of AgID's model, refused by problem details (RFC 7807) with `X-CART-id`, and with a
token endpoint (`/token.oauth2`) where vouchers are demanded. `spcoop`: e-Gov envelopes, see `spcoop.py`.

Shape of a FHIR message: a Bundle of type message, first a MessageHeader with id, event and source, then resources
whose references all resolve inside the Bundle, among them at least one ServiceRequest with a subject, or whatever
`focus` names.
"""

from __future__ import annotations

import argparse
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self

from gateway.clock import Clock
from gateway.errors import GatewayError, Misconfigured, Refused
from gateway.formats import json
from gateway.message import Json
from gateway.simulate import certificates
from gateway.simulate.arrivals import Arrival, ArrivalLog
from gateway.simulate.faults import Answer, Faults, Order
from gateway.simulate.modi import Modi
from gateway.simulate.server import Judged, StandIn
from gateway.simulate.spcoop import Spcoop
from gateway.simulate.vouchers import PATH as TOKEN_PATH
from gateway.simulate.vouchers import VoucherDesk

MEDIA: Final = "application/fhir+json"


def answer(status: int, resource: Mapping[str, Any]) -> Answer:
    """A FHIR JSON answer."""
    return Answer(status, MEDIA, json.write(resource))


def outcome(*texts: str) -> Json:
    """An OperationOutcome with errors."""
    return {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": "error", "code": "invalid", "diagnostics": each} for each in texts],
    }


def response(to: str, code: str = "ok", number: int = 0, *extra: Json) -> Json:
    """The answering message."""
    header = {
        "resourceType": "MessageHeader",
        "id": f"answer-{number}",
        "eventUri": "urn:gateway:simulate:answer",
        "source": {"endpoint": "urn:gateway:simulate:cart"},
        "response": {"identifier": to, "code": code},
    }
    entries = [{"fullUrl": f"urn:uuid:{each['resourceType']}", "resource": each} for each in (header, *extra)]
    return {"resourceType": "Bundle", "type": "message", "entry": entries}


class Cart(StandIn):
    """`messages` maps a MessageHeader id to the number of its arrival. `ca` makes the evidence compulsory.

    With an `audience`, ModI tokens for it are compulsory as well.
    """

    name = "cart"

    def __init__(
        self,
        log: ArrivalLog | None = None,
        faults: Faults | None = None,
        clock: Clock | None = None,
        *,
        ca: Path | None = None,
        focus: str = "ServiceRequest",
        audience: str = "",
        dialect: str = "fhir",
        desk: VoucherDesk | None = None,
        spcoop: Spcoop | None = None,
    ) -> None:
        super().__init__(log, faults, clock, ca=ca)
        self._focus = focus
        self._modi = Modi(self.anchors, audience, desk) if audience else None
        self._dialect, self._desk = dialect, desk
        self.spcoop = spcoop or Spcoop()
        self.messages: dict[str, int] = {}

    @classmethod
    def options(cls, parser: argparse.ArgumentParser) -> None:
        """What a message must be about."""
        super().options(parser)
        parser.add_argument("--focus", default="ServiceRequest", help="resource type that must be there")
        parser.add_argument("--modi", default="", metavar="AUDIENCE", help="demand ModI tokens for this audience")
        parser.add_argument("--dialect", choices=("fhir", "modi", "spcoop"), default="fhir")
        parser.add_argument("--office", default="", help="spcoop: the only receiver that there is")
        parser.add_argument("--service", action="append", default=[], help="spcoop: a service that there is")
        parser.add_argument(
            "--client", default="", metavar="ID:KID:CERTIFICATE", help="modi: demand vouchers of this client"
        )

    @classmethod
    def of(cls, options: argparse.Namespace, log: ArrivalLog, faults: Faults) -> Self:
        """The stand-in that the options describe."""
        return cls(
            log,
            faults,
            ca=options.ca,
            focus=options.focus,
            audience=options.modi,
            dialect=options.dialect,
            desk=_desk(options.client, options.modi) if options.client else None,
            spcoop=Spcoop(tuple(options.service), options.office),
        )

    def judge(self, arrival: Arrival) -> Judged:
        """What the dialect answers: a response message, an envelope, or why not."""
        if self._dialect == "spcoop":
            return self.spcoop.judge(arrival)
        if self._desk is not None and arrival.path == TOKEN_PATH:
            return self._desk.judge(arrival)
        return self._service(arrival) if self._dialect == "modi" else self._message(arrival)

    def _service(self, arrival: Arrival) -> Judged:
        """The message as a REST service: what the gateway refuses is a problem, what it takes has its own number."""
        number = (("X-CART-id", str(uuid.uuid5(uuid.NAMESPACE_URL, f"cart:{arrival.number}"))),)
        if self._modi is not None:
            try:
                self._modi.check(arrival)
            except Refused as refused:
                reason = refused.args_.get("detail", "modi")
                problem = _problem(401 if "voucher" in reason or "bearer" in reason else 400, reason, number)
                return Judged(problem, {"result": "refused", "problems": [reason]})
        judged = self._message(arrival, modi=False)
        return Judged(judged.answer._replace(headers=number), judged.verdict, judged.keep)

    def _message(self, arrival: Arrival, modi: bool = True) -> Judged:
        """A response message with code ok, or a fatal error with an OperationOutcome."""
        found, bundle = self._problems(arrival, modi)
        if bundle is None:
            return Judged(answer(400, outcome(*found)), {"result": "refused", "problems": found})
        id = str(_header(bundle).get("id", ""))
        if found:
            refusal = response(id, "fatal-error", arrival.number, outcome(*found))
            return Judged(answer(200, refusal), {"result": "refused", "problems": found})
        verdict = {"result": "repeated" if id in self.messages else "created", "message": id}
        verdict["signature"] = "verified" if self.anchors else "not checked"
        keep: list[tuple[dict[Any, Any], Any, Any]] = [(self.messages, id, self.messages.get(id, arrival.number))]
        return Judged(answer(200, response(id, "ok", arrival.number)), verdict, keep)

    def _problems(self, arrival: Arrival, modi: bool = True) -> tuple[list[str], Json | None]:
        try:
            bundle = json.read(arrival.body)
        except GatewayError:
            return ["the body is not JSON"], None
        if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
            return ["not a Bundle"], None
        found = list(shape(bundle, self._focus))
        if self.anchors and self._dialect == "fhir":
            try:
                token = arrival.header("x-jws-signature")
                certificates.verify_detached(token, arrival.body, self.anchors, arrival.time)
            except Refused as refused:
                found.append(refused.args_.get("detail", "evidence"))
        if self._modi is not None and modi:
            try:
                self._modi.check(arrival)
            except Refused as refused:
                found.append(refused.args_.get("detail", "modi"))
        return found, bundle

    def lie(self, order: Order, arrival: Arrival, true: Judged) -> Answer:
        """Wrong identifier, a response code that R4 does not know, an error inside a 200."""
        if self._dialect == "spcoop":
            return self.spcoop.lie(order, arrival, true)
        if order.name == "wrong-id":
            return answer(200, response("another-message"))
        bundle = self._problems(arrival, modi=False)[1] or {}
        id = str(_header(bundle).get("id", ""))
        if order.name == "unknown-code":
            return answer(200, response(id, "perhaps"))
        if order.name == "category":
            return answer(200, response(id, order.value or "fatal-error", 0, outcome("refused on order")))
        return answer(200, outcome("refused on order"))

    def ask(self, path: str, query: Mapping[str, str]) -> Answer:
        """`GET /Bundle?message=…`: a searchset with what is here."""
        total = 1 if query.get("message", "") in self.messages else 0
        return answer(200, {"resourceType": "Bundle", "type": "searchset", "total": total})


def _problem(status: int, detail: str, headers: tuple[tuple[str, str], ...]) -> Answer:
    """What the gateway in front of the services says (RFC 7807)."""
    name = "TokenAuthenticationFailed" if status == 401 else "InteroperabilityInvalidRequest"
    body = {
        "type": f"https://govway.org/handling-errors/{status}/{name}.html",
        "title": name,
        "status": status,
        "detail": detail,
        "govway_id": headers[0][1],
    }
    return Answer(status, "application/problem+json", json.write(body), headers)


def _desk(client: str, audience: str) -> VoucherDesk:
    """ID:KID:CERTIFICATE, the file as PEM."""
    id, _, rest = client.partition(":")
    kid, _, path = rest.partition(":")
    try:
        return VoucherDesk({id: (kid, certificates.load_ca(Path(path))[0])}, audience)
    except (OSError, ValueError, IndexError):
        raise Misconfigured(detail=f"--client {client}: not ID:KID:CERTIFICATE") from None


def _entries(bundle: Json) -> list[Json]:
    entries = bundle.get("entry")
    return [each for each in entries if isinstance(each, dict)] if isinstance(entries, list) else []


def _header(bundle: Json) -> Json:
    first = _entries(bundle)[:1]
    resource = first[0].get("resource") if first else None
    return resource if isinstance(resource, dict) and resource.get("resourceType") == "MessageHeader" else {}


def shape(bundle: Json, focus: str) -> Iterator[str]:
    """What is wrong with the message's shape, without any value in it."""
    header = _header(bundle)
    if bundle.get("type") != "message" or not header:
        yield "not a message with a MessageHeader first"
        return
    if not header.get("id") or not (header.get("eventCoding") or header.get("eventUri")):
        yield "MessageHeader lacks id or event"
    if not isinstance(header.get("source"), dict) or not header["source"].get("endpoint"):
        yield "MessageHeader lacks source.endpoint"
    entries = _entries(bundle)
    resources = [each.get("resource") for each in entries if isinstance(each.get("resource"), dict)]
    urls = [each.get("fullUrl") for each in entries]
    if len(set(urls)) != len(urls) or None in urls:
        yield "fullUrl is missing or repeated"
    wanted = [each for each in resources if each and each.get("resourceType") == focus]
    if focus and not wanted:
        yield f"no {focus}"
    if any(not each.get("subject") for each in wanted if each):
        yield f"{focus} without subject"
    named = {f"{each['resourceType']}/{each.get('id')}" for each in resources if each and "resourceType" in each}
    for reference in _references(resources):
        if reference not in urls and reference not in named and not reference.startswith(("#", "http")):
            yield "a reference leads nowhere"
            return


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        for each in value.values():
            yield from _references(each)
    elif isinstance(value, list):
        for each in value:
            yield from _references(each)
