"""The trust doctor: each cause that people meet is named, and a token without fault is told so."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
import rfc8785

from gateway.errors import text
from gateway.formats import json
from gateway.message import LANGUAGES, Finding
from gateway.sign import doctor, doctor_forms, fse, jws, keys, modi, tokens, wss, xmldsig
from gateway.sign.dev_ca import Authority, name
from gateway.sign.doctor import BOM, Seen
from gateway.sign.evidence import EvidenceMaker
from gateway.sign.keys import KeyHandle
from gateway.sign.revocation import Held
from gateway.sign.trust import Trust

BASE = "https://gateway.invalid/rest/in/FSE/gateway/v1"
FILE = b"%PDF-1.7 invented"
PERSON = fse.cx("RSSMRA75C03F839K")
CLAIMS = fse.Claims(
    sub=PERSON,
    subject_organization_id="090",
    subject_organization="Regione Toscana",
    locality=fse.xon("Test structure", fse.STRUCTURE_ROOTS[0], "090101"),
    subject_role="AAS",
    person_id=PERSON,
    purpose_of_use="TREATMENT",
    resource_hl7_type="('57832-8^^2.16.840.1.113883.6.1')",
    action_id="CREATE",
    subject_application_id="gateway",
    subject_application_vendor="Test vendor",
    subject_application_version="1.0",
)


@pytest.fixture(scope="module")
def s1(authority: Authority, now: datetime) -> KeyHandle:
    return authority.issue(name("S1#090TEST"), "rsa2048", now)


@pytest.fixture(scope="module")
def a1(authority: Authority, now: datetime) -> KeyHandle:
    return authority.issue(name("A1#090TEST"), "rsa2048", now)


def _codes(found: tuple[Finding, ...]) -> set[str]:
    for each in found:
        for language in LANGUAGES:
            assert "…" not in text(each, language)
    return {each.code for each in found}


def _signed(handle: KeyHandle, now: datetime) -> str:
    return fse.signature(handle, BASE, CLAIMS, now, FILE)[fse.SIGNATURE_HEADER]


def _seen(token: str, now: datetime, **more: Any) -> Seen:
    given: dict[str, Any] = {"profile": "fse-signature", "audience": BASE, "file": FILE}
    return Seen(token=token, at=now, **(given | more))


def _again(handle: KeyHandle, token: str, header: dict[str, Any], claims: dict[str, Any]) -> str:
    """The token with other header and claims, properly signed again: only the named thing is wrong."""
    first, middle, _ = token.split(".")
    parts = []
    for part, changes in ((first, header), (middle, claims)):
        value = json.read(jws.decode(part)) | changes
        parts.append(jws.encode(json.write({k: v for k, v in value.items() if v is not ...})))
    signature = handle.sign(".".join(parts).encode(), "RS256")
    return ".".join([*parts, jws.encode(signature)])


def test_a_token_without_fault_is_told_so(s1: KeyHandle, a1: KeyHandle, now: datetime) -> None:
    """With everything shown that can be shown."""
    workflow = f"2.16.840.1.1^{fse.attachment_hash(FILE)}^^^urn:ihe:iti:xdw:2013:workflowInstanceId"
    seen = _seen(_signed(s1, now), now, tls=a1.certificate, patient="RSSMRA75C03F839K", workflow=workflow)
    assert _codes(doctor.look(seen)) == {"GW-SIGN-131"}
    bearer = fse.bearer(s1, BASE, PERSON, now)["Authorization"].removeprefix("Bearer ")
    assert _codes(doctor.look(_seen(bearer, now, profile="fse-bearer"))) == {"GW-SIGN-131"}


Edit = Callable[[KeyHandle, datetime], tuple[dict[str, Any], dict[str, Any]]]


def _x5c_text(handle: KeyHandle, now: datetime) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"x5c": base64.b64encode(handle.der).decode()}, {}


def _x5c_pem(handle: KeyHandle, now: datetime) -> tuple[dict[str, Any], dict[str, Any]]:
    bare = base64.b64encode(handle.der).decode()
    return {"x5c": [f"-----BEGIN CERTIFICATE-----{bare}-----END CERTIFICATE-----"]}, {}


def _x5c_lines(handle: KeyHandle, now: datetime) -> tuple[dict[str, Any], dict[str, Any]]:
    bare = base64.b64encode(handle.der).decode()
    return {"x5c": ["\n".join(bare[i : i + 64] for i in range(0, len(bare), 64))]}, {}


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (_x5c_text, "GW-SIGN-102"),
        (_x5c_pem, "GW-SIGN-103"),
        (_x5c_lines, "GW-SIGN-103"),
        (lambda h, n: ({"x5c": ..., "XC5": ["x"]}, {}), "GW-SIGN-105"),
        (lambda h, n: ({"x5c": ...}, {}), "GW-SIGN-105"),
        (lambda h, n: ({"alg": "RS383"}, {}), "GW-SIGN-106"),
        (lambda h, n: ({"alg": "HS256"}, {}), "GW-SIGN-106"),
        (lambda h, n: ({"typ": "JOSE"}, {}), "GW-SIGN-128"),
        (lambda h, n: ({}, {"iat": int(n.timestamp() * 1000)}), "GW-SIGN-107"),
        (lambda h, n: ({}, {"exp": int(n.timestamp() * 1000)}), "GW-SIGN-107"),
        (lambda h, n: ({}, {"iat": str(int(n.timestamp()))}), "GW-SIGN-055"),
        (lambda h, n: ({}, {"iat": int(n.timestamp()) + 90}), "GW-SIGN-052"),
        (lambda h, n: ({}, {"nbf": int(n.timestamp()) + 90}), "GW-SIGN-130"),
        (lambda h, n: ({}, {"exp": int(n.timestamp()) - 1}), "GW-SIGN-051"),
        (lambda h, n: ({}, {"iss": "S1#090TEST"}), "GW-SIGN-108"),
        (lambda h, n: ({}, {"iss": "auth:S1#090TEST"}), "GW-SIGN-134"),
        (lambda h, n: ({}, {"iss": "integrity:Another name"}), "GW-SIGN-109"),
        (lambda h, n: ({}, {"sub": "RSSMRA75C03F839K"}), "GW-SIGN-110"),
        (lambda h, n: ({}, {"person_id": "RSSMRA75C03F839K^^^"}), "GW-SIGN-110"),
        (lambda h, n: ({}, {"locality": "Test structure"}), "GW-SIGN-129"),
        (lambda h, n: ({}, {"subject_organization_id": "111"}), "GW-SIGN-112"),
        (lambda h, n: ({}, {"attachment_hash": fse.attachment_hash(b"other bytes")}), "GW-SIGN-113"),
        (lambda h, n: ({}, {"aud": BASE.removesuffix("/v1")}), "GW-SIGN-123"),
        (lambda h, n: ({}, {"aud": BASE + "/"}), "GW-SIGN-123"),
        (lambda h, n: ({}, {"purpose_of_use": ...}), "GW-SIGN-115"),
        (lambda h, n: ({}, {"jti": ...}), "GW-SIGN-115"),
        (lambda h, n: ({}, {"attachment_hash": ...}), "GW-SIGN-115"),
        (lambda h, n: ({}, {"subject_role": "AAS "}), "GW-SIGN-116"),
        (lambda h, n: ({}, {"subject_role ": "AAS"}), "GW-SIGN-116"),
    ],
)
def test_each_cause_in_a_token_is_named(s1: KeyHandle, now: datetime, edit: Edit, code: str) -> None:
    """And it is the only thing that is named, for the token has no other fault."""
    header, claims = edit(s1, now)
    found = _codes(doctor.look(_seen(_again(s1, _signed(s1, now), header, claims), now)))
    assert code in found
    assert found <= {code, "GW-SIGN-042"}


def test_a_pkcs12_file_in_place_of_the_certificate_is_named(s1: KeyHandle, now: datetime, tmp_path: Any) -> None:
    """It happens: the file that the portal hands out, as it is."""
    s1.save_pkcs12(tmp_path / "c.p12", "s1", b"word")
    x5c = [base64.b64encode((tmp_path / "c.p12").read_bytes()).decode()]
    found = doctor.look(_seen(_again(s1, _signed(s1, now), {"x5c": x5c}, {}), now))
    assert {"GW-SIGN-104"} == _codes(found)
    assert found[0].args["found"] == "a PKCS#12 file"


def test_swapped_certificates_and_regions_are_named(
    s1: KeyHandle, a1: KeyHandle, authority: Authority, now: datetime
) -> None:
    """A1 signs, S1 does TLS, or the two come from different regions (S1#111 with A1#090)."""
    assert "GW-SIGN-111" in _codes(doctor.look(_seen(_signed(a1, now), now)))
    assert "GW-SIGN-111" in _codes(doctor.look(_seen(_signed(s1, now), now, tls=s1.certificate)))
    elsewhere = authority.issue(name("S1#111TEST"), "rsa2048", now)
    assert "GW-SIGN-112" in _codes(doctor.look(_seen(_signed(elsewhere, now), now, tls=a1.certificate)))


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"file": BOM + FILE}, "GW-SIGN-114"),
        ({"activity": "VERIFICA"}, "GW-SIGN-120"),
        ({"workflow": f"1.2^{'ab' * 32}^^^urn:ihe:iti:xdw:2013:workflowInstanceId"}, "GW-SIGN-121"),
        ({"patient": "VRDLGU80A01F839X"}, "GW-SIGN-122"),
    ],
)
def test_each_cause_around_a_token_is_named(s1: KeyHandle, now: datetime, more: dict[str, Any], code: str) -> None:
    """The token is right; what is sent with it is not."""
    assert code in _codes(doctor.look(_seen(_signed(s1, now), now, **more)))


