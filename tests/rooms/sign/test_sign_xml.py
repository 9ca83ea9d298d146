from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import signxml
import xmlsec
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree
from signxml.xades import XAdESSignatureConfiguration, XAdESVerifier

from gateway.errors import Refused
from gateway.sign import wss, xmldsig
from gateway.sign.dev_ca import Authority, name
from gateway.sign.keys import KeyHandle
from gateway.sign.replay import Seen
from gateway.sign.trust import Trust
from gateway.sign.xmlshape import ds

BODY = "<doc xmlns='urn:test' xmlns:a='urn:a'><name a:lang='fa'>بیمار آزمایشی</name><n> 1.50 </n></doc>".encode()
ENVELOPE = (
    f"<s:Envelope xmlns:s='{wss.SOAP11}'><s:Header/><s:Body><m:ask xmlns:m='urn:m'>Test Patient-One</m:ask></s:Body>"
    "</s:Envelope>"
).encode()


def _xmlsec_key(handle: KeyHandle) -> xmlsec.Key:
    pem = handle.certificate.public_bytes(Encoding.PEM)
    return xmlsec.Key.from_memory(pem, xmlsec.KeyFormat.CERT_PEM)


def _xmlsec_verify(body: bytes, handle: KeyHandle, ids: tuple[str, ...] = ()) -> None:
    root = etree.fromstring(body)
    context = xmlsec.SignatureContext()
    context.key = _xmlsec_key(handle)
    for each in ids:
        for element in root.iter():
            if each in element.attrib:
                space = etree.QName(each).namespace
                context.register_id(element, etree.QName(each).localname, space)
    context.verify(next(root.iter(ds("Signature"))))


@pytest.mark.parametrize("kind", ["rsa2048", "p256", "p384"])
def test_an_enveloped_signature_is_verified_by_libxmlsec_and_here(
    authority: Authority, document_trust: Trust, now: datetime, kind: str
) -> None:
    """Two engines, one verdict; and what is handed on is the document without its signature."""
    handle = authority.issue(name("Test Signer"), kind, now)  # type: ignore[arg-type]
    signed = xmldsig.sign(BODY, handle)
    _xmlsec_verify(signed, handle)
    done = xmldsig.verify(signed, document_trust, now)
    assert done.certificate == handle.certificate
    assert done.document == etree.tostring(etree.fromstring(BODY), method="c14n")
    broken = signed.replace(b"1.50", b"1.5 ")
    with pytest.raises(xmlsec.VerificationError):
        _xmlsec_verify(broken, handle)
    with pytest.raises(Refused) as refused:
        xmldsig.verify(broken, document_trust, now)
    assert refused.value.code == "GW-SIGN-042"


def test_what_libxmlsec_signs_is_accepted_here(
    authority: Authority, document_trust: Trust, now: datetime, tmp_path: Path
) -> None:
    """A peer that was not written for us."""
    handle = authority.issue(name("Test Signer"), "rsa2048", now)
    handle.save(tmp_path / "k.pem")
    root = etree.fromstring(BODY)
    node = xmlsec.template.create(root, xmlsec.Transform.C14N, xmlsec.Transform.RSA_SHA256, ns="ds")
    root.append(node)
    reference = xmlsec.template.add_reference(node, xmlsec.Transform.SHA256, uri="")
    xmlsec.template.add_transform(reference, xmlsec.Transform.ENVELOPED)
    xmlsec.template.add_x509_data(xmlsec.template.ensure_key_info(node))
    context = xmlsec.SignatureContext()
    context.key = xmlsec.Key.from_file(str(tmp_path / "k.pem"), xmlsec.KeyFormat.PEM)
    context.key.load_cert_from_memory(handle.certificate.public_bytes(Encoding.PEM), xmlsec.KeyFormat.PEM)
    context.sign(node)
    # libxmlsec breaks the template's lines; the certificate is found all the same
    assert xmldsig.verify(etree.tostring(root), document_trust, now).certificate == handle.certificate


@pytest.mark.parametrize("kind", ["rsa2048", "p256"])
def test_xades_is_verified_by_libxmlsec_signxml_and_here(
    authority: Authority, document_trust: Trust, now: datetime, kind: str
) -> None:
    """Inclusive canonicalisation, so that all three compute the same digests."""
    handle = authority.issue(name("Test Signer"), kind, now)  # type: ignore[arg-type]
    signed = xmldsig.sign_xades(BODY, handle, now)
    _xmlsec_verify(signed, handle, ("Id",))
    config = XAdESSignatureConfiguration(
        verification_time=now, default_reference_c14n_method=signxml.CanonicalizationMethod.CANONICAL_XML_1_0
    )
    XAdESVerifier().verify(signed, x509_cert=handle.certificate, expect_config=config)
    done = xmldsig.verify_xades(signed, document_trust, now)
    assert done.signed_at == now
    assert "بیمار".encode() in done.document
    assert b"Signature" not in done.document


