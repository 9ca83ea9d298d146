"""Tables of ranges: CSV whose cells say which values they stand for; the first row in which every cell holds is found.

A cell is empty (any value, also none) or alternatives between spaces: `C61` (and C61.9 with it: what stands before a
dot stands for all behind it), `C51-C58` and `0-14` (both ends included; numbers where both ends are numbers), `814*`
(what begins so). A cell that begins with `!` holds where none of its alternatives does. A missing value meets no cell
but an empty one: what is not known decides nothing. Columns of a table that no value is given for are data.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gateway.errors import Misconfigured

Test = Callable[[str], bool]


class RangeTable:
    """One table. `columns` are its header; `rows` are its cells by column as they were written."""

    def __init__(self, name: str, columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> None:
        self.name, self.columns, self.rows = name, tuple(columns), tuple(rows)
        self._compiled = [{column: _cell(text) for column, text in row.items()} for row in rows]

    def find(self, values: Mapping[str, str]) -> Mapping[str, str] | None:
        """The first row that holds for these values; None where none does."""
        for row, tests in zip(self.rows, self._compiled, strict=True):
            if all(_holds(tests.get(column), value) for column, value in values.items()):
                return row
        return None


def _holds(test: Test | None, value: str) -> bool:
    return test is None or (value != "" and test(value))


def _cell(text: str) -> Test | None:
    clean = text.strip()
    if not clean:
        return None
    wanted = not clean.startswith("!")
    tests = [_alternative(each) for each in clean.removeprefix("!").split()]
    return lambda value: any(test(value) for test in tests) is wanted


def _alternative(text: str) -> Test:
    if text.endswith("*"):
        return lambda value: value.startswith(text[:-1])
    low, dash, high = text.partition("-")
    if dash and low and high:
        if low.isdigit() and high.isdigit():
            least, most = int(low), int(high)
            return lambda value: value.isdigit() and least <= int(value) <= most
        return lambda value: low <= value[: len(low)] and value[: len(high)] <= high
    return lambda value: value == text or value.startswith(f"{text}.")


def read(body: bytes, name: str) -> RangeTable:
    """A table from UTF-8 CSV; `Misconfigured` where rows and header do not fit."""
    try:
        lines = [line for line in csv.reader(io.StringIO(body.decode("utf-8-sig"))) if line and not _comment(line)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise Misconfigured(detail=f"{name}: {error}") from None
    if not lines or len(set(lines[0])) != len(lines[0]):
        raise Misconfigured(detail=f"{name}: the first line names each column once")
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(lines[0]):
            raise Misconfigured(detail=f"{name}: row {number} has {len(line)} cells, the header has {len(lines[0])}")
    return RangeTable(name, lines[0], [dict(zip(lines[0], line, strict=True)) for line in lines[1:]])


def _comment(line: Sequence[str]) -> bool:
    return line[0].startswith("#")


def load(path: Path) -> tuple[RangeTable, str]:
    """The table of a file, and the digest of its bytes."""
    try:
        body = path.read_bytes()
    except OSError as error:
        raise Misconfigured(detail=f"{path}: {error.strerror}") from None
    return read(body, path.name), hashlib.sha256(body).hexdigest()
