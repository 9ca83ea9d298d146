"""The stand-ins: strict, logged raw before anything else, loopback only, able to be told to fail."""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from deliver_world import FACILITY, SYSTEM, TestSigner, bill, fhir_message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import programme
from gateway.clock import SystemClock
from gateway.commands import simulate as command
from gateway.errors import Misconfigured
from gateway.formats import json
from gateway.map import engine
from gateway.simulate import arrivals, sepas_checks
from gateway.simulate.arrivals import ArrivalLog
from gateway.simulate.cart import Cart
from gateway.simulate.faults import FAULTS, Faults
from gateway.simulate.medcare import Medcare
from gateway.simulate.sepas import CATEGORIES, Sepas
from gateway.simulate.server import Running

ROOT = Path(__file__).parents[3]
XML = {"content-type": "text/xml; charset=utf-8"}


def envelope(message: bytes) -> bytes:
    start = b'<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body>'
    operation = b'<s:savePatientBill xmlns:s="http://sepas.behdasht.gov.ir/">'
    return start + operation + message + b"</s:savePatientBill></e:Body></e:Envelope>"


def whole(record: str = "1", **replaced: str) -> bytes:
    """A bill that has everything, with places replaced."""
    made = bill({"record": record}, "", {}).decode()
    system = "".join(
        f"<v:{n}>{v}</v:{n}>" for n, v in zip(NAMES, ("MOHME_IT", "MOHME_IT", SYSTEM, "System_ID"), strict=True)
    )
    made = made.replace("<v:MsgID>", f"<v:MsgID><v:SystemID>{system}</v:SystemID>")
    for old, new in replaced.items():
        assert old.replace("__", ":") in made
        made = made.replace(old.replace("__", ":"), new)
    return envelope(made.encode())


NAMES = ("Issuer", "Assigner", "ID", "Type")


def verdict(stand_in: Any, body: bytes, **headers: str) -> dict[str, Any]:
    sent = [
        (name.replace("_", "-"), value) for name, value in ({"content_type": XML["content-type"]} | headers).items()
    ]
    arrival = stand_in.log.arrived(SystemClock().now(), "POST", "/", sent, body, "")
    judged = stand_in.judge(arrival)
    judged.commit()
    result: dict[str, Any] = judged.verdict
    return result


# --- strictness ----------------------------------------


def changed(old: str, new: str) -> bytes:
    made = whole().decode()
    assert old in made
    return made.replace(old, new).encode()


