from __future__ import annotations

import base64
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from asn1crypto import cms as asn1_cms
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.errors import Misconfigured, Refused
from gateway.sign import cms, encrypt
from gateway.sign.dev_ca import Authority, name, pem
from gateway.sign.encrypt import Encrypter, Sealed
from gateway.sign.keys import KeyHandle
from gateway.sign.raw import HeaderProof
from gateway.sign.trust import Trust

BODY = b"exact bytes\r\n of a bill\n"


@pytest.mark.parametrize("kind", ["rsa2048", "p256", "p384"])
def test_a_cms_signature_is_verified_by_openssl_and_here(
    authority: Authority, document_trust: Trust, now: datetime, tmp_path: Path, kind: str
) -> None:
    """CAdES attributes inside, exact bytes outside."""
    handle = authority.issue(name("Test Signer"), kind, now)  # type: ignore[arg-type]
    made = cms.sign(BODY, handle, now)
    assert cms.verify(BODY, made, document_trust, now) == handle.certificate
    (tmp_path / "sig").write_bytes(made)
    (tmp_path / "body").write_bytes(BODY)
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    words = ["openssl", "cms", "-verify", "-binary", "-cades", "-inform", "DER", "-in", "sig", "-content", "body"]
    words += ["-CAfile", "ca.pem", "-attime", str(int(now.timestamp())), "-purpose", "any", "-out", "out"]
    subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)
    with pytest.raises(Refused) as refused:
        cms.verify(BODY + b" ", made, document_trust, now)
    assert refused.value.code == "GW-SIGN-042"


def test_what_openssl_signs_is_accepted_here(
    authority: Authority, document_trust: Trust, now: datetime, tmp_path: Path
) -> None:
    """And a signature without the CAdES attribute is refused, because it does not name its certificate."""
    handle = authority.issue(name("Test Signer"), "rsa2048", now)
    (tmp_path / "c.pem").write_bytes(pem(handle.certificate))
    handle.save(tmp_path / "k.pem")
    (tmp_path / "body").write_bytes(BODY)
    words = [
        "openssl",
        "cms",
        "-sign",
        "-binary",
        "-outform",
        "DER",
        "-in",
        "body",
        "-signer",
        "c.pem",
        "-inkey",
        "k.pem",
    ]
    subprocess.run([*words, "-md", "sha256", "-cades", "-out", "sig"], cwd=tmp_path, check=True, capture_output=True)
    assert cms.verify(BODY, (tmp_path / "sig").read_bytes(), document_trust, now) == handle.certificate
    subprocess.run([*words, "-md", "sha256", "-out", "bare"], cwd=tmp_path, check=True, capture_output=True)
    with pytest.raises(Refused) as refused:
        cms.verify(BODY, (tmp_path / "bare").read_bytes(), document_trust, now)
    assert refused.value.code == "GW-SIGN-047"
    subprocess.run([*words, "-md", "sha1", "-cades", "-out", "weak"], cwd=tmp_path, check=True, capture_output=True)
    with pytest.raises(Refused) as refused:
        cms.verify(BODY, (tmp_path / "weak").read_bytes(), document_trust, now)
    assert refused.value.code == "GW-SIGN-041"
    subprocess.run([*words, "-md", "sha256", "-cades", "-nodetach", "-out", "in"], cwd=tmp_path, check=True)
    with pytest.raises(Refused) as refused:
        cms.verify(BODY, (tmp_path / "in").read_bytes(), document_trust, now)
    assert refused.value.code == "GW-SIGN-046"


def test_two_signers_or_rubbish_are_refused(rsa_handle: KeyHandle, document_trust: Trust, now: datetime) -> None:
    """One signature, by one signer."""
    made = asn1_cms.ContentInfo.load(cms.sign(BODY, rsa_handle, now))
    made["content"]["signer_infos"].append(made["content"]["signer_infos"][0].copy())
    with pytest.raises(Refused) as refused:
        cms.verify(BODY, made.dump(force=True), document_trust, now)
    assert refused.value.code == "GW-SIGN-046"
    for rubbish in (b"", b"\x30\x00", b"x" * 50, cms.sign(BODY, rsa_handle, now)[:-1]):
        with pytest.raises(Refused):
            cms.verify(BODY, rubbish, document_trust, now)


