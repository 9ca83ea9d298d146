"""The rule set as the flow uses it: an item's resources, the programme's checks, the sender's places."""

# ruff: noqa: E501 - a table reads better with one row a line

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B import get_fhir_model_class
from instances_validate import INSTANCES, PROFILE, change, profile
from pydantic import ValidationError

from gateway.errors import Misconfigured, mend, text
from gateway.formats import json
from gateway.message import LANGUAGES, Context, ItemResult, Lineage, Place, RegistryEntry
from gateway.programme import Programme, Title
from gateway.validate import HOME, Rulebook, load, outcome, validate
from gateway.validate.pack import core

CHECKS = """
- code: T-001
  severity: error
  rule: R-1
  on: Encounter
  when: status = 'finished'
  fhirpath: lookup('centre', serviceProvider.identifier.value).open.exists()
  at: serviceProvider
  text: {en: "No such centre.", fa: "مرکزی نیست.", it: "Nessun centro.", zh: "无此中心。"}
  mend: {en: "Name one.", fa: "نام ببرید.", it: "Indicarne uno.", zh: "请填写。"}
- code: T-002
  severity: warning
  rule: R-2
  on: Encounter
  fhirpath: period.start <= now()
  at: period.where(start.exists())
  text: {en: "In the future.", fa: "در آینده.", it: "Nel futuro.", zh: "在未来。"}
  mend: {en: "Correct it.", fa: "اصلاح کنید.", it: "Correggere.", zh: "请更正。"}
"""


def programme(folder: Path) -> Programme:
    title = Title(en="T", fa="T", it="T", zh="T")
    return Programme(
        name="t",
        title=title,
        language="en",
        timezone="UTC",
        intake=(),
        case=(),
        document=(),
        route=(),
        folder=str(folder),
    )


def made(tmp_path: Path, checks: str = CHECKS) -> Rulebook:
    (tmp_path / "checks.yaml").write_text(checks, encoding="utf-8")
    return load(HOME, (programme(tmp_path),))


def context(at: str = "2025-01-01", **entries: Any) -> Context:
    registry = {"centre": {key: (entry,) for key, entry in entries.items()}}
    now = datetime.fromisoformat(at).replace(tzinfo=UTC)
    return Context(digest="d", now=now, sender="s", programme="t", id_key=b"k", registry=registry)


def entry(key: str, to: str | None = None) -> RegistryEntry:
    return RegistryEntry(kind="centre", key=key, programme="t", valid_to=to, data={"open": True})


STAY = change(INSTANCES["Encounter"], "serviceProvider", {"identifier": {"value": "c1"}})
LINES = (
    Lineage(element="Encounter/stay#serviceProvider", places=(Place(notation="hl7v2", path="PV1-3"),)),
    Lineage(element="Encounter/stay#period.start", places=(Place(notation="hl7v2", path="PV1-44"),)),
    Lineage(element="Encounter/stay#status", places=(Place(notation="hl7v2", path="MSH-9"),)),
)


def item(*resources: Any) -> ItemResult:
    return ItemResult(index=0, label="message 1", resources=resources, lineage=LINES)


def codes(book: Rulebook, result: ItemResult, at: Context) -> dict[str, str | None]:
    return {
        each.code: each.place.path if each.place else None
        for each in book.findings(result, at)
        if each.code[:2] != "GW" or each.severity == "error"
    }


def test_a_check_holds_fails_and_is_guarded(tmp_path: Path) -> None:
    """Tables and the recorded clock decide, and nothing else."""
    book = made(tmp_path)
    assert codes(book, item(STAY), context(c1=entry("c1"))) == {}
    assert codes(book, item(STAY), context(c2=entry("c2"))) == {"T-001": "PV1-3"}
    assert codes(book, item(STAY), context(c1=entry("c1", to="2024-12-31"))) == {"T-001": "PV1-3"}
    assert codes(book, item(STAY | {"status": "planned"}), context()) == {}
    assert codes(book, item(STAY), context("2023-01-01", c1=entry("c1"))) == {"T-002": "PV1-44"}


