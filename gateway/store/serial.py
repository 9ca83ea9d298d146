"""What a step rests on, looked at again inside its commit.

Processes that share a PostgreSQL ledger decide by what they read a moment before. Commits are serial (each holds the
feed's row), so what is asked here is true until the step is durable: of two processes that decided the same at the
same instant, the second is told that its state is stale, and decides anew.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, bindparam, or_, select

from gateway.errors import StaleState
from gateway.message import Step
from gateway.store import evidence, order, schema
from gateway.store.group import Group


def check(group: Group, step: Step) -> None:
    """Raise `StaleState` where somebody else was first."""
    if step.latest is not None:
        _control_id(group, step)
    for each in evidence.made(step):
        if group.hand.one("overtaken", _earlier, {"case": each.case}) is not None:
            raise StaleState(thing=f"case/{each.case}")


def _control_id(group: Group, step: Step) -> None:
    """Nobody took the control id since the sender's earlier submissions were looked at."""
    assert step.latest is not None
    sender, control_id, newest = step.latest
    found = group.hand.one("control id", _newest, {"sender": sender, "control_id": control_id})
    if (None if found is None else found[0]) != newest:
        raise StaleState(thing="a control id")


def _newest() -> Any:
    table = schema.submissions
    mine = (table.c.sender == bindparam("sender"), table.c.control_id == bindparam("control_id"))
    return select(table.c.id).where(*mine).order_by(table.c.sequence.desc()).limit(order.ONE)


def _earlier() -> Any:
    """A case of the same sender and subject that is complete for longer and still owes its document: it goes first."""
    mine, other = schema.cases.alias(), schema.cases.alias()
    before = or_(other.c.since < mine.c.since, and_(other.c.since == mine.c.since, other.c.id < mine.c.id))
    same = and_(other.c.sender == mine.c.sender, other.c.subject == mine.c.subject, before)
    asked = select(other.c.id).join_from(mine, other, same)
    return asked.where(mine.c.id == bindparam("case"), other.c.owes == order.ONE).limit(order.ONE)
