"""What a validation costs: bytes -> strict reading -> base R4 and two profiles -> bytes, beside other libraries.

    python bench/validate.py [--rounds 400] [--flat 20000] [--pyrofile PYTHON --core TGZ]

The input is one transaction Bundle of about 9 kB with Patient, Encounter, ServiceRequest (with a contained
Practitioner), Organization and CarePlan. fhir.resources is measured beside it (parse and dump of the same bytes);
pyrofile-validator too where it is installed for the interpreter PYTHON, with the core package TGZ loaded, so that
both know the same definitions. `--flat N` validates N times in one process and reports the drift of
memory and time between the first and the last tenth.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from gateway.formats import json
from gateway.validate import load
from gateway.validate.pack import R4

BASE = "https://bench.invalid/StructureDefinition/"


def narrative(text: str) -> dict[str, str]:
    rows = "".join(f"<tr><td>{text} {at}</td><td><b>value</b> {at}</td></tr>" for at in range(6))
    div = f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{text}</p><table>{rows}</table></div>'
    return {"status": "generated", "div": div}


def coding(system: str, code: str, display: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code, "display": display}], "text": display}


def bundle() -> dict[str, Any]:
    """The Bundle; every person and number in it is invented."""
    ids = {name: f"urn:uuid:00000000-0000-4000-8000-00000000000{at}" for at, name in enumerate("PESOC")}
    act = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
    patient = {
        "resourceType": "Patient", "text": narrative("Test Patient-One"),
        "meta": {"profile": [BASE + "patient"]},
        "identifier": [
            {"use": "official", "system": "urn:oid:2.16.364.1", "value": "0000000000",
             "period": {"start": "2020-01-01"}, "assigner": {"reference": ids["O"], "display": "Test centre"}},
            {"use": "usual", "system": "https://bench.invalid/mrn", "value": "TEST-0001"},
        ],
        "active": True,
        "name": [{"use": "official", "family": "Patient-One", "given": ["Test", "Second"], "text": "Test Patient-One"}],
        "telecom": [{"system": "phone", "value": "+000000000", "use": "mobile", "rank": 1},
                    {"system": "email", "value": "test@bench.invalid", "use": "home"}],
        "gender": "female", "birthDate": "1980-02-29",
        "address": [{"use": "home", "line": ["Test street 1"], "city": "Test city", "postalCode": "00000",
                     "country": "IR", "period": {"start": "2019-05-01"}}],
        "maritalStatus": coding("http://terminology.hl7.org/CodeSystem/v3-MaritalStatus", "M", "Married"),
        "contact": [{"relationship": [coding("http://terminology.hl7.org/CodeSystem/v2-0131", "N", "Next-of-Kin")],
                     "name": {"family": "Contact-One"}, "telecom": [{"system": "phone", "value": "+000000001"}]}],
        "communication": [{"language": coding("urn:ietf:bcp:47", "fa", "Persian"), "preferred": True}],
        "managingOrganization": {"reference": ids["O"]},
    }  # fmt: skip
    encounter = {
        "resourceType": "Encounter", "text": narrative("Stay"), "status": "finished",
        "identifier": [{"system": "https://bench.invalid/stay", "value": "TEST-S-1"}],
        "class": {"system": act, "code": "IMP", "display": "inpatient encounter"},
        "type": [coding("https://bench.invalid/types", "a", "Admission")],
        "subject": {"reference": ids["P"], "type": "Patient"},
        "participant": [{"period": {"start": "2024-01-01T08:00:00+03:30", "end": "2024-01-02T08:00:00+03:30"}}],
        "period": {"start": "2024-01-01T08:00:00+03:30", "end": "2024-01-05T10:15:00+03:30"},
        "length": {"value": 4, "unit": "d", "system": "http://unitsofmeasure.org", "code": "d"},
        "hospitalization": {"dischargeDisposition": coding(
            "http://terminology.hl7.org/CodeSystem/discharge-disposition", "home", "Home")},
        "serviceProvider": {"reference": ids["O"]},
    }  # fmt: skip
    request = {
        "resourceType": "ServiceRequest", "text": narrative("Request"), "meta": {"profile": [BASE + "request"]},
        "contained": [{"resourceType": "Practitioner", "id": "doctor", "name": [{"family": "Doctor-One"}],
                       "telecom": [{"system": "phone", "value": "+000000002"}]}],
        "identifier": [{"system": "https://bench.invalid/request", "value": "TEST-R-1"}],
        "status": "active", "intent": "order", "priority": "urgent",
        "category": [coding("https://bench.invalid/categories", "lab", "Laboratory")],
        "code": coding("http://loinc.org", "24323-8", "Comprehensive panel"),
        "quantityQuantity": {"value": 1.0, "unit": "1"},
        "subject": {"reference": ids["P"]}, "encounter": {"reference": ids["E"]},
        "occurrencePeriod": {"start": "2024-01-02", "end": "2024-01-12"}, "authoredOn": "2024-01-01T09:00:00Z",
        "requester": {"reference": "#doctor"}, "performer": [{"reference": ids["O"]}],
        "reasonCode": [coding("http://hl7.org/fhir/sid/icd-10", "A00", "A reason")],
        "note": [{"time": "2024-01-01T09:00:00Z", "text": "A test note"}],
    }  # fmt: skip
    organization = {
        "resourceType": "Organization", "text": narrative("Centre"), "active": True,
        "identifier": [{"system": "https://bench.invalid/centre", "value": "TEST-C-1"}],
        "type": [coding("http://terminology.hl7.org/CodeSystem/organization-type", "prov", "Healthcare Provider")],
        "name": "Test centre", "telecom": [{"system": "phone", "value": "+000000003", "use": "work"}],
        "address": [{"use": "work", "line": ["Test road 2"], "city": "Test city"}],
    }  # fmt: skip
    plan = {
        "resourceType": "CarePlan", "text": narrative("Plan"), "status": "active", "intent": "plan", "title": "A plan",
        "category": [coding("https://bench.invalid/plans", "p", "Plan")],
        "subject": {"reference": ids["P"]}, "encounter": {"reference": ids["E"]},
        "period": {"start": "2024-01-01", "end": "2024-06-30"}, "created": "2024-01-01",
        "author": {"reference": ids["O"]},
        "activity": [{"detail": {"kind": "ServiceRequest", "status": "scheduled", "doNotPerform": False,
                                 "code": coding("https://bench.invalid/activities", str(at), f"Activity {at}"),
                                 "scheduledPeriod": {"start": "2024-01-01", "end": "2024-02-01"},
                                 "performer": [{"reference": ids["O"]}]}} for at in range(4)],
    }  # fmt: skip
    made = zip("PESOC", (patient, encounter, request, organization, plan), strict=True)
    entries = [
        {"fullUrl": ids[name], "resource": each, "request": {"method": "POST", "url": each["resourceType"]}}
        for name, each in made
    ]
    return {"resourceType": "Bundle", "type": "transaction", "timestamp": "2024-01-01T09:00:00Z", "entry": entries}


def profiles() -> list[dict[str, Any]]:
    """Two profiles with slices, an invariant, a pattern and typed references."""

    def profile(name: str, kind: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "resourceType": "StructureDefinition", "url": BASE + name, "name": name, "status": "draft",
            "kind": "resource", "abstract": False, "type": kind, "baseDefinition": R4 + kind,
            "derivation": "constraint", "differential": {"element": rows},
        }  # fmt: skip

    by_system = {"discriminator": [{"type": "value", "path": "system"}], "rules": "open"}
    sliced = "Patient.identifier"
    return [
        profile("patient", "Patient", [
            {"id": "Patient", "path": "Patient", "constraint": [
                {"key": "b-1", "severity": "error", "human": "named", "expression": "name.family.exists()"}]},
            {"id": sliced, "path": sliced, "slicing": by_system, "min": 1},
            {"id": f"{sliced}:national", "path": sliced, "sliceName": "national", "min": 1, "max": "1"},
            {"id": f"{sliced}:national.system", "path": f"{sliced}.system", "fixedUri": "urn:oid:2.16.364.1"},
            {"id": f"{sliced}:national.value", "path": f"{sliced}.value", "min": 1, "maxLength": 10},
            {"id": "Patient.birthDate", "path": "Patient.birthDate", "min": 1},
        ]),
        profile("request", "ServiceRequest", [
            {"id": "ServiceRequest.identifier", "path": "ServiceRequest.identifier", "min": 1},
            {"id": "ServiceRequest.intent", "path": "ServiceRequest.intent", "patternCode": "order"},
            {"id": "ServiceRequest.subject", "path": "ServiceRequest.subject",
             "type": [{"code": "Reference", "targetProfile": [BASE + "patient"]}]},
            {"id": "ServiceRequest.authoredOn", "path": "ServiceRequest.authoredOn", "min": 1},
        ]),
    ]  # fmt: skip


def measure(work: Callable[[], Any], rounds: int) -> float:
    """Median CPU seconds of one call, warmed."""
    for _ in range(min(20, rounds)):
        work()
    times = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")


def others(body: bytes, rounds: int, ours: float) -> None:
    """The same Bundle through other libraries, where they are installed."""
    from fhir.resources.R4B.bundle import Bundle

    theirs = measure(lambda: Bundle.model_validate_json(body).model_dump_json(), max(20, rounds // 8))
    say(f"fhir.resources parse and dump      {theirs * 1e3:8.2f} ms   {theirs / ours:6.1f} x ours")


PYROFILE = """
import json, statistics, sys, time
from pyrofile_validator import Validator
from pyrofile_validator.config import ValidatorConfig
value = json.loads(sys.stdin.read())
other = Validator(ValidatorConfig(local_package_paths=[sys.argv[1]]))
times = []
for _ in range(8):
    start = time.process_time()
    other.validate_resource(value)
    times.append(time.process_time() - start)
