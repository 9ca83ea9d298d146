"""After a crash: what a dead worker held is due again, or unknown if it may have left."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select

from gateway import flow
from gateway.flow import Room, Thing
from gateway.message import Move, Step
from gateway.store import identity, schema
from gateway.store.apply import apply
from gateway.store.group import Group
from gateway.store.order import ONE


def recover(group: Group, at: datetime) -> Sequence[str]:
    """One journalled step with `flow.AFTER_CRASH` for every exchange of a dead worker; what became unknown."""
    table = schema.exchanges
    held = select(table.c.id, table.c.state, table.c.claimed_by).where(
        table.c.open == ONE, table.c.state.in_(sorted(flow.AFTER_CRASH))
    )
    rows = group.connection.execute(held.order_by(table.c.position)).all()
    gone = {
        name: name is None or identity.dead(group.connection, name, group.identity)
        for name in {row.claimed_by for row in rows}
    }
    moves = tuple(
        Move(thing=Thing.EXCHANGE, id=row.id, frm=row.state, to=flow.AFTER_CRASH[row.state], room=Room.STORE)
        for row in rows
        if gone[row.claimed_by]
    )
    if moves:
        apply(group, Step(name="recover", at=at, moves=moves))
    return [move.id for move in moves if move.to == "unknown"]
