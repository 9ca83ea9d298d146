from __future__ import annotations

import base64
import hashlib
from datetime import datetime
from pathlib import Path

import pytest
import xmlsec
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

from gateway.errors import Refused
from gateway.sign import wss, xmldsig, xmlshape, xmlwrite
from gateway.sign.keys import KeyHandle
from gateway.sign.replay import Seen
from gateway.sign.trust import Trust
from gateway.sign.xmlshape import C14N, EXC_C14N, ds

ROOTS = [
    "<a/>",
    "<a></a>",
    "<a xmlns='urn:d'>1</a>",
    "<p:a xmlns:p='urn:p' xmlns:z='urn:z' xmlns='urn:d' xmlns:A='urn:a'/>",
    "<a xml:lang='it' xml:space='preserve'>1</a>",
    "<a xml:id='one' Id2='x' xml:base='http://example.invalid/?a=1&amp;b=\"2\"'>1</a>",
    "<ds:a xmlns:ds='urn:not-ds' xmlns:xades='urn:not-xades'>x</ds:a>",
    f"<a xmlns:other='{xmlshape.DS}' xmlns:wsu='{wss.WSU}'/>",
    "<?xml version='1.0' encoding='ISO-8859-1'?><a xml:base='\u00e9'>\u00e8</a>",
    "<a xml:base='\u0628' xml:lang='fa'>بیمار آزمایشی</a>",
]


def _bytes(document: str) -> bytes:
    return document.encode("iso-8859-1" if "ISO-8859-1" in document else "utf-8")


@pytest.mark.parametrize("document", ROOTS)
@pytest.mark.parametrize("form", ["xml-dsig", "xades"])
def test_what_is_written_as_canonical_is_canonical_where_it_stands(
    rsa_handle: KeyHandle, document_trust: Trust, now: datetime, document: str, form: str
) -> None:
    """The digests were taken of text that was written by rule; libxml2's canonical form of the result agrees."""
    body = _bytes(document)
    signed = xmldsig.sign(body, rsa_handle) if form == "xml-dsig" else xmldsig.sign_xades(body, rsa_handle, now)
    root = etree.fromstring(signed)
    for reference in root.iter(ds("Reference")):
        uri = str(reference.get("URI"))
        if uri:
            part = next(e for e in root.iter() if e.get("Id") == uri[1:])
            digest = hashlib.sha256(xmlshape.canonical(part, C14N)).digest()
            assert reference.findtext(ds("DigestValue")) == base64.b64encode(digest).decode()
    verify = xmldsig.verify if form == "xml-dsig" else xmldsig.verify_xades
    done = verify(signed, document_trust, now)
    assert done.document == xmlshape.canonical(etree.fromstring(body), C14N)


def test_a_namespace_that_the_canonical_form_would_break_is_not_signed(rsa_handle: KeyHandle) -> None:
    """libxml2 does not escape namespace names: such a form is no XML, and no other engine would agree with it."""
    with pytest.raises(Refused) as refused:
        xmldsig.sign(b"<a xmlns:p='http://example.invalid/?a=1&amp;b=2'><p:b/></a>", rsa_handle)
    assert refused.value.code == "GW-SIGN-040"


def test_a_xades_signature_of_libxmlsec_keeps_what_its_parts_inherit(
    rsa_handle: KeyHandle, document_trust: Trust, now: datetime
) -> None:
    """Canonical XML 1.0 section 2.4: parts inherit xml:lang; a peer's verdict and ours are one."""
    signed = xmldsig.sign_xades(b"<a xml:lang='it'><b/></a>", rsa_handle, now)
    root = etree.fromstring(signed)
    context = xmlsec.SignatureContext()
    pem = rsa_handle.certificate.public_bytes(Encoding.PEM)
    context.key = xmlsec.Key.from_memory(pem, xmlsec.KeyFormat.CERT_PEM)
    for element in root.iter():
        if "Id" in element.attrib:
            context.register_id(element, "Id", None)
    context.verify(next(root.iter(ds("Signature"))))
    assert xmldsig.verify_xades(signed, document_trust, now).signed_at == now


