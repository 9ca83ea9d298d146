"""The state tables: everything that affects a state lives in this file.

Each thing that travels (DESIGN section 2) has states, the steps allowed between them, and for each step
the rooms that may take it. A step that is not listed raises `IllegalStep`: there is no other way to change a
state, because `store.commit` checks every move against this table before it writes.

    submission  received -> itemised                     exits: refused, parked
    item        received -> mapped -> valid -> gathered   exits: refused, parked
    case        open -> complete -> reopened -> complete  exits: expired, parked
    exchange    due -> claimed -> rendered -> in_flight -> awaiting -> delivered
                exits: held, rejected, parked, superseded, unknown
    answer      owed -> given                             or not_owed

`claimed` and `rendered` never left us and are safe to repeat; `in_flight` is not, so a crash turns the first
two back into `due` and the last into `unknown`, which only reconciliation moves.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Thing(StrEnum):
    """What has a state."""

    SUBMISSION = "submission"
    ITEM = "item"
    CASE = "case"
    EXCHANGE = "exchange"
    ANSWER = "answer"


class Room(StrEnum):
    """Who may take a step."""

    RECEIVE = "receive"
    MAP = "map"
    VALIDATE = "validate"
    GATHER = "gather"
    SIGN = "sign"
    DELIVER = "deliver"
    PULL = "pull"
    MEASURE = "measure"
    DESK = "desk"
    STORE = "store"  # recovery at start only


NEW: Final = "(new)"
"""The state before the first one; a move from NEW creates the thing."""

_OPERATOR: Final = frozenset({Room.DESK})

# (from, to) -> rooms that may take the step
_Table = dict[tuple[str, str], frozenset[Room]]


def _by(*rooms: Room) -> frozenset[Room]:
    return frozenset(rooms)


_SUBMISSION: Final[_Table] = {
    (NEW, "received"): _by(Room.RECEIVE),
    (NEW, "refused"): _by(Room.RECEIVE),  # kept with its bytes, told why at once
    ("received", "itemised"): _by(Room.MAP),
    ("received", "refused"): _by(Room.MAP),
    ("received", "parked"): _by(Room.MAP),
    ("parked", "received"): _OPERATOR,
}

_ITEM: Final[_Table] = {
    (NEW, "received"): _by(Room.MAP),
    ("received", "mapped"): _by(Room.MAP),
    ("received", "refused"): _by(Room.MAP),
    ("received", "parked"): _by(Room.MAP),
    ("mapped", "valid"): _by(Room.VALIDATE),
    ("mapped", "refused"): _by(Room.VALIDATE),
    ("mapped", "parked"): _by(Room.VALIDATE),
    ("valid", "gathered"): _by(Room.GATHER),
    ("valid", "parked"): _by(Room.GATHER),
    ("parked", "received"): _OPERATOR,
    ("parked", "refused"): _OPERATOR,
}

_CASE: Final[_Table] = {
    (NEW, "open"): _by(Room.GATHER),
    ("open", "complete"): _by(Room.GATHER),
    ("open", "expired"): _by(Room.GATHER),
    ("complete", "reopened"): _by(Room.GATHER),
    ("reopened", "complete"): _by(Room.GATHER),
    ("reopened", "expired"): _by(Room.GATHER),
    ("expired", "reopened"): _by(Room.GATHER),  # the missing part came after all
    ("complete", "parked"): _by(Room.GATHER),  # its document could not be made: ours to look at
    ("parked", "reopened"): _by(Room.GATHER),
    ("parked", "complete"): _OPERATOR,
}

_EXCHANGE: Final[_Table] = {
    (NEW, "due"): _by(Room.GATHER),
    ("due", "claimed"): _by(Room.DELIVER),
    ("due", "held"): _by(Room.DELIVER, Room.DESK),
    ("held", "due"): _by(Room.DELIVER, Room.DESK),
    ("claimed", "rendered"): _by(Room.DELIVER),
    ("claimed", "due"): _by(Room.DELIVER, Room.STORE),
    ("claimed", "held"): _by(Room.DELIVER),
    ("claimed", "parked"): _by(Room.DELIVER),  # it cannot be rendered
    ("rendered", "in_flight"): _by(Room.DELIVER),
    ("rendered", "due"): _by(Room.DELIVER, Room.STORE),
    ("in_flight", "delivered"): _by(Room.DELIVER),
    ("in_flight", "awaiting"): _by(Room.DELIVER),
    ("in_flight", "rejected"): _by(Room.DELIVER),
    ("in_flight", "parked"): _by(Room.DELIVER),
    ("in_flight", "due"): _by(Room.DELIVER),  # the destination said: not taken, try again
    ("in_flight", "unknown"): _by(Room.DELIVER, Room.STORE),
    ("awaiting", "delivered"): _by(Room.DELIVER),
    ("awaiting", "rejected"): _by(Room.DELIVER),
    ("awaiting", "parked"): _by(Room.DELIVER),
    ("awaiting", "unknown"): _by(Room.DELIVER),
    # only reconciliation moves what may have arrived
    ("unknown", "delivered"): _by(Room.DELIVER, Room.DESK),
    ("unknown", "due"): _by(Room.DELIVER, Room.DESK),
    ("unknown", "rejected"): _by(Room.DELIVER, Room.DESK),
    ("unknown", "parked"): _by(Room.DELIVER, Room.DESK),
    ("parked", "due"): _OPERATOR,
    ("parked", "superseded"): _OPERATOR | _by(Room.GATHER),
    ("parked", "rejected"): _OPERATOR,
    ("due", "superseded"): _by(Room.GATHER, Room.DESK),
    ("held", "superseded"): _by(Room.GATHER, Room.DESK),
}

_ANSWER: Final[_Table] = {
    (NEW, "owed"): _by(Room.RECEIVE, Room.MAP, Room.GATHER, Room.DELIVER, Room.DESK, Room.VALIDATE),
    (NEW, "given"): _by(Room.RECEIVE),
    (NEW, "not_owed"): _by(Room.RECEIVE),
    ("owed", "given"): _by(Room.RECEIVE),
    ("owed", "not_owed"): _by(Room.RECEIVE, Room.DESK),
}

STEPS: Final[dict[Thing, _Table]] = {
    Thing.SUBMISSION: _SUBMISSION,
    Thing.ITEM: _ITEM,
    Thing.CASE: _CASE,
    Thing.EXCHANGE: _EXCHANGE,
    Thing.ANSWER: _ANSWER,
}

FINAL: Final[dict[Thing, frozenset[str]]] = {
    Thing.SUBMISSION: frozenset({"itemised", "refused"}),
    Thing.ITEM: frozenset({"gathered", "refused"}),
    Thing.CASE: frozenset({"complete", "expired"}),
    Thing.EXCHANGE: frozenset({"delivered", "rejected", "superseded"}),
    Thing.ANSWER: frozenset({"given", "not_owed"}),
}
"""States in which nothing more is owed. Everything else is waiting, and is counted with an age."""

AFTER_CRASH: Final[dict[str, str]] = {"claimed": "due", "rendered": "due", "in_flight": "unknown"}
"""Where an exchange stands after its worker died: what never left is due again, what may have left is unknown."""


class IllegalStep(Exception):
    """A step that is not in the table: a defect of ours, never of the input."""

    def __init__(self, thing: Thing, frm: str, to: str, room: Room) -> None:
        super().__init__(f"{thing}: {frm} -> {to} by {room} is not an allowed step")
        self.thing, self.frm, self.to, self.room = thing, frm, to, room


def check(thing: Thing, frm: str, to: str, room: Room) -> None:
    """Promise that the step is allowed, or raise `IllegalStep`."""
    if room not in STEPS[thing].get((frm, to), frozenset()):
        raise IllegalStep(thing, frm, to, room)


def states(thing: Thing) -> frozenset[str]:
    """Every state that the thing can be in."""
    return frozenset(to for _, to in STEPS[thing])


def waiting(thing: Thing) -> frozenset[str]:
    """The states that are counted, aged and shown until they end (promise 2)."""
    return states(thing) - FINAL[thing]
