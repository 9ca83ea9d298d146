"""A site of the programme from intake to review: parallel delivery, reconciliation, recall, readiness, the registry."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from gateway import conforming, programme, recalling, workers
from gateway.cli import main
from gateway.clock import SystemClock
from gateway.commands import convert, export
from gateway.commands.demo_inputs import registry
from gateway.commands.site import Plan, Site
from gateway.deliver.sepas_reply import ErrorTable
from gateway.formats import json, layout, xml
from gateway.settings import Settings
from gateway.sign import dev_ca
from gateway.sign.keys import read_certificates
from gateway.sign.trust import Trust
from gateway.simulate import arrivals, medcare
from gateway.simulate.sepas import CATEGORIES

ROOT = Path(__file__).parents[3]
SAMPLES = ROOT / "mappings" / "sepas" / "samples"
COLLECT = """
[[collect]]
name = "ward"
sender = "hospital-1"
folder = "{folder}"
media_type = "application/json"
seconds = 0.2
[peer.folder]
origin = "http://127.0.0.1:1"
plaintext = true
[[destination]]
id = "cancer-registry"
programme = "sepas"
protocol = "file-drop"
peer = "folder"
url = "{registry}"
body = "sepas/canreg"
options = {{name = "{{exchange}}.csv"}}
"""


async def command(site: Site, *words: str) -> int:
    return await asyncio.to_thread(main, [*words, "--config", str(site.config)])


async def test_a_stay_is_delivered_twice_compared_recalled_and_verified(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The letter's own way: both systems at the same time, and a file that reviewers can call back (A-11, A-18)."""
    folder, drop, archive = tmp_path / "in", tmp_path / "registry", tmp_path / "file.zip"
    folder.mkdir()
    drop.mkdir()
    extra = COLLECT.format(folder=folder, registry=drop)
    plan = Plan(home=ROOT, workers=1, plain_mllp=True, answer_within=5, extra=extra)
    async with Site(tmp_path / "site", plan) as site:
        await site.start()
        await site.prepare(registry(ROOT))
        body = (SAMPLES / "stay.json").read_bytes()
        answer = await site.post("hospital-1", "sepas", "application/json", body, idempotency_key="stay-1")
        assert answer.status_code == 201, answer.text
        await site.mllp([(SAMPLES / "oru-pathology.hl7").read_bytes()], "hospital-1")
        for name, content in (("plan.json", (SAMPLES / "careplan.json").read_bytes()), ("odd.json", b"{")):
            (folder / name).write_bytes(content)
            os.utime(folder / name, (time.time() - 60, time.time() - 60))
        assert await site.quiet(30)
        capsys.readouterr()

        assert await command(site, "reconcile", "sepas", "medcare", "--programme", "sepas", "--json") == 1
        told = json.read(capsys.readouterr().out.encode())
        assert sum(each["both"] for each in told["sums"]) == 1
        assert [each["fate"] for each in told["cases"]] == ["only_second"], "the care plan goes to one of them only"

        out = ("--sender", "hospital-1", "--destination", "sepas", "--out", str(tmp_path))
        assert await command(site, "conform", "sepas", *out) == 1, "not every required message was sent"
        ready = json.read((tmp_path / "conformance-sepas-hospital-1.json").read_bytes())
        told = {each["type"]: each["status"] for each in ready["messages"]}
        assert told["savePatientBill temporary inpatient"] == told["SavePathologyReport"] == "conforms", ready
        assert len(ready["inputs"]) == 3

        words = ("canreg", "--programme", "sepas", "--day", "2026-01-06", "--out", str(tmp_path))
        capsys.readouterr()
        assert await command(site, "export", *words) == 0
        assert "2 rows, 0 refused" in capsys.readouterr().out
        report = json.read((tmp_path / "canreg-1404-Q4.report.json").read_bytes())
        assert (report["cases"], report["rows"], len(report["pairs"])) == (2, 2, 1)

        submission = answer.headers["location"].rsplit("/", 1)[-1]
        words = ("--submission", submission, "--reason", "review of the group", "--out", str(archive))
        assert await command(site, "recall", *words) == 0
        assert main(["recall", "--verify", str(archive), "--ca", str(site.ca.ca)]) == 0
        assert " 0 wrong" in capsys.readouterr().out
        capsys.readouterr()
        (line,) = [e for e in await site.ask("exchanges", state="delivered", destination="sepas") if "exchange" in e]
        words = ("--subject", line["exchange"]["subject"], "--programme", "sepas", "--out", str(archive))
        assert await command(site, "recall", *words) == 0
        assert main(["recall", "--verify", str(archive)]) == 0
        assert await site.stop() == 0
    assert len(list(drop.glob("*.csv"))) == 2, "the registry has its own file of the tumour as well"
    assert (folder / "done" / "plan.json").is_file()
    assert (folder / "refused" / "odd.json.answer.json").is_file()
    verdicts = [line["verdict"] for line in arrivals.read(site.logs["sepas"]) if "verdict" in line]
    assert [each["result"] for each in verdicts] == ["created"]


