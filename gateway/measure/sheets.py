"""`tables.toml`: reference data and CSV files of a programme as tables beside its views."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

from gateway.errors import GatewayError, Misconfigured
from gateway.formats import json, table_csv
from gateway.formats.periods import number
from gateway.formats.views import OPEN_DAY, FilledTable, RegistryTable, Row, TableColumn
from gateway.measure import cells
from gateway.message import RegistryEntry
from gateway.programme import Programme

_TEXT: Final = ("text",)
_VALIDITY: Final = ("valid_from_day", "valid_to_day")
_TYPES: Final = frozenset({"string", "integer", "decimal", "boolean", "date", "dateTime"})


class _Registry(RegistryTable, frozen=True, kw_only=True):
    """A registry table that knows where its columns come from."""

    fields: tuple[tuple[str, str, str], ...] = ()  # column, path, type
    timezone: str = "UTC"


def _columns(*names: str) -> tuple[TableColumn, ...]:
    return tuple(TableColumn(name=each, kind="integer" if each in _VALIDITY else "text") for each in names)


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.write([cells.VERSION, *parts])).hexdigest()


def everything() -> RegistryTable:
    """`v_registry`: all reference data, its fields as JSON."""
    columns = _columns("programme", "kind", "key", "valid_from", "valid_to", *_VALIDITY, "data")
    return _Registry(name="v_registry", programme="", kind="", columns=columns, digest=_digest("v_registry"))


def entered(table: RegistryTable, entry: RegistryEntry) -> Row:
    """The row of an entry."""
    assert isinstance(table, _Registry)
    days = (_day(entry.valid_from, -OPEN_DAY), _day(entry.valid_to, OPEN_DAY))
    known = (entry.key, entry.valid_from, entry.valid_to, *days)
    if not table.kind:
        return (entry.programme, entry.kind, *known, json.write(entry.data).decode())
    return (*known, *_cells(table.fields, lambda path: _at(entry.data, path), table.timezone))


def _cells(fields: Sequence[tuple[str, str, str]], get: Callable[[str], Any], timezone: str) -> Row:
    made: list[Any] = []
    for name, path, type in fields:
        made += cells.by_type(name, type, timezone)[1](get(path))
    return tuple(made)


def _at(data: Mapping[str, Any], path: str) -> Any:
    found: Any = data.get(path)
    if found is None:
        found = data
        for part in path.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _day(text: str | None, otherwise: int) -> int:
    try:
        return number(date.fromisoformat(text)) if text else otherwise
    except ValueError:
        return otherwise


# --- tables.toml ----------------------------------------


def read(path: Path, programme: Programme) -> tuple[list[RegistryTable], list[FilledTable]]:
    """The tables that the file declares; none where there is no file. Raises `Misconfigured`."""
    if not path.exists():
        return [], []
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise Misconfigured("GW-MEASURE-001", file=str(path), detail=str(error)) from None
    if unknown := set(raw) - {"registry", "table"}:
        raise Misconfigured("GW-MEASURE-001", file=str(path), detail=f"[{min(unknown)}] is not known")
    registries = [_registry(name, rest, programme, path) for name, rest in raw.get("registry", {}).items()]
    return registries, [_table(name, rest, programme, path) for name, rest in raw.get("table", {}).items()]


def _name(*parts: str) -> str:
    return "_".join(("v", *parts)).replace("-", "_").lower()


def _fields(declared: Mapping[str, Any], path: Path) -> list[tuple[str, str, str]]:
    made = []
    for name, how in declared.items():
        type, source = (how, name) if isinstance(how, str) else (how.get("type", "string"), how.get("path", name))
        if type not in _TYPES:
            raise Misconfigured("GW-MEASURE-001", file=str(path), detail=f"{name}: {type} is not a type")
        made.append((name, source, type))
    return made


def _registry(kind: str, declared: Mapping[str, Any], programme: Programme, path: Path) -> RegistryTable:
    fields = _fields(declared, path)
    more = [made for name, _, type in fields for made in cells.by_type(name, type, programme.timezone)[0]]
    return _Registry(
        name=_name(programme.name, "registry", kind),
        programme=programme.name,
        kind=kind,
        columns=(*_columns("key", "valid_from", "valid_to", *_VALIDITY), *more),
        digest=_digest(kind, fields, programme.timezone),
        fields=tuple(fields),
        timezone=programme.timezone,
    )


def _table(name: str, declared: Mapping[str, Any], programme: Programme, path: Path) -> FilledTable:
    source = Path(programme.folder) / str(declared.get("file", ""))
    fields = _fields({key: value for key, value in declared.items() if key != "file"}, path)
    try:
        body = source.read_bytes()
    except OSError as error:
        raise Misconfigured("GW-MEASURE-001", file=str(path), detail=f"{source}: {error.strerror}") from None
    columns = [made for column, _, type in fields for made in cells.by_type(column, type, programme.timezone)[0]]
    names = {column for column, _, _ in fields}
    dated = {"valid_from", "valid_to"} <= names
    if dated:
        if any(type != "string" for column, _, type in fields if column in ("valid_from", "valid_to")):
            raise Misconfigured("GW-MEASURE-001", file=str(path), detail=f"{name}: validity is of type string")
        columns += _columns(*_VALIDITY)
    return FilledTable(
        name=_name(programme.name, "table", name),
        columns=tuple(columns),
        digest=_digest(name, fields, programme.timezone, hashlib.sha256(body).hexdigest()),
        rows=lambda: list(_rows(body, fields, programme.timezone, source, dated=dated)),
    )


def _rows(
    body: bytes, fields: Sequence[tuple[str, str, str]], timezone: str, source: Path, *, dated: bool
) -> Iterable[Row]:
    for cells_ in lines(body, source):
        missing = [path for _, path, _ in fields if path not in cells_]
        if missing:
            raise Misconfigured("GW-MEASURE-001", file=str(source), detail=f"there is no column {missing[0]}")
        row = _cells(fields, lambda path, found=cells_: found[path] or None, timezone)  # type: ignore[misc]
        if dated:
            row = (*row, _day(cells_["valid_from"], -OPEN_DAY), _day(cells_["valid_to"], OPEN_DAY))
        yield row


def lines(body: bytes, source: Path) -> Iterable[Mapping[str, str]]:
    """The rows of a CSV file by heading. Raises `Misconfigured`."""
    try:
        for sheet in table_csv.read(body).sheets:
            names = [name.strip() for name in sheet.heading.names]
            for row in sheet:
                cells_ = [str(cell).strip() for cell in row.cells] + [""] * (len(names) - len(row.cells))
                if any(cells_):
                    yield dict(zip(names, cells_, strict=False))
    except GatewayError as error:
        raise Misconfigured("GW-MEASURE-001", file=str(source), detail=error.code) from None