def test_a_xades_signature_is_no_plain_one_and_the_other_way_round(
    rsa_handle: KeyHandle, document_trust: Trust, now: datetime
) -> None:
    """The profile is ours to choose."""
    with pytest.raises(Refused):
        xmldsig.verify(xmldsig.sign_xades(BODY, rsa_handle, now), document_trust, now)
    with pytest.raises(Refused):
        xmldsig.verify_xades(xmldsig.sign(BODY, rsa_handle), document_trust, now)


def test_an_expired_signer_is_refused_in_xml_too(rsa_handle: KeyHandle, document_trust: Trust, now: datetime) -> None:
    """Pinned key or not (runtime measurements: zeep accepts an expired certificate)."""
    with pytest.raises(Refused) as refused:
        xmldsig.verify(xmldsig.sign(BODY, rsa_handle), document_trust, now + timedelta(days=60))
    assert refused.value.code == "GW-SIGN-010"


# --- WS-Security ----------------------------------------


@pytest.fixture
def memory(tmp_path: Path) -> Seen:
    return Seen(tmp_path / "seen")


def _secured(handle: KeyHandle, now: datetime, **more: object) -> bytes:
    return wss.secure(ENVELOPE, handle, now, to="https://central.invalid/ws", **more)  # type: ignore[arg-type]


def _received(body: bytes, trust: Trust, now: datetime, memory: Seen, **more: object) -> wss.Received:
    given = {"to": "https://central.invalid/ws", "seen": memory} | more
    return wss.verify(body, trust, now, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["rsa2048", "p256"])
def test_a_secured_message_is_verified_by_libxmlsec_and_here(
    authority: Authority, document_trust: Trust, now: datetime, memory: Seen, kind: str
) -> None:
    """INTEGRITY_SOAP_01: all four parts, each the signed one."""
    handle = authority.issue(name("Test Signer"), kind, now)  # type: ignore[arg-type]
    secured = _secured(handle, now)
    _xmlsec_verify(secured, handle, (f"{{{wss.WSU}}}Id",))
    done = _received(secured, document_trust, now, memory)
    assert set(done.parts) == {"Timestamp", "To", "MessageID", "Body"}
    assert done.body()[0].text == "Test Patient-One"
    assert done.message_id.startswith("urn:uuid:")


