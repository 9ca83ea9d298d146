"""The exchange with the two systems: signed with SM2, verified by others, at once, and the report on its day."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from chongqing_site import ID, ROOT, certificates, site
from cryptography import x509
from district_ledger import House
from tongsuopy.crypto import hashes
from tongsuopy.crypto.asymciphers import ec

from gateway.errors import Refused
from gateway.formats import json, media
from gateway.formats.periods import Period
from gateway.measure.reports import Evaluator
from gateway.settings import Destination, Key
from gateway.sign import doctor_forms, jws
from gateway.sign.keyring import KeyRing
from gateway.sign.keys import open_key
from gateway.sign.parameters import SignedParameters
from gateway.sign.sm2 import Sm2Public
from gateway.sign.trust import Trust
from gateway.simulate import sm2
from gateway.simulate.arrivals import Arrival
from gateway.simulate.chongqing import Chongqing, signed_bytes

SAMPLES = ROOT / "mappings" / "chongqing" / "samples"


def by_tongsuo(leaf: x509.Certificate, signature: bytes, body: bytes) -> None:
    """A third implementation; it knows only the default signer id."""
    public = Sm2Public.of(leaf)
    assert public is not None
    x, y = (int.from_bytes(part) for part in (public.point[:32], public.point[32:]))
    ec.EllipticCurvePublicNumbers(x, y, ec.SM2()).public_key().verify(signature, body, ec.ECDSA(hashes.SM3()))


async def test_a_pushed_visit_is_forwarded_at_once_and_signed_for_two_engines(tmp_path: Path) -> None:
    """SF-23: within the configured limit; the stand-in verified by OpenSSL, here Tongsuo does, and ours is GmSSL."""
    async with site(tmp_path) as place:
        pushed = await place.push((SAMPLES / "one-visit.json").read_bytes(), media.JSON)
        assert pushed.status_code in (200, 201, 202), pushed.text
        before = datetime.now(UTC)
        await place.arrived(place.family, 1)
        (arrival,) = place.family.log.arrivals
        assert arrival.time - before < timedelta(seconds=20)
        sent = json.read(arrival.body)
        leaf = x509.load_der_x509_certificate(base64.b64decode(sent["certificate"]))
        by_tongsuo(leaf, base64.b64decode(sent["sign"]), signed_bytes(sent))
        header, _, last = arrival.header("x-jws-signature").split(".")
        payload = header.encode() + b"." + base64.urlsafe_b64encode(arrival.body).rstrip(b"=")
        by_tongsuo(leaf, sm2.der(jws.decode(last)), payload)
        bundle = json.read(sent["bizContent"].encode())
        assert [each["resource"]["resourceType"] for each in bundle["entry"]] == ["Encounter", "ServiceRequest", "Task"]
        made = Evaluator(place.gateway.reporting._evaluator.catalogue, place.gateway.ledger.measures)
        today = Period("today", date.today() - timedelta(1), date.today() + timedelta(1))  # noqa: DTZ011 - both sides
        forwarded = await _settled(made, today)
        assert [(line.numerator, line.denominator) for line in forwarded.lines] == [(1, 1)]
        accepted = await made.report(made.catalogue.one("chongqing", "accuracy-accepted"), today, datetime.now(UTC))
        assert [(line.numerator, line.denominator) for line in accepted.lines] == [(1, 1)]


async def _settled(made: Evaluator, period: Period):  # type: ignore[no-untyped-def]
    """The measure of forwarding, once the ledger knows that the message was taken."""
    measure = made.catalogue.one("chongqing", "forwarded-in-time")
    async with asyncio.timeout(20):
        while True:
            found = await made.report(measure, period, datetime.now(UTC))
            if found.lines and found.lines[0].numerator:
                return found
            await asyncio.sleep(0.05)


def request(folder: Path, stand_in: Chongqing, signer_id: str = ID, **options: str) -> Arrival:
    """What the signer makes of a message, as it arrives."""
    key = Key(certificate=str(folder / "leaf.pem"), key=str(folder / "leaf.key"), signer_id=signer_id)
    destination = Destination(
        id="d", protocol="signed-rest", peer="p", programme="chongqing", signing_key="sm2",
        options={"app_id": "test-application", "secure": "sm2-parameters", **options},
    )  # fmt: skip
    now, entry = datetime.now(UTC), {"resource": {"resourceType": "Task", "id": "t"}}
    body = json.write({"resourceType": "Bundle", "type": "collection", "entry": [entry]})
    signer = SignedParameters(destination, KeyRing({"sm2": key}))
    more, made = signer.secure("POST", "http://x/receive", {"Idempotency-Key": "exchange-1"}, body, now)
    headers = [("idempotency-key", "exchange-1"), *((name.lower(), value) for name, value in more.items())]
    return stand_in.log.arrived(now, "POST", "/receive", headers, made, "")


def test_another_signer_id_is_refused(tmp_path: Path) -> None:
    """The trap: everything is right but the id that no certificate tells."""
    certificates(tmp_path)
    stand_in = Chongqing(ca=tmp_path / "ca.pem")
    assert stand_in.judge(request(tmp_path, stand_in)).verdict["result"] == "created"
    refused = stand_in.judge(request(tmp_path, stand_in, "another-id"))
    assert refused.verdict["problems"] == ["C07"]
    agreed = Chongqing(ca=tmp_path / "ca.pem", signer_id="another-id")
    assert agreed.judge(request(tmp_path, agreed, "another-id")).verdict["signature"] == "verified"
    assert Chongqing(ca=tmp_path / "ca.pem", issuer_id="").judge(request(tmp_path, stand_in)).verdict["problems"] == [
        "C07"
    ]


@pytest.mark.parametrize("options", [{"sm2_encoding": "raw"}, {"field.nonce": "nonce"}])
def test_the_spellings_of_the_scheme_are_options(tmp_path: Path, options: dict[str, str]) -> None:
    """None is published, so each is configuration; the stand-in takes both encodings."""
    certificates(tmp_path)
    stand_in = Chongqing(ca=tmp_path / "ca.pem")
    assert stand_in.judge(request(tmp_path, stand_in, **options)).verdict["result"] == "created"


def test_a_shared_text_is_signed_too_where_the_platform_wants_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Joined as `&key=…`; without it the signature fits nothing."""
    monkeypatch.setenv("SHARED", "a shared text")
    certificates(tmp_path)
    stand_in = Chongqing(ca=tmp_path / "ca.pem", app_secret="a shared text")
    assert stand_in.judge(request(tmp_path, stand_in, app_secret="env:SHARED")).verdict["result"] == "created"
    assert stand_in.judge(request(tmp_path, stand_in)).verdict["problems"] == ["C07"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"appId": "other"}, "C03"),
        ({"nonce": "another"}, "C04"),
        ({"timestamp": "20200101000000"}, "C06"),
        ({"timestamp": "now"}, "C06"),
        ({"bizContent": "{}"}, "C09"),
        ({"bizContent": "not json"}, "C08"),
        ({"bizContent": '{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Patient"}}]}'}, "C10"),
        ({"certificate": ""}, "C02"),
    ],
)
def test_the_stand_in_is_strict(tmp_path: Path, change: dict[str, str], code: str) -> None:
    """What a platform would refuse is refused here, and a changed member never verifies."""
    certificates(tmp_path)
    stand_in = Chongqing(ca=tmp_path / "ca.pem", app_id="test-application")
    good = request(tmp_path, stand_in)
    body = json.write({**json.read(good.body), **change})
    problems = stand_in.judge(good._replace(body=body)).verdict["problems"]
    assert code in problems
    assert code == "C02" or "C07" in problems