def test_a_finding_names_the_place_in_the_senders_format(tmp_path: Path) -> None:
    """A hospital mends PV1-44, not Encounter.period.start."""
    book = made(tmp_path)
    broken = change(STAY, "status", "done")
    found = codes(book, item(broken), context(c1=entry("c1")))
    assert found == {"GW-VAL-010": "MSH-9"}
    broken = change(STAY, "period/start", "yesterday")
    assert codes(book, item(broken), context(c1=entry("c1")))["GW-VAL-006"] == "PV1-44"


def test_a_check_speaks_every_language(tmp_path: Path) -> None:
    """Code and severity stay; the words change."""
    (found,) = [each for each in made(tmp_path).findings(item(STAY), context()) if each.code == "T-001"]
    assert {text(found, language) for language in LANGUAGES} == {
        "No such centre.",
        "مرکزی نیست.",
        "Nessun centro.",
        "无此中心。",
    }
    assert mend(found, "it") == "Indicarne uno."
    assert (found.source, found.severity, found.location) == ("R-1", "error", "Encounter.serviceProvider")


def test_references_among_an_items_resources_are_followed(tmp_path: Path) -> None:
    """What was mapped together is seen together: a reference to the wrong type is found."""
    wrong = change(STAY, "subject/reference", "Patient/one")
    book = made(tmp_path)
    assert codes(book, item(wrong, INSTANCES["Patient"]), context(c1=entry("c1"))) == {}


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("severity: error", "severity: fatal", ":3:"), ("on: Encounter", "on: Encounters", ":5:"), ("code: T-002", "code: T-001", ":11:"),
        ("fhirpath: period.start <= now()", "fhirpath: period.start <=", ":15:"), ("rule: R-2", "rul: R-2", ":13:"), ('zh: "在未来。"', 'de: "x"', ":17:"),
        ("  fhirpath: period.start <= now()\n", "", ":11:"),
    ],
)  # fmt: skip
def test_a_wrong_checks_file_names_file_and_line(tmp_path: Path, old: str, new: str, line: str) -> None:
    """An analyst corrects the file without reading Python."""
    with pytest.raises(Misconfigured) as caught:
        made(tmp_path, CHECKS.replace(old, new))
    assert "checks.yaml" + line in caught.value.args_["detail"]


def test_the_digest_covers_pack_profiles_checks_and_policy(tmp_path: Path) -> None:
    """A replay must know whether the rules are the same."""
    extra = [profile("p", "Patient", {"path": "Patient.name", "min": 1})]
    books = [load(), load(extra=extra), made(tmp_path), made(tmp_path, CHECKS.replace("R-2", "R-3"))]
    assert len({each.digest for each in books}) == 4
    assert load().digest == books[0].digest


def test_an_outcome_is_read_by_the_typed_layer_and_by_ourselves() -> None:
    """Our own OperationOutcome must pass our own validator."""
    found = validate({"resourceType": "Patient", "gender": "x", "foo": 1})
    for language in LANGUAGES:
        said = outcome(found, language)
        assert [each for each in validate(said) if each.severity == "error"] == [] or said["issue"][0]["extension"]
    assert json.read(json.write(outcome(())))["issue"][0]["severity"] == "information"


@pytest.mark.parametrize("name", [name for name in INSTANCES if name != "Document"])
def test_the_typed_layer_accepts_what_we_accept(name: str) -> None:
    """fhir.resources and we agree on our own resources, and on what is missing from them."""
    model = get_fhir_model_class(INSTANCES[name]["resourceType"])
    model.model_validate(json.read(json.write(INSTANCES[name])))
    broken = INSTANCES[name] | {"nonsense": 1}
    with pytest.raises(ValidationError):
        model.model_validate(broken)
    assert any(each.severity == "error" for each in validate(broken))


