from __future__ import annotations

import base64
import pickle
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import joserfc.jws
import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import import_key
from jwcrypto import jwk as other_jwk
from jwcrypto import jws as other_jws

from gateway.errors import Refused
from gateway.formats import json
from gateway.message import Evidence
from gateway.settings import Key
from gateway.sign import dev_ca, evidence, jws, raw
from gateway.sign.dev_ca import Authority, name
from gateway.sign.evidence import EvidenceMaker
from gateway.sign.keys import KeyHandle, open_key
from gateway.sign.revocation import Held
from gateway.sign.trust import Trust

BODY = '{"resourceType":"Bundle","note":"بیمار آزمایشی","x":1.50}'.encode()


_HEADERS = joserfc.jws.default_registry.header_registry


class Wide(joserfc.jws.JWSRegistry):
    max_header_length = 64 * 1024
    max_payload_length = 1 << 26


def _code(body: bytes, made: Evidence, trust: Trust) -> str:
    with pytest.raises(Refused) as refused:
        evidence.verify(body, made, trust)
    return refused.value.code


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.parametrize("kind", ["rsa2048", "p256", "p384", "ed25519"])
def test_evidence_is_verified_by_two_other_implementations(
    authority: Authority, document_trust: Trust, now: datetime, kind: str
) -> None:
    """What we sign, joserfc and jwcrypto accept over the same bytes, and nobody over other bytes."""
    handle = authority.issue(name("Test Signer"), kind, now)  # type: ignore[arg-type]
    made = EvidenceMaker(handle).sign(BODY, now)
    assert evidence.verify(BODY, made, document_trust) == handle.certificate

    public = handle.certificate.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    key = import_key(public, {"ed25519": "OKP", "rsa2048": "RSA"}.get(kind, "EC"))
    loose = Wide(_HEADERS, [made.algorithm], strict_check_header=False)
    joserfc.jws.deserialize_compact(made.jws, key, [made.algorithm], loose, payload=BODY)

    token = other_jws.JWS()
    token.allowed_algs = [made.algorithm]
    token.deserialize(made.jws)
    token.verify(other_jwk.JWK.from_pem(public), detached_payload=BODY)
    with pytest.raises(other_jws.InvalidJWSSignature):
        token.verify(other_jwk.JWK.from_pem(public), detached_payload=BODY + b" ")
    assert _code(BODY + b" ", made, document_trust) == "GW-SIGN-042"


@settings(max_examples=60, deadline=None)
@given(body=st.binary(max_size=300), at=st.integers(0, 299), bit=st.integers(0, 7))
def test_one_changed_bit_is_noticed(
    ec_handle: KeyHandle, document_trust: Trust, now: datetime, body: bytes, at: int, bit: int
) -> None:
    """Promise 5: evidence is over exact bytes, dots, line ends and empty bodies included."""
    made = EvidenceMaker(ec_handle).sign(body, now)
    evidence.verify(body, made, document_trust)
    changed = bytearray(body or b"\0")
    changed[at % len(changed)] ^= 1 << bit
    assert _code(bytes(changed), made, document_trust) == "GW-SIGN-042"


def test_the_header_cannot_choose_anything(ec_handle: KeyHandle, document_trust: Trust, now: datetime) -> None:
    """alg none, HMAC with the public key, foreign critical headers, other times and other certificates."""
    good = EvidenceMaker(ec_handle).sign(BODY, now)
    first, _, last = good.jws.split(".")
    header = json.read(jws.decode(first))

    def forged(**changes: object) -> Evidence:
        changed = {k: v for k, v in (header | changes).items() if v is not ...}
        return msgspec.structs.replace(good, jws=f"{jws.encode(json.write(changed))}..{last}")

    assert _code(BODY, forged(alg="none"), document_trust) == "GW-SIGN-041"
    assert _code(BODY, forged(alg="HS256"), document_trust) == "GW-SIGN-041"
    assert _code(BODY, forged(crit=["b64", "exp"], exp=1), document_trust) == "GW-SIGN-043"
    assert _code(BODY, forged(b64=True), document_trust) == "GW-SIGN-043"
    assert _code(BODY, forged(crit=...), document_trust) == "GW-SIGN-043"
    assert _code(BODY, forged(sigT="2020-01-01T00:00:00Z"), document_trust) == "GW-SIGN-042"
    assert _code(BODY, forged(x5c="x"), document_trust) == "GW-SIGN-040"
    assert _code(BODY, msgspec.structs.replace(good, algorithm="HS256"), document_trust) == "GW-SIGN-041"
    late = msgspec.structs.replace(good, signed_at=now + timedelta(days=1))
    assert _code(BODY, late, document_trust) == "GW-SIGN-045"