def test_the_doctor_names_the_empty_signer_id_of_an_issuer(tmp_path: Path) -> None:
    """OpenSSL before 4.0 issues under the empty id: not forged, only agreed on differently."""
    certificates(tmp_path)
    root = x509.load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes())
    odd = x509.load_pem_x509_certificate((tmp_path / "empty.pem").read_bytes())
    good = x509.load_pem_x509_certificate((tmp_path / "leaf.pem").read_bytes())
    trust, now = Trust("document", [root], require_revocation=False), datetime.now(UTC)
    (found,) = doctor_forms.chain([odd], trust, now)
    assert (found.code, found.args["found"], found.args["expected"]) == ("GW-SIGN-135", "''", repr(ID))
    assert "GW-SIGN-135" not in [each.code for each in doctor_forms.chain([good], trust, now)]
    sm2.check_issued(odd, [root], "")
    with pytest.raises(Refused):
        sm2.check_issued(odd, [root], ID)


def test_the_doctor_names_the_signer_id_of_a_token(tmp_path: Path) -> None:
    """A detached JWS under the empty id fits nothing that was agreed; the doctor says which id it fits."""
    certificates(tmp_path)
    for signer_id, expected in (("TLSv1.3+GM+Cipher+Suite", ["GW-SIGN-119"]), (ID, [])):
        key = Key(certificate=str(tmp_path / "leaf.pem"), key=str(tmp_path / "leaf.key"), signer_id=signer_id)
        handle = open_key(key)
        token = jws.sign(handle, {"x5c": jws.x5c(handle)}, b"body", detached=True)
        found = doctor_forms.detached(b"body", token, None, datetime.now(UTC))
        assert [each.code for each in found if each.severity == "error"] == expected


async def test_the_self_check_report_of_a_township_is_a_signed_document_on_its_day(tmp_path: Path) -> None:
    """SF-65: made when the day comes, Composition first, to the commission, once, with its receipt."""
    today = datetime.now(UTC).date()
    due = next(day for year in (today.year, today.year + 1) if (day := date(year, 11, 30)) > today + timedelta(3))
    near = timedelta(days=(due - today).days - 2)  # in Shanghai it may be a day later
    async with site(tmp_path, ahead=near) as place:
        await place.push((SAMPLES / "members.csv").read_bytes(), "text/csv; charset=gb18030")
        await place.push((SAMPLES / "contacts.csv").read_bytes(), "text/csv; charset=gb18030")
        await place.arrived(place.family, 2)
        await place.gateway.scheduling.round()
        assert not place.commission.received
        place.clock.ahead += timedelta(days=3)
        await place.gateway.scheduling.round()
        await place.arrived(place.commission, 1)
        await place.gateway.scheduling.round()
        assert len(place.commission.received) == 1
        sent = json.read(place.commission.log.arrivals[0].body)
    bundle = json.read(sent["bizContent"].encode())
    assert bundle["type"] == "document"
    assert bundle["entry"][0]["resource"]["resourceType"] == "Composition"
    house = House()
    assert bundle["meta"]["profile"] == ["https://chongqing.gateway.invalid/fhir/StructureDefinition/cq-report"]
    # the extensions of reports (docs/measure.md) are ours and have no published definition
    wrong = {f.code for f in house.rules.validate(bundle) if f.severity == "error"}
    assert wrong <= {"GW-VAL-024"}
    reports = [e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == "MeasureReport"]
    assert len(reports) >= 3