def test_the_life_of_the_certificate_is_seen(s1: KeyHandle, authority: Authority, now: datetime) -> None:
    """Expired, missing intermediate, revoked: as the peer will see it."""
    late = now + timedelta(days=60)
    assert "GW-SIGN-010" in _codes(doctor.look(_seen(_signed(s1, late), late)))
    between = authority.intermediate("Test intermediate", now)
    leaf = between.issue(name("S1#090TEST"), "rsa2048", now)
    trust = Trust("token", [authority.certificate], Held([authority.crl(now), between.crl(now)]))
    token = _signed(leaf, now)
    assert _codes(doctor.look(_seen(token, now, trust=trust))) == {"GW-SIGN-131"}
    bare = _again(leaf, token, {"x5c": [base64.b64encode(leaf.der).decode()]}, {})
    assert _codes(doctor.look(_seen(bare, now, trust=trust))) == {"GW-SIGN-026"}


@pytest.mark.parametrize("rubbish", ["", "x", "a.b.c", "e30.e30", "W10.e30.x", "{}.{}.{}"])
def test_rubbish_is_named_as_such(now: datetime, rubbish: str) -> None:
    """Never a traceback."""
    assert _codes(doctor.look(Seen(token=rubbish, at=now))) == {"GW-SIGN-101"}


