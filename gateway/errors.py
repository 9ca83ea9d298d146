"""The error tree, and the one table of codes.

    GatewayError
     ├─ Refused              the sender's fault: becomes findings, never a traceback
     │   ├─ Unreadable       the bytes are not what they claim to be
     │   └─ TooLarge         a limit was passed
     ├─ NotAllowed           the caller may not do this
     ├─ Misconfigured        the operator's fault: settings, mappings, profiles, keys
     ├─ PeerFailed           a destination's fault
     └─ Broken               our fault: parked, with a reference to look it up by
         ├─ StaleState       somebody else took the step first
         └─ StorageFailed    the disk did not take it: nothing was acknowledged

Each code stands once in `gateway/codes/<room>.toml` with severity, whose fault it is, whether to retry, whether
anything was lost, and its text and mend in four languages. Codes are permanent: a code is never reused and
never changes its meaning. The catalogues under `gateway/locale/` are made from those tables
(`python -m gateway.locale.build`) and read by gettext.
"""

from __future__ import annotations

import gettext
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from gateway.message import LANGUAGES, Finding, Language, Place, Severity
from gateway.value import prepare

Fault = Literal["sender", "operator", "peer", "gateway", "nobody"]
Retry = Literal["no", "after_mending", "later"]

HERE = Path(__file__).parent


class Code(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row of the table. `lost` says whether anything that was sent is no longer there."""

    severity: Severity
    fault: Fault
    retry: Retry
    text: Mapping[Language, str]
    mend: Mapping[Language, str]
    lost: bool = False
    issue: str = "invalid"  # FHIR issue-type
    hl7: str = "207"  # HL7 table 0357 error code for ERR-3
    http: int = 422


prepare(Code)


class GatewayError(Exception):
    """Base of everything that the gateway raises on purpose."""

    default = "GW-CORE-001"

    def __init__(self, code: str | None = None, place: Place | None = None, **args: str) -> None:
        self.code = code or self.default
        self.place = place
        self.args_ = args
        super().__init__(self.code)

    def finding(self) -> Finding:
        """The same, as something that can be shown."""
        return finding(self.code, self.place, **self.args_)


class Refused(GatewayError):
    """The sender's input cannot be accepted."""

    default = "GW-CORE-002"


class Unreadable(Refused):
    """The bytes are not what they claim to be."""

    default = "GW-CORE-003"


class TooLarge(Refused):
    """A limit on size, depth or count was passed."""

    default = "GW-CORE-004"


class NotAllowed(GatewayError):
    """The caller may not do this."""

    default = "GW-CORE-005"


class Misconfigured(GatewayError):
    """Settings, a mapping, a profile or a key is not usable."""

    default = "GW-CORE-006"


class PeerFailed(GatewayError):
    """A destination did not do its part."""

    default = "GW-CORE-007"


class Broken(GatewayError):
    """A defect of the gateway."""

    default = "GW-CORE-001"


class StaleState(Broken):
    """A thing was not in the state that the step expected: somebody else was first, look again."""

    default = "GW-CORE-008"


class StorageFailed(Broken):
    """The store could not make it durable. Nothing may be acknowledged."""

    default = "GW-CORE-009"


@cache
def codes() -> Mapping[str, Code]:
    """The whole table; a code that stands twice, or lacks a language, raises."""
    table: dict[str, Code] = {}
    for path in sorted((HERE / "codes").glob("*.toml")):
        for key, row in tomllib.loads(path.read_text(encoding="utf-8")).items():
            if key in table:
                raise ValueError(f"code {key} stands twice; the second time in {path.name}")
            table[key] = msgspec.convert(row, Code)
            for texts in (table[key].text, table[key].mend):
                missing = set(LANGUAGES) - set(texts)
                if missing:
                    raise ValueError(f"code {key} in {path.name} lacks {sorted(missing)}")
    return table


def finding(code: str, place: Place | None = None, location: str | None = None, **args: str) -> Finding:
    """A finding with the severity that the table gives its code."""
    row = codes()[code]
    return Finding(code=code, severity=row.severity, place=place, location=location, args=args, issue=row.issue)


@cache
def _catalogue(language: Language) -> gettext.NullTranslations:
    return gettext.translation("gateway", HERE / "locale", languages=[language], fallback=True)


class _Blank(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "…"


def _say(context: str, template: str, args: Mapping[str, str], language: Language) -> str:
    translated = template if language == "en" else _catalogue(language).pgettext(context, template)
    return translated.format_map(_Blank(args))


def text(found: Finding, language: Language) -> str:
    """What is wrong, in the reader's language. Severity and code never depend on it."""
    if found.text is not None:
        template = found.text.get(language) or found.text.get("en", found.code)
        return template.format_map(_Blank(found.args))
    row = codes().get(found.code)
    return _say(f"{found.code}.text", row.text["en"], found.args, language) if row else found.code


def mend(found: Finding, language: Language) -> str:
    """How to put it right, in the reader's language; empty where nothing can be done by the reader."""
    if found.mend is not None:
        return (found.mend.get(language) or found.mend.get("en", "")).format_map(_Blank(found.args))
    row = codes().get(found.code)
    return _say(f"{found.code}.mend", row.mend["en"], found.args, language) if row else ""
