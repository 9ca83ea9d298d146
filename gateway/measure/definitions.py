"""Every table of an installation, read from its programmes' folders: views, reference data, CSV tables, calendars."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from gateway.errors import Broken, GatewayError, Misconfigured
from gateway.formats import json
from gateway.formats.views import FilledTable, Made, RegistryTable, Row, TableColumn, ViewTable
from gateway.measure import calendar, cells, model, sheets
from gateway.measure.view import View
from gateway.message import RegistryEntry, StoredResource
from gateway.programme import Programme

VERSION: Final = "1"
"""Of the rules by which values become columns; another one makes every store build every table anew."""

INDEX: Final = "urn:gateway:view-index"
RESERVED: Final = frozenset({"resource_id", "row_no", "sender", "document", "published_at", "received_at"})
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
_LONGEST: Final = 60


class _Made:
    """A view with its table."""

    def __init__(self, view: View, table: ViewTable, make: Sequence[Callable[[Any], Row]]) -> None:
        self.view, self.table, self._make = view, table, make

    def rows(self, resource: dict[str, Any]) -> list[Row]:
        return [
            tuple([cell for make, value in zip(self._make, row, strict=True) for cell in make(value)])
            for row in self.view(resource)
        ]


class Definitions:
    """`gateway.formats.views.Views` of these programmes."""

    def __init__(self, home: Path, programmes: Mapping[str, Programme]) -> None:
        self._views: dict[tuple[str, str], list[_Made]] = {}
        registries = [sheets.everything()]
        filled: list[FilledTable] = []
        for name, programme in sorted(programmes.items()):
            folder = home / "profiles" / name / "views"
            if not (folder.is_dir() or (home / "profiles" / name / "measures").is_dir()):
                continue
            for path in sorted(folder.glob("*.json")):
                made = _view(path, programme, home)
                self._views.setdefault((name, made.view.resource), []).append(made)
            more_registries, more_filled = sheets.read(folder / "tables.toml", programme)
            registries += more_registries
            filled += [*more_filled, calendar.table(programme)]
        self._some = bool(filled)
        self.tables: Sequence[ViewTable] = [each.table for several in self._views.values() for each in several]
        self.registries: Sequence[RegistryTable] = registries if self._some else []
        self.filled: Sequence[FilledTable] = filled
        every: list[ViewTable | RegistryTable | FilledTable] = [*self.tables, *self.registries, *self.filled]
        digests = sorted(f"{table.name} {table.digest}" for table in every)
        self.digest = hashlib.sha256("\n".join([VERSION, *digests]).encode()).hexdigest()

    def made(self, resource: StoredResource) -> Made | None:
        """Its rows in each table that wants its type; None where no table does. A view that fails makes none."""
        wanted = self._views.get((resource.programme, resource.type))
        if wanted is None:
            return None
        rows: dict[str, Sequence[Row]] = {each.table.name: () for each in wanted}
        faults: dict[str, str] = {}
        if not resource.deleted:
            body = json.reread(resource.body)
            for each in wanted:
                try:
                    rows[each.table.name] = each.rows(body)
                except Broken as fault:
                    faults[each.table.name] = fault.code
        return Made(rows=rows, faults=faults)

    def entered(self, entry: RegistryEntry) -> Mapping[str, Row]:
        """Its row in each registry table that wants its kind."""
        return {
            table.name: sheets.entered(table, entry)
            for table in self.registries
            if table.programme in ("", entry.programme) and table.kind in ("", entry.kind)
        }


def _view(path: Path, programme: Programme, home: Path) -> _Made:
    try:
        definition = json.read(path.read_bytes())
    except (OSError, GatewayError) as error:
        raise Misconfigured("GW-MEASURE-001", file=str(path), detail=type(error).__name__) from None
    view = View(definition, model.r4(home), str(path))
    table = table_name(programme.name, path.stem, path)
    columns: list[TableColumn] = []
    make: list[Callable[[Any], Row]] = []
    for each in view.columns:
        made, convert = cells.column(each, programme.timezone)
        columns += made
        make.append(convert)
    names = [column.name for column in columns]
    wrong = [n for n in names if n in RESERVED or not _NAME.fullmatch(n) or names.count(n) > 1 or len(n) > _LONGEST]
    if wrong:
        detail = f"column {wrong[0]}: small letters, digits and _; not twice; not one that every table has"
        raise Misconfigured("GW-MEASURE-001", file=str(path), detail=detail)
    digest = hashlib.sha256(json.write(definition) + f"{VERSION} {programme.timezone} {cells.VERSION}".encode())
    made_table = ViewTable(
        name=table,
        programme=programme.name,
        resource=view.resource,
        columns=tuple(columns),
        indexes=tuple(_indexes(definition, {*names, *RESERVED}, path)),
        digest=digest.hexdigest(),
    )
    return _Made(view, made_table, make)


def table_name(programme: str, name: str, path: Path) -> str:
    """`v_PROGRAMME_NAME`, or `Misconfigured` for a name that cannot be one."""
    made = f"v_{programme}_{name}".replace("-", "_")
    if not _NAME.fullmatch(made) or len(made) > _LONGEST:
        raise Misconfigured("GW-MEASURE-001", file=str(path), detail=f"{made[:80]} cannot be the name of a table")
    return made


def _indexes(definition: Mapping[str, Any], names: set[str], path: Path) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for each in definition.get("extension", ()):
        if each.get("url") == INDEX:
            columns = tuple(name.strip() for name in str(each.get("valueString", "")).split(","))
            if missing := [name for name in columns if name not in names]:
                raise Misconfigured("GW-MEASURE-001", file=str(path), detail=f"index: there is no column {missing[0]}")
            found.append(columns)
    return found


def load(home: Path, programmes: Mapping[str, Programme]) -> Definitions:
    """Every table of these programmes, from the folder that holds `profiles/` and `mappings/`. `Misconfigured`."""
    try:
        return Definitions(home, programmes)
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured("GW-MEASURE-001", file="tables.toml", detail=str(error)) from None