# --- readiness ----------------------------------------


@pytest.fixture(scope="module")
def rules() -> workers.Rules:
    return workers.load_rules(Settings(home=str(ROOT), programmes=("sepas",)))


def bench(rules: workers.Rules, *names: str, change: Callable[[bytes], bytes] = lambda body: body) -> conforming.Bench:
    settings, at = Settings(home=str(ROOT), programmes=("sepas",)), SystemClock().now()
    made = conforming.Bench(rules, programme.load(ROOT, "sepas"), at)
    for name in names:
        body = change((SAMPLES / name).read_bytes())
        given = convert.submission(body, convert.media_type(SAMPLES / name, None), "sepas", "hospital-1", at)
        made.take(name, given, convert.context(given, settings, registry(ROOT), at))
    return made


async def judged(rules: workers.Rules, made: conforming.Bench, folder: Path) -> dict[str, conforming.Judged]:
    listed, found = conforming.load(ROOT, "sepas"), programme.load(ROOT, "sepas")
    at = SystemClock().now()
    done = await conforming.judge(listed, list(made.documents()), rules, found, None, {}, None, folder, at)
    return {each.required.type: each for each in done}


async def test_readiness_names_what_conforms_what_fails_and_what_was_not_sent(
    rules: workers.Rules, tmp_path: Path
) -> None:
    """A sender learns before it applies; what it never sent is not called ready."""
    made = bench(rules, "stay.json", "oru-pathology.hl7", "ref-i12.hl7", "laboratory.json")
    found = await judged(rules, made, tmp_path)
    assert found["SaveReferralCase"].status == "conforms", found["SaveReferralCase"]
    assert found["LISSaveLaboratoryResult"].status == "conforms", found["LISSaveLaboratoryResult"]
    assert found["savePatientBill temporary inpatient"].status == "conforms"
    assert found["SavePathologyReport"].status == "conforms"
    assert found["savePatientBill inpatient"].status == "not_sent"
    report = conforming.report(
        conforming.load(ROOT, "sepas"), list(found.values()), made.inputs, "x", "1", SystemClock().now()
    )
    assert report["ready"] is False
    assert "not a certificate" in report["disclaimer"]["en"]
    assert "گواهی نیست" in report["disclaimer"]["fa"]


async def test_a_laboratory_result_without_a_physician_is_not_ready(rules: workers.Rules, tmp_path: Path) -> None:
    """Each message of the newer service carries centre, university and physician."""
    found = await judged(rules, bench(rules, "oru-laboratory.hl7"), tmp_path)
    (tried,) = found["LISSaveLaboratoryResult"].tried
    assert tried.missing == ("data/composition/admission/attendingDoctor/identifier/id",)
    assert tried.state == "rejected"
    assert "physician" in tried.problems[0]


async def test_readiness_fails_where_the_stand_in_refuses_or_an_element_is_missing(
    rules: workers.Rules, tmp_path: Path
) -> None:
    """Both are said: the element by its path, the refusal in the words of the published category."""
    listed = conforming.load(ROOT, "sepas")
    made = list(bench(rules, "stay.json").documents())
    worse = made[0]._replace(body=made[0].body.replace(b'"gender":"', b'"was":"'))
    found = await conforming.judge(
        listed, [worse], rules, programme.load(ROOT, "sepas"), None, {}, None, tmp_path, SystemClock().now()
    )
    (tried,) = next(each.tried for each in found if each.tried)
    assert tried.missing == ("Person/Gender",)
    assert next(each.status for each in found if each.tried) == "fails"