# --- ModI ----------------------------------------


def test_each_cause_in_a_modi_request_is_named(s1: KeyHandle, now: datetime) -> None:
    """Digest missing, before compression, of no bytes, not covered; signed_headers not an array."""
    plain = b'{"resourceType":"Bundle"}'
    body = gzip.compress(plain)

    def codes(headers: dict[str, str], sent: bytes, token: str) -> set[str]:
        seen = Seen(token=token, at=now, profile="modi", audience=BASE, body=sent, headers=headers)
        return _codes(doctor.look(seen))

    good = modi.integrity(s1, BASE, body, {}, now)
    assert codes(good, body, good[modi.SIGNATURE_HEADER]) == {"GW-SIGN-131"}
    early = modi.integrity(s1, BASE, plain, {}, now)
    assert codes(early, body, early[modi.SIGNATURE_HEADER]) == {"GW-SIGN-126"}
    assert "GW-SIGN-125" in codes({}, body, good[modi.SIGNATURE_HEADER])
    assert "GW-SIGN-127" in codes({}, b"", good[modi.SIGNATURE_HEADER])
    assert "GW-SIGN-059" in codes(good, b"other", good[modi.SIGNATURE_HEADER])
    shaped = tokens.make(s1, {"aud": BASE, "signed_headers": {"digest": modi.digest(body)}}, now)
    assert codes({"Digest": modi.digest(body)}, body, shaped) == {"GW-SIGN-124"}
    uncovered = tokens.make(s1, {"aud": BASE, "signed_headers": [{"content-type": "x"}]}, now)
    assert codes({"Digest": modi.digest(body)}, body, uncovered) == {"GW-SIGN-058"}


# --- other forms ----------------------------------------


