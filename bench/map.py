"""Mapped messages and rows per second, with lineage and loss report, beside other software in the same run.

python -m bench.map [seconds] [--converter PYTHON]

Two messages of 16 segments (ADT^A01, ORM^O01) through the shared mapping v2/any, and rows of the toscana sample.
Beside: hl7apy's parse alone, and python-fhir-converter where an interpreter that has it is named (it is no
dependency of ours). That one reads no HL7 v2, so it is given the same content as a C-CDA document (`bench/ccda.py`) and
its own CCD template, which parses, includes, repeats and translates codes; it keeps no lineage and no loss report.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from bench import ccda
from gateway import map as mapping
from gateway import programme, workers
from gateway.formats import media
from gateway.message import Context, Submission

HOME = Path(__file__).resolve().parents[1]
NOW = datetime(2026, 1, 11, tzinfo=UTC)

_HEAD = "MSH|^~\\&|HIS|WARD|GATEWAY|CENTRE|20260110093000||{}|BENCH-1|P|2.5|||AL|NE||UNICODE UTF-8"
_PID = (
    "PID|1||TEST-0001^^^HIS^MR~TEST-NI-1^^^NAT^NI||Patient-One^Test^Invented||19800321|F|||"
    "Test Street 1^^Testville^^00000||555-0001|||M"
)
_PV1 = (
    "PV1|1|I|W3^12^2^HIS||||D1^Doctor^Test|D2^Referrer^Test||MED|||||||D3^Admitter^Test|2|V-5001"
    "|||||||||||||||||||||||||20260105081500"
)
MESSAGES = {
    "ADT^A01": (
        _HEAD.format("ADT^A01^ADT_A01"),
        "EVN||20260105081500",
        _PID,
        "PD1||||D4^Family^Test",
        "NK1|1|Relative-One^Test|SPO^Spouse^HL70063||555-0002",
        "NK1|2|Relative-Two^Test|CHD^Child^HL70063||555-0003",
        _PV1,
        "PV2|||X1^Observation^L",
        "OBX|1|NM|8302-2^Body height^LN||171|cm^^UCUM|||||F|||20260105081500",
        "OBX|2|NM|29463-7^Body weight^LN||70.5|kg^^UCUM|||||F|||20260105081500",
        "AL1|1|DA|P1^Penicillin^L|SV|Rash",
        "AL1|2|FA|N1^Nuts^L|MO|Swelling",
        "DG1|1||I10^Hypertension^I10||20260105|A",
        "DG1|2||E11.9^Diabetes^I10||20260105|W",
        "GT1|1||Guarantor-One^Test||Test Street 2^^Testville",
        "IN1|1|P1^Plan|C1|Insurer One|||||||20260101|20261231||||Patient-One^Test|SEL",
    ),
    "ORM^O01": (
        _HEAD.format("ORM^O01^ORM_O01"),
        _PID,
        "PD1||||D4^Family^Test",
        "NTE|1||about the patient",
        _PV1,
        "PV2|||X1^Observation^L",
        "IN1|1|P1^Plan|C1|Insurer One|||||||20260101|20261231||||Patient-One^Test|SEL",
        "GT1|1||Guarantor-One^Test||Test Street 2^^Testville",
        "AL1|1|DA|P1^Penicillin^L|SV|Rash",
        "ORC|NW|PL-1|FI-1||||^^^20260106080000^^R||20260105081500|||D5^Orderer^Test",
        "OBR|1|PL-1|FI-1|24323-8^Panel^LN|||20260105090000|||||||||D5^Orderer^Test",
        "NTE|1||about the order",
        "DG1|1||I10^Hypertension^I10||20260105|A",
        "DG1|2||E11.9^Diabetes^I10||20260105|W",
        "OBX|1|NM|8302-2^Body height^LN||171|cm^^UCUM|||||F|||20260105081500",
        "OBX|2|NM|29463-7^Body weight^LN||70.5|kg^^UCUM|||||F|||20260105081500",
    ),
}

_PROGRAMME = """
name = "bench"
language = "en"
timezone = "Europe/Rome"
[title]
en = "Bench"
fa = "Bench"
it = "Bench"
zh = "Bench"
[[intake]]
format = "hl7v2"
mapping = "v2/any.yaml"
message = ["*"]
[[case]]
kind = "message"
[case.complete]
parts = [["message"]]
[[document]]
kind = "message"
[[route]]
kind = "message"
destination = "nowhere"
"""


def rate(work: Callable[[], object], seconds: float) -> float:
    """Calls a second of processor time, after one that warms up: other work on the machine does not count."""
    work()
    count, start = 0, time.process_time()
    while time.process_time() - start < seconds:
        work()
        count += 1
    return count / (time.process_time() - start)


def context(name: str, **options: str) -> Context:
    return Context(digest="", now=NOW, sender="bench", programme=name, id_key=b"k", sender_options=options)


def submission(name: str, media_type: str, body: bytes) -> Submission:
    return Submission(
        id="b", sender="bench", programme=name, received_at=NOW, channel="http",
        media_type=media_type, body=body, digest="",
    )  # fmt: skip


# --- python-fhir-converter ----------------------------------------

_CONVERTER = """
import json, sys, time
from fhir_converter.renderers import CcdaRenderer
given = json.load(sys.stdin)
renderer = CcdaRenderer()
made = renderer.render_fhir_string("CCD", given["document"])
count, start = 0, time.process_time()
while time.process_time() - start < given["seconds"]:
    renderer.render_fhir_string("CCD", given["document"])
    count += 1
