"""What an operator sees and does about what repositories leave standing: their subscriptions and exports."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from gateway.audit import events
from gateway.clock import Clock
from gateway.desk.admin import Handler
from gateway.errors import GatewayError
from gateway.formats.standing import Subscribed
from gateway.message import Json
from gateway.store import Ledger


class Standing:
    """The commands, over one ledger."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger, self._clock = ledger, clock

    async def counted(self) -> AsyncIterator[Json]:
        """Lines for the status: subscriptions by what they are, what they are owed, exports that can be fetched."""
        now = self._clock.now()
        for each in await self._ledger.subscriptions.backlog():
            age = None if each.oldest is None else (now - each.oldest).total_seconds()
            waits = each.status == "error"
            since = (now - each.since).total_seconds() if waits else None
            line = {"thing": "subscription", "state": each.status, "count": each.count, "names": [each.repository]}
            yield {**line, "waiting": waits, "oldest_seconds": since}
            if each.waiting:
                owed = {"thing": "notification", "state": "due", "count": each.waiting, "names": [each.repository]}
                yield {**owed, "waiting": True, "oldest_seconds": age}

    async def subscriptions(self, arguments: Mapping[str, Any]) -> AsyncIterator[Json]:
        """Every subscription with its numbers; parked ones first."""
        found = await self._ledger.subscriptions.every(arguments.get("repository") or None)
        for each in sorted(found, key=lambda one: (one.status != "error", one.since)):
            yield {"subscription": _shown(each, self._clock.now())}

    async def resume(self, arguments: Mapping[str, Any]) -> AsyncIterator[Json]:
        """Let a parked subscription go on, from what its endpoint took last."""
        found = await self._one(arguments)
        yield await self._change(found, found.delivered, "resume", arguments)

    async def requeue(self, arguments: Mapping[str, Any]) -> AsyncIterator[Json]:
        """Tell again everything after a number; the numbers stay what they are."""
        found, after = await self._one(arguments), int(arguments["after"])
        first = await self._ledger.subscriptions.events(found.id, after + 1, found.events, 1)
        if not 0 <= after <= found.events or (after < found.events and (not first or first[0].number != after + 1)):
            raise GatewayError("GW-DESK-003", what="subscription", id=found.id, state=f"events 1 to {found.events}")
        yield await self._change(found, after, "requeue", arguments)

    async def exports(self, arguments: Mapping[str, Any]) -> AsyncIterator[Json]:
        """Every export that can still be fetched, and how much of it was."""
        for each in await self._ledger.exports.every():
            counts = [int(file["count"]) for file in each.files]
            yield {
                "export": {
                    "id": each.id,
                    "repository": each.repository,
                    "state": each.state,
                    "at": each.at.isoformat(),
                    "expires": each.expires.isoformat(),
                    "types": f"{each.place.get('type', 0)} of {len(each.job.get('types', ()))}",
                    "files": len(counts),
                    "resources": sum(counts),
                    "sent_files": each.sent_files,
                    "sent_resources": each.sent_lines,
                    "sent_bytes": each.sent_bytes,
                    "unreadable": len(each.problems),
                }
            }

    async def _one(self, arguments: Mapping[str, Any]) -> Subscribed:
        id = str(arguments["id"])
        found = await self._ledger.subscriptions.one(id)
        if found is None:
            raise GatewayError("GW-DESK-002", what="subscription", id=id)
        if found.status == "off":
            raise GatewayError("GW-DESK-003", what="subscription", id=id, state=found.status)
        return found

    async def _change(self, found: Subscribed, delivered: int, act: str, arguments: Mapping[str, Any]) -> Json:
        now = self._clock.now()
        status = "requested" if found.status == "error" else found.status
        after = msgspec.structs.replace(
            found,
            delivered=delivered,
            status=status,
            since=now if status != found.status else found.since,
            tries=0,
            next_at=None,
            error=None,
        )
        event = events.operator_acted("operator", act, (f"Subscription/{found.id}",), now, str(arguments["reason"]))
        await self._ledger.subscriptions.change(after, (event,))
        return {"did": act, "subscription": found.id}


def _shown(found: Subscribed, now: datetime) -> Json:
    """Without endpoint headers: they are the subscriber's secrets."""
    channel = found.resource.get("channel", {})
    return {
        "id": found.id,
        "repository": found.repository,
        "status": found.status,
        "criteria": str(found.resource.get("criteria", "")).partition("?")[0],
        "endpoint": channel.get("endpoint"),
        "events": found.events,
        "delivered": found.delivered,
        "waiting": found.events - found.delivered,
        "tries": found.tries,
        "next_at": found.next_at.isoformat() if found.next_at else None,
        "error": found.error,
        "age_seconds": (now - found.since).total_seconds(),
    }


def handlers(ledger: Ledger, clock: Clock) -> Mapping[str, Handler]:
    """The commands by name."""
    made = Standing(ledger, clock)
    return {
        "subscriptions": made.subscriptions,
        "subscription_resume": made.resume,
        "subscription_requeue": made.requeue,
        "pull_exports": made.exports,
    }
