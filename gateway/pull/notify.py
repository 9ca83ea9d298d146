"""Telling subscribers: find events in the feed, number them, send them in order, never give up in silence.

Each subscription is tended by one process at a time (a share of them), one step at a time: events are found and
numbered in a commit with the cursor, then sent from the first that the endpoint has not taken. An endpoint that does
not take them is tried again with growing pauses; when that was in vain often enough the subscription is parked
(status `error`): it is counted, its events go on being found, and the subscriber or an operator lets it go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import zlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import msgspec
import structlog

from gateway.errors import GatewayError, NotAllowed, Refused, StaleState, StorageFailed
from gateway.formats.standing import Candidate, Event, Status, Subscribed
from gateway.ports import MaybeSent, Network, NotSent
from gateway.pull import notification, present, respond
from gateway.pull.access import Caller
from gateway.pull.api import Api
from gateway.pull.notification import Shown
from gateway.pull.topics import Trigger
from gateway.pull.wanted import Wanted, ends_of, heartbeat_of, read
from gateway.settings import Retry

log: Final = structlog.get_logger("gateway.pull")

PARTS: Final = 32
"""Into so many parts the subscriptions are divided between processes."""

BATCH: Final = 500
"""Versions that are looked at in one step."""

AT_ONCE: Final = 16
"""Subscriptions that are tended at a time."""

ROUNDS: Final = 50
"""Notifications of one subscription before others get their turn."""

RETRY: Final = Retry()
PARKED: Final = "GW-PULL-021"
_FORGET_SECONDS: Final = 600.0
_HELD_SECONDS: Final = 10.0
_AGAIN_SECONDS: Final = 0.2


class Notifier:
    """One process's share of the subscriptions. `share` says which parts of them are its own."""

    def __init__(
        self,
        api: Api,
        network: Network,
        share: Callable[[str, int], Awaitable[frozenset[int]]],
        retry: Retry = RETRY,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._api, self._network, self._share = api, network, share
        self._retry, self._chance = retry, chance
        self._tending: dict[str, asyncio.Task[None]] = {}
        self._seen: dict[str, int] = {}  # how far this process looked without finding anything
        self._paused: dict[str, float] = {}  # until when one that could not be tended is left alone
        self._forgot = float("-inf")

    async def round(self) -> bool:
        """Begin what is to be done, wait a moment for some of it; whether there was anything."""
        api, now = self._api, self._api.clock.now()
        await self._forget()
        every = await api.store.subscriptions.every()
        mine = await self._share("subscriptions", PARTS) if every else frozenset()
        end = await api.store.subscriptions.end() if mine else 0
        begun = False
        for each in every:
            room = len(self._tending) < AT_ONCE and each.id not in self._tending
            if room and zlib.crc32(each.id.encode()) % PARTS in mine and self._wants(each, now, end):
                task = asyncio.create_task(self._tend(each, end))
                self._tending[each.id] = task
                task.add_done_callback(partial(self._tended, each.id))
                begun = True
        if self._tending:
            await asyncio.wait(self._tending.values(), timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
        return begun

    async def stop(self) -> None:
        """Break off; what was not taken is still owed."""
        tasks = list(self._tending.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _tended(self, id: str, task: asyncio.Task[None]) -> None:
        self._tending.pop(id, None)
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.error("subscription_failed", subscription=id, error=type(fault).__name__)

    async def _forget(self) -> None:
        """Drop, now and then, what was taken long ago."""
        api = self._api
        if api.clock.monotonic() - self._forgot > _FORGET_SECONDS:
            self._forgot = api.clock.monotonic()
            await api.store.subscriptions.forget(api.clock.now() - timedelta(days=api.settings.event_days))

    def _wants(self, found: Subscribed, now: datetime, end: int) -> bool:
        if found.status == "off" or self._paused.get(found.id, 0.0) > self._api.clock.monotonic():
            return False
        if max(found.cursor, self._seen.get(found.id, 0)) < end:
            return True
        if found.status == "error" or _rests(found, now):
            return False
        ends = ends_of(found.resource)
        over = ends is not None and ends <= now
        return over or found.status == "requested" or found.events > found.delivered or _quiet(found, now)

    # --- one subscription ----------------------------------------

    async def _tend(self, found: Subscribed, end: int) -> None:
        """Everything that is due of one subscription. Losing a race or the store costs this turn only."""
        api = self._api
        try:
            fresh = await api.store.subscriptions.one(found.id)  # a turn may have ended since it was looked at
            if fresh is None or fresh.status == "off":
                return
            found, caller = fresh, await api.access.today(fresh.repository)
            wanted = read(found.resource, caller, api.access.entry(caller.id), api.definitions, api.topics, api.clock)
            if wanted.ends is not None and wanted.ends <= api.clock.now():
                await self._settle(found, "off")
                return
            found = await self._find(found, wanted, caller, end)
            await self._tell(found, wanted, caller)
        except (StaleState, StorageFailed) as fault:
            log.info("subscription_again", subscription=found.id, code=fault.code)
            self._pause(found, _AGAIN_SECONDS)
        except (NotAllowed, Refused) as fault:  # not entitled today, or asks for what is offered no longer: it waits
            self._pause(found, _HELD_SECONDS)
            await self._hold(found, fault.code)
        except GatewayError as fault:
            log.error("subscription_failed", subscription=found.id, code=fault.code)
            self._pause(found, _HELD_SECONDS)

    def _pause(self, found: Subscribed, seconds: float) -> None:
        self._paused[found.id] = self._api.clock.monotonic() + seconds

    async def _hold(self, found: Subscribed, code: str) -> None:
        """Say once why it waits. What happens meanwhile is found when it may go on."""
        if found.error != code and found.status != "error":
            log.warning("subscription_held", subscription=found.id, code=code)
            with contextlib.suppress(StaleState, StorageFailed):
                await self._change(msgspec.structs.replace(found, error=code))

    async def _tell(self, found: Subscribed, wanted: Wanted, caller: Caller) -> None:
        now = self._api.clock.now()
        if found.status == "error" or _rests(found, now):
            return
        if found.status == "requested":
            found = await self._shake_hands(found, wanted)
        for _ in range(ROUNDS):
            if found.status != "active" or _rests(found, now) or found.delivered >= found.events:
                break
            found = await self._send_next(found, wanted, caller)
        if not _rests(found, now) and _quiet(found, now):
            await self._beat(found, wanted)

    # --- finding ----------------------------------------

    async def _find(self, found: Subscribed, wanted: Wanted, caller: Caller, end: int) -> Subscribed:
        """Look through the feed up to its end, a part at a time."""
        types = [each.type for each in wanted.triggers]
        ask, after = self._api.store.subscriptions, max(found.cursor, self._seen.get(found.id, 0))
        while after < end:
            part = [each for each in await ask.candidates(caller.scope, types, after, BATCH) if each.position <= end]
            after = part[-1].position if len(part) == BATCH else end
            events = await self._events(found, wanted, caller, part)
            if events or len(part) == BATCH:
                await ask.found(found, after, events)
                number = found.events + len(events)
                found = msgspec.structs.replace(found, cursor=after, events=number)
            self._seen[found.id] = after
        return found

    async def _events(
        self, found: Subscribed, wanted: Wanted, caller: Caller, part: Sequence[Candidate]
    ) -> Sequence[Event]:
        chosen: set[int] = set()
        for trigger in wanted.triggers:
            of_type = [each for each in part if each.type == trigger.type and _method(each) in trigger.methods]
            if of_type:
                chosen |= await self._triggered(trigger, wanted, caller, of_type)
        made = [each for each in part if each.position in chosen]
        return [
            Event(
                number=found.events + place,
                position=each.position,
                type=each.type,
                id=each.id,
                version=each.version,
                method=_method(each),  # type: ignore[arg-type]
                at=each.at,
            )
            for place, each in enumerate(made, start=1)
        ]

    async def _triggered(self, trigger: Trigger, wanted: Wanted, caller: Caller, part: Sequence[Candidate]) -> set[int]:
        """Positions at which the trigger fires and every filter holds. A deletion is judged by what was there."""
        fitting = self._api.store.subscriptions.fitting
        before = {each.position: each.previous for each in part}
        here = [each.position for each in part if not each.deleted]
        past = [each.previous for each in part if each.previous is not None]
        now = await fitting(here, trigger.current, caller.scope)
        then = await fitting(past, trigger.previous, caller.scope)
        gone = {each.position for each in part if each.deleted}

        def fires(position: int) -> bool:
            current = trigger.on_delete if position in gone else position in now
            previous = trigger.on_create if before[position] is None else before[position] in then
            if trigger.current and trigger.previous:
                return (current and previous) if trigger.both else (current or previous)
            return current if trigger.current else previous if trigger.previous else True

        chosen = {each.position for each in part if fires(each.position)}
        for each in wanted.filters:
            if each.type == trigger.type:
                looked = {p: before[p] if p in gone else p for p in chosen}
                held = await fitting([p for p in looked.values() if p is not None], each.where, caller.scope)
                chosen = {p for p, at in looked.items() if at in held}
        return chosen

    # --- sending ----------------------------------------

    async def _shake_hands(self, found: Subscribed, wanted: Wanted) -> Subscribed:
        """A topic's subscriber answers a handshake before anything else; the plain form has none."""
        if wanted.topic is None:
            return await self._settle(found, "active")
        if not await self._post(found, wanted, self._bundle(found, wanted, "handshake")):
            return await self._failed(found)
        return await self._settle(found, "active", sent=True)

    async def _beat(self, found: Subscribed, wanted: Wanted) -> None:
        """Nothing happened, and we are still here (topic form), or a request without a body (plain form)."""
        body = self._bundle(found, wanted, "heartbeat") if wanted.topic is not None else b""
        if await self._post(found, wanted, body):
            await self._change(msgspec.structs.replace(found, sent_at=self._api.clock.now(), tries=0))
        else:
            await self._failed(found)

    async def _send_next(self, found: Subscribed, wanted: Wanted, caller: Caller) -> Subscribed:
        """The next events that the endpoint has not taken, in their order."""
        api = self._api
        at_once = wanted.at_once if wanted.topic is not None else 1
        events = await api.store.subscriptions.events(found.id, found.delivered + 1, found.events, at_once)
        readable = [each.position for each in events if caller.may(each.type, "r")]
        shown = await api.store.subscriptions.versions(readable, caller.scope)
        events = _fitting(events, shown, api.settings.page_bytes)
        last = events[-1].number
        sent = api.trail.notification_sent(found.id, found.repository, events[0].number, last, api.clock.now())
        await api.record(sent)
        if not await self._notify(found, wanted, events, shown):
            return await self._failed(found)
        now = api.clock.now()
        after = msgspec.structs.replace(found, delivered=last, sent_at=now, tries=0, next_at=None, error=None)
        return await self._change(after)

    async def _notify(self, found: Subscribed, wanted: Wanted, events: Sequence[Event], shown: Shown) -> bool:
        if wanted.topic is not None:
            body = self._bundle(found, wanted, "event-notification", events, shown)
            return await self._post(found, wanted, body)
        (event,) = events
        kept = shown.get(event.position)
        if kept is None:
            return True  # it may not be seen any more
        if not wanted.media:
            return await self._post(found, wanted, b"")
        value = present.resource(kept, self._api.definitions)
        body = respond.write(value, wanted.media, self._api.definitions.model)
        return await self._post(found, wanted, body, "PUT", f"/{event.type}/{event.id}")

    def _bundle(
        self,
        found: Subscribed,
        wanted: Wanted,
        kind: notification.Kind,
        events: Sequence[Event] = (),
        shown: Shown | None = None,
    ) -> bytes:
        assert wanted.topic is not None
        api = self._api
        made = notification.bundle(
            found, wanted.topic.url, kind, api.definitions, api.clock.now(), wanted.content, events, shown
        )
        return respond.write(made, wanted.media, api.definitions.model)

    async def _post(
        self, found: Subscribed, wanted: Wanted, body: bytes, method: str = "POST", below: str = ""
    ) -> bool:
        """Whether the endpoint took it."""
        headers = dict(wanted.headers) | ({"content-type": wanted.media} if body else {})
        url = wanted.endpoint.rstrip("/") + below if below else wanted.endpoint
        try:
            reply = await self._network.request(wanted.peer, method, url, headers, body, float(wanted.timeout))
        except (NotSent, MaybeSent) as fault:
            log.warning("notification_not_taken", subscription=found.id, code=str(fault))
            return False
        if not 200 <= reply.status < 300:
            log.warning("notification_not_taken", subscription=found.id, status=reply.status)
        return 200 <= reply.status < 300

    async def _failed(self, found: Subscribed) -> Subscribed:
        """Try again later; after too many times in a row it is parked, which is counted and shown."""
        tries = found.tries + 1
        if tries >= self._api.settings.notify_tries:
            log.error("subscription_parked", subscription=found.id)
            return await self._settle(msgspec.structs.replace(found, tries=tries), "error", PARKED)
        ceiling = min(self._retry.ceiling, self._retry.first * self._retry.factor ** min(found.tries, 64))
        next_at = self._api.clock.now() + timedelta(seconds=max(0.1, self._chance() * ceiling))
        return await self._change(msgspec.structs.replace(found, tries=tries, next_at=next_at))

    # --- keeping ----------------------------------------

    async def _settle(
        self, found: Subscribed, status: Status, error: str | None = None, sent: bool = False
    ) -> Subscribed:
        """A new status, with its audit event."""
        now = self._api.clock.now()
        after = msgspec.structs.replace(
            found,
            status=status,
            since=now,
            changed_at=now,
            version=found.version + 1,
            error=error,
            tries=found.tries if error else 0,
            next_at=None,
            sent_at=now if sent else found.sent_at,
        )
        event = self._api.trail.subscription_changed(found.id, found.repository, status, now)
        await self._api.store.subscriptions.change(after, (event,))
        return msgspec.structs.replace(after, revision=found.revision + 1)

    async def _change(self, after: Subscribed) -> Subscribed:
        await self._api.store.subscriptions.change(after)
        return msgspec.structs.replace(after, revision=after.revision + 1)


def _rests(found: Subscribed, now: datetime) -> bool:
    """Whether its endpoint did not take something a moment ago."""
    return found.next_at is not None and found.next_at > now


def _quiet(found: Subscribed, now: datetime) -> bool:
    """Whether the subscriber has to hear that we are still here."""
    seconds = heartbeat_of(found.resource)
    since = found.sent_at or found.since
    return found.status == "active" and seconds > 0 and now - since >= timedelta(seconds=seconds)


def _method(found: Candidate) -> str:
    return "delete" if found.deleted else "create" if found.previous is None else "update"


def _fitting(events: Sequence[Event], shown: Shown, limit: int) -> Sequence[Event]:
    """As many as fit into one notification; one always does."""
    held = 0
    for place, each in enumerate(events):
        held += len(shown[each.position].body) if each.position in shown else 0
        if place and held > limit:
            return events[:place]
    return events