def test_another_authority_of_the_same_name_is_refused(now: datetime, document_trust: Trust) -> None:
    """Names prove nothing."""
    imposter = Authority.create("Test root", now)
    made = EvidenceMaker(imposter.issue(name("Test Signer-Two"), "p256", now)).sign(BODY, now)
    assert _code(BODY, made, document_trust) == "GW-SIGN-022"


def test_a_revoked_signer_is_refused(now: datetime) -> None:
    """Also when the signature itself is right."""
    authority = Authority.create("Test root", now)
    handle = authority.issue(name("Test Signer"), "p256", now)
    authority.revoke(handle.certificate, now - timedelta(minutes=5))
    made = EvidenceMaker(handle).sign(BODY, now)
    assert _code(BODY, made, Trust("document", [authority.certificate], Held([authority.crl(now)]))) == "GW-SIGN-012"


def test_nothing_is_signed_with_an_expired_or_early_certificate(ec_handle: KeyHandle, now: datetime) -> None:
    """Promise 6, on the way out."""
    for maker in (EvidenceMaker(ec_handle).sign,):
        with pytest.raises(Refused) as refused:
            maker(BODY, now + timedelta(days=400))
        assert refused.value.code == "GW-SIGN-010"
        with pytest.raises(Refused) as refused:
            maker(BODY, now - timedelta(days=400))
        assert refused.value.code == "GW-SIGN-011"


def test_a_worker_process_gets_a_maker_that_opens_its_own_key(made: dev_ca.Manifest, now: datetime) -> None:
    """Workers have no settings and no database, only the maker."""
    handle = open_key(Key(certificate=str(made.evidence.certificate), key=str(made.evidence.key)))
    maker = pickle.loads(pickle.dumps(EvidenceMaker(handle)))
    assert maker.sign(BODY, now).certificate_digest == handle.thumbprint


def test_the_provenance_carries_the_signature_and_points_at_the_bytes(
    ec_handle: KeyHandle, document_trust: Trust, now: datetime
) -> None:
    """Beside the document, never inside it; the JWS survives the way through FHIR."""
    made = EvidenceMaker(ec_handle).sign(BODY, now)
    shown = evidence.provenance(made, "p1", "Binary/d1", "ab" * 32, "Test gateway")
    data = base64.b64decode(shown["signature"][0]["data"]).decode()
    again = msgspec.structs.replace(made, jws=data)
    evidence.verify(BODY, again, document_trust)
    assert shown["target"][0]["reference"] == "Binary/d1"
    assert shown["signature"][0]["sigFormat"] == "application/jose"


def test_a_raw_signature_is_what_openssl_verifies(rsa_handle: KeyHandle, now: datetime, tmp_path: Path) -> None:
    """RSA PKCS#1 v1.5 with SHA-256 over the bytes themselves."""
    made = raw.RawSigner(rsa_handle).sign_bytes(BODY, now)
    (tmp_path / "body").write_bytes(BODY)
    (tmp_path / "sig").write_bytes(made.value)
    public = rsa_handle.certificate.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "pub").write_bytes(public)
    said = subprocess.run(
        ["openssl", "dgst", "-sha256", "-verify", "pub", "-signature", "sig", "body"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert "Verified OK" in said.stdout
    raw.verify_raw(BODY, made, rsa_handle.public)
    with pytest.raises(Refused):
        raw.verify_raw(BODY + b"\n", made, rsa_handle.public)
    assert made.subject_dn.startswith("CN=Test Signer-One,T=SYSTEM-1,OU=FACILITY-1")
    assert made.certificate_der == rsa_handle.der


def test_the_empty_signer_gives_empty_parts(now: datetime) -> None:
    """A destination that takes no signature gets none, not a wrong one."""
    made = raw.NoSigner().sign_bytes(BODY, now)
    assert (made.value, made.method, made.certificate_der, made.subject_dn) == (b"", "", b"", "")
