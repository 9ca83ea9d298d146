from __future__ import annotations

import pickle
import stat
import subprocess
from datetime import datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.errors import Misconfigured, Refused
from gateway.settings import Key
from gateway.sign import algorithms, dev_ca, keys
from gateway.sign.dev_ca import Authority, Manifest, name, pem
from gateway.sign.keyring import KeyRing, signer_for
from gateway.sign.keys import KeyHandle, open_key


def _pair(pair: dev_ca.Pair) -> Key:
    return Key(certificate=str(pair.certificate), key=str(pair.key))


@pytest.mark.parametrize(
    ("kind", "algorithm"),
    [("rsa2048", "RS256"), ("rsa2048", "PS256"), ("p256", "ES256"), ("p384", "ES384"), ("ed25519", "EdDSA")],
)
def test_every_kind_of_key_signs_and_its_certificate_verifies(
    authority: Authority, now: datetime, kind: keys.Kind, algorithm: algorithms.Algorithm
) -> None:
    """Each algorithm in the table has both halves."""
    handle = authority.issue(name("Test Signer"), kind, now)
    made = handle.sign(b"exact bytes", algorithm)
    algorithms.verify(handle.public, algorithm, made, b"exact bytes")
    with pytest.raises(Refused) as refused:
        algorithms.verify(handle.public, algorithm, made, b"other bytes")
    assert refused.value.code == "GW-SIGN-042"


def test_a_key_refuses_the_algorithm_of_another_kind(ec_handle: KeyHandle) -> None:
    """Key and algorithm belong together, so that nobody can mix them up by configuration."""
    with pytest.raises(Misconfigured):
        ec_handle.sign(b"x", "RS256")


def test_a_pickled_handle_is_only_a_reference(made: Manifest) -> None:
    """Worker processes get paths, never key material."""
    handle = open_key(_pair(made.evidence))
    packed = pickle.dumps(handle)
    secret_part = made.evidence.key.read_bytes().split(b"\n")[1]
    assert secret_part not in packed
    assert pickle.loads(packed).thumbprint == handle.thumbprint


def test_a_key_in_memory_is_not_pickled(ec_handle: KeyHandle) -> None:
    """There is no way to ship a private key by accident."""
    with pytest.raises(TypeError):
        pickle.dumps(ec_handle)
    with pytest.raises(TypeError):
        pickle.dumps(ec_handle._key)


def test_neither_representation_nor_text_shows_the_key(ec_handle: KeyHandle) -> None:
    """A handle may be logged by mistake."""
    assert "PRIVATE" not in repr(ec_handle) + repr(ec_handle._key) + str(ec_handle)


