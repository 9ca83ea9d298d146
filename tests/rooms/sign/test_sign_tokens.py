from __future__ import annotations

import gzip
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import joserfc.jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.jwk import import_key
from joserfc.jws import JWSRegistry, default_registry
from jwcrypto import jwk as other_jwk
from jwcrypto import jwt as other_jwt

from gateway.errors import Refused
from gateway.formats import json
from gateway.sign import canonical, fse, jws, modi, tokens
from gateway.sign.keys import KeyHandle
from gateway.sign.replay import Seen
from gateway.sign.tokens import Rules
from gateway.sign.trust import Trust

AUDIENCE = "https://central.invalid/v1"
RULES = Rules(audience=AUDIENCE, algorithms=("RS256", "ES256"), once=True)


class Wide(JWSRegistry):
    max_header_length = 64 * 1024


def _public(handle: KeyHandle) -> bytes:
    return handle.certificate.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _code(token: str, handle: KeyHandle, now: datetime, rules: Rules = RULES, seen: Seen | None = None) -> str:
    with pytest.raises(Refused) as refused:
        tokens.check(token, handle.public, rules, now, seen)
    return refused.value.code


def test_our_tokens_are_accepted_by_two_other_implementations(rsa_handle: KeyHandle, ec_handle: KeyHandle) -> None:
    """joserfc and jwcrypto read what we write."""
    now = datetime.fromtimestamp(int(time.time())).astimezone()
    for handle, kind in ((rsa_handle, "RSA"), (ec_handle, "EC")):
        token = tokens.make(handle, {"aud": AUDIENCE}, now)
        registry = Wide(default_registry.header_registry, [handle.algorithm])
        read = joserfc.jwt.decode(token, import_key(_public(handle), kind), [handle.algorithm], registry)
        assert read.claims["aud"] == AUDIENCE
        other = other_jwt.JWT(algs=[handle.algorithm], expected_type="JWS")
        other.deserialize(token, other_jwk.JWK.from_pem(_public(handle)))
        assert json.read(other.claims.encode())["aud"] == AUDIENCE


def test_their_tokens_are_accepted_here(rsa_handle: KeyHandle, now: datetime, tmp_path: Path) -> None:
    """A token made by joserfc from the same key."""
    rsa_handle.save(tmp_path / "k.pem")
    key = import_key((tmp_path / "k.pem").read_bytes(), "RSA")
    at = int(now.timestamp())
    claims = {"aud": AUDIENCE, "iat": at, "exp": at + 60, "jti": "1"}
    token = joserfc.jwt.encode({"alg": "RS256", "typ": "JWT"}, claims, key, ["RS256"])
    assert tokens.check(token, rsa_handle.public, RULES, now, Seen(tmp_path / "seen"))["jti"] == "1"


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"aud": "https://other.invalid"}, "GW-SIGN-053"),
        ({"aud": AUDIENCE + "/"}, "GW-SIGN-053"),
        ({"aud": [AUDIENCE.upper()]}, "GW-SIGN-053"),
        ({"iat": -60, "exp": -10}, "GW-SIGN-051"),
        ({"iat": -1000, "exp": 60}, "GW-SIGN-051"),
        ({"iat": 60, "exp": 120}, "GW-SIGN-052"),
        ({"nbf": 60}, "GW-SIGN-052"),
        ({"exp": 3600}, "GW-SIGN-056"),
        ({"exp": 0, "iat": 1}, "GW-SIGN-056"),
        ({"iat": "ms"}, "GW-SIGN-055"),
        ({"exp": "text"}, "GW-SIGN-055"),
        ({"jti": ""}, "GW-SIGN-050"),
        ({"jti": 7}, "GW-SIGN-050"),
    ],
)
def test_each_fault_of_a_token_has_its_code(
    ec_handle: KeyHandle, now: datetime, tmp_path: Path, claims: dict[str, Any], code: str
) -> None:
    """RFC 8725: times, audience, lifetime and id are ours to judge."""
    at = int(now.timestamp())
    shapes = {"ms": at * 1000, "text": str(at + 60)}
    moved = {
        k: shapes.get(v, v) if isinstance(v, str) else at + v if k in {"iat", "nbf", "exp"} else v
        for k, v in claims.items()
    }
    token = tokens.make(ec_handle, {"aud": AUDIENCE, **moved}, now)
    assert _code(token, ec_handle, now, seen=Seen(tmp_path)) == code


