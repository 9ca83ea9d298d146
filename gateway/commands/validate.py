"""`gateway validate FILE… --profile URL`: validate files; nothing is stored or sent."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lxml import etree

from gateway import programme as programme_data
from gateway.errors import mend, text
from gateway.formats import json, xml
from gateway.message import LANGUAGES, Finding, Language
from gateway.validate import HOME, Policy, Rulebook, load, outcome
from gateway.validate.pack import read_folder
from gateway.validate.reading import form_of, pieces, read

PROGRESS_EVERY = 500


class Judged(NamedTuple):
    """One resource of a file."""

    name: str  # file, and line for NDJSON
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> bool:
        return any(each.severity == "error" for each in self.findings)


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("validate", help="validate FHIR R4 files (JSON, XML, NDJSON)")
    parser.add_argument("file", type=Path, nargs="+", help="files or folders; - reads standard input")
    parser.add_argument("--profile", action="append", default=[], help="canonical URL to check against; repeatable")
    parser.add_argument("--definitions", type=Path, action="append", default=[], help="folder of more definitions")
    parser.add_argument("--programme", action="append", default=[], help="load this programme's profiles")
    parser.add_argument("--home", type=Path, default=HOME, help="where mappings/ and profiles/ are")
    parser.add_argument("--format", choices=("text", "json", "junit"), default="text")
    parser.add_argument("--language", choices=LANGUAGES, default="en")
    parser.add_argument("--extensions", choices=("reject", "warn", "keep"), default="reject", help="unknown ones")
    parser.add_argument("--errors-only", action="store_true", help="leave out warnings and information")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """0: no errors; 1: errors found."""
    book = _book(arguments)
    judged: list[Judged] = []
    for each in judge(book, files(arguments.file), arguments.profile):
        shown = tuple(f for f in each.findings if f.severity == "error" or not arguments.errors_only)
        judged.append(Judged(each.name, shown))
        if arguments.format == "text":
            sys.stdout.write("".join(line + "\n" for line in lines(judged[-1], arguments.language)))
        if len(judged) % PROGRESS_EVERY == 0 and sys.stderr.isatty():
            sys.stderr.write(f"\r{len(judged)} validated")
    failed = sum(each.failed for each in judged)
    if arguments.format == "json":
        sys.stdout.buffer.write(as_json(judged, arguments.language) + b"\n")
    elif arguments.format == "junit":
        sys.stdout.buffer.write(as_junit(judged, arguments.language) + b"\n")
    else:
        sys.stdout.write(f"{len(judged)} validated, {failed} with errors\n")
    return 1 if failed else 0


def _book(arguments: Namespace) -> Rulebook:
    severity: Any = {"reject": "error", "warn": "warning", "keep": None}[arguments.extensions]
    programmes = [programme_data.load(arguments.home, name) for name in arguments.programme]
    extra = [one for folder in arguments.definitions for one in read_folder(folder)]
    return load(arguments.home, programmes, extra, Policy(unknown_extension=severity))


def files(paths: Sequence[Path]) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of each file; a folder stands for the JSON, XML and NDJSON files in it."""
    for path in paths:
        if str(path) == "-":
            yield "-", sys.stdin.buffer.read()
        elif path.is_dir():
            inner = (each for suffix in ("json", "xml", "ndjson") for each in path.rglob(f"*.{suffix}"))
            yield from ((str(each), each.read_bytes()) for each in sorted(inner))
        else:
            yield str(path), path.read_bytes()


def judge(book: Rulebook, inputs: Iterator[tuple[str, bytes]], profiles: Sequence[str]) -> Iterator[Judged]:
    """Each resource of each file with what is wrong with it."""
    for name, body in inputs:
        form = form_of(name, body)
        for label, piece in pieces(body, form):
            value, unreadable = read(book, piece, form)
            found = (unreadable,) if unreadable is not None else book.validate(value, profiles)
            yield Judged(name + label, found)


def lines(judged: Judged, language: Language) -> Iterator[str]:
    """As text: severity, code, location, what is wrong, how to mend it."""
    for each in judged.findings:
        where = each.location or (each.place.path if each.place is not None else "")
        yield f"{judged.name}: {each.severity} {each.code} {where}: {text(each, language)}"
        if each.severity == "error" and (advice := mend(each, language)):
            yield f"    {advice}"


def as_json(judged: Sequence[Judged], language: Language) -> bytes:
    """One object: file -> OperationOutcome."""
    return json.write({each.name: outcome(each.findings, language) for each in judged})


def as_junit(judged: Sequence[Judged], language: Language) -> bytes:
    """JUnit XML: one test case a resource."""
    failed = sum(each.failed for each in judged)
    root = etree.Element("testsuite", name="gateway validate", tests=str(len(judged)), failures=str(failed))
    for each in judged:
        case = etree.SubElement(root, "testcase", name=each.name)
        wrong = [one for one in each.findings if one.severity == "error"]
        if wrong:
            failure = etree.SubElement(case, "failure", message=_clean(text(wrong[0], language)))
            failure.text = _clean("\n".join(lines(each, language)))
    return xml.write(root)


def _clean(value: str) -> str:
    """Without the characters that XML cannot carry."""
    return "".join(each if each in "\n\t" or each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in value)