print(json.dumps({"rate": count / (time.process_time() - start), "entries": len(json.loads(made)["entry"])}))
"""


def converter(python: str, seconds: float) -> tuple[float, int]:
    """Its conversions a second and the resources that each makes, in a process of its own."""
    given = json.dumps({"document": ccda.DOCUMENT, "seconds": seconds})
    done = subprocess.run([python, "-c", _CONVERTER], input=given, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    return float(told["rate"]), int(told["entries"])


# --- the tables ----------------------------------------


def messages(seconds: float, python: str) -> None:
    import hl7apy.parser

    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "mappings" / "bench").mkdir(parents=True)
        (home / "mappings" / "v2").symlink_to(HOME / "mappings" / "v2")
        (home / "mappings" / "bench" / "programme.toml").write_text(_PROGRAMME, encoding="utf-8")
        engine = mapping.load(home, [programme.load(home, "bench")])
    print(f"{'message':<9} {'segments':>8} {'mapped/s':>9} {'ms':>6} {'unchecked':>9}", end="")
    print(f" {'hl7apy parse':>12} {'ratio':>6} {'resources':>9} {'fhir-converter':>14} {'ratio':>6}")
    other, entries = converter(python, seconds) if python else (0.0, 0)
    for name, lines in MESSAGES.items():
        body = "\r".join(lines).encode() + b"\r"
        sent = submission("bench", media.HL7V2, body)
        checked, unchecked = context("bench"), context("bench", conformance="off")
        (result,) = engine.take_apart(sent, checked)
        assert not result.refused
        ours = rate(partial(engine.take_apart, sent, checked), seconds)
        bare = rate(partial(engine.take_apart, sent, unchecked), seconds)
        text = body.decode()
        theirs = rate(partial(hl7apy.parser.parse_message, text, find_groups=False), seconds)
        line = f"{name:<9} {len(lines):>8} {ours:>9.0f} {1000 / ours:>6.2f} {bare:>9.0f}"
        line += f" {theirs:>12.0f} {ours / theirs:>6.1f}"
        line += f" {len(result.resources):>9}"
        if other:
            line += f" {other:>14.0f} {ours / other:>6.1f}"
        print(line)
    if python:
        print(f"the converter makes {entries} resources of the C-CDA document that says what the ADT^A01 says")


def rows(seconds: float) -> None:
    engine = mapping.load(HOME, [programme.load(HOME, "toscana")])
    heading, *samples = (HOME / "mappings/toscana/samples/prenotazioni.csv").read_text(encoding="utf-8").splitlines()
    count = 1000
    body = "\n".join([heading, *(samples[n % len(samples)] for n in range(count))]).encode()
    sent = submission("toscana", media.CSV, body)
    known = context("toscana")

    def take() -> None:
        for make in engine.one_by_one(sent, known):
            make()

    print(f"\n{'table':<9} {'columns':>8} {'rows/s':>9}")
    print(f"{'bookings':<9} {heading.count(';') + 1:>8} {count * rate(take, seconds):>9.0f}")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("seconds", type=float, nargs="?", default=2.0)
    arguments.add_argument("--converter", default="", metavar="PYTHON")
    given = arguments.parse_args()
    workers.settle()  # as in a worker
    messages(given.seconds, given.converter)
    rows(given.seconds)