def test_what_zeep_signs_is_accepted_where_it_covers_enough(
    authority: Authority, document_trust: Trust, now: datetime, tmp_path: Path, memory: Seen
) -> None:
    """A SOAP library that was not written for our codec signs Timestamp and Body; addressing is not covered by it."""
    from zeep.wsse.signature import BinarySignature
    from zeep.wsse.utils import WSU as ZEEP_WSU

    handle = authority.issue(name("Test Signer"), "rsa2048", now)
    handle.save(tmp_path / "k.pem")
    (tmp_path / "c.pem").write_bytes(handle.certificate.public_bytes(Encoding.PEM))
    root = etree.fromstring(ENVELOPE)
    security = etree.SubElement(root[0], f"{{{wss.WSSE}}}Security")
    stamp = ZEEP_WSU.Timestamp(
        ZEEP_WSU.Created(now.strftime("%Y-%m-%dT%H:%M:%SZ")),
        ZEEP_WSU.Expires((now + timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")),
    )
    security.append(stamp)
    files = str(tmp_path / "k.pem"), str(tmp_path / "c.pem")
    signer = BinarySignature(
        *files, signature_method=xmlsec.constants.TransformRsaSha256, digest_method=xmlsec.constants.TransformSha256
    )
    signed, _ = signer.apply(root, {})
    body = etree.tostring(signed)
    done = wss.verify(body, document_trust, now, to="", seen=None, parts=("Timestamp", "Body"))
    assert done.body()[0].text == "Test Patient-One"
    with pytest.raises(Refused) as refused:
        _received(body, document_trust, now, memory)
    assert refused.value.code == "GW-SIGN-046"


Change = Callable[[etree._Element], object]


def _find(root: etree._Element, tag: str) -> etree._Element:
    return next(root.iter(tag))


def _duplicate_id(root: etree._Element) -> None:
    body = _find(root, f"{{{wss.SOAP11}}}Body")
    body[0].set("Id", body.get(f"{{{wss.WSU}}}Id") or "")


def _move_body(root: etree._Element) -> None:
    """The classic: signed Body moves into the header, a new one takes its place."""
    body = root[1]
    wrapper = etree.SubElement(root[0], "{urn:x}wrapper")
    wrapper.append(body)
    fresh = etree.SubElement(root, f"{{{wss.SOAP11}}}Body")
    etree.SubElement(fresh, "{urn:m}ask").text = "EVIL"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda r: r[1][0].__setattr__("text", "EVIL"), "GW-SIGN-042"),
        (lambda r: _find(r, f"{{{wss.WSA}}}To").__setattr__("text", "https://other.invalid"), "GW-SIGN-042"),
        (lambda r: r[1].append(etree.Comment("x")), "GW-SIGN-049"),
        (lambda r: r.addprevious(etree.Comment("x")), "GW-SIGN-049"),
        (lambda r: r[1].append(etree.PI("x")), "GW-SIGN-049"),
        (_duplicate_id, "GW-SIGN-048"),
        (_move_body, "GW-SIGN-046"),
        (lambda r: r[0].append(etree.Element(f"{{{wss.WSSE}}}Security")), "GW-SIGN-046"),
        (lambda r: r[0].append(etree.Element(f"{{{wss.WSA}}}To")), "GW-SIGN-046"),
        (
            lambda r: _find(r, ds("SignatureMethod")).set("Algorithm", "http://www.w3.org/2000/09/xmldsig#rsa-sha1"),
            "GW-SIGN-041",
        ),
        (
            lambda r: _find(r, ds("SignatureMethod")).set(
                "Algorithm", "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256"
            ),
            "GW-SIGN-041",
        ),
        (
            lambda r: _find(r, ds("DigestMethod")).set("Algorithm", "http://www.w3.org/2000/09/xmldsig#sha1"),
            "GW-SIGN-041",
        ),
        (
            lambda r: _find(r, ds("Transform")).set("Algorithm", "http://www.w3.org/TR/1999/REC-xslt-19991116"),
            "GW-SIGN-049",
        ),
        (lambda r: _find(r, ds("SignedInfo")).remove(_find(r, ds("Reference"))), "GW-SIGN-047"),
    ],
)
def test_each_change_to_a_secured_message_is_refused(
    rsa_handle: KeyHandle, document_trust: Trust, now: datetime, memory: Seen, change: Change, code: str
) -> None:
    """Fixed places, unique ids, no comments, algorithms from a list, and only then the signature."""
    root = etree.fromstring(_secured(rsa_handle, now))
    change(root)
    with pytest.raises(Refused) as refused:
        _received(etree.tostring(root.getroottree()), document_trust, now, memory)
    assert refused.value.code == code


def test_a_message_is_taken_once_in_time_and_by_its_addressee(
    rsa_handle: KeyHandle, document_trust: Trust, now: datetime, memory: Seen
) -> None:
    """ID_AUTH_SOAP_02: MessageID unique, Timestamp fresh, To ours."""
    secured = _secured(rsa_handle, now)

    def code(at: datetime, **more: object) -> str:
        with pytest.raises(Refused) as refused:
            _received(secured, document_trust, at, memory, **more)
        return refused.value.code

    assert code(now + timedelta(minutes=6)) == "GW-SIGN-051"
    assert code(now - timedelta(minutes=1)) == "GW-SIGN-052"
    assert code(now, to="https://other.invalid") == "GW-SIGN-053"
    assert code(now, lifetime=60) == "GW-SIGN-056"
    _received(secured, document_trust, now, memory)
    assert code(now) == "GW-SIGN-057"


def test_a_signature_that_covers_too_little_is_refused(
    rsa_handle: KeyHandle, document_trust: Trust, now: datetime, memory: Seen
) -> None:
    """ID_AUTH_SOAP_02 does not cover the body, so it does not pass for INTEGRITY_SOAP_01."""
    secured = _secured(rsa_handle, now, parts=wss.AUTH_02)
    with pytest.raises(Refused) as refused:
        _received(secured, document_trust, now, memory)
    assert refused.value.code == "GW-SIGN-047"
    done = _received(secured, document_trust, now, memory, parts=wss.AUTH_02)
    assert "Body" not in done.parts