def test_an_encrypted_key_opens_with_its_password_only(
    authority: Authority, now: datetime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys at rest may be encrypted; the password comes from the environment or a file."""
    handle = authority.issue(name("Test Signer"), "p256", now)
    (tmp_path / "c.pem").write_bytes(pem(handle.certificate))
    handle.save(tmp_path / "k.pem", b"right")
    monkeypatch.setenv("KEY_WORD", "right")
    settings = Key(certificate=str(tmp_path / "c.pem"), key=str(tmp_path / "k.pem"), password="env:KEY_WORD")
    assert open_key(settings).thumbprint == handle.thumbprint
    monkeypatch.setenv("KEY_WORD", "wrong")
    with pytest.raises(Misconfigured) as refused:
        open_key(settings)
    assert refused.value.code == "GW-SIGN-001"
    assert "right" not in str(refused.value.args_)


def test_pkcs12_made_here_and_by_openssl_opens(
    authority: Authority, now: datetime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Authorities hand out PKCS#12."""
    monkeypatch.setenv("KEY_WORD", "word")
    handle = authority.issue(name("Test Signer"), "rsa2048", now)
    handle.save_pkcs12(tmp_path / "ours.p12", "one", b"word")
    (tmp_path / "c.pem").write_bytes(pem(handle.certificate))
    handle.save(tmp_path / "k.pem")
    subprocess.run(
        [
            "openssl",
            "pkcs12",
            "-export",
            "-in",
            "c.pem",
            "-inkey",
            "k.pem",
            "-out",
            "theirs.p12",
            "-passout",
            "pass:word",
        ],
        cwd=tmp_path,
        check=True,
    )
    for file in ("ours.p12", "theirs.p12"):
        opened = open_key(Key(certificate=str(tmp_path / file), password="env:KEY_WORD"))
        assert opened.thumbprint == handle.thumbprint


def test_certificate_and_key_in_one_pem_file_open_in_any_order(
    authority: Authority, now: datetime, tmp_path: Path
) -> None:
    """Both orders are found in the wild."""
    handle = authority.issue(name("Test Signer"), "p256", now)
    handle.save(tmp_path / "k.pem")
    key = (tmp_path / "k.pem").read_bytes()
    for index, content in enumerate((pem(handle.certificate) + key, key + pem(handle.certificate))):
        path = tmp_path / f"both{index}.pem"
        path.write_bytes(content)
        assert open_key(Key(certificate=str(path))).thumbprint == handle.thumbprint


def test_a_key_of_another_certificate_is_refused_at_once(made: Manifest) -> None:
    """Not at the first signature, at night."""
    with pytest.raises(Misconfigured) as refused:
        open_key(Key(certificate=str(made.evidence.certificate), key=str(made.server.key)))
    assert refused.value.code == "GW-SIGN-002"


def test_a_weak_key_is_refused(authority: Authority, now: datetime, tmp_path: Path) -> None:
    """RSA under 2048 bits does not sign and is not accepted."""
    weak = rsa.generate_private_key(65537, 1024)
    certificate = authority.handle.certify(
        dev_ca._builder(name("Weak"), authority.certificate.subject, weak.public_key(), now, now + dev_ca.VALID)
    )
    with pytest.raises(Refused) as refused:
        algorithms.public_key(certificate)
    assert refused.value.code == "GW-SIGN-021"


def test_key_files_are_private_and_never_overwritten(made: Manifest) -> None:
    """Mode 0600, and a second run does not destroy keys that are in use."""
    pairs = [made.server, made.evidence, made.signer, *made.clients.values(), *made.destinations.values()]
    for pair in pairs:
        assert stat.S_IMODE(pair.key.stat().st_mode) == 0o600
    with pytest.raises(Misconfigured):
        dev_ca.make(made.folder)


def test_keys_are_not_written_into_a_tracked_tree(tmp_path: Path) -> None:
    """A private key in a repository is a private key lost."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text("/ignored/\n")
    with pytest.raises(Misconfigured) as refused:
        dev_ca.make(tmp_path / "keys")
    assert refused.value.code == "GW-SIGN-003"
    assert not (tmp_path / "keys").exists()
    assert dev_ca.make(tmp_path / "ignored").ca.exists()


def test_a_ring_takes_up_a_rotated_key_without_restart(made: Manifest, authority: Authority, now: datetime) -> None:
    """Between the two files being replaced, the old key keeps signing."""
    ring = KeyRing({"evidence": _pair(made.evidence)})
    before = ring.need("evidence").thumbprint
    fresh = authority.issue(name("Test Signer"), "p256", now)
    made.evidence.certificate.write_bytes(pem(fresh.certificate))
    assert ring.need("evidence").thumbprint == before
    made.evidence.key.unlink()
    fresh.save(made.evidence.key)
    assert ring.need("evidence").thumbprint == fresh.thumbprint


def test_the_thumbprint_is_that_of_openssl(made: Manifest) -> None:
    """Names of certificates are compared across programs."""
    said = subprocess.run(
        ["openssl", "x509", "-in", str(made.signer.certificate), "-noout", "-fingerprint", "-sha256"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    handle = open_key(_pair(made.signer))
    assert said.strip().rpartition("=")[2].replace(":", "").lower() == handle.thumbprint
    assert handle.subject == "CN=Test Signer-One,T=SYSTEM-1,OU=FACILITY-1,O=Throw-away test authority"
    assert handle.der == handle.certificate.public_bytes(Encoding.DER)


def test_an_unknown_signer_name_is_the_operators_error(made: Manifest) -> None:
    """A misspelt signer must not mean no signature."""
    from gateway.settings import Destination

    ring = KeyRing({"k": _pair(made.signer)})
    known = Destination(id="d", protocol="p", peer="p", programme="x", signing_key="k", signer="raw-rsa-sha265")
    with pytest.raises(Misconfigured):
        signer_for(known, ring)
