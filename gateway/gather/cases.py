"""Cases: which items belong together, and what completes them (DESIGN section 2).

Pure: the present case and an item (or a time) give the next case and the moves. The caller commits them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

import msgspec

from gateway.errors import Misconfigured
from gateway.flow import NEW, Room, Thing
from gateway.message import Case, ItemRecord, Move
from gateway.programme import CasePlan

TAKEN_AWAY: Final = "-"
"""Before a part: the item takes it away, as the cancellation of a discharge does."""

_DURATION: Final = re.compile(r"P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?")


def duration(text: str) -> timedelta:
    """An ISO 8601 duration of weeks, days, hours, minutes and seconds (no months: their length varies)."""
    found = _DURATION.fullmatch(text)
    if not found or not any(found.groups()):
        raise Misconfigured(detail=f"{text!r} is not a duration like P30D or PT12H")
    weeks, days, hours, minutes, seconds = (int(g or 0) for g in found.groups())
    return timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)


def is_complete(plan: CasePlan, parts: Iterable[str]) -> bool:
    """Whether one of the plan's alternatives has all its parts."""
    present = set(parts)
    return any(present.issuperset(wanted) for wanted in plan.complete.parts)


def _move(case: Case, frm: str, to: str, reason: str | None = None) -> Move:
    return Move(thing=Thing.CASE, id=case.id, frm=frm, to=to, room=Room.GATHER, reason=reason)


def _complete(case: Case, frm: str) -> tuple[Case, Move]:
    done = msgspec.structs.replace(case, state="complete", version=case.version + 1, expires_at=None)
    return done, _move(case, frm, "complete")


def _joined(plan: CasePlan, case: Case, item: ItemRecord, at: datetime) -> Case:
    limit = at + duration(plan.expires_after) if plan.expires_after else None
    brought = set(item.result.parts)
    taken = {part.removeprefix(TAKEN_AWAY) for part in brought if part.startswith(TAKEN_AWAY)}
    parts = tuple(sorted(({*case.parts} - taken) | {part for part in brought if not part.startswith(TAKEN_AWAY)}))
    return msgspec.structs.replace(case, parts=parts, expires_at=case.expires_at or limit)


def join(plan: CasePlan, case: Case | None, item: ItemRecord, at: datetime) -> tuple[Case, tuple[Move, ...]]:
    """The case after the item has joined it, and every move on the way.

    A later item opens a new version of a complete case; an expired one is reopened by the part that was missing.
    """
    ref, subject = item.result.case, item.result.subject
    if ref is None or subject is None:
        raise ValueError(f"item {item.id} names no case or subject")
    moves: list[Move] = [Move(thing=Thing.ITEM, id=item.id, frm="valid", to="gathered", room=Room.GATHER)]
    if case is None:
        case = Case(
            id=ref.id,
            programme=item.programme,
            sender=item.sender,
            subject=subject,
            kind=ref.kind,
            state="open",
            opened_at=at,
        )
        moves.append(_move(case, NEW, "open"))
    elif case.state in {"complete", "expired", "parked"}:
        moves.append(_move(case, case.state, "reopened"))
        case = msgspec.structs.replace(case, state="reopened")
    case = _joined(plan, case, item, at)
    if is_complete(plan, case.parts):
        case, move = _complete(case, case.state)
        moves.append(move)
    return case, tuple(moves)


def pass_limit(plan: CasePlan, case: Case) -> tuple[Case, Move]:
    """What becomes of a case whose time limit has passed: expired, or complete where the plan says so."""
    if plan.at_limit == "complete":
        return _complete(case, case.state)
    expired = msgspec.structs.replace(case, state="expired", expires_at=None)
    return expired, _move(case, case.state, "expired", reason="GW-GATHER-001")
