"""Hostile bytes against every verifier of room sign: our own errors come out, or the truth, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.message import Evidence
from gateway.sign import cms, doctor, doctor_forms, evidence, modi, tokens, wss, xmldsig
from gateway.sign.dev_ca import Authority, name
from gateway.sign.revocation import Folder, Held
from gateway.sign.tokens import Rules
from gateway.sign.trust import Trust

NOW = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
_AUTHORITY = Authority.create("Test root", NOW)
_HANDLE = _AUTHORITY.issue(name("Test Signer"), "p256", NOW)
_TRUST = Trust("document", [_AUTHORITY.certificate], Held([_AUTHORITY.crl(NOW)]))
_TOKENS = Trust("token", [_AUTHORITY.certificate], Held([_AUTHORITY.crl(NOW)]))
_RULES = Rules(audience="us", algorithms=("ES256",))
BODY = b'{"resourceType":"Bundle"}'
SOAP = f"<s:Envelope xmlns:s='{wss.SOAP11}'><s:Header/><s:Body><a/></s:Body></s:Envelope>".encode()


class Forgetful:
    def first(self, issuer: str, id: str, until: datetime, now: datetime) -> bool:
        return True


def _evidence(data: bytes) -> object:
    made = EVIDENCE
    shown = Evidence(
        jws=data.decode("utf-8", "surrogateescape"),
        algorithm=made.algorithm,
        certificate_digest=made.certificate_digest,
        signed_at=made.signed_at,
    )
    return evidence.verify(BODY, shown, _TRUST)


def _token(data: bytes) -> object:
    return tokens.check_with_certificate(data.decode("latin-1"), _TOKENS, _RULES, NOW)[0]


def _headers(data: bytes) -> object:
    headers = {"Digest": modi.digest(BODY), "Agid-JWT-Signature": data.decode("latin-1")}
    return modi.check_integrity(headers, BODY, _RULES, NOW, trust=_TOKENS, must_cover=("digest",))


EVIDENCE = evidence.EvidenceMaker(_HANDLE).sign(BODY, NOW)
VERIFIERS: dict[str, tuple[bytes, Callable[[bytes], object]]] = {
    "evidence": (EVIDENCE.jws.encode(), _evidence),
    "token": (tokens.make(_HANDLE, {"aud": "us", "jti": "1"}, NOW).encode(), _token),
    "headers": (modi.integrity(_HANDLE, "us", BODY, {}, NOW)["Agid-JWT-Signature"].encode(), _headers),
    "cms": (cms.sign(BODY, _HANDLE, NOW), lambda d: cms.verify(BODY, d, _TRUST, NOW)),
    "xmldsig": (xmldsig.sign(b"<a><b>x</b></a>", _HANDLE), lambda d: xmldsig.verify(d, _TRUST, NOW).document),
    "xades": (
        xmldsig.sign_xades(b"<a><b>x</b></a>", _HANDLE, NOW),
        lambda d: xmldsig.verify_xades(d, _TRUST, NOW).document,
    ),
    "soap": (
        wss.secure(SOAP, _HANDLE, NOW, to="us", message_id="urn:1"),
        lambda d: wss.verify(d, _TRUST, NOW, to="us", seen=Forgetful()).parts,
    ),
}


@st.composite
def changes(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Flip, cut, repeat, insert, or put a part of the text twice."""
    kind = draw(st.sampled_from(["flip", "cut", "drop", "double", "insert", "swap"]))
    at, to = draw(st.floats(0, 1)), draw(st.floats(0, 1))
    extra = draw(st.binary(min_size=1, max_size=12))

    def change(data: bytes) -> bytes:
        a, b = sorted((int(at * (len(data) - 1)), int(to * (len(data) - 1))))
        return {
            "flip": data[:a] + bytes([data[a] ^ (extra[0] or 1)]) + data[a + 1 :],
            "cut": data[:a],
            "drop": data[:a] + data[b:],
            "double": data[:b] + data[a:],
            "insert": data[:a] + extra + data[a:],
            "swap": data[:a] + extra + data[a + len(extra) :],
        }[kind]

    return change


@pytest.mark.parametrize("kind", VERIFIERS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(change=changes())
def test_a_changed_signature_is_refused_or_says_the_same(kind: str, change: Callable[[bytes], bytes]) -> None:
    """No foreign exception, and never another content under a good signature."""
    good, verify = VERIFIERS[kind]
    changed = change(good)
    try:
        said = verify(changed)
    except GatewayError:
        return
    assert said == verify(good)


@pytest.mark.parametrize("kind", VERIFIERS)
@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=400))
def test_rubbish_is_refused(kind: str, data: bytes) -> None:
    """Bytes from nowhere."""
    with pytest.raises(GatewayError):
        VERIFIERS[kind][1](data)


@settings(max_examples=150, deadline=None)
@given(change=changes(), profile=st.sampled_from(["fse-bearer", "fse-signature", "modi", ""]))
def test_the_doctor_always_has_an_answer(change: Callable[[bytes], bytes], profile: doctor.Profile) -> None:
    """Whatever it is shown, it says something and raises nothing."""
    token = change(VERIFIERS["token"][0]).decode("latin-1")
    assert doctor.look(doctor.Seen(token=token, at=NOW, profile=profile, body=BODY, file=BODY))
    assert doctor_forms.message(change(VERIFIERS["soap"][0]), _TRUST, NOW)
    doctor_forms.detached(BODY, token, _TRUST, NOW)


@settings(max_examples=80, deadline=None)
@given(change=changes())
def test_a_broken_revocation_list_never_makes_a_certificate_good(
    tmp_path_factory: pytest.TempPathFactory, change: Callable[[bytes], bytes]
) -> None:
    """A list that revokes, changed in any way, still does not say good."""
    authority = Authority.create("Test root", NOW)
    handle = authority.issue(name("Test Signer"), "p256", NOW)
    authority.revoke(handle.certificate, NOW.replace(hour=1))
    folder: Path = tmp_path_factory.mktemp("lists")
    (folder / "root.crl").write_bytes(change(authority.crl(NOW)))
    assert Trust("token", [authority.certificate], Folder(folder)).problem(handle.certificate, (), NOW) is not None
