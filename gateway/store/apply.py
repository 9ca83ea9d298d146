"""One step becomes rows. Everything here runs inside a group's transaction, in the writer thread.

Tables are written in one order, parents first. A thing that exists is changed by one statement that also says in
which state it must be: when no row answers to that, somebody else was first and the step raises `StaleState`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from sqlalchemy import Table, bindparam, exists, select

from gateway import flow
from gateway.errors import Broken
from gateway.flow import Room, Thing
from gateway.message import Answer, Case, Committed, Exchange, ItemRecord, Step, Submission
from gateway.store import changes, evidence, order, rows, schema, serial, view_write
from gateway.store.changes import Change
from gateway.store.engine import upsert
from gateway.store.group import PLACES, Group

Columns = dict[str, Any]

HELD_BY_WORKER: Final = frozenset(flow.AFTER_CRASH)
"""States in which one worker holds the exchange; only the writer that claimed it may go on."""

_RESULT_SET_BY: Final = frozenset({"mapped", "valid", "refused"})
"""Entering one of these may bring another result (mapped again, findings added). Gathered ones never change."""


class Applying:
    """The step that is being written: its number and the places given out inside it."""

    def __init__(self, group: Group, step: Step) -> None:
        self.group, self.hand, self.step, self.at = group, group.hand, step, step.at
        self.feed = group.next_feed()
        self.sequence = 0
        self.turns: set[tuple[str, ...]] = set()  # keys whose turn a newcomer of this step took
        self.accepted: dict[str, tuple[int, int]] = {}
        self._place = -1

    def position(self) -> int:
        """The next place of the feed, unique for ever."""
        self._place += 1
        if self._place >= PLACES:
            raise Broken("GW-STORE-008", thing=self.step.name)
        return self.feed * PLACES + self._place

    def state(self, change: Change) -> Columns:
        """The columns of a state that begins now."""
        waits = change.to not in flow.FINAL[change.thing]
        return {"state": change.to, "open": int(waits), "since": self.at}


def apply(
    group: Group, step: Step, searchable: evidence.Found = None, viewed: view_write.Viewed | None = None
) -> Committed:
    """All of the step, or an exception and the caller undoes it."""
    serial.check(group, step)
    found = changes.of(step)
    now = Applying(group, step)
    by_thing: dict[Thing, list[Change]] = {thing: [] for thing in Thing}
    for change in found:
        by_thing[change.thing].append(change)
    for thing in (Thing.SUBMISSION, Thing.CASE, Thing.ITEM):
        _write_things(now, thing, by_thing[thing])
    evidence.documents(now.group, now.feed, step)
    for thing in (Thing.EXCHANGE, Thing.ANSWER):
        _write_things(now, thing, by_thing[thing])
    _settle_cases(now, by_thing[Thing.CASE])
    evidence.others(now.group, now.feed, step, searchable, viewed)
    _journal(now)
    group.audit(step.audit)
    for change in found:
        if change.moved:
            group.count(change.thing, change.frm, change.to)
    return Committed(feed=now.feed, sequence=now.sequence)


def _write_things(now: Applying, thing: Thing, found: list[Change]) -> None:
    """Ends before beginnings, so that a newcomer finds the turn free that its predecessor gave up."""
    table = schema.TABLES[thing]
    for change in found:
        if not change.new:
            _change(now, table, change)
    fresh = [_FRESH[thing](now, change) | now.state(change) | {"feed": now.feed} for change in found if change.new]
    if fresh:
        now.hand.insert(table, fresh)


# --- things that exist ----------------------------------------


def _change(now: Applying, table: Table, change: Change) -> None:
    values = now.state(change) if change.frm != change.to else {}
    values |= _CHANGED[change.thing](now, change)
    if not values:
        values = {"state": change.to}
    wanted = {"id": change.id, "state": change.frm}
    if change.thing is Thing.EXCHANGE and change.frm in HELD_BY_WORKER and change.room is Room.DELIVER:
        wanted["claimed_by"] = str(now.group.identity)
    if now.hand.update(table, wanted, values) != 1:
        raise changes.stale(change.thing, change.id)
    if table in order.KEYS and change.to in flow.FINAL[change.thing] and change.moved:
        order.step_down(now.hand, table, change.id)


def _nothing(_now: Applying, _change: Change) -> Columns:
    return {}


def _case_changed(_now: Applying, change: Change) -> Columns:
    if not isinstance(change.record, Case):
        return {}
    return {"version": change.record.version, "parts": change.record.parts, "expires_at": change.record.expires_at}


def _item_changed(now: Applying, change: Change) -> Columns:
    values: Columns = {}
    if isinstance(change.record, ItemRecord):
        values["case"] = change.record.case
        if change.through & _RESULT_SET_BY:
            values |= {"subject": change.record.result.subject}
            values |= rows.result_columns(change.record, now.group.payloads)
    if change.to == "gathered" and change.moved:
        values["gathered"] = now.position()
    return values


def _exchange_changed(now: Applying, change: Change) -> Columns:
    values: Columns = {}
    if isinstance(change.record, Exchange):
        values = {"tries": change.record.tries, "next_at": change.record.next_at, "reason": change.record.reason}
    elif change.moved:
        values = {"next_at": None, "reason": None}
    if change.moved:
        values["reason"] = change.reason or values["reason"]
        holds = change.to in HELD_BY_WORKER
        values["claimed_by"] = str(now.group.identity) if holds else None
    if values:
        values["ready_at"] = values["next_at"] or now.at
    return values


def _answer_changed(now: Applying, change: Change) -> Columns:
    if not isinstance(change.record, Answer):
        return {}
    body = now.group.payloads.columns("body", change.record.body)
    names = {"tries": change.record.tries, "next_at": change.record.next_at, "media_type": change.record.media_type}
    return names | {"ready_at": change.record.next_at or now.at} | body


_CHANGED: Final[Mapping[Thing, Callable[[Applying, Change], Columns]]] = {
    Thing.SUBMISSION: _nothing,
    Thing.CASE: _case_changed,
    Thing.ITEM: _item_changed,
    Thing.EXCHANGE: _exchange_changed,
    Thing.ANSWER: _answer_changed,
}


# --- things that begin ----------------------------------------


def _new_submission(now: Applying, change: Change) -> Columns:
    assert isinstance(change.record, Submission)
    table = schema.sequences

    def counted() -> Any:
        statement = upsert(now.group.connection, table)
        further = statement.on_conflict_do_update(index_elements=["sender"], set_={"number": table.c.number + 1})
        return further.returning(table.c.number)

    row = {"sender": change.record.sender, "number": 1}
    (now.sequence,) = now.hand.one("sequence", counted, row, tuple(row))
    return rows.submission_row(change.record, now.group.payloads) | {"sequence": now.sequence}


def _new_case(_now: Applying, change: Change) -> Columns:
    assert isinstance(change.record, Case)
    return rows.plain(change.record, schema.cases) | {"owes": 0}


def _new_item(now: Applying, change: Change) -> Columns:
    assert isinstance(change.record, ItemRecord)
    record = change.record
    sequence, feed = _accepted(now, record.submission)
    return rows.item_row(record, now.group.payloads) | {
        "sequence": sequence,
        "position": feed * PLACES + record.result.index,
        "gathered": now.position() if change.to == "gathered" else None,
    }


def _accepted(now: Applying, submission: str) -> tuple[int, int]:
    """Sequence and feed number of a submission, asked once a step."""
    if submission not in now.accepted:
        table = schema.submissions
        asked = select(table.c.sequence, table.c.feed).where(table.c.id == bindparam("id"))
        found = now.hand.one("accepted", lambda: asked, {"id": submission})
        if found is None:
            raise Broken("GW-STORE-008", thing=f"submission/{submission}")
        now.accepted[submission] = found
    return now.accepted[submission]


def _new_exchange(now: Applying, change: Change) -> Columns:
    assert isinstance(change.record, Exchange)
    row = rows.plain(change.record, schema.exchanges)
    return row | {
        "position": now.position(),
        "head": _takes_turn(now, schema.exchanges, row, change),
        "ready_at": row["next_at"] or now.at,
        "created_at": row["created_at"] or now.at,
        "reason": change.reason or row["reason"],
        "claimed_by": str(now.group.identity) if change.to in HELD_BY_WORKER else None,
    }


def _new_answer(now: Applying, change: Change) -> Columns:
    assert isinstance(change.record, Answer)
    row = rows.answer_row(change.record, now.group.payloads)
    later = change.record.kind != "first"
    return row | {
        "position": now.position(),
        "head": _takes_turn(now, schema.answers, row, change) if later else 0,
        "ready_at": row["next_at"] or now.at,
    }


def _takes_turn(now: Applying, table: Table, row: Columns, change: Change) -> int:
    """1 when nothing open stands before it, in the table or among those of this step."""
    if change.to in flow.FINAL[change.thing]:
        return 0
    key = (table.name, *(row[name] for name in order.KEYS[table]))
    if key in now.turns or not order.is_first(now.hand, table, row):
        return 0
    now.turns.add(key)
    return 1


_FRESH: Final[Mapping[Thing, Callable[[Applying, Change], Columns]]] = {
    Thing.SUBMISSION: _new_submission,
    Thing.CASE: _new_case,
    Thing.ITEM: _new_item,
    Thing.EXCHANGE: _new_exchange,
    Thing.ANSWER: _new_answer,
}


# --- what follows ----------------------------------------


def _settle_cases(now: Applying, found: Iterable[Change]) -> None:
    """A case owes a document while it is complete and its version has none."""
    touched = {change.id for change in found} | {each.case for each in evidence.made(now.step)}
    for id in sorted(touched):
        owes = now.hand.one("owes", _owes, {"id": id}) is not None
        now.hand.update(schema.cases, {"id": id, "owes": int(not owes)}, {"owes": int(owes)})


def _owes() -> Any:
    cases, documents = schema.cases, schema.documents
    made = exists().where(documents.c.case == cases.c.id, documents.c.version == cases.c.version)
    return select(cases.c.id).where(cases.c.id == bindparam("id"), cases.c.state == order.word("complete"), ~made)


def _journal(now: Applying) -> None:
    now.group.journal(
        {
            "feed": now.feed,
            "place": place,
            "at": now.at,
            "thing": str(move.thing),
            "id": move.id,
            "frm": move.frm,
            "to": move.to,
            "room": str(move.room),
            "reason": move.reason,
        }
        for place, move in enumerate(now.step.moves)
    )