_S = wss.SOAP11
_HEAD = f"<s:Envelope xmlns:s='{_S}'"
_ASK = "<m:ask xmlns:m='urn:m' kind='s:x'>Test Patient-One</m:ask>"
ENVELOPES = {
    "plain": _HEAD + f"><s:Header/><s:Body>{_ASK}</s:Body></s:Envelope>",
    "no header": _HEAD + f"><s:Body>{_ASK}</s:Body></s:Envelope>",
    "default namespace": f"<Envelope xmlns='{_S}'><Header></Header><Body>{_ASK}</Body></Envelope>",
    "default, no header": f"<Envelope xmlns='{_S}'><Body/></Envelope>",
    "header with content": _HEAD + f"><s:Header><x/></s:Header ><s:Body>{_ASK}</s:Body></s:Envelope>",
    "empty body": _HEAD + "><s:Header a='1'/><s:Body/></s:Envelope>",
    "declaration": f"<?xml version='1.0'?>\n{_HEAD}><s:Header/><s:Body a='1'>{_ASK}</s:Body></s:Envelope>",
    "own id": _HEAD + f" xmlns:u='{wss.WSU}'><s:Header/><s:Body u:Id='b'>{_ASK}</s:Body></s:Envelope>",
    "known namespace": _HEAD + f" xmlns:u='{wss.WSU}'><s:Header/><s:Body>{_ASK}</s:Body></s:Envelope>",
    "taken prefix": _HEAD + f" xmlns:wsu='urn:w'><s:Header/><s:Body>{_ASK}</s:Body></s:Envelope>",
    "addressed": (_HEAD + f"><s:Header><To xmlns='{wss.WSA}'>us</To></s:Header><s:Body>{_ASK}</s:Body></s:Envelope>"),
    "undeclared": _HEAD + " xmlns='urn:d'><s:Header/><s:Body xmlns=''><x/></s:Body></s:Envelope>",
    "cdata": _HEAD + "><s:Header/><s:Body><![CDATA[<s:Body></s:Header>]]></s:Body></s:Envelope>",
    "other names": _HEAD + "><s:Header/><s:Body><s:BodyPart/><s:HeaderPart/></s:Body></s:Envelope>",
    "other encoding": (
        f"<?xml version='1.0' encoding='ISO-8859-1'?><s:Envelope xmlns:s='{_S}'><s:Header/><s:Body>\u00e8</s:Body>"
        "</s:Envelope>"
    ),
    "byte-order mark": f"\ufeff<s:Envelope xmlns:s='{_S}'><s:Header/><s:Body>{_ASK}</s:Body></s:Envelope>",
}


@pytest.mark.parametrize("shape", ENVELOPES)
def test_an_envelope_of_any_shape_is_secured_and_its_body_says_the_same(
    ec_handle: KeyHandle, document_trust: Trust, now: datetime, tmp_path: Path, shape: str
) -> None:
    """Whether the header is put between the envelope's bytes or into its tree, the same is signed and read back."""
    body = _bytes(ENVELOPES[shape])
    secured = wss.secure(body, ec_handle, now, to="us")
    done = wss.verify(secured, document_trust, now, to="us", seen=Seen(tmp_path / "seen"))
    before, after = etree.fromstring(body)[-1], done.body()
    after.attrib.pop(f"{{{wss.WSU}}}Id")
    before.attrib.pop(f"{{{wss.WSU}}}Id", None)
    assert xmlshape.canonical(after, EXC_C14N) == xmlshape.canonical(before, EXC_C14N)
    if shape in {"plain", "no header", "default namespace"}:
        assert b"<?xml" not in secured, "the envelope's own bytes stay"


@pytest.mark.parametrize("value", ["a&b<c>\r\n\t\"'", "\u0628 \U0001f600", "]]>"])
def test_text_and_values_are_written_canonical(value: str) -> None:
    """Canonical XML section 2.3: what is escaped, and how."""
    element = etree.Element("a", v=value)
    element.text = value
    written = f'<a v="{xmlwrite.quoted(value)}">{xmlwrite.text(value)}</a>'.encode()
    assert written == xmlshape.canonical(element, C14N)


@pytest.mark.parametrize("value", ["\x00", "\x0b", "\ud800", "\ufffe"])
def test_what_xml_cannot_carry_is_refused(value: str) -> None:
    """A character that no parser would take back."""
    for write in (xmlwrite.text, xmlwrite.quoted):
        with pytest.raises(Refused):
            write(value)
