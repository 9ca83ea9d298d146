"""SEPAS behind the ministry's gateway (second generation): REST operations with a bearer token and a package id.

`form` "secure" (default): the national XML message, sealed by the request signer (`secure = "sealed"`), inside JSON
with IPClient, IPServer, SystemID, LocationID, ContentType, Data, Key and IV. `form` "plain": the national JSON of
`body` as it is, a batch under `data[]`, for the laboratory results. One operation is one destination; they share
their account's token (`bearer.py`).

Options: `operation` (SavePatientBill …), `path` (below `url`; {operation} is filled in), `pid` (24 hexadecimal
characters), `client_ip`, `server_ip`, `location_id`, `content_type` (the message's root name), those of the message
(`sepas_message.py`), of the token (`bearer.py`) and of sealing; `needed_receipts` ("PatientUID CompositionUID"),
`receipt_pattern`, `after_deactivate`, `statuses`, `errors`, `receipt.NAME` (plain form: JSON paths).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from lxml import etree

from gateway.deliver import bearer, http_message, judge, paths
from gateway.deliver.sepas_message import UIDS, Messages, sent_uids, withdraws
from gateway.deliver.sepas_reply import Answer, ErrorTable, accepted, nothing_to_withdraw, rest_answer
from gateway.deliver.wires import Parts
from gateway.errors import GatewayError, Misconfigured, PeerFailed
from gateway.formats import json, xml
from gateway.message import Attempt, Document, Exchange, Outcome
from gateway.ports import Reply, Wire

PROTOCOL: Final = "sepas-ditas"
_PATHS: Final = {
    "secure": "/api/client/apim/v1/sepas/gwSepasHospital/{operation}Secure",
    "plain": "/api/client/apim/v1/sepas/gwlaboratoryresult/{operation}",
}
_PID: Final = re.compile(r"[0-9A-Fa-f]{24}")
_SEALED: Final = (("data", "Data"), ("key", "Key"), ("iv", "IV"))
_SENT_UIDS: Final = "X-Gateway-Uids"
_WITHDRAWS: Final = "X-Gateway-Withdraws"


def make(parts: Parts) -> Wire:
    """The wire of one operation."""
    return SepasDitas(parts)


class SepasDitas:
    """One operation of the gateway."""

    subject_receipts: frozenset[str] = frozenset({"PatientUID"})
    unique_receipts: frozenset[str] = frozenset({"CompositionUID"})

    def __init__(self, parts: Parts) -> None:
        self._parts, option = parts, parts.option
        form, operation = option("form", "secure"), option("operation")
        self._plain = form == "plain"
        if form not in _PATHS or not operation.isalnum():
            raise Misconfigured(detail=f"destination {parts.destination.id}: options.form or options.operation")
        if not _PID.fullmatch(option("pid")):
            raise Misconfigured(detail=f"destination {parts.destination.id}: options.pid has 24 hexadecimal characters")
        if not self._plain and parts.request_signer is None:
            raise Misconfigured(detail=f'destination {parts.destination.id}: options.secure is "sealed" for this form')
        self._url = parts.destination.url.rstrip("/") + option("path", _PATHS[form]).replace("{operation}", operation)
        self._messages = Messages(parts)
        tokens = bearer.tokens_for(
            parts.destination.options, parts.destination.peer, parts.network, f"destination {parts.destination.id}"
        )
        if tokens is None:
            raise Misconfigured(detail=f"destination {parts.destination.id}: options.token_url is needed")
        self._tokens = tokens
        self._statuses, self._errors = judge.meanings(option("statuses")), ErrorTable.load(option("errors"))
        self._pattern = re.compile(option("receipt_pattern", r"[^\s:]+::[^\s:]+"))
        self._needed = tuple(option("needed_receipts", "" if self._plain else " ".join(UIDS)).split())
        self._receipts = paths.compile_all(parts.options("receipt."))

    # --- out ----------------------------------------

    def render(
        self, document: Document, exchange: Exchange, receipts: Mapping[str, str], number: int, now: datetime
    ) -> tuple[bytes, str | None]:
        """The request of this attempt without its token."""
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "pid": self._parts.option("pid"),
            self._parts.option("idempotency_header", "Idempotency-Key"): exchange.id,
        }
        if self._plain:
            body = self._batch(document, exchange, receipts)
            return http_message.compose("POST", self._url, headers, body), exchange.id
        ready = self._messages.make(document, exchange, receipts, now)
        if ready.idle:
            return http_message.idle(self._url), exchange.id
        headers |= _remembered(ready.root)
        return http_message.compose("POST", self._url, headers, self._sealed(ready.root, headers, now)), exchange.id

    def _batch(self, document: Document, exchange: Exchange, receipts: Mapping[str, str]) -> bytes:
        destination = self._parts.destination
        values = {"system_id": destination.system_id, "exchange": exchange.id, **self._parts.options("value.")}
        body = self._parts.national()(json.reread(document.body), destination.body, {**values, **receipts})
        made = json.read(body)
        if not isinstance(made, dict) or not isinstance(made.get("data"), list) or not made["data"]:
            raise Misconfigured(detail=f"destination {destination.id}: the mapping makes no data[]")
        return body

    def _sealed(self, root: etree._Element, headers: Mapping[str, str], now: datetime) -> bytes:
        signer, option = self._parts.request_signer, self._parts.option
        assert signer is not None, "looked at when the wire was made"
        _, body = signer.secure("POST", self._url, headers, xml.write(root), now)
        sealed = json.read(body)
        names = {ours: option(f"sealed_{ours}", ours) for ours, _ in _SEALED}
        return json.write(
            {
                "IPClient": option("client_ip"),
                "IPServer": option("server_ip"),
                "SystemID": self._parts.destination.system_id,
                "LocationID": option("location_id", option("facility_id")),
                "ContentType": option("content_type") or etree.QName(root).localname,
                **{theirs: sealed[names[ours]] for ours, theirs in _SEALED},
            }
        )

    async def send(self, attempt: Attempt) -> Outcome:
        """Send the attempt's bytes with a token; without a token nothing leaves."""
        out = http_message.take_apart(attempt.request)
        if out.method == http_message.IDLE:
            return nothing_to_withdraw()
        parts = self._parts
        try:
            token = await self._tokens.get(parts.timeout)
        except (PeerFailed, Misconfigured) as fault:  # a secret that cannot be read: nothing has left either
            return Outcome(state="due", codes=(fault.code,), findings=(fault.finding(),))
        ours = {name: value for name, value in out.headers.items() if not name.startswith("X-Gateway-")}
        headers = {**ours, "Authorization": f"Bearer {token}"}
        network, peer = parts.network, parts.destination.peer
        reply = await network.request(peer, out.method, out.url, headers, out.body, parts.timeout)
        if reply.status == 401 and 401 not in self._statuses:
            self._tokens.drop(token)
            return judge.outcome(reply, "due", judge.CREDENTIALS, attempt.started_at)
        return self.verdict(reply, attempt)

    # --- back ----------------------------------------

    def verdict(self, reply: Reply, attempt: Attempt) -> Outcome:
        """The outcome of one answer to one attempt; pure."""
        try:
            found = json.read(reply.body) if judge.media_type(reply.headers) == "application/json" else None
        except GatewayError:
            found = None
        answers = rest_answer(found)
        meaning = judge.by_status(reply.status, self._statuses)
        if meaning is not None:
            said = bool(answers) and any(each.error for each in answers) and reply.status in (400, 409, 422)
            if said and reply.status not in self._statuses:
                return self._errors.judge(reply, answers[0], attempt.started_at)
            return judge.refused(reply, meaning, attempt.started_at, self._errors.said(answers))
        if not answers:
            return judge.outcome(reply, "unknown", judge.UNREADABLE)
        if any(each.error for each in answers):
            return self._errors.judge_all(reply, answers, attempt.started_at)
        return self._accepted(reply, answers, found, attempt)

    def _accepted(self, reply: Reply, answers: list[Answer], found: Any, attempt: Attempt) -> Outcome:
        out = http_message.take_apart(attempt.request)
        given = dict(answers[0].receipts) if len(answers) == 1 else {}
        given |= paths.take(self._receipts, found)
        sent = dict(zip(UIDS, out.headers.get(_SENT_UIDS, " ").split(" "), strict=True))
        gone = _WITHDRAWS in out.headers and self._parts.option("after_deactivate", "forget") == "forget"
        uids = {name: value for name, value in sent.items() if value}
        return accepted(reply, given, uids, self._pattern, self._needed, gone)

    async def reconcile(self, exchange: Exchange, attempt: Attempt) -> Outcome | None:
        """No question by business identifier is published: it cannot be asked."""
        return None


def _remembered(root: etree._Element) -> dict[str, str]:
    """What the answer is compared with, because the sealed body cannot be read again; never sent."""
    sent = sent_uids(root)
    made = {_SENT_UIDS: " ".join(sent.get(name, "") for name in UIDS)}
    return {**made, _WITHDRAWS: "yes"} if withdraws(root) else made
