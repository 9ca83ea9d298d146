"""Room map as the others see it: `ports.Mapper`. Pure: files are read at the start and never again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec

from gateway.errors import Misconfigured, Refused
from gateway.formats.source import Source
from gateway.map import document, files
from gateway.map.intake import pieces
from gateway.map.intake_tables import Piece, Taker
from gateway.map.output import Output
from gateway.map.run import Run
from gateway.message import Context, Finding, ItemResult, Json, Submission
from gateway.programme import Programme


class Engine:
    """Mappings of the loaded programmes, compiled. `digest` identifies the rule set."""

    def __init__(self, loaded: Mapping[str, files.Loaded], digest: str) -> None:
        self._loaded = loaded
        self.digest = digest

    def take_apart(self, submission: Submission, context: Context) -> tuple[ItemResult, ...]:
        """One result per subject, in the order of the input.

        Input that cannot be read at all is one refused result with findings; a message of a batch or a row that
        cannot be read is refused by itself.
        """
        return tuple(each() for each in self.one_by_one(submission, context))

    def one_by_one(self, submission: Submission, context: Context) -> Iterator[Callable[[], ItemResult]]:
        """The same for what does not fit into memory as results: each item is read in turn, and mapped when called.

        What is not called costs only its reading, so that work can go on in the middle of a table.
        """
        loaded = self._loaded.get(submission.programme)
        if loaded is None:
            raise Misconfigured(detail=f"programme {submission.programme!r} is not loaded")
        today = context.now.astimezone(loaded.zone).date().isoformat()

        def run_of(part: Source) -> Run:
            return Run(context, part, context.sender_options, today)

        def fits(taker: Taker, source: Source) -> bool:
            return taker.fits is None or taker.fits(run_of(source), source)

        index = 0
        try:
            for piece in pieces(submission, loaded.takers, fits, context.sender_options, run_of):
                yield partial(self._one, piece, index, context, today)
                index += 1
        except Refused as error:
            label = "rest" if index else "submission"
            yield partial(self._refused, index, label, context, (error.finding(),))

    def _one(self, piece: Piece, index: int, context: Context, today: str) -> ItemResult:
        if piece.mapping is None or piece.source is None:
            return self._refused(index, piece.label, context, piece.findings)
        made = piece.mapping.apply(piece.source, context, context.sender_options, today)
        return msgspec.structs.replace(
            made,
            index=index,
            label=piece.label,
            findings=(*piece.findings, *made.findings),
            rules_digest=self.digest,
            context_digest=context.digest,
        )

    def _refused(self, index: int, label: str, context: Context, findings: tuple[Finding, ...]) -> ItemResult:
        return ItemResult(
            index=index,
            label=label,
            findings=findings,
            rules_digest=self.digest,
            context_digest=context.digest,
        )

    def render(self, document_: Json, target: str, values: Mapping[str, str]) -> bytes:
        """A national message from a document Bundle.

        `target` is "programme/file" under out/; `values` fill `$given.name`.
        The same document and values give the same bytes. `Misconfigured` (GW-MAP-022) where there is no such file.
        """
        return self._output(target).render(document.read(document_), values)

    def _output(self, target: str) -> Output:
        programme, _, name = target.partition("/")
        loaded = self._loaded.get(programme)
        output = loaded.outputs.get(name.removesuffix(".yaml")) if loaded else None
        if output is None:
            raise Misconfigured("GW-MAP-022", target=target)
        return output

    def rows(self, document_: Json, target: str, values: Mapping[str, str]) -> Sequence[Mapping[str, object]]:
        """What a document puts into a flat file, row by row; `target` as for `render`, its format is `layout`."""
        return self._output(target).rows(document.read(document_), values)

    def table(self, rows: Sequence[Mapping[str, object]], target: str, day: str) -> bytes:
        """The flat file of rows, also of several documents, as its layout is on the day (ISO)."""
        return self._output(target).table(rows, day)


def load(home: Path, programmes: Sequence[Programme]) -> Engine:
    """Compile the mapping files of these programmes; `Misconfigured` lists every error with file, line and column."""
    loaded, digest = files.load(home, programmes)
    return Engine(loaded, digest)