@pytest.mark.parametrize(
    ("signed", "sent", "form"),
    [
        (b'{"a":1}', BOM + b'{"a":1}', "without byte-order mark"),
        (b'{"a":1}', b'{"a":1}\n', "without the last line end"),
        (b"a\nb", b"a\r\nb", "line ends LF"),
        (rfc8785.dumps({"b": 1, "a": 2}), b'{"b": 1, "a": 2}', "canonical JSON, RFC 8785"),
        (b"<a><b></b></a>", b"<a><b/></a>", "canonical XML"),
        (b"", b'{"a":1}', "no bytes at all"),
    ],
)
def test_the_form_that_was_signed_by_mistake_is_named(
    ec_handle: KeyHandle, document_trust: Trust, now: datetime, signed: bytes, sent: bytes, form: str
) -> None:
    """A detached signature over something else than what was sent."""
    made = EvidenceMaker(ec_handle).sign(signed, now)
    found = doctor_forms.detached(sent, made.jws, document_trust, now)
    wrong = next(f for f in found if f.code == "GW-SIGN-118")
    assert wrong.args["form"] == form
    value = ec_handle.sign(signed, encoding="der")
    assert doctor_forms.raw(sent, value, ec_handle.public, "ES256")[0].args["form"] == form
    assert doctor_forms.raw(signed, value, ec_handle.public, "ES256") == ()
    foreign = doctor_forms.detached(b"[]", made.jws, document_trust, now)
    assert "GW-SIGN-042" in {f.code for f in foreign} or form == "no bytes at all"


def test_the_sm2_signer_id_is_named() -> None:
    """The id that it does fit."""
    key = keys.generate("sm2")
    value = key.sign(b"x", "SGD_SM3_SM2", "der")
    assert doctor_forms.raw(b"x", value, key.public, "SGD_SM3_SM2") == ()
    other = msgspec.json.encode("x")  # any other bytes
    public = doctor_forms.Sm2Public(key.public.point, b"other")  # type: ignore[union-attr]
    found = doctor_forms.raw(b"x", value, public, "SGD_SM3_SM2")
    assert [f.code for f in found] == ["GW-SIGN-119"]
    assert found[0].args["found"] == "'1234567812345678'"
    assert [f.code for f in doctor_forms.raw(other, value, public, "SGD_SM3_SM2")] == ["GW-SIGN-042"]


def test_messages_are_looked_at_as_a_strict_peer_would(
    rsa_handle: KeyHandle, document_trust: Trust, now: datetime
) -> None:
    """SOAP, signed XML, JSON; each with a fault and without."""
    soap = f"<s:Envelope xmlns:s='{wss.SOAP11}'><s:Header/><s:Body/></s:Envelope>".encode()
    secured = wss.secure(soap, rsa_handle, now, to="urn:them")
    signed = xmldsig.sign(b"<a/>", rsa_handle)
    dated = xmldsig.sign_xades(b"<a/>", rsa_handle, now)

    def codes(body: bytes, at: datetime = now) -> set[str]:
        return _codes(doctor_forms.message(body, document_trust, at))

    for good in (secured, signed, dated, b'{"a":1}'):
        assert codes(good) == {"GW-SIGN-131"}
    assert codes(BOM + b'{"a":1}') == {"GW-SIGN-114"}
    assert codes(b'{"a":1,"a":2}') == {"GW-SIGN-131", "GW-CORE-003"} - {"GW-SIGN-131"}
    assert codes(secured, now + timedelta(hours=1)) == {"GW-SIGN-051"}
    assert codes(secured.replace(b"urn:them", b"urn:othe")) == {"GW-SIGN-042"}
    assert codes(soap) == {"GW-SIGN-046"}


@pytest.mark.parametrize(("days", "code"), [(61, None), (59, "GW-SIGN-132"), (1, "GW-SIGN-132"), (-1, "GW-SIGN-010")])
def test_expiry_is_announced_in_time(authority: Authority, now: datetime, days: int, code: str | None) -> None:
    """60, 30, 14, 7 and 1 days before."""
    end = now + timedelta(days=days, minutes=1)
    handle = authority.issue(name("Test Signer"), "p256", now, start=now - timedelta(days=9), end=end)
    assert [f.code for f in doctor_forms.expiry(handle.certificate, now)] == ([code] if code else [])