def test_loading_and_the_first_bundle_are_quick_and_small() -> None:
    """A worker starts within a second and in less than 200 MiB."""
    script = (
        "import time\n"
        "from gateway.validate import validate\n"
        "validate({'resourceType': 'Bundle', 'type': 'collection', 'entry': [{'fullUrl': 'urn:x:y', 'resource': {'resourceType': 'Patient'}}]})\n"
        # not getrusage: its peak begins with what the process was forked from
        "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(time.process_time(), int(peak.split()[1]) / 1024)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=HOME, capture_output=True, text=True, check=True)
    seconds, mebibytes = map(float, done.stdout.split())
    assert seconds < 1
    assert mebibytes < 200


def test_twenty_thousand_validations_are_flat() -> None:
    """Neither memory nor time per validation grows with what has gone through."""
    script = (
        "import runpy, sys; sys.argv = ['bench']\n"
        "bench = runpy.run_path('bench/validate.py')\n"
        "book = bench['load'](extra=bench['profiles']())\n"
        "patient = bench['bundle']()['entry'][3]['resource']\n"
        "count = iter(range(10**9))\n"
        "def one():\n"
        "    patient['id'] = f'p{next(count)}'\n"
        "    patient['identifier'][0]['system'] = f'https://bench.invalid/{patient[\"id\"]}'\n"
        "    patient['type'][0]['coding'][0]['system'] = patient['identifier'][0]['system']\n"
        "    patient['extension'] = [{'url': patient['identifier'][0]['system'], 'valueCode': 'x'}]\n"
        "    patient['meta'] = {'profile': [patient['identifier'][0]['system']]}\n"
        "    patient['contained'] = [{'resourceType': patient['id'], 'id': 'x'}]\n"
        "    book.validate(patient)\n"
        "print(*bench['flat'](one, 20_000))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=HOME, capture_output=True, text=True, check=True)
    ratio, grown = map(float, done.stdout.split())
    assert ratio < 2
    assert grown < 30


def test_every_constraint_of_the_core_pack_can_be_evaluated() -> None:
    """All invariants of R4, base types, profiles and extensions: none is passed over as unreadable."""
    rules = load().rules
    definitions = [rules.pack.find("StructureDefinition", url) for url in rules.pack.urls("StructureDefinition")]
    rows = [row for each in definitions if each is not None for row in each["snapshot"]["element"]]
    asked = {
        (each["expression"], row["path"].replace("[x]", ""))
        for row in rows
        for each in row.get("constraint", ())
        if "expression" in each
    }
    unreadable = [each for each in asked if rules.expression(*each) is None]
    assert len({text for text, _ in asked}) > 190
    assert unreadable == []


def test_every_structure_of_the_core_pack_compiles() -> None:
    """148 resource types and all datatypes to shapes, all profiles and extensions to overlays, without a problem."""
    rules = load().rules
    for url in core(HOME).urls("StructureDefinition"):
        definition = rules.pack.find("StructureDefinition", url)
        assert definition is not None
        spec = rules.spec(url)
        assert spec is None or not spec.problems, (url, spec.problems)
        if spec is None and definition["kind"] != "primitive-type":
            rules.shape(definition["type"])._fill()


def test_an_unusable_definitions_folder_is_misconfigured(tmp_path: Path) -> None:
    """The operator is told which file."""
    folder = tmp_path / "profiles" / "t"
    folder.mkdir(parents=True)
    (folder / "broken.json").write_bytes(b'{"a":1,"a":2}')
    with pytest.raises(Misconfigured) as caught:
        load(tmp_path, (programme(tmp_path),))
    assert "broken.json" in caught.value.args_["detail"]


def test_an_asserted_profile_in_one_line() -> None:
    """The one-liner of the README."""
    assert [each.code for each in validate(INSTANCES["Patient"], PROFILE + "x")] == ["GW-VAL-055"]
