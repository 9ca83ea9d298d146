"""`gateway template PROGRAMME`: the workbook that its senders fill in, with headings, drop-downs and explanations."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from gateway.formats import table_blank
from gateway.map import blank


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("template", help="write a programme's workbook for senders to fill in")
    parser.add_argument("programme")
    parser.add_argument("--out", type=Path, metavar="F.xlsx", help="F.zip: CSV files; default: PROGRAMME.xlsx")
    parser.add_argument("--example", action="store_true", help="with one example row in each sheet, to try it out")
    parser.add_argument("--home", type=Path, default=Path(), help="where mappings/ is")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Write it, and say where."""
    found = blank.load(arguments.home, arguments.programme)
    path = arguments.out or Path(f"{arguments.programme}.xlsx")
    make = table_blank.csv_files if path.suffix.lower() == ".zip" else table_blank.workbook
    path.write_bytes(make(found, arguments.example))
    print(f"{path}: {len(found.pages)} sheets, {sum(len(page.columns) for page in found.pages)} columns")
    return 0
