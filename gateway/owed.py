"""What the ledger owes, document by document: the questions behind `export`, `reconcile`, `recall` and `conform`.

Handlers of the administration socket (`operate.py`): each yields plain JSON lines.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import msgspec

from gateway.audit import events
from gateway.clock import Clock
from gateway.desk.admin import Handler
from gateway.errors import GatewayError
from gateway.formats import json
from gateway.kept import KeptAudit
from gateway.message import Document, Exchange, Json, Step
from gateway.settings import Settings
from gateway.store import Ledger

PAGE: Final = 500
AUDIT_PAGE: Final = 1000
GENESIS: Final = "0" * 64  # before the first event of a writer


def _plain(value: Any) -> Any:
    """A value of message.py as JSON; bytes in base64."""
    return json.read(json.write(msgspec.to_builtins(value, str_keys=True)))


def _whole(document: Document) -> Json:
    return {
        "id": document.id,
        "case": document.case,
        "version": document.version,
        "made_at": document.made_at.isoformat(),
        "digest": document.digest,
        "body": document.body.decode("utf-8"),
    }


class Owed:
    """The handlers."""

    def __init__(self, ledger: Ledger, settings: Settings, clock: Clock) -> None:
        self._ledger, self._settings, self._clock = ledger, settings, clock

    async def _exchanges(self, programme: str, destination: str) -> AsyncIterator[Exchange]:
        after = 0
        while found := await self._ledger.exchanges(None, destination, programme, PAGE, after):
            for each in found:
                yield each
            after = found[-1].position

    async def owed(self, arguments: Mapping[str, Any]) -> AsyncIterator[Json]:
        """Every case that a destination is or was owed, with its last document and the last that it took.

        `bodies` false leaves the documents' bodies out.
        """
        programme, destination = str(arguments["programme"]), str(arguments["destination"])
        last: dict[str, Exchange] = {}
        taken: dict[str, Exchange] = {}
        async for each in self._exchanges(programme, destination):
            if each.state != "superseded":
                last[each.case] = each
            if each.state == "delivered":
                taken[each.case] = each
        for case, exchange in last.items():
            document = await self._ledger.document(exchange.document)
            if document is None:
                continue
            line = _whole(document)
            if not arguments.get("bodies", True):
                line.pop("body")
            took = taken.get(case)
            yield {
                "case": case,
                "sender": exchange.sender,
                "state": exchange.state,
                "document": line,
                "taken": await self._taken(took) if took else None,
            }

    async def made_of(self, arguments: Mapping[str, Any]) -> AsyncIterator[Json]:
        """Every case of a sender that anybody is or was owed, with its last document and what contributed to it."""
        programme, sender = str(arguments["programme"]), str(arguments["sender"])
        seen: set[str] = set()
        after = 0
        while found := await self._ledger.exchanges(programme=programme, limit=PAGE, after=after):
            seen |= {each.case for each in found if each.sender == sender}
            after = found[-1].position
        for id in sorted(seen):
            case, documents = await self._ledger.case(id), await self._ledger.documents(id)
            if case is not None and documents:
                told = _whole(documents[-1])
                yield {"case": _plain(case), "document": told, "submissions": list(documents[-1].submissions)}

    async def _taken(self, exchange: Exchange) -> Json | None:
        document = await self._ledger.document(exchange.document)
        receipts = await self._ledger.receipts(exchange.destination, (exchange.case, exchange.subject))
        if document is None:
            return None
        return {"document": document.id, "version": document.version, "digest": document.digest, "receipts": receipts}

    # --- the whole file ----------------------------------------

    async def file_of(self, arguments: Mapping[str, Any]) -> AsyncIterator[Json]:
        """Everything about one case, or every case of one subject: {"name": path in the archive, "data": base64}.

        `case` or `submission` or `subject` (a keyed id, or `Patient/…`) says whose.
        """
        cases = await self._cases(arguments)
        if not cases:
            raise GatewayError("GW-DESK-002", what="case, submission, subject", id=str(sorted(arguments.values())))
        entities = {f"case/{case}" for case in cases}
        now = self._clock.now()
        event = events.operator_acted("operator", "recall", tuple(sorted(entities)), now, str(arguments["reason"]))
        await self._ledger.commit(Step(name="recall", at=now, audit=(event,)))
        submissions: dict[str, None] = {}
        for case in cases:
            async for line in self._case(case, entities, submissions):
                yield line
        for id in submissions:
            async for line in self._submission(id, entities):
                yield line
        trail = [event async for event in self._events(entities)]
        yield _file("audit/events.json", json.write(trail))

    async def _cases(self, arguments: Mapping[str, Any]) -> list[str]:
        if arguments.get("case"):
            case = await self._ledger.case(str(arguments["case"]))
            return [case.id] if case else []
        if arguments.get("submission"):
            items = await self._ledger.items(str(arguments["submission"]))
            return list(dict.fromkeys(item.case for item in items if item.case))
        subject, programme = str(arguments.get("subject", "")), arguments.get("programme")
        found = await self._ledger.cases_of(subject.removeprefix("Patient/"))
        found = [*found, *await self._ledger.cases_of(f"Patient/{subject.removeprefix('Patient/')}")]
        return [each.id for each in found if programme in (None, each.programme)]

    async def _case(self, case: str, entities: set[str], submissions: dict[str, None]) -> AsyncIterator[Json]:
        record = await self._ledger.case(case)
        yield _file(f"cases/{case}/case.json", json.write(_plain(record)))
        for item in await self._ledger.case_items(case):
            submissions[item.submission] = None
            entities.add(f"item/{item.id}")
        for document in await self._ledger.documents(case):
            entities.add(f"document/{document.id}")
            submissions |= dict.fromkeys(document.submissions)
            place = f"cases/{case}/documents/{document.version}-{document.id}"
            yield _file(f"{place}.json", document.body)
            yield _file(f"{place}.jws", document.evidence.jws.encode())
            yield _file(f"{place}.evidence.json", json.write(_plain(document.evidence)))
        for exchange in await self._ledger.exchanges_of_case(case):
            entities.add(f"exchange/{exchange.id}")
            async for line in self._exchange(exchange):
                yield line

    async def _exchange(self, exchange: Exchange) -> AsyncIterator[Json]:
        place = f"cases/{exchange.case}/exchanges/{exchange.destination}/{exchange.id}"
        receipts = await self._ledger.receipts(exchange.destination, (exchange.case, exchange.subject))
        yield _file(f"{place}/exchange.json", json.write({**_plain(exchange), "receipts": dict(receipts)}))
        for attempt in await self._ledger.attempts(exchange.id):
            told = msgspec.structs.replace(attempt, request=b"", reply=None)
            yield _file(f"{place}/{attempt.number}.json", json.write(_plain(told)))
            yield _file(f"{place}/{attempt.number}.request", attempt.request)
            if attempt.reply is not None:
                yield _file(f"{place}/{attempt.number}.reply", attempt.reply)

    async def _submission(self, id: str, entities: set[str]) -> AsyncIterator[Json]:
        submission = await self._ledger.submission(id)
        if submission is None:
            return
        entities.add(f"submission/{id}")
        place = f"submissions/{id}"
        yield _file(f"{place}/body", submission.body)
        told = msgspec.structs.replace(submission, body=b"")
        yield _file(f"{place}/submission.json", json.write(_plain(told)))
        items = [_plain(item) for item in await self._ledger.items(id)]
        yield _file(f"{place}/items.json", json.write(items))
        yield _file(f"{place}/journal.json", json.write([_plain(each) for each in await self._ledger.journal(id)]))
        for answer in await self._ledger.answers(id):
            yield _file(f"{place}/answers/{answer.id}", answer.body)

    async def _events(self, entities: set[str]) -> AsyncIterator[Json]:
        since, limit = 0, AUDIT_PAGE
        while found := await self._ledger.audit_events(since, limit):
            if len(found) == limit and found[0].feed == found[-1].feed:
                limit *= 2  # one commit with more events than a page: a feed number is never torn apart
                continue
            whole = found if len(found) < limit else [each for each in found if each.feed < found[-1].feed]
            for each in whole:
                if entities & set(each.record.entities):
                    yield await self._event(each)
            since = whole[-1].feed

    async def _event(self, event: KeptAudit) -> Json:
        """With its place in the chain: `hash` is the SHA-256 of `previous` and `digest`, that of `record`."""
        before = await self._ledger.audit_event(f"{event.writer}-{event.number - 1}")
        return {
            "id": event.id,
            "digest": event.digest,
            "previous": before.hash if before else GENESIS,
            "hash": event.hash,
            "record": json.write(event.record).decode(),
        }


def _file(name: str, body: bytes) -> Json:
    return {"name": name, "data": base64.b64encode(body).decode()}


def handlers(ledger: Ledger, settings: Settings, clock: Clock) -> Mapping[str, Handler]:
    """By name."""
    made = Owed(ledger, settings, clock)
    return {"owed": made.owed, "made_of": made.made_of, "file_of": made.file_of}
