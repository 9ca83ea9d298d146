"""What an operator may ask and do: the commands of the administration socket.

Each handler takes the arguments of a command and yields answer lines (plain JSON). Acts go through `store.commit`
like every step, with the operator's reason in the audit event.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from gateway import owed, standing
from gateway.audit import events
from gateway.clock import Clock
from gateway.desk import pauses
from gateway.desk.admin import Handler
from gateway.errors import GatewayError, Misconfigured
from gateway.flow import FINAL, Room, Thing, waiting
from gateway.formats import json
from gateway.kept import SubmissionStatus
from gateway.message import Conformity, Exchange, Json, Move, Pause, RegistryEntry, Step
from gateway.settings import Settings
from gateway.sign import watch
from gateway.store import Ledger

_RETRIED: Final[dict[Thing, tuple[str, str]]] = {
    Thing.SUBMISSION: ("parked", "received"),
    Thing.CASE: ("parked", "complete"),
}
"""What `retry` does to things that are not exchanges. An item has no way back by itself: its submission has."""

_ACTS: Final[dict[str, str]] = {"replay": "due", "drop": "rejected", "supersede": "superseded"}
"""What may be done to a parked or unknown exchange, and the state it leads to."""

_MANY: Final = 10_000
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PAGE: Final = 500

Done = Callable[[Step], None]


def plain(value: Any) -> Any:
    """A value of message.py as plain JSON."""
    return msgspec.to_builtins(value, builtin_types=(bytes, datetime), str_keys=True)


def _instant(name: str, text: str) -> datetime:
    """An ISO date or time; without a zone it is UTC."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Misconfigured(detail=f"--{name} {text}: not an ISO 8601 date or time") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