MISTAKES = {
    "not XML": (b"hello", "Structure"),
    "a document type": (b"<!DOCTYPE a><a/>", "Structure"),
    "no envelope": (bill({}, "", {}), "Structure"),
    "wrong order": (changed("<v:Person>", "<v:Composition/><v:Person>"), "Structure"),
    "unknown name": (changed("v:FirstName", "v:GivenName"), "Structure"),
    "misspelt as nobody does": (changed("<v:FirstName>", "<v:JobDescription/><v:FirstName>"), "Structure"),
    "wrong name space": (
        changed('xmlns:v="http://thrita.behdasht.gov.ir/VM/"', 'xmlns:v="http://thrita/"'),
        "Structure",
    ),
    "a word for a number": (changed("<v:Day>1<", "<v:Day>one<"), "Structure"),
    "half a coded text": (changed("<v:Coded_string>2</v:Coded_string>", ""), "Structure"),
    "an empty code": (changed("<v:Coded_string>2<", "<v:Coded_string> <"), "Structure"),
    "a Gregorian year": (changed("<v:Year>1399<", "<v:Year>2020<"), "Date Validation"),
    "31 Aban": (changed("<v:Day>1<", "<v:Day>31<"), "Date Validation"),
    "month 13": (changed("<v:Month>8<", "<v:Month>13<"), "Date Validation"),
    "no month": (changed("<v:Month>8</v:Month>", ""), "Date Validation"),
    "a wrong check digit": (changed("0012345679", "0012345678"), "Wrong Data"),
    "ten equal digits": (changed("0012345679", "1111111111"), "Wrong Data"),
    "no system": (envelope(bill({}, "", {})), "Mandatory"),
    "no record number": (changed("<v:MedicalRecordNumber>1</v:MedicalRecordNumber>", ""), "Mandatory"),
    "record number zero": (changed("<v:MedicalRecordNumber>1<", "<v:MedicalRecordNumber>000<"), "Wrong Data"),
    "nobody": (changed("<v:NationalCode>0012345679</v:NationalCode>", ""), "Mandatory"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_sepas_finds_the_mistake_and_names_its_category(mistake: str) -> None:
    """A stand-in that waves things through lets the ministry find them."""
    body, category = MISTAKES[mistake]
    found = verdict(Sepas(), body)
    assert found["result"] == "refused"
    assert found["problems"][0].startswith(f"{category}:"), found


def test_sepas_takes_what_is_right() -> None:
    """The mistakes above are only found because they are mistakes."""
    assert verdict(Sepas(), whole())["result"] == "created"
    unidentified = changed("<v:NationalCode>0012345679</v:NationalCode>", "").replace(
        b"</v:MsgID>", b"<v:WithoutId>true</v:WithoutId></v:MsgID>"
    )
    assert verdict(Sepas(), unidentified)["result"] == "created"


def test_leap_years_are_those_of_the_jalali_calendar() -> None:
    """1399 had a thirtieth of Esfand, 1400 had not."""
    day = {"<v:Month>8<": "<v:Month>12<", "<v:Day>1<": "<v:Day>30<"}
    text = whole().decode()
    for old, new in day.items():
        text = text.replace(old, new)
    assert verdict(Sepas(), text.encode())["result"] == "created"
    assert verdict(Sepas(), text.replace("1399", "1400").encode())["problems"][0].startswith("Date Validation")


def test_sums_must_fit() -> None:
    """Calculation errors are mostly bill totals."""
    summary = "<v:BillSummary><v:TotalCharge><v:Magnitude>{}</v:Magnitude></v:TotalCharge></v:BillSummary>"
    rows = "<v:BillServices><v:TotalCharge><v:Magnitude>{}</v:Magnitude></v:TotalCharge></v:BillServices>" * 2
    for total, result in (("3.0", "created"), ("4", "refused")):
        content = "</v:Admission>" + summary.format(total) + rows.format("1.5", "1.5")
        assert verdict(Sepas(), changed("</v:Admission>", content))["result"] == result


def with_uids(patient: str, composition: str) -> bytes:
    uids = f"<v:PatientUID>{patient}</v:PatientUID><v:CompositionUID>{composition}</v:CompositionUID></v:MsgID>"
    return changed("</v:MsgID>", uids)


def test_updates_must_bring_the_uids_that_belong_together() -> None:
    """An update under somebody else's PatientUID would put one person's bill into another's record."""
    stand_in = Sepas()
    verdict(stand_in, whole())
    composition, patient = next(iter(stand_in.compositions)), next(iter(stand_in.patients.values()))
    assert verdict(stand_in, with_uids(patient, composition))["result"] == "updated"
    for bad in (("node-1.test::x", composition), (patient, "node-1.test::x")):
        assert verdict(stand_in, with_uids(*bad))["problems"][0].startswith("Logic")
    down = verdict(stand_in, with_uids("old::x", "old::y"))
    assert down["problems"] == ["SepasNode: Destination SepasNode is Down"]
    assert len(stand_in.compositions) == 1


def test_a_repetition_without_uids_is_noticed_in_the_log() -> None:
    """The oracle asks the log whether a stay was registered twice."""
    stand_in = Sepas()
    verdict(stand_in, whole())
    assert verdict(stand_in, whole())["repeat_of"] == 1


def test_blocked_systems_and_unknown_facilities_are_told() -> None:
    """Two categories that only the operator can mend."""
    assert verdict(Sepas(blocked=[SYSTEM]), whole())["problems"][0].startswith("SepasBlock")
    assert verdict(Sepas(facilities=["OTHER"]), whole())["problems"][0].startswith("Facility Validation")
    assert verdict(Sepas(facilities=[FACILITY]), whole())["result"] == "created"


def test_every_category_can_be_shown() -> None:
    """All seventeen, and the node error."""
    assert len(CATEGORIES) == 18


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=300))
def test_no_bytes_break_a_stand_in(body: bytes) -> None:
    """A tester's first message is usually not even XML."""
    for stand_in in (Sepas(), Medcare(), Cart()):
        assert verdict(stand_in, body, idempotency_key="k")["result"] == "refused"


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 5000), st.binary(min_size=1, max_size=4))
def test_no_spoiled_bill_breaks_the_stand_in(at: int, junk: bytes) -> None:
    """A verdict, whatever was spoiled."""
    body = bytearray(whole())
    at %= len(body)
    body[at : at + len(junk)] = junk
    assert verdict(Sepas(), bytes(body))["result"] in ("created", "refused")