def test_the_report_is_signed_in_two_languages_and_the_record_is_entered_by_its_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever gets the report can see that it was not changed, and that it is no certificate."""
    ca = dev_ca.make(tmp_path / "ca", ("s",), ("sepas",), now=SystemClock().now())
    config, messages = tmp_path / "gateway.toml", tmp_path / "messages"
    messages.mkdir()
    (messages / "stay.json").write_bytes((SAMPLES / "stay.json").read_bytes())
    config.write_text(SETTINGS.format(home=ROOT, evidence=ca.evidence, signer=ca.signer, ca=ca.ca), encoding="utf-8")
    words = ("--sender", "x", "--messages", str(messages), "--destination", "sepas", "--out", str(tmp_path))
    assert main(["conform", "sepas", *words, "--config", str(config)]) == 1, "three of four were not sent"
    report = json.read((tmp_path / "conformance-sepas-x.json").read_bytes())
    assert {each["type"]: each["status"] for each in report["messages"]}["savePatientBill temporary inpatient"] in (
        "conforms",
        "fails",
    )
    trust = Trust("document", read_certificates(ca.ca), require_revocation=False)
    for name in ("conformance-sepas-x.json", "conformance-sepas-x.fa.html", "conformance-sepas-x.en.html"):
        line = recalling._signature(name, (tmp_path / name).read_bytes(), (tmp_path / f"{name}.jws").read_text(), trust)
        assert line.well, line
    persian = (tmp_path / "conformance-sepas-x.fa.html").read_text(encoding="utf-8")
    assert 'dir="rtl"' in persian
    assert "گواهی نیست" in persian
    assert "<script" not in persian
    assert "آزمایشی" not in persian, "no patient in a report that travels"
    words = ("--enter", "N-17", "--destination", "sepas", "--from", "2026-01-01", "--to", "2026-12-31")
    assert main(["conform", "sepas", *words, "--config", str(config)]) == 0
    assert "N-17" in capsys.readouterr().out


SETTINGS = """
home = "{home}"
data = "data"
programmes = ["sepas"]
[trust]
signer = "{ca}"
[key.evidence]
purpose = "evidence"
certificate = "{evidence.certificate}"
key = "{evidence.key}"
[key.token]
certificate = "{signer.certificate}"
key = "{signer.key}"
[peer.sepas]
origin = "http://127.0.0.1:1"
plaintext = true
[[destination]]
id = "sepas"
programme = "sepas"
protocol = "sepas-soap"
peer = "sepas"
url = "http://127.0.0.1:1/x"
body = "sepas/patient-bill"
system_id = "SYSTEM-1"
needs_conformity = true
signing_key = "token"
signer = "raw-rsa-sha256"
"""


# --- names, order, types ----------------------------------------


def schema() -> etree.XMLSchema:
    return etree.XMLSchema(file=str(ROOT / "gateway" / "simulate" / "sepas_messages.xsd"))


@pytest.mark.parametrize(
    ("sample", "target"),
    [
        ("stay.json", "patient-bill"),
        ("stay.json", "admitted"),
        ("stay.json", "death-certificate"),
        ("oru-pathology.hl7", "pathology-report"),
        ("ref-i12.hl7", "referral-case"),
    ],
)
def test_every_national_message_has_the_names_order_and_types_of_the_schema(
    rules: workers.Rules, sample: str, target: str
) -> None:
    """The schema is written from the public table of names; a misplaced element is a structure error there."""
    (made,) = bench(rules, sample).documents()
    message = xml.read(rules.mapper.render(json.read(made.body), f"sepas/{target}", {"system_id": "S"}))
    checked = schema()
    assert checked.validate(message), str(checked.error_log)


@pytest.mark.parametrize(
    ("operation", "sample", "target"),
    [
        ("SavePatientBill", "stay.json", "patient-bill"),
        ("SaveAdmittedMessage", "stay.json", "admitted"),
        ("SaveDeathCertificate", "stay.json", "death-certificate"),
        ("SavePathologyReport", "oru-pathology.hl7", "pathology-report"),
        ("SaveReferralCase", "ref-i12.hl7", "referral-case"),
    ],
)
async def test_every_secure_operation_takes_what_our_mapping_makes(
    operation: str, sample: str, target: str, rules: workers.Rules, tmp_path: Path
) -> None:
    """Sealed, opened, read against the schema, its codes and mandatory elements looked at, and answered with UIDs."""
    required = conforming.Required(
        type=operation,
        title=conforming.Words(en="x", fa="x"),
        kind="",
        stand_in="ditas",
        protocol="sepas-ditas",
        body=target,
        options={"operation": operation},
    )
    (made,) = bench(rules, sample).documents()
    found, at = programme.load(ROOT, "sepas"), SystemClock().now()
    tried = await conforming._try(required, made, rules, found, None, {}, None, tmp_path, at)
    assert (tried.state, tried.problems) == ("delivered", ())


@pytest.mark.parametrize("sample", ["stay.json", "services.csv", "bill.xml"])
def test_the_templates_of_medcare_hold_what_our_mapping_makes(sample: str, rules: workers.Rules) -> None:
    """As JSON against the stand-in's names, order, types and codes; as a file against its layout."""
    for made in bench(rules, sample).documents():
        body = rules.mapper.render(json.read(made.body), "sepas/medcare", {})
        assert list(medcare._shape(json.read(body))) == []
        table = rules.mapper.render(json.read(made.body), "sepas/medcare-file", {})
        found = layout.pick(layout.load(ROOT / "mappings" / "sepas" / "layouts"), "medcare", "2026-01-01")
        assert len(layout.read(found, table)) == body.count(b'"count"')