class Operator:
    """The commands, over one ledger. `done` is told each committed step, so that lanes wake."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Settings,
        clock: Clock,
        done: Done,
        changed: Callable[[], None],
        paused: Callable[[], None],
    ) -> None:
        self._ledger, self._settings, self._clock = ledger, settings, clock
        self._done, self._changed, self._paused = done, changed, paused

    async def _commit(self, step: Step) -> None:
        await self._ledger.commit(step)
        self._done(step)

    # --- asking ----------------------------------------

    async def status(self, arguments: Mapping[str, Any]) -> AsyncIterator[Json]:
        """Every state with its count; waiting states with the age of the oldest, in seconds."""
        now = self._clock.now()
        for thing, states in (await self._ledger.counts()).items():
            for state, (count, since) in states.items():
                waits = state in waiting(Thing(thing))
                age = (now - since).total_seconds() if waits and since else None
                yield {"thing": thing, "state": state, "count": count, "waiting": waits, "oldest_seconds": age}
        # A complete case waits for its document in no state of its own, so it is counted here (promise 2).
        due = len(await self._ledger.undocumented(_MANY))
        yield {"thing": "document", "state": "due", "count": due, "waiting": True, "oldest_seconds": None}
        for band, names in watch.summary(self._settings, now).items():
            line = {"thing": "certificate", "state": band, "count": len(names), "waiting": False}
            yield {**line, "oldest_seconds": None, "names": names}
        async for line in self._measured(now):
            yield line

    async def _measured(self, now: datetime) -> AsyncIterator[Json]:
        """Findings of measures that stand, and resources of which a view can make no rows."""
        today = (now - EPOCH).days
        for (programme, measure), (count, due) in (await self._ledger.measures.finding_counts()).items():
            line = {"thing": "finding", "state": f"{programme}/{measure}", "count": count, "waiting": False}
            yield {**line, "oldest_seconds": max(0, today - due) * 86400}
        for name, count in (await self._ledger.measures.view_faults()).items():
            yield {"thing": "view", "state": f"{name} fails", "count": count, "waiting": True, "oldest_seconds": None}
        async for line in standing.Standing(self._ledger, self._clock).counted():
            yield line

    async def trace(self, arguments: Mapping[str, Any]) -> AsyncIterator[Json]:
        """Everything about one submission: journal, items with their results, attempts and receipts."""
        id = str(arguments["submission"])
        submission = await self._ledger.submission(id)
        status = await self._ledger.submission_status(id)
        if submission is None or status is None:
            raise GatewayError("GW-DESK-002", what="submission", id=id)
        yield {"submission": plain(msgspec.structs.replace(submission, body=b""))}
        after = (0, -1)
        while entries := await self._ledger.journal(id, after):
            for entry in entries:
                yield {"journal": plain(entry)}
            after = (entries[-1].feed, entries[-1].place)
        for first in range(0, sum(status.counts.values()), _PAGE):
            for item in await self._ledger.items(id, first, _PAGE):
                yield {"item": plain(item)}
        async for exchange in self._exchanges_of(status):
            yield await self._exchange(exchange)

    async def _exchanges_of(self, status: SubmissionStatus) -> AsyncIterator[Exchange]:
        """What is owed because of the submission, once each; read page by page."""
        seen: set[str] = set()
        for first in range(0, sum(status.counts.values()), _PAGE):
            page = await self._ledger.submission_status(status.id, first, _PAGE)
            for exchange in (each for item in (page.items if page else ()) for each in item.exchanges):
                if exchange.id not in seen:
                    seen.add(exchange.id)
                    yield exchange

    async def _exchange(self, exchange: Exchange) -> Json:
        attempts = await self._ledger.attempts(exchange.id)
        receipts = await self._ledger.receipts(exchange.destination, (exchange.case, exchange.subject))
        document = await self._ledger.document(exchange.document)
        return {
            "exchange": plain(exchange),
            "document": {"digest": document.digest, "bytes": len(document.body)} if document else None,
            "attempts": [plain(msgspec.structs.replace(a, request=b"", reply=None)) for a in attempts],
            "receipts": dict(receipts),
        }

    async def submissions(self, arguments: Mapping[str, Any]) -> AsyncIterator[Json]:
        """The submissions of a sender under a control id, newest first, bodies left out."""
        for each in await self._ledger.earlier(str(arguments["sender"]), str(arguments["control_id"])):
            yield {"submission": plain(each)}

    async def exchanges(self, arguments: Mapping[str, Any]) -> AsyncIterator[Json]:
        """Exchanges by state, destination or programme, oldest first; unfinished ones when no state is asked for."""
        wanted = {key: arguments[key] for key in ("state", "destination", "programme") if arguments.get(key)}
        wanted |= {key: _instant(key, arguments[key]) for key in ("since", "until") if arguments.get(key)}
        for exchange in await self._ledger.exchanges(**wanted, limit=int(arguments.get("limit", 100))):
            if "state" not in wanted and exchange.state in FINAL[Thing.EXCHANGE]:
                continue
            if await self._met(exchange, arguments.get("finding")):
                yield {"exchange": plain(exchange)}

    async def _met(self, exchange: Exchange, code: str | None) -> bool:
        """Whether the exchange waits for, or its last try ended with, this code."""
        if not code or exchange.reason == code:
            return True
        attempts = await self._ledger.attempts(exchange.id)
        return bool(attempts) and code in attempts[-1].codes

    async def queue(self, arguments: Mapping[str, Any]) -> AsyncIterator[Json]:
        """Open exchanges by destination, programme and state; every destination has a line, also an idle one."""
        now, paused = self._clock.now(), await self._ledger.paused()
        wanted, queues = arguments.get("destination"), await self._ledger.queues()
        for id in [each.id for each in self._settings.destination if wanted in (None, each.id)]:
            mine = [each for each in queues if each.destination == id]
            waits = [plain(q) | {"oldest_seconds": (now - q.since).total_seconds()} for q in mine]
            yield {"destination": id, "paused": id in paused, "waiting": sum(q.count for q in mine), "states": waits}

    async def parked(self, arguments: Mapping[str, Any]) -> AsyncIterator[Json]:
        """Everything that was parked: submissions, items, cases, then exchanges."""
        limit, now = int(arguments.get("limit", 100)), self._clock.now()
        for each in await self._ledger.parked(limit):
            yield {"parked": plain(each) | {"age_seconds": (now - each.since).total_seconds()}}
        wanted = {"destination": arguments["destination"]} if arguments.get("destination") else {}
        for exchange in await self._ledger.exchanges("parked", **wanted, limit=limit):
            yield {"parked": {"thing": "exchange", **plain(exchange)}}

    async def registry_list(self, arguments: Mapping[str, Any]) -> AsyncIterator[Json]:
        """The reference data of a programme."""
        for entry in await self._ledger.registry(str(arguments["programme"])):
            yield {"entry": plain(entry)}

    # --- acting ----------------------------------------

    async def act(self, arguments: Mapping[str, Any]) -> AsyncIterator[Json]:
        """Replay, drop or supersede one parked or unknown exchange, for a recorded reason."""
        id, act, reason = str(arguments["exchange"]), str(arguments["act"]), str(arguments["reason"])
        exchange = await self._ledger.exchange(id)
        if exchange is None:
            raise GatewayError("GW-DESK-002", what="exchange", id=id)
        if act not in _ACTS or exchange.state not in {"parked", "unknown"} or not reason:
            raise GatewayError("GW-DESK-003", what="exchange", id=id, state=exchange.state)
        if arguments.get("dry_run"):
            yield {"would": act, "exchange": plain(exchange)}
            return
        now, to = self._clock.now(), _ACTS[act]
        move = Move(thing=Thing.EXCHANGE, id=id, frm=exchange.state, to=to, room=Room.DESK)
        event = events.operator_acted("operator", act, (f"exchange/{id}",), now, reason)
        after = msgspec.structs.replace(exchange, state=to, next_at=None, tries=0, reason=None)
        await self._commit(Step(name=act, at=now, moves=(move,), writes=(after,), audit=(event,)))
        yield {"did": act, "exchange": id}

    async def retry(self, arguments: Mapping[str, Any]) -> AsyncIterator[Json]:
        """Try one thing again, now: a parked submission, case or exchange, or an exchange that waits for its time."""
        id, reason = str(arguments["id"]), str(arguments["reason"])
        exchange = await self._ledger.exchange(id)
        if exchange is not None and exchange.state != "due":
            async for line in self.act({"exchange": id, "act": "replay", "reason": reason}):
                yield line
            return
        now = self._clock.now()
        if exchange is not None:
            thing, moves, writes = Thing.EXCHANGE, [], [msgspec.structs.replace(exchange, next_at=None)]
        else:
            thing, move = await self._parked_move(id)
            moves, writes = [move], []
        event = events.operator_acted("operator", "retry", (f"{thing}/{id}",), now, reason)
        await self._commit(Step(name="retry", at=now, moves=tuple(moves), writes=tuple(writes), audit=(event,)))
        yield {"did": "retry", thing: id}

    async def _parked_move(self, id: str) -> tuple[Thing, Move]:
        submission = await self._ledger.submission_status(id)
        thing = Thing.CASE if submission is None else Thing.SUBMISSION
        found = submission or await self._ledger.case(id)
        if found is None:
            raise GatewayError("GW-DESK-002", what="submission, case, exchange", id=id)
        frm, to = _RETRIED[thing]
        if found.state != frm:
            raise GatewayError("GW-DESK-003", what=str(thing), id=id, state=found.state)
        return thing, Move(thing=thing, id=id, frm=frm, to=to, room=Room.DESK)

    async def pause(self, arguments: Mapping[str, Any]) -> AsyncIterator[Json]:
        """Start no more deliveries to a destination until `resume`; what is on its way ends."""
        yield await self._set_paused(arguments, True)

    async def resume(self, arguments: Mapping[str, Any]) -> AsyncIterator[Json]:
        """Deliver to the destination again; what the pause held is let go."""
        line = await self._set_paused(arguments, False)
        released = await pauses.release(self._ledger, (line["destination"],), self._clock, self._done)
        yield line | {"released": released}

    async def _set_paused(self, arguments: Mapping[str, Any], paused: bool) -> Json:
        id, act = self._settings.one_destination(str(arguments["destination"])).id, "pause" if paused else "resume"
        now = self._clock.now()
        event = events.operator_acted("operator", act, (f"destination/{id}",), now, str(arguments["reason"]))
        record = Pause(destination=id, paused=paused, at=now)
        await self._commit(Step(name=act, at=now, writes=(record,), audit=(event,)))
        self._paused()
        return {"did": act, "destination": id}

    async def registry_import(self, arguments: Mapping[str, Any]) -> AsyncIterator[Json]:
        """Keep reference data; `entries` are RegistryEntry values."""
        entries = msgspec.convert(arguments["entries"], list[RegistryEntry])
        now = self._clock.now()
        for start in range(0, len(entries), 1000):
            part = entries[start : start + 1000]
            digest = hashlib.sha256(json.write(part)).hexdigest()
            event = events.registry_imported("operator", part[0].programme, part[0].kind, len(part), digest, now)
            await self._commit(Step(name="registry", at=now, writes=tuple(part), audit=(event,)))
            yield {"imported": start + len(part), "of": len(entries)}
        self._changed()

    async def conformity(self, arguments: Mapping[str, Any]) -> AsyncIterator[Json]:
        """Enter the exchange certificate of a destination (A-12)."""
        record = msgspec.convert(arguments["record"], Conformity)
        self._settings.one_destination(record.destination)
        now = self._clock.now()
        event = events.conformity_recorded("operator", record.destination, now)
        await self._commit(Step(name="conformity", at=now, writes=(record,), audit=(event,)))
        yield {"entered": record.number, "destination": record.destination}


def handlers(
    ledger: Ledger,
    settings: Settings,
    clock: Clock,
    done: Done = lambda step: None,
    changed: Callable[[], None] = lambda: None,
    paused: Callable[[], None] = lambda: None,
    more: Mapping[str, Handler] | None = None,
) -> Mapping[str, Handler]:
    """Every command by name."""
    operator = Operator(ledger, settings, clock, done, changed, paused)
    return {
        "status": operator.status,
        "trace": operator.trace,
        "submissions": operator.submissions,
        "exchanges": operator.exchanges,
        "registry_list": operator.registry_list,
        "registry_import": operator.registry_import,
        "queue": operator.queue,
        "parked": operator.parked,
        "act": operator.act,
        "retry": operator.retry,
        "pause": operator.pause,
        "resume": operator.resume,
        **standing.handlers(ledger, clock),
        "conformity": operator.conformity,
        **owed.handlers(ledger, settings, clock),
        **(more or {}),
    }
