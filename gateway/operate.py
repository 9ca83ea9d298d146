"""What an operator may ask and do: the commands of the administration socket.

Each handler takes the arguments of a command and yields answer lines (plain JSON). Acts go through `store.commit`
like every step, with the operator's reason in the audit event.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from gateway.audit import events
from gateway.clock import Clock
from gateway.desk.admin import Handler
from gateway.errors import GatewayError
from gateway.flow import FINAL, Room, Thing, waiting
from gateway.formats import json
from gateway.message import Conformity, Exchange, Json, Move, RegistryEntry, Step
from gateway.settings import Settings
from gateway.store import Ledger

_ACTS: Final[dict[str, str]] = {"replay": "due", "drop": "rejected", "supersede": "superseded"}
"""What may be done to a parked or unknown exchange, and the state it leads to."""

_MANY: Final = 10_000

Done = Callable[[Step], None]


def plain(value: Any) -> Any:
    """A value of message.py as plain JSON."""
    return msgspec.to_builtins(value, builtin_types=(bytes, datetime), str_keys=True)


class Operator:
    """The commands, over one ledger. `done` is told each committed step, so that lanes wake."""

    def __init__(
        self, ledger: Ledger, settings: Settings, clock: Clock, done: Done, changed: Callable[[], None]
    ) -> None:
        self._ledger, self._settings, self._clock = ledger, settings, clock
        self._done, self._changed = done, changed

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

    async def trace(self, arguments: Mapping[str, Any]) -> AsyncIterator[Json]:
        """Everything about one submission: journal, items with their results, attempts and receipts."""
        id = str(arguments["submission"])
        submission = await self._ledger.submission(id)
        status = await self._ledger.submission_status(id)
        if submission is None or status is None:
            raise GatewayError("GW-DESK-002", what="submission", id=id)
        yield {"submission": plain(msgspec.structs.replace(submission, body=b""))}
        for entry in await self._ledger.journal(id):
            yield {"journal": plain(entry)}
        for item in await self._ledger.items(id):
            yield {"item": plain(item)}
        for exchange in {e.id: e for item in status.items for e in item.exchanges}.values():
            yield await self._exchange(exchange)

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
        for exchange in await self._ledger.exchanges(**wanted, limit=int(arguments.get("limit", 100))):
            if "state" in wanted or exchange.state not in FINAL[Thing.EXCHANGE]:
                yield {"exchange": plain(exchange)}

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
    more: Mapping[str, Handler] | None = None,
) -> Mapping[str, Handler]:
    """Every command by name."""
    operator = Operator(ledger, settings, clock, done, changed)
    return {
        "status": operator.status,
        "trace": operator.trace,
        "submissions": operator.submissions,
        "exchanges": operator.exchanges,
        "registry_list": operator.registry_list,
        "registry_import": operator.registry_import,
        "act": operator.act,
        "conformity": operator.conformity,
        **(more or {}),
    }
