"""How things look on a terminal: traces, findings, resources. Plain text, no colour codes, no cursor tricks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from gateway import errors
from gateway.message import Finding, ItemResult, Json, Language

RULE = "─" * 100


def age(seconds: float) -> str:
    """45 s, 12 min, 3 h, 2 d."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def finding(found: Finding, language: Language = "en", indent: str = "  ") -> Iterable[str]:
    """The lines of one finding: code, place, text, mend."""
    place = f" at {found.place.path}" if found.place else ""
    location = f" ({found.location})" if found.location else ""
    rule = f" [{found.source}]" if found.source else ""
    yield f"{indent}{found.severity:<11} {found.code}{rule}{place}{location}"
    yield f"{indent}            {errors.text(found, language)}"
    if found.mend is not None or found.code in errors.codes():
        yield f"{indent}            → {errors.mend(found, language)}"


def outline(resource: Json) -> str:
    """One line about a resource: type, id, and what tells it from its siblings."""
    kind = resource["resourceType"]
    words = [f"{kind}/{resource.get('id', '?')[:12]}"]
    for name in ("class", "status", "priority", "intent", "gender", "birthDate"):
        value = resource.get(name)
        if isinstance(value, dict):
            value = value.get("code")
        if isinstance(value, str):
            words.append(f"{name}={value}")
    words += [f"{each.get('system', '?').rsplit('/', 1)[-1]}|…" for each in resource.get("identifier", [])[:2]]
    return "  ".join(words)


def loss(result: ItemResult) -> Iterable[str]:
    """The loss report: what was ignored on purpose, with the reason, and what nobody read."""
    unread = [each for each in result.loss if each.fate == "unread"]
    ignored = [each for each in result.loss if each.fate == "ignored"]
    yield f"  read and mapped: {len({p.path for line in result.lineage for p in line.places})} places"
    for each in ignored:
        yield f"  ignored  {each.place.path:<20} {each.reason or ''}"
    for each in unread:
        yield f"  unread   {each.place.path}"


def journal_line(entry: Json) -> str:
    """One state change with the room that made it."""
    at = str(entry["at"])[11:23]
    reason = f"  ({entry['reason']})" if entry.get("reason") else ""
    step = f"{entry['frm']} → {entry['to']}"
    return f"{at}  {entry['room']:<9} {entry['thing']:<11} {entry['id'][:12]}  {step}{reason}"


def trace_line(line: Json) -> None:
    """One answer line of the `trace` command."""
    if "journal" in line:
        print(journal_line(line["journal"]))
    elif "submission" in line:
        given = line["submission"]
        print(f"submission {given['id']}  {given['media_type']}  {given['channel']}  sha-256 {given['digest'][:16]}…")
    elif "item" in line:
        _item(line["item"])
    elif "exchange" in line:
        _exchange(line)


def _item(item: Json) -> None:
    result = item["result"]
    print(f"item {item['id'][:12]}  {result['label']}  {item['state']}  {len(result.get('resources', []))} resources")
    for found in result.get("findings", []):
        place = (found.get("place") or {}).get("path", "-")
        print(f"  {found['severity']:<11} {found['code']}  {place}")


def _exchange(line: Json) -> None:
    each: dict[str, Any] = line["exchange"]
    print(f"exchange {each['id'][:12]}  → {each['destination']}  {each['state']}  tries {each.get('tries', 0)}")
    for attempt in line["attempts"]:
        outcome = attempt.get("outcome", "no outcome yet")
        print(f"  attempt {attempt['number']}  {outcome}  {attempt['request_digest'][:16]}…")
    for name, value in sorted(line["receipts"].items()):
        print(f"  receipt {name} = {value}")


def lines(each: Iterable[str]) -> None:
    """Print them."""
    for line in each:
        print(line)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterable[str]:
    """Columns as wide as they need to be."""
    body = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(head), *body]) for i in range(len(head))]
    for row in [list(head), *body]:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def exchange_line(line: Json) -> None:
    """One exchange with its state, destination, tries and the code of why it waits."""
    each = line["exchange"]
    reason = each.get("reason") or "-"
    print(f"{each['id']}  {each['state']:<10} {each['destination']:<12} tries {each.get('tries', 0):<4} {reason}")