def test_attributes_cannot_be_exchanged_under_a_signature(
    rsa_handle: KeyHandle, document_trust: Trust, now: datetime
) -> None:
    """The signature is over the attributes; the attributes are over the bytes."""
    one, two = (asn1_cms.ContentInfo.load(cms.sign(body, rsa_handle, now)) for body in (BODY, b"EVIL"))
    one["content"]["signer_infos"][0]["signed_attrs"] = two["content"]["signer_infos"][0]["signed_attrs"]
    with pytest.raises(Refused) as refused:
        cms.verify(b"EVIL", one.dump(force=True), document_trust, now)
    assert refused.value.code == "GW-SIGN-042"


def test_a_header_proof_shows_the_certificate_and_signs_only_where_asked(rsa_handle: KeyHandle, now: datetime) -> None:
    """What public clients do, and what the slot was made for."""
    shown = HeaderProof(rsa_handle, "1").sign_bytes(BODY, now)
    assert (shown.value, shown.method, shown.certificate_der) == (b"", "1", rsa_handle.der)
    assert len(shown.thumbprint) == 40
    assert HeaderProof(rsa_handle, "1", value=True).sign_bytes(BODY, now).value
    with pytest.raises(Refused):
        HeaderProof(rsa_handle, "1").sign_bytes(BODY, now + timedelta(days=90))


@pytest.mark.parametrize("hashing", ["sha1", "sha256"])
def test_a_sealed_body_opens_for_its_addressee_only(
    authority: Authority, now: datetime, rsa_handle: KeyHandle, hashing: encrypt.OaepHash
) -> None:
    """A fresh key each time; one answer for every kind of failure."""
    public = rsa_handle.certificate.public_key()
    made = Encrypter(public, hashing).seal(BODY)  # type: ignore[arg-type]
    again = Encrypter(public, hashing).seal(BODY)  # type: ignore[arg-type]
    assert encrypt.opened(made, rsa_handle, hashing) == BODY
    assert made.data != again.data
    other = authority.issue(name("Test Other"), "rsa2048", now)
    broken = base64.b64encode(bytes(16)).decode()
    for sealed, handle in (
        (made, other),
        (Sealed(broken, made.key, made.iv), rsa_handle),
        (Sealed("!", "", ""), rsa_handle),
    ):
        with pytest.raises(Refused) as refused:
            encrypt.opened(sealed, handle, hashing)
        assert refused.value.code == "GW-SIGN-042"


def test_a_sealed_body_is_opened_by_openssl(rsa_handle: KeyHandle, tmp_path: Path) -> None:
    """The shape is what other clients write: text key of 32, vector of 16, CBC with PKCS#7 padding."""
    made = Encrypter(rsa_handle.certificate.public_key()).seal(BODY)  # type: ignore[arg-type]
    rsa_handle.save(tmp_path / "k.pem")
    parts = []
    for part in (made.key, made.iv):
        (tmp_path / "part").write_bytes(base64.b64decode(part))
        words = [
            "openssl",
            "pkeyutl",
            "-decrypt",
            "-inkey",
            "k.pem",
            "-pkeyopt",
            "rsa_padding_mode:oaep",
            "-in",
            "part",
        ]
        parts.append(subprocess.run(words, cwd=tmp_path, check=True, capture_output=True).stdout)
    assert [len(p) for p in parts] == [32, 16]
    assert all(p.isalnum() for p in parts)
    (tmp_path / "data").write_bytes(base64.b64decode(made.data))
    words = ["openssl", "enc", "-d", "-aes-256-cbc", "-K", parts[0].hex(), "-iv", parts[1].hex(), "-in", "data"]
    assert subprocess.run(words, cwd=tmp_path, check=True, capture_output=True).stdout == BODY


def test_the_key_file_of_dotnet_and_pem_give_the_same_key(rsa_handle: KeyHandle, tmp_path: Path) -> None:
    """The ministry hands out RSAKeyValue."""
    public = rsa_handle.certificate.public_key()
    numbers = public.public_numbers()  # type: ignore[union-attr]
    modulus = base64.b64encode(numbers.n.to_bytes(256, "big")).decode()  # type: ignore[union-attr]
    xml = f"<RSAKeyValue><Modulus>{modulus}</Modulus><Exponent>AQAB</Exponent></RSAKeyValue>"
    (tmp_path / "key.xml").write_text(xml)
    (tmp_path / "key.pem").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert encrypt.public_key_from(tmp_path / "key.xml") == public
    assert encrypt.public_key_from(tmp_path / "key.pem") == public
    (tmp_path / "bad.pem").write_text("nothing")
    with pytest.raises(Misconfigured):
        encrypt.public_key_from(tmp_path / "bad.pem")
