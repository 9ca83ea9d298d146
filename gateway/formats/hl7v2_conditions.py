"""Fields that are required only when something else is so (usage C in the standard's segment tables)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gateway.formats.hl7v2_message import Message, Segment
from gateway.message import Place

Found = tuple[str, Place, dict[str, str]]

# (segment, needed field, the field whose value makes it needed, section)
_NEEDED_WITH: Final = (
    ("OBX", 2, 5, "7.4.2.2"),
    ("OBX", 3, 5, "7.4.2.3"),
    ("MSH", 18, 20, "2.15.9.20"),
    ("PV2", 3, 5, "3.4.4.3"),
    ("DG1", 3, 4, "6.5.2.3"),
    ("PR1", 5, 3, "6.5.4.5"),
    ("AL1", 3, 5, "3.4.6.3"),
    ("TXA", 3, 16, "9.6.1.3"),
)

# (segment, fields of which at least one is needed, section)
_ONE_OF: Final = (("ORC", (2, 3, 4), "4.5.1.2"), ("SCH", (1, 2), "10.6.1.1"))


def _field(segment: Segment, number: int) -> str:
    return segment.fields[number] if number < len(segment.fields) else ""


def conditions(message: Message) -> Iterator[Found]:
    """What is missing under its condition: (code, place, arguments)."""
    index = message.index
    for name, needed, given, _ in _NEEDED_WITH:
        for segment in index.get(name, ()):
            if _field(segment, given) and not _field(segment, needed):
                place = Place(notation="hl7v2", path=f"{segment.here.path}-{needed}")
                yield "GW-FMT-034", place, {"condition": f"{name}-{given}"}
    for name, numbers, _ in _ONE_OF:
        for position, segment in enumerate(message.segments):
            if segment.name != name or any(_field(segment, n) for n in numbers):
                continue
            if name == "ORC" and _order_numbers_after(message, position):
                continue
            place = Place(notation="hl7v2", path=f"{segment.here.path}-{numbers[0]}")
            yield "GW-FMT-035", place, {"fields": ", ".join(f"{name}-{n}" for n in numbers)}


def _order_numbers_after(message: Message, position: int) -> bool:
    """OBR-2 and OBR-3 repeat ORC-2 and ORC-3; either place will do (section 4.5.1)."""
    for segment in message.segments[position + 1 : position + 6]:
        if segment.name == "ORC":
            return False
        if segment.name == "OBR":
            return bool(_field(segment, 2) or _field(segment, 3))
    return False
