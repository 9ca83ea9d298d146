"""The moves of a step, checked against the state tables and joined per thing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from gateway import flow
from gateway.errors import Broken, StaleState
from gateway.flow import NEW, Room, Thing
from gateway.message import Answer, Case, Exchange, ItemRecord, Step, Submission

_CODE: Final = re.compile(r"[!-~]{0,200}")
"""A reason is a code, never text from outside."""

Stateful = Submission | Case | ItemRecord | Exchange | Answer

KINDS: Mapping[type[Stateful], Thing] = {
    Submission: Thing.SUBMISSION,
    Case: Thing.CASE,
    ItemRecord: Thing.ITEM,
    Exchange: Thing.EXCHANGE,
    Answer: Thing.ANSWER,
}


class Change(NamedTuple):
    """Everything that one step does to one thing. Without a move `frm` and `to` are the record's state."""

    thing: Thing
    id: str
    frm: str
    to: str
    moved: bool
    room: Room | None = None  # of the first move
    reason: str | None = None  # of the last move
    through: frozenset[str] = frozenset()  # every state entered
    record: Stateful | None = None

    @property
    def new(self) -> bool:
        """Whether the thing comes to be in this step."""
        return self.frm == NEW


def stale(thing: Thing, id: str) -> StaleState:
    """The thing is not where the step expects it."""
    return StaleState(thing=f"{thing}/{id}")


def _moves(step: Step) -> dict[tuple[Thing, str], Change]:
    joined: dict[tuple[Thing, str], Change] = {}
    for move in step.moves:
        flow.check(move.thing, move.frm, move.to, move.room)
        if not _CODE.fullmatch(move.reason or ""):
            raise Broken("GW-STORE-008", thing=f"{move.thing}/{move.id}")
        before = joined.get((move.thing, move.id))
        if before is None:
            change = Change(move.thing, move.id, move.frm, move.to, True, move.room, move.reason, frozenset({move.to}))
        elif before.to != move.frm:
            raise stale(move.thing, move.id)
        else:
            change = before._replace(to=move.to, reason=move.reason, through=before.through | {move.to})
        joined[move.thing, move.id] = change
    return joined


def of(step: Step) -> list[Change]:
    """One change per thing, in the order of the step.

    Raises `IllegalStep` for a move that is not in the tables, `StaleState` for moves that do not join, and `Broken`
    for a thing that is created without its record or a record whose state is not where its moves lead.
    """
    changes = _moves(step)
    for write in step.writes:
        thing = KINDS.get(type(write))  # type: ignore[arg-type]
        if thing is None:
            continue
        assert isinstance(write, Stateful)
        change = changes.get((thing, write.id))
        state = getattr(write, "state", change.to if change else None)
        if state is None:
            raise Broken("GW-STORE-008", thing=f"{thing}/{write.id}")
        if change is None:
            change = Change(thing, write.id, state, state, False)
        elif change.to != state:
            raise Broken("GW-STORE-008", thing=f"{thing}/{write.id}")
        changes[thing, write.id] = change._replace(record=write)
    for change in changes.values():
        if change.new and change.record is None:
            raise Broken("GW-STORE-008", thing=f"{change.thing}/{change.id}")
    return list(changes.values())
