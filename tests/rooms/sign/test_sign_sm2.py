from __future__ import annotations

import hashlib
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
import tongsuopy.crypto.asymciphers as other
from cryptography import x509

from gateway.errors import Refused
from gateway.settings import Key
from gateway.sign import algorithms, jws, keys, sm2
from gateway.sign.keys import KeyHandle, open_key
from gateway.sign.sm2 import N, Sm2Public
from gateway.sign.trust import Trust

ID = "1234567812345678"


def _run(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chain of two made by the openssl command, which knows SM2 certificates."""
    at = tmp_path_factory.mktemp("sm2")
    sigopt = ("-sm3", "-sigopt", f"distid:{ID}")
    for name in ("ca", "leaf"):
        _run(at, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:SM2", "-out", f"{name}.key")
    _run(
        at,
        "req",
        "-x509",
        "-new",
        "-key",
        "ca.key",
        *sigopt,
        "-subj",
        "/O=Test/CN=Root",
        "-days",
        "9",
        "-out",
        "ca.pem",
    )
    _run(at, "req", "-new", "-key", "leaf.key", *sigopt, "-subj", "/O=Test/CN=Leaf", "-out", "leaf.csr")
    (at / "ext").write_text("basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n")
    issue = ("x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-extfile", "ext", "-days", "5")
    _run(at, *issue, *sigopt, "-vfyopt", f"distid:{ID}", "-out", "leaf.pem")
    _run(at, *issue, "-sm3", "-vfyopt", f"distid:{ID}", "-out", "empty-id.pem")
    _run(at, "pkcs8", "-topk8", "-in", "leaf.key", "-out", "leaf.enc", "-passout", "pass:word")
    return at


@pytest.fixture(scope="module")
def handle(folder: Path) -> KeyHandle:
    return open_key(Key(certificate=str(folder / "leaf.pem"), key=str(folder / "leaf.key")))


def _their_public(handle: KeyHandle) -> other.ec.EllipticCurvePublicKey:
    assert isinstance(handle.public, Sm2Public)
    x, y = (int.from_bytes(part, "big") for part in (handle.public.point[:32], handle.public.point[32:]))
    return other.ec.EllipticCurvePublicNumbers(x, y, other.ec.SM2()).public_key()


def test_our_signature_is_verified_by_tongsuo_and_theirs_here(handle: KeyHandle, folder: Path) -> None:
    """Two engines that share no code."""
    from tongsuopy.crypto import hashes, serialization

    made = handle.sign(b"exact bytes", encoding="der")
    _their_public(handle).verify(made, b"exact bytes", other.ec.ECDSA(hashes.SM3()))
    theirs = serialization.load_pem_private_key((folder / "leaf.key").read_bytes(), None)
    value = theirs.sign(b"exact bytes", other.ec.ECDSA(hashes.SM3()))
    algorithms.verify(handle.public, "SGD_SM3_SM2", value, b"exact bytes", "der")
    with pytest.raises(Refused):
        algorithms.verify(handle.public, "SGD_SM3_SM2", value, b"other bytes", "der")


def test_our_signature_is_verified_by_openssl(handle: KeyHandle, folder: Path) -> None:
    """The third engine, with the signer id said aloud."""
    (folder / "body").write_bytes(b"exact bytes")
    (folder / "sig").write_bytes(handle.sign(b"exact bytes", encoding="der"))
    _run(folder, "x509", "-in", "leaf.pem", "-pubkey", "-noout", "-out", "leaf.pub")
    words = ("pkeyutl", "-verify", "-pubin", "-inkey", "leaf.pub", "-in", "body", "-rawin", "-digest", "sm3")
    _run(folder, *words, "-sigfile", "sig", "-pkeyopt", f"distid:{ID}")


def test_the_published_example_of_the_standard_is_accepted() -> None:
    """GM/T 0003.5, signature example over 'message digest' with the default id on the recommended curve."""
    point = bytes.fromhex(
        "09F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020"
        "CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13"
    )
    raw = bytes.fromhex(
        "F5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3"
        "B1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA"
    )
    algorithms.verify(Sm2Public(point), "SGD_SM3_SM2", raw, b"message digest")


def test_the_signer_id_matters(handle: KeyHandle, folder: Path) -> None:
    """Nothing in a certificate says which id was used, so it is configured, and another one does not fit."""
    settings = Key(certificate=str(folder / "leaf.pem"), key=str(folder / "leaf.key"), signer_id="other")
    made = open_key(settings).sign(b"x")
    with pytest.raises(Refused):
        algorithms.verify(handle.public, "SGD_SM3_SM2", made, b"x")
    algorithms.verify(handle.public, "SGD_SM3_SM2", made, b"x", signer_id=b"other")


def test_a_chain_is_verified_with_the_issuers_id(handle: KeyHandle, folder: Path) -> None:
    """OpenSSL 3 signs certificates with an empty id unless told otherwise; each issuer has its own."""
    root = keys.read_certificates(folder / "ca.pem")[0]
    now = datetime.now(UTC)
    usual = Trust("document", [root], require_revocation=False)
    usual.check(handle.certificate, (), now)
    odd = keys.read_certificates(folder / "empty-id.pem")[0]
    assert usual.problem(odd, (), now) == "GW-SIGN-022"
    spki = hashlib.sha256(sm2.spki(root)).hexdigest()
    Trust("document", [root], require_revocation=False, signer_ids={spki: b""}).check(odd, (), now)


def test_an_sm2_token_round_trips_raw_and_der(handle: KeyHandle) -> None:
    """The JOSE form of GM/T 0125 is not public; both spellings are configuration."""
    for encoding in ("raw", "der"):
        token = jws.sign(handle, {"typ": "JWT"}, b"{}", encoding=encoding)  # type: ignore[arg-type]
        assert jws.header_of(token)["alg"] == "SGD_SM3_SM2"
        jws.verify(token, handle.public, "SGD_SM3_SM2", encoding=encoding)  # type: ignore[arg-type]


def test_parameters_are_sorted_and_the_signature_left_out() -> None:
    """What platforms sign over a form."""
    assert sm2.parameters({"b": "2", "a": "1", "sign": "x", "c": ""}) == b"a=1&b=2"


def test_an_encrypted_key_opens_and_ours_is_read_by_openssl(
    folder: Path, handle: KeyHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PBES2 both ways, because `cryptography` does not load SM2 keys."""
    monkeypatch.setenv("KEY_WORD", "word")
    settings = Key(certificate=str(folder / "leaf.pem"), key=str(folder / "leaf.enc"), password="env:KEY_WORD")
    assert open_key(settings).thumbprint == handle.thumbprint
    made = keys.generate("sm2")
    made.save(folder / "ours.enc", b"word")
    assert b"ENCRYPTED" in (folder / "ours.enc").read_bytes()
    _run(folder, "pkey", "-in", "ours.enc", "-passin", "pass:word", "-noout", "-check")


def _der(r: int, s: int) -> bytes:
    return algorithms.encode_dss_signature(r, s)


def test_malformed_signatures_are_refused_whatever_the_engine_does(handle: KeyHandle) -> None:
    """r or s of 0, n or more, r+s = n, s -> n-s, trailing bytes, cut, empty, negative."""
    assert isinstance(handle.public, Sm2Public)
    good = handle.sign(b"x", encoding="der")
    r, s = algorithms.decode_dss_signature(good)
    bad = [
        _der(0, s),
        _der(r, 0),
        _der(N, s),
        _der(r, N),
        _der(r + N, s),
        _der(r, N - r),
        _der(r, N - s),
        good + b"\0",
        good[:-1],
        b"",
        b"\x30\x00",
        os.urandom(70),
        b"\x30\x81" + good[1:2] + good[2:],
    ]
    assert handle.public.verify(good, b"x")
    assert [b for b in bad if handle.public.verify(b, b"x")] == []


def test_a_point_off_the_curve_is_no_key(folder: Path) -> None:
    """Invalid-curve points never reach the engine."""
    certificate = x509.load_pem_x509_certificate((folder / "leaf.pem").read_bytes())
    info = bytearray(sm2.spki(certificate))
    assert Sm2Public.of_spki(bytes(info)) is not None
    info[-1] ^= 1
    assert Sm2Public.of_spki(bytes(info)) is None