def test_a_token_is_taken_once_also_after_a_restart(ec_handle: KeyHandle, now: datetime, tmp_path: Path) -> None:
    """The memory is on disk; what has expired is forgotten and no longer accepted either."""
    token = tokens.make(ec_handle, {"aud": AUDIENCE, "iss": "one"}, now)
    tokens.check(token, ec_handle.public, RULES, now, Seen(tmp_path))
    assert _code(token, ec_handle, now, seen=Seen(tmp_path)) == "GW-SIGN-057"
    assert _code(token, ec_handle, now + timedelta(hours=3), seen=Seen(tmp_path)) == "GW-SIGN-051"
    fresh = tokens.make(ec_handle, {"aud": AUDIENCE}, now + timedelta(hours=3))
    tokens.check(fresh, ec_handle.public, RULES, now + timedelta(hours=3), Seen(tmp_path))
    assert sum(1 for p in tmp_path.rglob("*") if p.is_file()) == 1


def test_without_a_memory_nothing_that_must_be_unique_is_taken(ec_handle: KeyHandle, now: datetime) -> None:
    """Forgetting to configure it must not open the door."""
    assert _code(tokens.make(ec_handle, {"aud": AUDIENCE}, now), ec_handle, now) == "GW-SIGN-057"


def test_the_token_chooses_neither_algorithm_nor_key(
    rsa_handle: KeyHandle, ec_handle: KeyHandle, now: datetime, tmp_path: Path
) -> None:
    """none, HMAC keyed with our public key, another algorithm of the same key, another key."""
    import hashlib
    import hmac

    good = tokens.make(rsa_handle, {"aud": AUDIENCE}, now)
    _, claims, _ = good.split(".")
    seen = Seen(tmp_path)
    for algorithm in ("none", "None", "NONE", ""):
        header = jws.encode(json.write({"alg": algorithm, "typ": "JWT"}))
        assert _code(f"{header}.{claims}.", rsa_handle, now, seen=seen) == "GW-SIGN-041"
    header = jws.encode(json.write({"alg": "HS256", "typ": "JWT"}))
    mac = hmac.new(_public(rsa_handle), f"{header}.{claims}".encode(), hashlib.sha256).digest()
    assert _code(f"{header}.{claims}.{jws.encode(mac)}", rsa_handle, now, seen=seen) == "GW-SIGN-041"
    stronger = tokens.make(rsa_handle, {"aud": AUDIENCE}, now, algorithm="PS256")
    assert _code(stronger, rsa_handle, now, seen=seen) == "GW-SIGN-041"
    assert _code(tokens.make(ec_handle, {"aud": AUDIENCE}, now), rsa_handle, now, seen=seen) == "GW-SIGN-041"


@pytest.mark.parametrize(
    "broken",
    ["", ".", "..", "a.b", "a.b.c.d", "e30.e30.e30", "e30=.e30.", "!.!.!", "e30.e30.\n", '{"a":1}', "W10.W10.W10"],
)
def test_rubbish_is_refused_and_nothing_else_happens(ec_handle: KeyHandle, now: datetime, broken: str) -> None:
    """Every spelling that is not a token."""
    assert _code(broken, ec_handle, now) in {"GW-SIGN-040", "GW-SIGN-041"}


def test_a_repeated_key_in_header_or_claims_is_refused(ec_handle: KeyHandle, now: datetime) -> None:
    """Two readers must never see two different tokens."""
    at = int(now.timestamp())
    claims = f'{{"aud":"{AUDIENCE}","aud":"x","iat":{at},"exp":{at + 60}}}'.encode()
    assert _code(jws.sign(ec_handle, {"typ": "JWT"}, claims), ec_handle, now) == "GW-SIGN-040"
    good = tokens.make(ec_handle, {"aud": AUDIENCE}, now).split(".")
    twice = jws.encode(b'{"alg":"none","alg":"ES256"}')
    assert _code(".".join([twice, *good[1:]]), ec_handle, now) == "GW-SIGN-040"


def test_base64url_has_one_spelling() -> None:
    """A signature that can be written in two ways can be replayed under another name."""
    with pytest.raises(Refused):
        jws.decode("AB")  # leaves bits over
    with pytest.raises(Refused):
        jws.decode("AA==")
    assert jws.decode("AA") == b"\0"