print("MEDIAN", statistics.median(times[2:]))
"""


def pyrofile(python: str, core: str, body: bytes, ours: float) -> None:
    """pyrofile-validator in its own environment: it pins what we do not want beside us."""
    done = subprocess.run([python, "-c", PYROFILE, core], input=body, capture_output=True, check=True)
    theirs = float(done.stdout.decode().rpartition("MEDIAN ")[2])
    say(f"pyrofile-validator                 {theirs * 1e3:8.2f} ms   {theirs / ours:6.1f} x ours")


def flat(work: Callable[[], Any], count: int) -> tuple[float, float]:
    """(last tenth's time / first tenth's time, MiB grown) over `count` calls."""
    tenth = max(1, count // 10)

    def timed(times: int) -> float:
        start = time.process_time()
        for _ in range(times):
            work()
        return time.process_time() - start

    first = timed(tenth)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    timed(count - 2 * tenth)
    last = timed(tenth)
    return last / first, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--flat", type=int, default=0)
    parser.add_argument("--pyrofile", help="an interpreter that has pyrofile-validator")
    parser.add_argument("--core", help="hl7.fhir.r4.core.tgz for it")
    options = parser.parse_args()
    body = json.write(bundle())
    start = time.perf_counter()
    book = load(extra=profiles())
    found = book.validate(body)
    say(f"input {len(body)} bytes; load and first Bundle {time.perf_counter() - start:.2f} s")
    assert not [each for each in found if each.severity == "error"], found
    say(f"resident {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    value = json.read(body)

    def whole() -> bytes:
        read = json.read(body)
        book.validate(read)
        return json.write(read)

    ours = measure(whole, options.rounds)
    rows = {
        "read (strict)": lambda: json.read(body),
        "write": lambda: json.write(value),
        "validate, dict in memory": lambda: book.validate(value),
    }
    for name, work in rows.items():
        say(f"{name:34} {measure(work, options.rounds) * 1e3:8.3f} ms")
    say(f"{'bytes -> base + 2 profiles -> bytes':34} {ours * 1e3:8.3f} ms   {6 / ours:,.0f} resources/s")
    others(body, options.rounds, ours)
    if options.pyrofile:
        pyrofile(options.pyrofile, options.core, body, ours)
    if options.flat:
        ratio, grown = flat(whole, options.flat)
        say(f"{options.flat} validations: last tenth / first tenth {ratio:.2f}, grown {grown:.1f} MiB")


if __name__ == "__main__":
    main()
