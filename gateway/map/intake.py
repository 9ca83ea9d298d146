"""A submission taken apart: which mapping reads which part of it, and what each part is called."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from gateway.errors import Refused
from gateway.formats import hl7v2, hl7v2_conformance, json, jsonsource, media, table_many, xmlsource
from gateway.formats.source import Source
from gateway.map import intake_tables
from gateway.map.intake_tables import Piece, RunOf, Taker
from gateway.map.mapping import CompiledMapping
from gateway.message import Finding, Place, Submission

Fits = Callable[[Taker, Source], bool]


def pieces(
    submission: Submission, takers: Sequence[Taker], fits: Fits, options: Mapping[str, str], run_of: RunOf
) -> Iterator[Piece]:
    """Every item of the submission in its order. Raises `Refused` where it cannot be read at all.

    Of the sender's options, `charset` and `conformance` are read here. JSON that no JSON intake reads may be a table.
    """
    body, format = submission.body, media.FORMAT.get(submission.media_type.split(";")[0].strip().lower(), "")
    if not body.strip():
        raise Refused("GW-MAP-016")
    mine = [taker for taker in takers if taker.intake.format == format]
    tables = [taker for taker in takers if taker.intake.format == "table"]
    if not mine and format == "json" and tables:
        format, mine = "table", tables
    if not mine:
        known = ", ".join(sorted({taker.intake.format for taker in takers}))
        raise Refused("GW-MAP-018", type=submission.media_type[:80], known=known)
    if format == "hl7v2":
        yield from _messages(submission, mine, options)
    elif format == "table":
        yield from intake_tables.pieces(intake_tables.read(submission), mine, run_of)
    else:
        yield from _documents(submission, mine, fits, tables if format == "json" else (), run_of)


# --- HL7 v2 ----------------------------------------


def _messages(submission: Submission, takers: Sequence[Taker], options: Mapping[str, str]) -> Iterator[Piece]:
    batch = hl7v2.split_batch(submission.body)
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


# --- JSON, XML, FHIR ----------------------------------------


def _documents(
    submission: Submission, takers: Sequence[Taker], fits: Fits, tables: Sequence[Taker], run_of: RunOf
) -> Iterator[Piece]:
    kind = submission.media_type.split(";")[0].strip().lower()
    source: Source = (xmlsource if kind.endswith("xml") else jsonsource).read(submission.body)
    for taker in takers:
        if taker.fits is None or fits(taker, source):
            if taker.split is None:
                yield Piece("document 1", taker.mapping, source)
            else:
                for number, part in enumerate(taker.split(run_of(source), source), 1):
                    yield Piece(f"document {number}", taker.mapping, part)
            return
    if tables and table_many.is_rows(json.read(submission.body)):
        yield from intake_tables.pieces(intake_tables.read(submission), tables, run_of)
        return
    known = "; ".join(taker.intake.when for taker in takers)
    raise Refused("GW-MAP-019", source.here, known=known)