def test_signatures_of_an_elliptic_key_have_one_form(ec_handle: KeyHandle) -> None:
    """r and s of zero, of the order, over it, in DER, too short, too long, mirrored lengths: all refused."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    good = jws.sign(ec_handle, {}, b"{}")
    head, value = good.rpartition(".")[0], jws.decode(good.rpartition(".")[2])
    r, s = value[:32], value[32:]

    def number(value: int) -> bytes:
        return value.to_bytes(32, "big")

    forms = [
        bytes(64),
        r + bytes(32),
        bytes(32) + s,
        r + number(order),
        number(order) + s,
        number((int.from_bytes(r, "big") + order) % 2**256) + s,
        ec_handle.sign(head.encode(), encoding="der"),
        value[:-1],
        value + b"\0",
        b"\0" + value,
        r,
        b"",
        s + r,
    ]
    jws.verify(good, ec_handle.public, "ES256")
    for form in forms:
        with pytest.raises(Refused):
            jws.verify(f"{head}.{jws.encode(form)}", ec_handle.public, "ES256")


def test_canonical_json_is_a_choice_of_the_peer_and_never_loses_a_number(ec_handle: KeyHandle) -> None:
    """RFC 8785 where a profile wants it; what it cannot carry, and repeated keys, are refused."""
    form = canonical.jcs(rb'{"b": 1.50, "a": [true, null, "\u00e9"]}')
    assert form == '{"a":[true,null,"é"],"b":1.5}'.encode()
    token = jws.sign(ec_handle, {}, form, detached=True)
    jws.verify(token, ec_handle.public, "ES256", payload=canonical.jcs(b'{"a":[true,null,"\xc3\xa9"],"b":1.5}'))
    for lost in (b'{"a":1,"a":1}', b'{"a":0.12345678901234567890123}', b'{"a":12345678901234567890}', b'{"a":1e400}'):
        with pytest.raises(Refused):
            canonical.jcs(lost)


# --- ModI ----------------------------------------


def test_integrity_covers_the_bytes_that_leave(
    rsa_handle: KeyHandle, document_trust: Trust, now: datetime, tmp_path: Path
) -> None:
    """INTEGRITY_REST_01: the digest is of the compressed bytes, and the claim is an array of single-key objects."""
    body = gzip.compress(b'{"resourceType":"Bundle"}')
    headers = {"Content-Type": "application/fhir+json", "Content-Encoding": "gzip"}
    sent = headers | modi.integrity(rsa_handle, AUDIENCE, body, headers, now)
    rules = Rules(audience=AUDIENCE, algorithms=("RS256",), once=True)
    trust = Trust("token", document_trust.anchors, document_trust._revocations)
    claims = modi.check_integrity(sent, body, rules, now, Seen(tmp_path), trust=trust)
    names = [next(iter(each)) for each in claims["signed_headers"]]
    assert names == ["digest", "content-type", "content-encoding"]

    def refused(changed: dict[str, str], bytes_: bytes) -> str:
        with pytest.raises(Refused) as error:
            modi.check_integrity(changed, bytes_, rules, now, Seen(tmp_path / "again"), trust=trust)
        return error.value.code

    assert refused(sent, gzip.decompress(body)) == "GW-SIGN-059"
    again = headers | modi.integrity(rsa_handle, AUDIENCE, body, headers, now)
    assert refused(again | {"Content-Type": "text/plain"}, body) == "GW-SIGN-058"
    bare = headers | modi.integrity(rsa_handle, AUDIENCE, body, {}, now)
    assert refused(bare, body) == "GW-SIGN-058"
    assert refused(headers | {"Digest": modi.digest(body)}, body) == "GW-SIGN-040"


def test_a_bearer_token_opens_the_door_once_and_a_voucher_only_its_own(
    rsa_handle: KeyHandle, document_trust: Trust, now: datetime, tmp_path: Path
) -> None:
    """ID_AUTH_REST_02 with a certificate; a PDND voucher with PDND's key, for our e-service and no other."""
    trust = Trust("token", document_trust.anchors, document_trust._revocations)
    sent = modi.authorization(rsa_handle, AUDIENCE, now, issuer="c", subject="c")
    rules = Rules(audience=AUDIENCE, algorithms=("RS256",), issuer="c", once=True)
    seen = Seen(tmp_path)
    assert modi.check_authorization(sent, rules, now, seen, trust=trust)["sub"] == "c"
    voucher = modi.authorization(
        rsa_handle, AUDIENCE, now, naming="kid", kid="k", claims={"producerId": "p", "eserviceId": "e"}
    )
    ours = Rules(audience=AUDIENCE, algorithms=("RS256",), equal={"producerId": "p", "eserviceId": "e"})
    modi.check_authorization(voucher, ours, now, key=rsa_handle.public)
    other = Rules(audience=AUDIENCE, algorithms=("RS256",), equal={"producerId": "p", "eserviceId": "other"})
    cases: list[tuple[dict[str, str], Rules, str]] = [
        (sent, rules, "GW-SIGN-057"),
        ({"Authorization": "Basic eDp5"}, rules, "GW-SIGN-040"),
        ({}, rules, "GW-SIGN-040"),
        (voucher, rules, "GW-SIGN-040"),  # it brings no certificate
    ]
    for headers, wanted, code in cases:
        with pytest.raises(Refused) as refused:
            modi.check_authorization(headers, wanted, now, seen, trust=trust)
        assert refused.value.code == code
    with pytest.raises(Refused) as refused:
        modi.check_authorization(voucher, other, now, key=rsa_handle.public)
    assert refused.value.code == "GW-SIGN-054"


