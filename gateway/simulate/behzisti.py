"""The Behzisti stand-in: documents of day centres over REST, with tracking numbers as receipts (`registry.py`).

The organisation has published no interface; this one follows the template of `deliver/signed_rest.py` and is strict: a
document is a Bundle with an identifier, clients have disability codes of ten digits, centres a licence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from gateway.simulate.registry import Problem, Registry, Words

_CODE: Final = re.compile(r"[0-9]{10}")
_BUNDLES: Final = frozenset({"collection", "document"})


def problems(document: Any) -> Iterator[Problem]:
    """What is wrong with a document's content: BZ-S codes of this stand-in."""
    if not isinstance(document, dict) or document.get("resourceType") != "Bundle":
        yield "BZ-S10", "the body is not a Bundle"
        return
    if document.get("type") not in _BUNDLES:
        yield "BZ-S11", "the Bundle is neither a collection nor a document"
    if not str((document.get("identifier") or {}).get("value") or ""):
        yield "BZ-S12", "the Bundle has no identifier"
    entries = document.get("entry")
    if not isinstance(entries, list) or not entries:
        yield "BZ-S13", "the Bundle is empty"
        return
    for entry in entries:
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if not isinstance(resource, dict) or not resource.get("id"):
            yield "BZ-S14", "an entry has no resource with an id"
        else:
            yield from _resource(resource)


def _resource(resource: Mapping[str, Any]) -> Iterator[Problem]:
    kind = resource.get("resourceType")
    if kind == "Patient" and not _CODE.fullmatch(_identifier(resource, "/disability-code")):
        yield "BZ-S20", "a client has no disability code of ten digits"
    if kind == "Organization" and not _identifier(resource, "/licence"):
        yield "BZ-S21", "a centre has no licence"
    if (
        kind == "EpisodeOfCare"
        and resource.get("status") == "finished"
        and not (resource.get("period") or {}).get("end")
    ):
        yield "BZ-S22", "a discharge has no day"
    for name in ("subject", "patient", "beneficiary"):
        code = ((resource.get(name) or {}).get("identifier") or {}).get("value")
        if code is not None and not _CODE.fullmatch(str(code)):
            yield "BZ-S23", "a reference to a client has no disability code of ten digits"


def _identifier(resource: Mapping[str, Any], ending: str) -> str:
    known = (each for each in resource.get("identifier") or () if str(each.get("system", "")).endswith(ending))
    return next((str(each.get("value", "")) for each in known), "")


class Behzisti(Registry):
    """Documents of day centres."""

    name = "behzisti"
    words = Words("ACCEPTED", "REJECTED", "tracking", "BZ-{:08d}", "BZ-S")

    def wrong(self, document: Any) -> Iterator[Problem]:
        """Every problem of the content."""
        return problems(document)
