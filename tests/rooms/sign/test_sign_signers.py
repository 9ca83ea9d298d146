from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from lxml import etree

from gateway.errors import Misconfigured, Refused
from gateway.ports import SignatureValue
from gateway.settings import Destination, Key
from gateway.sign import algorithms, cms, xmldsig, xmlshape
from gateway.sign.dev_ca import Authority, Manifest
from gateway.sign.keyring import SIGNERS, KeyRing, signer_for
from gateway.sign.revocation import Folder
from gateway.sign.trust import Trust, anchors_from

BODY = b"<bill xmlns='urn:test'><total  b='2' a='1'></total></bill>"


@pytest.fixture
def ring(made: Manifest) -> KeyRing:
    return KeyRing({"k": Key(certificate=str(made.signer.certificate), key=str(made.signer.key))})


@pytest.fixture
def trust(made: Manifest) -> Trust:
    return Trust("document", anchors_from(made.ca), Folder(made.revocation))


def _signed(ring: KeyRing, signer: str, now: datetime, **options: str) -> SignatureValue:
    known = Destination(id="d", protocol="p", peer="p", programme="x", signing_key="k", signer=signer, options=options)
    return signer_for(known, ring).sign_bytes(BODY, now)


def test_each_named_signer_gives_what_its_name_says(ring: KeyRing, trust: Trust, now: datetime) -> None:
    """Raw over bytes, raw over canonical forms, CMS, a ds:Signature, a proof without a value, nothing."""
    key = ring.need("k").public
    algorithms.verify(key, "RS256", _signed(ring, "raw-rsa-sha256", now).value, BODY)
    for form, method in (("c14n", xmlshape.C14N), ("exc-c14n", xmlshape.EXC_C14N)):
        value = _signed(ring, "raw-rsa-sha256", now, signature_form=form).value
        algorithms.verify(key, "RS256", value, xmlshape.canonical(etree.fromstring(BODY), method))
    cms.verify(BODY, _signed(ring, "cms", now).value, trust, now)
    signature = etree.fromstring(_signed(ring, "xml-dsig", now).value)
    root = etree.fromstring(BODY)
    root.append(signature)
    assert xmldsig.verify(etree.tostring(root), trust, now).certificate == ring.need("k").certificate
    assert _signed(ring, "header-proof", now, signature_method="1").value == b""
    assert _signed(ring, "none", now).certificate_der == b""


def test_method_and_thumbprint_are_configuration(ring: KeyRing, now: datetime) -> None:
    """The names that a peer expects, where nothing public fixes them."""
    made = _signed(ring, "raw-rsa-sha256", now, signature_method="SHA256withRSA", thumbprint="sha1")
    assert made.method == "SHA256withRSA"
    assert len(made.thumbprint) == 40
    with pytest.raises(Misconfigured):
        _signed(ring, "raw-rsa-sha256", now, signature_form="c15n")


@pytest.mark.parametrize("signer", sorted(set(SIGNERS) - {"none"}))
def test_no_signer_signs_with_an_expired_certificate(ring: KeyRing, now: datetime, signer: str) -> None:
    """Promise 6 holds for each of them."""
    with pytest.raises(Refused) as refused:
        _signed(ring, signer, now + timedelta(days=40))
    assert refused.value.code == "GW-SIGN-010"


def test_a_key_of_the_wrong_kind_is_refused_when_the_signer_is_made(now: datetime, tmp_path: object) -> None:
    """Raw RSA needs an RSA key; told at start, not at the first bill."""
    from gateway.sign.raw import RawSigner

    handle = Authority.create("Test root", now).client("Test", now)
    with pytest.raises(Misconfigured):
        RawSigner(handle, "RS256")
