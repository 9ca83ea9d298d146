"""`gateway view`: the rows that a SQL-on-FHIR ViewDefinition makes of resources. Nothing is stored or sent."""

from __future__ import annotations

import csv
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from gateway.errors import GatewayError, Misconfigured
from gateway.formats import json
from gateway.measure import model
from gateway.measure.view import View
from gateway.message import Json

HOME = Path(__file__).parents[2]


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("view", help="rows of a SQL-on-FHIR ViewDefinition, from files")
    parser.add_argument("file", type=Path, help="the ViewDefinition (JSON)")
    told = "resources: NDJSON, one JSON resource, a Bundle or a list; - for standard input"
    parser.add_argument("--in", dest="source", type=Path, action="append", required=True, metavar="FILE", help=told)
    parser.add_argument("--format", choices=("csv", "ndjson", "json"), default="csv")
    parser.add_argument("--out", type=Path, help="write to this file")
    parser.add_argument("--home", type=Path, default=HOME, help="where profiles/ is")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Resources one by one, so that a file of any length goes through."""
    view = View(_read(arguments.file), model.r4(arguments.home), str(arguments.file))
    names = [column.name for column in view.columns]
    rows = (row for path in arguments.source for each in resources(path) for row in view(each))
    if arguments.out is None:
        _write(sys.stdout, arguments.format, names, rows)
    else:
        with arguments.out.open("w", encoding="utf-8", newline="") as file:
            _write(file, arguments.format, names, rows)
    return 0


def _read(path: Path) -> Any:
    try:
        return json.read(path.read_bytes())
    except GatewayError as error:
        raise Misconfigured("GW-MEASURE-001", file=str(path), detail=error.code) from None


def resources(path: Path) -> Iterator[Json]:
    """The resources of a file. Raises `GatewayError` for what is not JSON."""
    if str(path) == "-":
        yield from _lines(sys.stdin.buffer)
        return
    with path.open("rb") as file:
        first = file.readline()
        try:
            whole = isinstance(json.read(first), dict)
        except GatewayError:
            whole = False
        file.seek(0)
        if whole:
            yield from _lines(file)
        else:
            yield from _unpacked(json.read(file.read()))


def _lines(file: Iterable[bytes]) -> Iterator[Json]:
    for line in file:
        if line.strip():
            yield from _unpacked(json.read(line))


def _unpacked(value: Any) -> Iterator[Json]:
    if isinstance(value, list):
        yield from (each for each in value if isinstance(each, dict))
    elif isinstance(value, dict) and value.get("resourceType") == "Bundle":
        yield from (each["resource"] for each in value.get("entry", ()) if isinstance(each.get("resource"), dict))
    elif isinstance(value, dict):
        yield value


def _write(out: TextIO, format: str, names: list[str], rows: Iterable[tuple[Any, ...]]) -> None:
    if format == "csv":
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([_cell(value) for value in row] for row in rows)
        return
    if format == "ndjson":
        out.writelines(json.write(dict(zip(names, row, strict=True))).decode() + "\n" for row in rows)
        return
    before = "[\n"
    for row in rows:
        print(before + json.write(dict(zip(names, row, strict=True))).decode(), end="", file=out)
        before = ",\n"
    print("\n]" if before[0] == "," else "[]", file=out)


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.write(value).decode() if isinstance(value, list | dict) else value
