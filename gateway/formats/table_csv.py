"""CSV and TSV (RFC 4180), read row by row in bounded memory. What is wrong with one row does not spoil the next."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from typing import Final

from gateway.errors import TooLarge, Unreadable, finding
from gateway.formats import text as texts
from gateway.formats.plausible import suspicion
from gateway.formats.table import Heading, Row, Sheet, Table, wrong_width
from gateway.message import Finding, Place

MAX_BYTES: Final = 512 * 1024 * 1024
MAX_LINES_IN_ROW: Final = 200
MAX_ROW: Final = 256 * 1024
DELIMITERS: Final = (",", ";", "\t", "|")
GUESSES: Final = ("WINDOWS-1256", "GB 18030-2000", "WINDOWS-1252")
"""Tried in this order where bytes are neither declared nor UTF-8; the result is always reported (GW-FMT-053)."""

_BOMS: Final = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


def read(
    body: bytes,
    charset: str = "",
    delimiter: str = "",
    guesses: Sequence[str] = GUESSES,
    max_bytes: int = MAX_BYTES,
) -> Table:
    """The table. `charset` is the declared one (Content-Type), `delimiter` where it is known beforehand.

    Raises `Unreadable` or `TooLarge`; what is wrong with single rows stands in their findings.
    """
    if len(body) > max_bytes:
        raise TooLarge("GW-CORE-004", what="bytes", actual=str(len(body)), limit=str(max_bytes))
    start, codec, remarks = _encoding(body, charset, guesses)
    mark = delimiter or _delimiter(_sample(body, start, codec))
    lines = _Lines(body, start, codec)
    heading = _heading(_records(lines, mark))

    def rows() -> Iterator[Row]:
        return _rows(_records(_Lines(body, start, codec), mark), heading)

    return Table([Sheet("", heading, 0, rows)], codec, mark, remarks)


# --- what it is encoded in ----------------------------------------


def _decodes(body: bytes, start: int, codec: str) -> UnicodeDecodeError | None:
    decoder = codecs.getincrementaldecoder(codec)("strict")
    at = start
    try:
        while at < len(body):
            decoder.decode(body[at : at + 65536])
            at += 65536
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        return UnicodeDecodeError(codec, error.object, min(at, len(body)) + error.start, len(body) + 1, error.reason)
    return None


def _encoding(body: bytes, declared: str, guesses: Sequence[str]) -> tuple[int, str, tuple[Finding, ...]]:
    for mark, codec in _BOMS:
        if body.startswith(mark):
            _must_decode(body, len(mark), codec, codec)
            return len(mark), codec, ()
    if declared:
        known = texts.charset(declared)
        if known is None:
            raise Unreadable("GW-FMT-003", Place(notation="header", path="Content-Type"), charset=declared[:40])
        _must_decode(body, 0, known.codec, known.name)
        return 0, known.codec, ()
    if _decodes(body, 0, "utf-8") is None:
        return 0, "utf-8", ()
    for name in guesses:
        known = texts.charset(name)
        if known is not None and _decodes(body, 0, known.codec) is None:
            sample = body[:65536].decode(known.codec, "ignore")
            if not suspicion(sample, known.codec) or name == guesses[-1]:
                return 0, known.codec, (finding("GW-FMT-053", charset=known.name),)
    _must_decode(body, 0, "utf-8", "UNICODE UTF-8")
    raise AssertionError("unreachable: the bytes were not UTF-8")


def _must_decode(body: bytes, start: int, codec: str, name: str) -> None:
    error = _decodes(body, start, codec)
    if error is not None:
        row = body.count(b"\n", 0, error.start) + 1
        place = Place(notation="table", path=f"row {row}")
        raise Unreadable("GW-FMT-004", place, charset=name, offset=str(error.start))


def _sample(body: bytes, start: int, codec: str) -> str:
    return body[start : start + 65536].decode(codec, "ignore")


def _delimiter(sample: str) -> str:
    """The delimiter that most evenly cuts the first rows; a comma where there is only one column."""
    lines = [line for line in sample.splitlines()[:20] if line.strip()] or [""]
    best, most = ",", (0, 0)
    for mark in DELIMITERS:
        counts = [_outside_quotes(line, mark) for line in lines]
        even = sum(count == counts[0] for count in counts)
        if counts[0] and (even, counts[0]) > most:
            best, most = mark, (even, counts[0])
    return best


def _outside_quotes(line: str, mark: str) -> int:
    return sum(part.count(mark) for part in line.split('"')[::2])


# --- rows ----------------------------------------


class _Lines:
    """Physical lines of the decoded input, with their ends, that can be given back. CR, LF and CRLF end a line."""

    def __init__(self, body: bytes, start: int, codec: str) -> None:
        raw = io.BytesIO(body)
        raw.seek(start)
        self._stream = io.TextIOWrapper(raw, encoding=codec, errors="strict", newline="")
        self._back: list[str] = []

    def next(self) -> str:
        """The next line with its end; empty at the end of the input."""
        return self._back.pop() if self._back else self._stream.readline(MAX_ROW + 1)

    def give_back(self, lines: Sequence[str]) -> None:
        self._back.extend(reversed(lines))


class _Record:
    __slots__ = ("cells", "fault", "number")

    def __init__(self, number: int, cells: list[str], fault: str = "") -> None:
        self.number, self.cells, self.fault = number, cells, fault


def _records(lines: _Lines, mark: str) -> Iterator[_Record]:
    number = 0
    while line := lines.next():
        number += 1
        if '"' not in line:
            if len(line) > MAX_ROW:
                raise TooLarge("GW-CORE-004", what=f"row {number}", actual="more", limit=str(MAX_ROW))
            yield _Record(number, line.rstrip("\r\n").split(mark))
        else:
            yield _quoted(lines, line, number, mark)


def _quoted(lines: _Lines, line: str, number: int, mark: str) -> _Record:
    taken, size = [line], len(line)
    quotes = line.count('"')
    while quotes % 2 and len(taken) < MAX_LINES_IN_ROW and size <= MAX_ROW:
        more = lines.next()
        if not more:
            break
        taken.append(more)
        size += len(more)
        quotes += more.count('"')
    if quotes % 2:
        lines.give_back(taken[1:])
        return _Record(number, line.rstrip("\r\n").split(mark), "a quote is not closed")
    try:
        cells = next(csv.reader(taken, delimiter=mark, strict=True))
    except csv.Error as error:
        lines.give_back(taken[1:])
        return _Record(number, line.rstrip("\r\n").split(mark), str(error))
    return _Record(number, cells)


def _heading(records: Iterator[_Record]) -> Heading:
    for record in records:
        if any(cell.strip() for cell in record.cells):
            if record.fault:
                place = Place(notation="table", path=f"row {record.number}")
                raise Unreadable("GW-FMT-051", place, detail=record.fault)
            return Heading("", record.number, record.cells)
    raise Unreadable("GW-FMT-052", Place(notation="table", path="row 1"), detail="-")


def _rows(records: Iterator[_Record], heading: Heading) -> Iterator[Row]:
    first, width = 0, len(heading.names)
    for record in records:
        cells = record.cells
        if record.number <= heading.row or (not record.fault and not any(cells)):
            continue
        findings: tuple[Finding, ...] = ()
        if record.fault:
            place = Place(notation="table", path=f"row {record.number}")
            findings = (finding("GW-FMT-051", place, detail=record.fault),)
        elif len(cells) != width:
            extra = any(cells[width:])
            if extra or len(cells) < width:
                findings = (wrong_width(heading, record.number, len(cells)),)
        yield Row(heading, record.number, first, cells, None, findings)
        first += len(cells)
