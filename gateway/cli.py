"""The `gateway` command. Each subcommand is a file in `commands/`; errors are one clear line with a code."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Final

from gateway.errors import GatewayError, Misconfigured, mend, text

_COMMANDS: Final = (
    "serve",
    "work",
    "demo",
    "tour",
    "convert",
    "validate",
    "mappings",
    "view",
    "report",
    "template",
    "status",
    "queue",
    "parked",
    "retry",
    "pause",
    "resume",
    "replay",
    "registry",
    "export",
    "reconcile",
    "recall",
    "conform",
    "certs",
    "pull-check",
    "pull-exports",
    "subscriptions",
    "simulate",
)
"""In the order of the help page. A module is only imported when its command, or the help page, is asked for."""


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gateway",
        description="Local health messages in; valid, signed FHIR R4 out, delivered to whoever is owed it.",
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    wanted = [name for name in _COMMANDS if argv[:1] == [name]] or _COMMANDS
    for name in wanted:
        import_module(f"gateway.commands.{name.replace('-', '_')}").add(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code. 2 is a wrong call, 1 a failure with its code on standard error."""
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = _parser(words).parse_args(words)
    try:
        return int(arguments.run(arguments) or 0)
    except GatewayError as fault:
        return _fail(fault)
    except ExceptionGroup as several:  # from parts that ran side by side
        known = several.subgroup(GatewayError)
        if known is None:
            raise
        return _fail(next(fault for fault in _leaves(known) if isinstance(fault, GatewayError)))
    except OSError as fault:
        if isinstance(fault, BrokenPipeError):
            return 0
        return _fail(Misconfigured("GW-DESK-020", name=str(fault.filename or "-"), reason=str(fault.strerror or fault)))
    except KeyboardInterrupt:
        return 130


def _leaves(group: ExceptionGroup[Exception]) -> Iterator[Exception]:
    for each in group.exceptions:
        if isinstance(each, ExceptionGroup):
            yield from _leaves(each)
        else:
            yield each


def _fail(fault: GatewayError) -> int:
    found = fault.finding()
    print(f"{found.code} {text(found, 'en')} {mend(found, 'en')}".strip(), file=sys.stderr)
    return 1
