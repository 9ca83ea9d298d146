"""Resources as they are shown: with their version, whole or in part, in a Bundle entry."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from gateway.formats import json
from gateway.kept import KeptResource
from gateway.message import Json
from gateway.pull.instants import text
from gateway.pull.parameters import Definitions

_SUBSETTED: Final = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
}
_ALWAYS: Final = frozenset({"resourceType", "id", "meta"})
_NARRATIVE: Final = frozenset({"text"})


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of a resource is wanted: `_summary` and `_elements`."""

    summary: str = "false"
    elements: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        return self.summary == "false" and not self.elements


WHOLE: Final = Part()


def resource(kept: KeptResource, definitions: Definitions, part: Part = WHOLE) -> Json:
    """The version's content, with `meta.versionId` and `meta.lastUpdated`. The exact bytes are the document's."""
    value: Json = json.reread(kept.body)
    meta = value.get("meta")
    stamped = {"versionId": str(kept.version), "lastUpdated": text(kept.at)}
    value = {
        "resourceType": value.get("resourceType"),
        "id": value.get("id"),
        "meta": {**(meta if isinstance(meta, dict) else {}), **stamped},
        **{name: each for name, each in value.items() if name not in _ALWAYS},
    }
    return value if part.whole else _reduced(value, kept.type, definitions, part)


def _reduced(value: Json, type: str, definitions: Definitions, part: Part) -> Json:
    """Marked as subsetted, so that nobody takes the part for the whole (FHIR R4 3.1.1.5.8)."""
    if part.elements:
        wanted = _ALWAYS | frozenset(part.elements) | definitions.mandatory(type)
    elif part.summary == "text":
        wanted = _ALWAYS | _NARRATIVE | definitions.mandatory(type)
    elif part.summary == "data":
        wanted = frozenset(value) - _NARRATIVE
    else:
        wanted = _ALWAYS | definitions.mandatory(type) | definitions.searched(type)
    kept = {
        name: each
        for name, each in value.items()
        if name.removeprefix("_") in wanted or any(_is_choice(name.removeprefix("_"), one) for one in wanted)
    }
    tags = [*kept["meta"].get("tag", ()), _SUBSETTED]
    return kept | {"meta": kept["meta"] | {"tag": tags}}


def _is_choice(name: str, element: str) -> bool:
    """valueQuantity is value."""
    return name.startswith(element) and name[len(element) : len(element) + 1].isupper()


def entry(
    kept: KeptResource,
    base: str,
    definitions: Definitions,
    part: Part = WHOLE,
    mode: Literal["match", "include"] = "match",
) -> Json:
    """A searchset entry."""
    return {
        "fullUrl": f"{base}{kept.type}/{kept.id}",
        "resource": resource(kept, definitions, part),
        "search": {"mode": mode},
    }


def history_entry(kept: KeptResource, base: str, definitions: Definitions) -> Json:
    """A history entry; a deletion has no resource."""
    method = "DELETE" if kept.deleted else "POST" if kept.version == 1 else "PUT"
    url = kept.type if kept.version == 1 and not kept.deleted else f"{kept.type}/{kept.id}"
    status = "204" if kept.deleted else "201" if kept.version == 1 else "200"
    made: Json = {"fullUrl": f"{base}{kept.type}/{kept.id}"}
    if not kept.deleted:
        made["resource"] = resource(kept, definitions)
    made["request"] = {"method": method, "url": url}
    made["response"] = {"status": status, "etag": etag(kept), "lastModified": text(kept.at)}
    return made


def etag(kept: KeptResource) -> str:
    """The weak validator of a version."""
    return f'W/"{kept.version}"'
