"""A submission taken apart: which mapping reads which part of it, and what each part is called."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from gateway.errors import Refused
from gateway.formats import hl7v2, hl7v2_conformance, jsonsource, media, table, table_csv, table_xlsx, xmlsource
from gateway.formats.source import Source
from gateway.formats.table_group import grouped
from gateway.map.mapping import CompiledMapping
from gateway.map.reading import Test
from gateway.message import Finding, Place, Submission
from gateway.programme import Intake

_NO_FINDINGS: Final[tuple[Finding, ...]] = ()


class Taker(NamedTuple):
    """One intake of a programme with its compiled mapping; `fits` judges JSON, XML and FHIR inputs."""

    intake: Intake
    mapping: CompiledMapping
    fits: Test | None = None


class Piece(NamedTuple):
    """One item before it is mapped. Without a mapping it is refused for its findings."""

    label: str
    mapping: CompiledMapping | None
    source: Source | None
    findings: tuple[Finding, ...] = _NO_FINDINGS


Fits = Callable[[Taker, Source], bool]


def pieces(submission: Submission, takers: Sequence[Taker], fits: Fits, options: Mapping[str, str]) -> Iterator[Piece]:
    """Every item of the submission in its order. Raises `Refused` where it cannot be read at all.

    Of the sender's options, `charset` and `conformance` are read here.
    """
    body, format = submission.body, media.FORMAT.get(submission.media_type.split(";")[0].strip().lower(), "")
    if not body.strip():
        raise Refused("GW-MAP-016")
    mine = [taker for taker in takers if taker.intake.format == format]
    if not mine:
        known = ", ".join(sorted({taker.intake.format for taker in takers}))
        raise Refused("GW-MAP-018", type=submission.media_type[:80], known=known)
    if format == "hl7v2":
        yield from _messages(submission, mine, options)
    elif format == "table":
        yield from _rows(submission, mine)
    else:
        yield from _documents(submission, mine, fits)


# --- HL7 v2 ----------------------------------------


def _messages(submission: Submission, takers: Sequence[Taker], options: Mapping[str, str]) -> Iterator[Piece]:
    batch = hl7v2.split_batch(submission.body.removeprefix(codecs.BOM_UTF8))
    many = len(batch.messages) > 1
    for number, body in enumerate(batch.messages, 1):
        label = f"message {number}"
        try:
            message, found = _read_message(body, submission.charset, options)
            noted = (*batch.findings, *found) if number == 1 else found
            yield Piece(label, _for_type(message, takers), message, noted)
        except Refused as error:
            if not many:
                raise
            yield Piece(label, None, None, (error.finding(),))


def _read_message(
    body: bytes, charset: str | None, options: Mapping[str, str]
) -> tuple[hl7v2.Message, tuple[Finding, ...]]:
    """The message, with what its reading and the check of its declared version found."""
    message = hl7v2.read(body, charset or options.get("charset") or hl7v2.DEFAULT_CHARSET)
    found = tuple(f for f in message.findings if isinstance(f, Finding))
    policy = options.get("conformance", "warn")
    if policy == "off":
        return message, found
    faults = hl7v2_conformance.check(message)
    return message, (*found, *(faults if policy == "refuse" else map(_softened, faults)))


def _softened(found: Finding) -> Finding:
    return msgspec.structs.replace(found, severity="warning") if found.severity == "error" else found


def _for_type(message: hl7v2.Message, takers: Sequence[Taker]) -> CompiledMapping:
    kind = "^".join(message.field("MSH", 9).split(message.delimiters.component)[:2])
    for taker in takers:
        if kind in taker.intake.message or "*" in taker.intake.message:
            return taker.mapping
    known = ", ".join(sorted({name for taker in takers for name in taker.intake.message}))
    raise Refused("GW-MAP-001", Place(notation="hl7v2", path="MSH-9"), type=kind[:40] or "-", known=known)


# --- tables ----------------------------------------


def _read_table(submission: Submission) -> table.Table:
    kind = submission.media_type.split(";")[0].strip().lower()
    if kind == media.XLSX:
        return table_xlsx.read(submission.body)
    return table_csv.read(submission.body, submission.charset or "", "\t" if kind == media.TSV else "")


def _rows(submission: Submission, takers: Sequence[Taker]) -> Iterator[Piece]:
    read = _read_table(submission)
    taker = _for_columns(read, takers)
    noted = read.findings
    if taker.mapping.group:
        for group in grouped(read, taker.mapping.group):
            yield Piece(
                group.here.path, taker.mapping, group, (*noted, *(f for row in group.rows for f in row.findings))
            )
            noted = ()
        return
    for row in read.rows():
        if all(cell == "" for cell in row.cells):
            continue
        label = row.here.path
        yield Piece(label, taker.mapping, row, (*noted, *row.findings))
        noted = ()
    if noted is read.findings and not any(True for _ in read.rows()):
        raise Refused("GW-MAP-023", read.here)


def _for_columns(read: table.Table, takers: Sequence[Taker]) -> Taker:
    """The first intake whose column is there; its mapping's unconditional columns must all be there."""
    if not read.sheets:
        raise Refused("GW-MAP-023")
    heading = read.sheets[0].heading
    for taker in takers:
        if not taker.intake.when or heading.index(table.compile(taker.intake.when)) >= 0:
            missing = _missing(read, taker.mapping)
            if missing:
                raise Refused("GW-MAP-015", read.here, columns=", ".join(missing))
            return taker
    raise Refused("GW-MAP-015", read.here, columns=", ".join(taker.intake.when for taker in takers))


def _missing(read: table.Table, mapping: CompiledMapping) -> list[str]:
    """Columns that must be there and are not: keys of groups in every sheet, what is required in one of them."""
    sheets = read.sheets if mapping.group else read.sheets[:1]
    keys = [key.text for key in mapping.group if any(sheet.heading.index(key) < 0 for sheet in sheets)]
    paths = [table.compile(each.path) for each in mapping.required if each.when is None]
    return keys + [path.text for path in paths if all(sheet.heading.index(path) < 0 for sheet in sheets)]


# --- JSON, XML, FHIR ----------------------------------------


def _documents(submission: Submission, takers: Sequence[Taker], fits: Fits) -> Iterator[Piece]:
    kind = submission.media_type.split(";")[0].strip().lower()
    source: Source = (xmlsource if kind.endswith("xml") else jsonsource).read(submission.body)
    for taker in takers:
        if taker.fits is None or fits(taker, source):
            yield Piece("document 1", taker.mapping, source)
            return
    known = "; ".join(taker.intake.when for taker in takers)
    raise Refused("GW-MAP-019", source.here, known=known)