def test_a_cancelled_stay_withdraws(rules: workers.Rules) -> None:
    """The record there is taken back by its own flag, and only then."""
    (made,) = bench(rules, "stay.json").documents()
    for status, there in (("finished", False), ("cancelled", True), ("entered-in-error", True)):
        body = json.read(made.body)
        for entry in body["entry"]:
            if entry["resource"]["resourceType"] == "Encounter":
                entry["resource"]["status"] = status
        message = xml.read(rules.mapper.render(body, "sepas/patient-bill", {}))
        vm = "{http://thrita.behdasht.gov.ir/VM/}"
        assert (message.findtext(f"{vm}MsgID/{vm}Deactivate") == "true") is there


@pytest.mark.parametrize(
    ("said", "category"),
    [(f"{name}: {text}", name) for name, text in CATEGORIES.items() if name != "SepasNode"]
    + [
        ("DateValidationError(12): x", "Date Validation"),
        ("DATE VALIDATION - x", "Date Validation"),
        ("[Facility Validation] x", "Facility Validation"),
        ("System/Version: old", "Version"),
        ("Destination SepasNode is Down", "SepasNode"),
        ("InsuranceBox is invalid", "Mapping"),
        ("AdmissionWardType is mandatory", "Mandatory"),
        ("NationalCode is blocked", "Wrong Data"),
        ("a new and unheard one", "Unknown"),
        ("", "Unknown"),
    ],
)
def test_error_texts_find_their_category(said: str, category: str) -> None:
    """The exact texts are not published, so spelling must not decide."""
    names = {
        "Date Validation": "date_validation", "Mapping": "coding", "National Locator": "national_locator",
        "Structure": "structure", "Locator": "locator", "Mandatory": "mandatory", "Wrong Data": "wrong_data",
        "DB": "database", "Calculation": "calculation", "Logic": "logic", "SepasBlock": "sepas_block",
        "Network": "network", "Version": "system_version", "Facility Validation": "facility",
        "Input Data": "input_data", "Data Format": "data_format", "Unknown": "unknown", "SepasNode": "node_down",
    }  # fmt: skip
    assert ErrorTable.load().category(said) == names[category]


# --- the registry's file ----------------------------------------


