"""Where definitions come from: the core pack of `profiles/r4/`, folders of a programme, and what a caller brings.

A `Pack` is a pile of FHIR definitions by canonical URL, read lazily: the core pack stays compressed text until one
of its definitions is asked for. Packs are layered; the nearest layer wins.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from gateway.errors import Misconfigured, Refused
from gateway.formats import json
from gateway.message import Json

R4: Final = "http://hl7.org/fhir/StructureDefinition/"
FILES: Final[Mapping[str, str]] = {
    "StructureDefinition": "structures",
    "ValueSet": "valuesets",
    "CodeSystem": "codesystems",
    "ConceptMap": "conceptmaps",
    "SearchParameter": "searchparameters",
    "CompartmentDefinition": "compartments",
}


def split_canonical(canonical: str) -> tuple[str, str | None]:
    """URL and version of `url|version`; a fragment stays with the URL."""
    url, _, version = canonical.partition("|")
    return url, version or None


class Pack:
    """Definitions by kind and canonical URL, over another pack."""

    def __init__(self, below: Pack | None = None) -> None:
        self.below = below
        self._raw: dict[str, Mapping[str, msgspec.Raw]] = {}
        self._made: dict[str, dict[str, Json]] = {kind: {} for kind in FILES}
        self._versions: dict[tuple[str, str], list[Json]] = {}
        self._folder: Path | None = None

    # --- filling -------------------------------------------------------------

    @classmethod
    def of_folder(cls, folder: Path) -> Pack:
        """The built pack in `folder`; a missing file is `Misconfigured` when it is first needed."""
        made = cls()
        made._folder = folder
        return made

    def add(self, definition: Json) -> None:
        """Take a definition; of several with one URL the last is found when no version is asked for."""
        kind, url = definition.get("resourceType"), definition.get("url")
        if isinstance(kind, str) and kind in self._made and isinstance(url, str):
            self._made[kind][url] = definition
            self._versions.setdefault((kind, url), []).append(definition)

    def over(self, definitions: Iterable[Json]) -> Pack:
        """A new layer on top of this one."""
        made = Pack(self)
        for each in definitions:
            made.add(each)
        return made

    # --- finding -------------------------------------------------------------

    def _members(self, kind: str) -> Mapping[str, msgspec.Raw]:
        if kind not in self._raw:
            self._raw[kind] = {} if self._folder is None else _read_packed(self._folder / f"{FILES[kind]}.json.gz")
        return self._raw[kind]

    def _own(self, kind: str, url: str, version: str | None) -> Json | None:
        if version is not None:
            for each in reversed(self._versions.get((kind, url), ())):
                if f"{each.get('version', version)}.".startswith(f"{version}."):
                    return each
        made = self._made[kind].get(url)
        if made is None and (raw := self._members(kind).get(url)) is not None:
            made = self._made[kind][url] = {"resourceType": kind, **json.read(bytes(raw))}
        return made

    def find(self, kind: str, canonical: str) -> Json | None:
        """The definition of `url` or `url|version`; another version is given where only that one is known."""
        url, version = split_canonical(canonical)
        layer: Pack | None = self
        while layer is not None:
            if (found := layer._own(kind, url, version)) is not None:
                return found
            layer = layer.below
        return None

    def structure(self, canonical: str) -> Json | None:
        """A StructureDefinition by canonical, or by the bare name of a core type."""
        return self.find("StructureDefinition", canonical if ":" in canonical else R4 + canonical)

    def urls(self, kind: str) -> Iterator[str]:
        """Every canonical URL of a kind, of all layers."""
        layer: Pack | None = self
        while layer is not None:
            yield from dict.fromkeys([*layer._made[kind], *layer._members(kind)])
            layer = layer.below

    @property
    def digest(self) -> str:
        """Over everything that the pack was filled with."""
        summed = hashlib.sha256()
        layer: Pack | None = self
        while layer is not None:
            if layer._folder is not None:
                for name in sorted(FILES.values()):
                    summed.update(_bytes(layer._folder / f"{name}.json.gz"))
            for kind_url in sorted(layer._versions):
                for each in layer._versions[kind_url]:
                    summed.update(json.write(each))
            layer = layer.below
        return summed.hexdigest()


@cache
def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Misconfigured(detail=f"{path}: {error.strerror}") from None


def _read_packed(path: Path) -> Mapping[str, msgspec.Raw]:
    return json.read_members(gzip.decompress(_bytes(path)))


@cache
def core(home: Path) -> Pack:
    """The core pack under `home/profiles/r4`, shared by all rule sets of the process."""
    return Pack.of_folder(home / "profiles" / "r4")


def read_folder(folder: Path) -> Sequence[Json]:
    """Every FHIR definition in the JSON files of a folder and its sub-folders, by name order.

    `Misconfigured` names a file that is not readable JSON. Files that are not definitions are passed over.
    """
    found: list[Json] = []
    for path in sorted(folder.rglob("*.json")):
        try:
            value = json.read(path.read_bytes())
        except OSError as error:
            raise Misconfigured(detail=f"{path}: {error.strerror}") from None
        except Refused as error:
            raise Misconfigured(detail=f"{path}: {error.args_.get('detail', error.code)}") from None
        entries = [e.get("resource") for e in value.get("entry", ())] if value.get("resourceType") == "Bundle" else []
        found.extend(each for each in [value, *entries] if isinstance(each, dict) and each.get("resourceType") in FILES)
    return found