def test_what_the_national_mapping_makes_follows_the_schema() -> None:
    """Mapping and stand-in were written apart; names, order and name spaces must meet."""
    made = engine.load(ROOT, [programme.load(ROOT, "sepas")])
    sample = json.read((ROOT / "mappings/sepas/samples/adt-a03.expected.json").read_bytes())
    items = sample if isinstance(sample, list) else sample["items"]
    resources = [resource for item in items for resource in item["resources"]]
    entries = [{"fullUrl": f"urn:uuid:{each['id']}", "resource": each} for each in resources]
    bundle = {"resourceType": "Bundle", "id": "b", "type": "collection", "entry": entries}
    message = made.render(bundle, "sepas/patient-bill", {})
    read = sepas_checks.read("text/xml", envelope(message[message.index(b"<PatientBill") :]))
    assert isinstance(read, sepas_checks.Bill), read
    assert [each.text for each in sepas_checks.problems(read)] == ["SystemID is mandatory"], "the wire adds it"


CART_MISTAKES: dict[str, bytes] = {
    "no message": json.write({"resourceType": "Bundle", "type": "collection"}),
    "header not first": json.write(
        {**json.read(fhir_message()), "entry": list(reversed(json.read(fhir_message())["entry"]))}
    ),
    "a reference that leads nowhere": fhir_message().replace(b"urn:uuid:patient", b"urn:uuid:nobody", 1),
    "no request": fhir_message().replace(b"ServiceRequest", b"Basic"),
    "no event": fhir_message().replace(b"eventUri", b"eventText"),
    "no source": fhir_message().replace(b'"endpoint"', b'"end"'),
}


@pytest.mark.parametrize("mistake", CART_MISTAKES)
def test_cart_refuses_messages_of_another_shape(mistake: str) -> None:
    """The shape that the profile asks for."""
    assert verdict(Cart(), CART_MISTAKES[mistake])["result"] == "refused"


def test_cart_takes_a_message_once() -> None:
    """The same MessageHeader id is the same message."""
    stand_in = Cart()
    assert verdict(stand_in, fhir_message())["result"] == "created"
    assert verdict(stand_in, fhir_message())["result"] == "repeated"


@pytest.mark.parametrize("spoil", ["body", "signature", "header", "stranger", "nothing"])
def test_evidence_is_verified_over_the_exact_bytes(spoil: str, tmp_path: Path) -> None:
    """One byte more, another signature, another header, another authority: none passes."""
    signer, body = TestSigner(), fhir_message()
    token = signer.jws(body)
    path = tmp_path / "ca.pem"
    path.write_bytes((TestSigner() if spoil == "stranger" else signer).ca_pem)
    first, _, last = token.split(".")
    if spoil == "body":
        body += b" "
    elif spoil == "signature":
        token = f"{first}..{last[:-8]}AAAAAAAA"
    elif spoil == "header":
        token = f"{base64.urlsafe_b64encode(b'{}').decode()}..{last}"
    result = verdict(Cart(ca=path), body, x_jws_signature=token)["result"]
    assert result == ("created" if spoil == "nothing" else "refused")


# --- log and control ----------------------------------------


async def test_every_arrival_is_on_disk_with_its_exact_bytes_before_the_answer(tmp_path: Path) -> None:
    """The oracle believes this file and nothing else."""
    log = tmp_path / "arrivals.jsonl"
    async with Running(Medcare(ArrivalLog(log))) as server, httpx.AsyncClient() as client:
        for number in range(3):
            body = bytes([123, 125, 32, 10 + number])
            await client.post(f"{server.url}/r", content=body, headers={"Idempotency-Key": str(number)})
            lines = list(arrivals.read(log))
            assert [line["arrival"] for line in lines if "verdict" not in line] == list(range(1, number + 2))
            assert base64.b64decode(lines[-2]["body"]) == body
    with log.open("ab") as file:
        file.write(b'{"arrival": 4, "cut')
    assert len(list(arrivals.read(log))) == 6, "a line that a crash cut short is left out"
    assert ArrivalLog(log).count == 3, "numbers go on after a restart"