def document_of(rules: workers.Rules) -> Any:
    (made,) = bench(rules, "oru-pathology.hl7").documents()
    return json.read(made.body)


def test_a_pathology_report_becomes_a_row_that_canreg_imports(rules: workers.Rules) -> None:
    """Every variable that CanReg5 makes mandatory is there, in its form."""
    rows = rules.mapper.rows(document_of(rules), "sepas/canreg", {})
    body = rules.mapper.table(rows, "sepas/canreg", "2021-03-20")
    (folder,) = [ROOT / "mappings" / "sepas" / "layouts"]
    (row,) = layout.read(layout.pick(layout.load(folder), "canreg", "2021-03-20"), body)
    mandatory = "Surname Sex Age BirthDate AddressCode IncidenceDate Topography Morphology Behaviour BasisDiagnosis"
    assert all(row[name] for name in mandatory.split()), row
    assert len(row["Topography"]) == 3
    assert len(row["Morphology"]) == 4
    assert row["BirthDate"].isdigit()


@pytest.mark.parametrize(
    ("icd10", "topography", "morphology", "behaviour"),
    [
        ("C34.9", "349", "8000", "3"),
        ("C509", "509", "8000", "3"),
        ("C61", "619", "8000", "3"),
        ("C43.5", "445", "8720", "3"),
        ("C81.1", "779", "9650", "3"),
        ("C92.1", "421", "9863", "3"),
        ("C90.0", "421", "9732", "3"),
        ("D05.1", "509", "8010", "2"),
        ("D46.2", "421", "9989", "3"),
        ("D45", "421", "9950", "3"),
    ],
)
def test_a_hospital_that_codes_by_icd_10_alone_is_registered_with_what_that_code_says(
    icd10: str, topography: str, morphology: str, behaviour: str, rules: workers.Rules
) -> None:
    """Site and behaviour are in the code; a morphology that it does not tell is 8000, and the basis is not known."""
    document = document_of(rules)
    for entry in document["entry"]:
        resource = entry["resource"]
        if resource["resourceType"] == "Condition":
            kept = [each for each in resource["extension"] if "valueCoding" not in each]
            resource |= {"extension": kept, "bodySite": []}
            resource["code"] = {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": icd10}]}
            assert kept, "what is reportable is said beside the codes"
    (row,) = rules.mapper.rows(document, "sepas/canreg", {})
    assert (row["Topography"], row["Morphology"], row["Behaviour"]) == (topography, morphology, behaviour)
    assert row["BasisDiagnosis"] == "9"
    assert rules.mapper.table([row], "sepas/canreg", "2021-03-20")


@pytest.mark.parametrize(
    ("day", "name", "first", "last"),
    [
        ("2020-10-22", "1399-Q3", "2020-09-22", "2020-12-20"),
        ("2020-09-21", "1399-Q2", "2020-06-21", "2020-09-21"),
        ("2021-03-20", "1399-Q4", "2020-12-21", "2021-03-20"),  # 30 Esfand of a leap year
        ("2021-03-21", "1400-Q1", "2021-03-21", "2021-06-21"),
    ],
)
def test_a_quarter_is_three_jalali_months(day: str, name: str, first: str, last: str) -> None:
    """A case of the last day of Shahrivar belongs to the quarter that ends with it."""
    plan = export.plan(ROOT, "sepas", "canreg")
    begins, ends, called = export.period_of(export._day(day, "gregorian").first, plan)
    assert (called, begins.isoformat(), ends.isoformat()) == (name, first, last)


def test_rows_that_do_not_fit_are_refused_by_themselves_and_told(rules: workers.Rules) -> None:
    """One bad report must not stop a quarter, and must not vanish either."""
    good = rules.mapper.rows(document_of(rules), "sepas/canreg", {})[0]
    bad = {**good, "Topography": "", "TumourID": "other"}
    last = export._day("2021-03-20", "gregorian").first
    body, kept, refused = export.written(rules.mapper, "sepas/canreg", [("c1", good), ("c2", bad)], last)
    assert len(kept) == 1
    assert body.count(b"\r\n") == 2
    assert refused == [{"case": "c2", "cells": [{"field": "Topography", "problem": "missing"}]}]