def test_an_empty_payload_is_signed_like_any_other(rsa_handle: KeyHandle, now: datetime, tmp_path: Path) -> None:
    """A GET has a body of no bytes, and its digest is the one of no bytes."""
    sent = modi.integrity(rsa_handle, AUDIENCE, b"", {}, now, naming="kid", kid="k1")
    assert sent["Digest"] == "SHA-256=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
    rules = Rules(audience=AUDIENCE, algorithms=("RS256",))
    modi.check_integrity(sent, b"", rules, now, key=rsa_handle.public, must_cover=("digest",))


def test_signed_headers_that_are_no_array_are_refused(rsa_handle: KeyHandle, now: datetime) -> None:
    """The commonest mistake with this pattern: an object instead of an array of objects."""
    token = tokens.make(rsa_handle, {"aud": AUDIENCE, "signed_headers": {"digest": modi.digest(b"x")}}, now)
    with pytest.raises(Refused) as refused:
        modi.check_integrity(
            {"Digest": modi.digest(b"x"), "Agid-JWT-Signature": token},
            b"x",
            Rules(audience=AUDIENCE, algorithms=("RS256",)),
            now,
            key=rsa_handle.public,
        )
    assert refused.value.code == "GW-SIGN-050"


def test_the_client_assertion_has_what_the_voucher_server_asks(rsa_handle: KeyHandle, now: datetime) -> None:
    """RFC 7523 with the purpose, bound to the tracking token where there is one."""
    where = modi.tracking(
        rsa_handle, AUDIENCE, {"userID": "u", "userLocation": "l", "LoA": "3"}, now, issuer="c", kid="k"
    )
    evidence = where["Agid-JWT-TrackingEvidence"]
    made = modi.client_assertion(
        rsa_handle, "client-1", "auth.invalid/client-assertion", "p-1", "k", now, evidence=evidence
    )
    rules = Rules(
        audience="auth.invalid/client-assertion", algorithms=("RS256",), issuer="client-1", subject="client-1"
    )
    claims = tokens.check(made, rsa_handle.public, rules, now)
    assert claims["purposeId"] == "p-1"
    assert len(claims["digest"]["value"]) == 64
    assert jws.header_of(made)["kid"] == "k"
    assert "x5c" not in jws.header_of(made)
    assert modi.token_request(made, "client-1")["grant_type"] == "client_credentials"


# --- FSE ----------------------------------------


def test_the_two_tokens_of_the_health_record_have_every_claim(rsa_handle: KeyHandle, now: datetime) -> None:
    """The guide's rules: prefixes, CX and XON forms, seconds, x5c as an array, the hash of the file part."""
    person = fse.cx("RSSMRA75C03F839K")
    claims = fse.Claims(
        sub=person,
        subject_organization_id="090",
        subject_organization="Regione Toscana",
        locality=fse.xon("Test structure", fse.STRUCTURE_ROOTS[0], "090101"),
        subject_role="AAS",
        person_id=person,
        purpose_of_use="TREATMENT",
        resource_hl7_type="('57832-8^^2.16.840.1.113883.6.1')",
        action_id="CREATE",
        subject_application_id="gateway",
        subject_application_vendor="Test vendor",
        subject_application_version="1.0",
    )
    bearer = fse.bearer(rsa_handle, AUDIENCE, person, now)["Authorization"].removeprefix("Bearer ")
    signed = fse.signature(rsa_handle, AUDIENCE, claims, now, b"%PDF-1.7")["FSE-JWT-Signature"]
    rules = Rules(audience=AUDIENCE, algorithms=("RS256",), subject=person)
    first = tokens.check(bearer, rsa_handle.public, rules, now)
    second = tokens.check(signed, rsa_handle.public, rules, now)
    assert first["iss"] == "auth:Test Signer-One"
    assert second["iss"] == "integrity:Test Signer-One"
    assert second["attachment_hash"] == fse.attachment_hash(b"%PDF-1.7")
    assert second["patient_consent"] is True
    assert second["sub"] == "RSSMRA75C03F839K^^^&2.16.840.1.113883.2.9.4.3.2&ISO"
    assert isinstance(jws.header_of(signed)["x5c"], list)
    assert first["iat"] == int(now.timestamp())
