"""Keys in a token: SoftHSM2, the software token of Debian, driven through PKCS#11."""

from __future__ import annotations

import os
import pickle
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.serialization import load_der_public_key

from gateway.errors import Misconfigured
from gateway.settings import Key
from gateway.sign import algorithms
from gateway.sign.dev_ca import Authority, name, pem
from gateway.sign.evidence import EvidenceMaker, verify
from gateway.sign.keys import KeyHandle, open_key, subject_of
from gateway.sign.trust import Trust

PLACES = (
    os.environ.get("SOFTHSM2_MODULE", ""),
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
)
MODULE = next((p for p in PLACES if p and Path(p).exists()), "")
pytestmark = [
    pytest.mark.needs("softhsm2-util"),
    pytest.mark.skipif(not MODULE, reason="needs softhsm2: its PKCS#11 library is not on this machine"),
]


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A fresh token with an RSA and a P-256 key made inside it; gives its serial number."""
    import pkcs11
    from pkcs11.util.ec import encode_named_curve_parameters

    folder = tmp_path_factory.mktemp("token")
    (folder / "tokens").mkdir()
    (folder / "conf").write_text(f"directories.tokendir = {folder / 'tokens'}\n")
    os.environ["SOFTHSM2_CONF"] = str(folder / "conf")
    os.environ["TOKEN_PIN"] = "1234"
    words = ["softhsm2-util", "--module", MODULE, "--init-token", "--free", "--label", "test"]
    subprocess.run([*words, "--so-pin", "5678", "--pin", "1234"], check=True, capture_output=True)
    opened = next(t for t in pkcs11.lib(MODULE).get_tokens() if "test" in str(t.label))
    with opened.open(rw=True, user_pin="1234") as session:
        session.generate_keypair(pkcs11.KeyType.RSA, 2048, store=True, label="rsa", id=b"\1")
        curve = session.create_domain_parameters(
            pkcs11.KeyType.EC,
            {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters("1.2.840.10045.3.1.7")},
            local=True,
        )
        curve.generate_keypair(store=True, label="ec", id=b"\2")
    serial = opened.serial.decode() if isinstance(opened.serial, bytes) else opened.serial
    yield serial.strip(), folder
    os.environ.pop("SOFTHSM2_CONF")


def _login(opened: Any, rw: bool = False) -> Any:
    """A login is shared by all sessions of a process, and a handle of another test may still be logged in."""
    import pkcs11

    try:
        return opened.open(rw=rw, user_pin="1234")
    except pkcs11.exceptions.UserAlreadyLoggedIn:
        return opened.open(rw=rw)


def _public(label: str, serial: str) -> algorithms.CertifiableKey:
    import pkcs11
    from pkcs11.util import ec, rsa

    opened = next(t for t in pkcs11.lib(MODULE).get_tokens() if serial in str(t.serial))
    with _login(opened) as session:
        found = session.get_key(object_class=pkcs11.ObjectClass.PUBLIC_KEY, label=label)
        if label == "ec":
            return load_der_public_key(ec.encode_ec_public_key(found))  # type: ignore[return-value]
        from cryptography.hazmat.primitives.serialization import load_der_public_key as load

        pkcs1 = rsa.encode_rsa_public_key(found)
        return load(pkcs1)  # type: ignore[return-value]


def _uri(serial: str, rest: str) -> str:
    return f"pkcs11:serial={serial};{rest}?module-path={MODULE}"


@pytest.mark.parametrize("label", ["rsa", "ec"])
def test_a_key_in_a_token_signs_and_never_leaves_it(
    token: tuple[str, Path], authority: Authority, document_trust: Trust, now: datetime, label: str
) -> None:
    """The token by its serial number, the key by its label; the evidence is verified like any other."""
    serial, folder = token
    public = _public(label, serial)
    certificate = authority.certify(public, name(f"Test token {label}"), now)
    (folder / f"{label}.pem").write_bytes(pem(certificate))
    uri = _uri(serial, f"object={label}")
    handle = open_key(Key(certificate=str(folder / f"{label}.pem"), key=uri, password="env:TOKEN_PIN"))
    made = EvidenceMaker(handle).sign(b"exact bytes", now)
    assert verify(b"exact bytes", made, document_trust) == certificate
    if label == "rsa":
        for algorithm in ("RS384", "PS256"):
            algorithms.verify(public, algorithm, handle.sign(b"x", algorithm), b"x")  # type: ignore[arg-type]
    again: KeyHandle = pickle.loads(pickle.dumps(handle))
    assert again.thumbprint == handle.thumbprint


def test_the_certificate_may_lie_in_the_token_and_is_chosen_by_issuer_and_subject(
    token: tuple[str, Path], authority: Authority, now: datetime
) -> None:
    """As clients of personal tokens do it."""
    import pkcs11

    serial, _ = token
    certificate = authority.certify(_public("ec", serial), name("Test person", unit="F-1", title="S-1"), now)
    from cryptography.hazmat.primitives.serialization import Encoding

    opened = next(t for t in pkcs11.lib(MODULE).get_tokens() if serial in str(t.serial))
    with _login(opened, rw=True) as session:
        session.create_object(
            {
                pkcs11.Attribute.CLASS: pkcs11.ObjectClass.CERTIFICATE,
                pkcs11.Attribute.CERTIFICATE_TYPE: pkcs11.CertificateType.X_509,
                pkcs11.Attribute.TOKEN: True,
                pkcs11.Attribute.ID: b"\2",
                pkcs11.Attribute.SUBJECT: certificate.subject.public_bytes(),
                pkcs11.Attribute.VALUE: certificate.public_bytes(Encoding.DER),
            }
        )
    subject, issuer = quote(subject_of(certificate)), quote(authority.certificate.subject.rfc4514_string())
    uri = _uri(serial, f"x-subject={subject};x-issuer={issuer}")
    handle = open_key(Key(certificate="", key=uri, password="env:TOKEN_PIN"))
    assert handle.certificate == certificate
    with pytest.raises(Misconfigured):
        open_key(Key(certificate="", key=_uri(serial, "x-subject=CN%3DNobody"), password="env:TOKEN_PIN"))


def test_what_is_wrong_with_a_token_is_said_at_start(
    token: tuple[str, Path], authority: Authority, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Absent token, unknown key, wrong PIN, certificate of another key."""
    serial, folder = token
    foreign = authority.issue(name("Test other"), "p256", now)
    (folder / "other.pem").write_bytes(pem(foreign.certificate))
    path = str(folder / "other.pem")
    cases = {
        _uri("0000", "object=ec"): "GW-SIGN-001",
        _uri(serial, "object=none"): "GW-SIGN-001",
        _uri(serial, "object=ec"): "GW-SIGN-002",
        "pkcs11:object=ec": "GW-SIGN-001",
    }
    for uri, code in cases.items():
        with pytest.raises(Misconfigured) as refused:
            open_key(Key(certificate=path, key=uri, password="env:TOKEN_PIN"))
        assert refused.value.code == code