async def test_a_stand_in_can_be_told_to_fail_while_it_runs() -> None:
    """Testers script the repository from outside."""
    async with Running(Medcare()) as server, httpx.AsyncClient() as client:
        ordered = await client.post(f"{server.url}/_control", json={"order": ["status=503:2", "html"]})
        assert ordered.status_code == 204
        assert (await client.get(f"{server.url}/_control")).json()["ordered"] == 3
        headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
        statuses = [
            (await client.post(f"{server.url}/r", content=b"{}", headers=headers)).status_code for _ in range(4)
        ]
        assert statuses == [503, 503, 200, 201]
        wrong = await client.post(f"{server.url}/_control", json={"order": ["no-such-fault"]})
        assert wrong.status_code == 400
        await client.post(f"{server.url}/_control", json={"order": ["html:9"]})
        await client.post(f"{server.url}/_control", json={"clear": True})
        assert (await client.get(f"{server.url}/_control")).json()["ordered"] == 0


BREAKS = {"drop-before": 0, "drop-after": 1, "reset-mid-body": 1}


@pytest.mark.parametrize("fault", FAULTS)
async def test_each_fault_shows_and_keeps_what_it_says(fault: str) -> None:
    """The log must tell what a liar really did, or the oracle convicts the innocent."""
    value = {"delay": "=0.01", "drip": "=0.0001"}.get(fault, "")
    async with Running(Medcare(faults=Faults([fault + value]))) as server, httpx.AsyncClient() as client:
        headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
        try:
            answer = await client.post(f"{server.url}/r", content=b"{}", headers=headers)
            broke = False
        except httpx.HTTPError:
            broke = True
        assert broke == (fault in BREAKS)
        assert server.stand_in.kept == int(FAULTS[fault].keeps)
        if fault in ("delay", "drip", "nothing-kept"):
            assert answer.json()["status"] == "REGISTERED"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.invalid", ""])
def test_nothing_but_loopback_is_listened_on(host: str) -> None:
    """A stand-in accepts anything from anybody: it must not be reachable by mistake."""
    with pytest.raises(Misconfigured):
        Running(Medcare(), host=host)


@pytest.mark.parametrize("name", ["sepas", "medcare", "cart"])
def test_the_command_serves_until_it_is_interrupted(name: str, tmp_path: Path) -> None:
    """What a tester starts in a terminal."""
    log = tmp_path / "log.jsonl"
    code = (
        "import argparse; from gateway.commands import simulate as s; p = argparse.ArgumentParser();"
        f"s.add(p.add_subparsers()); o = p.parse_args(['simulate', '{name}', '--log', {str(log)!r}]);"
        "raise SystemExit(o.run(o))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell in the background has it ignored
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline().decode()
        assert said.startswith(f"{name} listens on http://127.0.0.1:")
        answer = httpx.post(said.split()[-1] + "/x", content=b"?")
        assert answer.status_code in (200, 400, 422)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    assert len(list(arrivals.read(log))) == 2


def test_options_reach_the_stand_in() -> None:
    """Each stand-in takes its own."""
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    for name in ("sepas", "medcare", "cart"):
        options = parser.parse_args(["simulate", name, "--fail", "html:2", "--fail", "category=DB"])
        assert command.make(options).faults.waiting == 3
        assert options.run is command.run


async def test_a_large_body_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also a stand-in must not be felled by one request."""
    monkeypatch.setattr("gateway.simulate.server.MAX_BODY", 1000)
    async with Running(Medcare()) as server, httpx.AsyncClient() as client:
        assert (await client.post(f"{server.url}/r", content=b"x" * 2000)).status_code == 413
        await asyncio.sleep(0)
        assert server.stand_in.log.count == 0


def test_the_log_survives_without_sync(tmp_path: Path) -> None:
    """Load tests may leave the sync out; the lines are the same."""
    log = ArrivalLog(tmp_path / "a.jsonl", sync=False)
    log.arrived(SystemClock().now(), "POST", "/", [], os.urandom(10), "")
    log.close()
    assert ArrivalLog(tmp_path / "a.jsonl").count == 1
