"""Signature wrapping: 120 documents, none of which may bring foreign content past a verifier.

`documents()` is the generator: six kinds of signed document, the eight shapes published for SAML (XSW 1 to 8), and
twelve variants on comments, transforms, repeated ids, empty canonicalisation and second signatures. The attacker
has a genuine signed document and no key; what he wants believed says EVIL.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import signxml
from lxml import etree

from gateway.errors import GatewayError
from gateway.sign import wss, xmldsig, xmlshape, xmlwrite
from gateway.sign.dev_ca import Authority, name
from gateway.sign.keys import KeyHandle
from gateway.sign.replay import Seen
from gateway.sign.revocation import Held
from gateway.sign.trust import Trust
from gateway.sign.xmlshape import DS, ds

NOW = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
TO = "https://central.invalid/ws"
EVIL = "EVIL"
GOOD = "Test Patient-One"

_AUTHORITY = Authority.create("Test root", NOW)
_TRUST = Trust("document", [_AUTHORITY.certificate], Held([_AUTHORITY.crl(NOW)]))
_HANDLE = _AUTHORITY.issue(name("Test Signer"), "p256", NOW)
_STRANGER = Authority.create("Test root", NOW).issue(name("Test Signer"), "p256", NOW)

_CDA = f"<ClinicalDocument xmlns='urn:hl7-org:v3' ID='d1'><title ID='t1'>{GOOD}</title></ClinicalDocument>"
_FHIR = f"<Patient xmlns='http://hl7.org/fhir' id='p1'><name id='n1'><text value='{GOOD}'/></name></Patient>"
_SOAP = f"<s:Envelope xmlns:s='{wss.SOAP11}'><s:Header/><s:Body><ask xmlns='urn:m'>{GOOD}</ask></s:Body></s:Envelope>"

Element = etree._Element
Attack = Callable[[Element], Element]


def _signed(kind: str, handle: KeyHandle = _HANDLE) -> bytes:
    if kind == "soap":
        return wss.secure(_SOAP.encode(), handle, NOW, to=TO)
    if kind in {"cda", "fhir"}:
        return xmldsig.sign((_CDA if kind == "cda" else _FHIR).encode(), handle)
    done = xmldsig.sign_xades(_CDA.encode(), handle, NOW)
    if kind == "counter":
        return _with_counter_signature(done)
    return done if kind == "xades" else _with_manifest(done)


def _with_counter_signature(done: bytes) -> bytes:
    """A second signature inside the unsigned properties, as XAdES has them."""
    root = etree.fromstring(done)
    properties = next(root.iter(f"{{{xmldsig.XADES}}}QualifyingProperties"))
    unsigned = etree.SubElement(properties, f"{{{xmldsig.XADES}}}UnsignedProperties")
    inner = etree.SubElement(unsigned, f"{{{xmldsig.XADES}}}CounterSignature")
    inner.append(copy.deepcopy(next(root.iter(ds("Signature")))))
    return etree.tostring(root)


def _with_manifest(done: bytes) -> bytes:
    """References inside a Manifest are not verified by core validation: a place to hide things."""
    root = etree.fromstring(done)
    manifest = etree.SubElement(next(root.iter(ds("Object"))), ds("Manifest"))
    manifest.append(copy.deepcopy(next(root.iter(ds("Reference")))))
    return etree.tostring(root)


KINDS = ("cda", "xades", "soap", "fhir", "counter", "manifest")


def _target(root: Element) -> Element:
    """The element whose content the attacker wants to replace: the Body, or the whole document."""
    if etree.QName(root).localname == "Envelope":
        return root[-1]
    return root


def _evil(element: Element, keep_ids: bool = False) -> Element:
    """A copy that says EVIL, with new ids unless they are kept."""
    made = copy.deepcopy(element)
    for signature in list(made.iter(ds("Signature"))):
        parent = signature.getparent()
        assert parent is not None
        parent.remove(signature)
    for each in made.iter():
        if isinstance(each.tag, str):
            if (each.text or "").strip() == GOOD:
                each.text = EVIL
            for key, value in list(each.attrib.items()):
                if value == GOOD:
                    each.set(key, EVIL)
                elif etree.QName(key).localname.lower() == "id" and not keep_ids:
                    each.set(key, f"{value}-x")
    return made


def _bare(element: Element) -> Element:
    made = copy.deepcopy(element)
    for signature in list(made.iter(ds("Signature"))):
        parent = signature.getparent()
        if parent is not None:
            parent.remove(signature)
    return made


def _signature(root: Element) -> Element:
    return next(root.iter(ds("Signature")))


def _swap(root: Element, evil: Element) -> Element:
    """Put the evil element where the original was; for a whole document it becomes the root."""
    target = _target(root)
    if target is root:
        return evil
    root.replace(target, evil)
    return root


def _home(root: Element, signature: Element) -> Element:
    """Where the signature has to stand for the verifier to find it."""
    if etree.QName(root).localname == "Envelope":
        return next(root.iter(f"{{{wss.WSSE}}}Security"))
    root.append(signature)
    return root


def xsw1(root: Element) -> Element:
    """Evil root; the original inside the signature."""
    original, signature = _bare(_target(root)), _signature(root)
    made = _swap(root, _evil(_target(root)))
    _home(made, signature)
    signature.append(original)
    return made


def xsw2(root: Element) -> Element:
    """Evil root; the original a sibling before the signature."""
    original, signature = _bare(_target(root)), _signature(root)
    made = _swap(root, _evil(_target(root)))
    made.insert(0, original)
    _home(made, signature)
    return made


def xsw3(root: Element) -> Element:
    """The evil element stands before the original, inside it."""
    _target(root).insert(0, _evil(_target(root)))
    return root


def xsw4(root: Element) -> Element:
    """The evil element wraps the original with its signature."""
    original = copy.deepcopy(root)
    evil = _evil(_target(root))
    if _target(root) is root:
        evil.append(original)
        return evil
    root.replace(_target(root), evil)
    evil.append(original[-1])
    return root


def xsw5(root: Element) -> Element:
    """Evil content under the signature's own id; the original at the very end."""
    original, signature = _bare(_target(root)), _signature(root)
    made = _swap(root, _evil(_target(root), keep_ids=True))
    _home(made, signature)
    made.append(original)
    return made


def xsw6(root: Element) -> Element:
    """As 5, with the original inside the signature's key info."""
    original, signature = _bare(_target(root)), _signature(root)
    made = _swap(root, _evil(_target(root), keep_ids=True))
    _home(made, signature)
    next(signature.iter(ds("KeyInfo"))).append(original)
    return made


def xsw7(root: Element) -> Element:
    """An extension element holds the evil copy."""
    holder = etree.Element("Extensions")
    holder.append(_evil(_target(root), keep_ids=True))
    _target(root).insert(0, holder)
    return root


def xsw8(root: Element) -> Element:
    """The original moves into an Object of the signature."""
    original, signature = _bare(_target(root)), _signature(root)
    made = _swap(root, _evil(_target(root), keep_ids=True))
    _home(made, signature)
    etree.SubElement(signature, ds("Object")).append(original)
    return made


def _text_of(root: Element) -> Element:
    return next(
        e for e in root.iter() if isinstance(e.tag, str) and GOOD in {(e.text or "").strip(), *e.attrib.values()}
    )


def comment_inside_value(root: Element) -> Element:
    """`Test<!--EVIL-->` : text nodes that a careless reader joins or cuts."""
    at = _text_of(root)
    comment = etree.Comment(EVIL)
    comment.tail, at.text = at.text, EVIL
    at.insert(0, comment)
    return root


def comment_cuts_value(root: Element) -> Element:
    """The digest does not see a comment, a reader of the first text node does."""
    at = _text_of(root)
    text = at.text or ""
    at.text = text[:4]
    comment = etree.Comment(EVIL)
    comment.tail = text[4:]
    at.insert(0, comment)
    return root


def comment_before_root(root: Element) -> Element:
    """Outside the root nothing is signed."""
    root.addprevious(etree.Comment(EVIL))
    return root


def _transform(root: Element, algorithm: str, content: str) -> Element:
    transforms = next(root.iter(ds("Transforms")))
    added = etree.SubElement(transforms, ds("Transform"), Algorithm=algorithm)
    added.append(etree.fromstring(content))
    return _replace_text(root)


def _replace_text(root: Element) -> Element:
    at = _text_of(root)
    if GOOD in (at.text or ""):
        at.text = EVIL
    for key, value in list(at.attrib.items()):
        if value == GOOD:
            at.set(key, EVIL)
    return root


def transform_xpath(root: Element) -> Element:
    """A filter that leaves out what was changed."""
    return _transform(root, "http://www.w3.org/TR/1999/REC-xpath-19991116", f"<XPath xmlns='{DS}'>false()</XPath>")


def transform_xslt(root: Element) -> Element:
    """A stylesheet that writes the original back."""
    space = "http://www.w3.org/1999/XSL/Transform"
    inner = f"<x:template match='/'>{GOOD}</x:template>"
    sheet = f"<x:stylesheet version='1.0' xmlns:x='{space}'>{inner}</x:stylesheet>"
    return _transform(root, "http://www.w3.org/TR/1999/REC-xslt-19991116", sheet)


def transform_filter2(root: Element) -> Element:
    """XPath filter 2.0: subtract the changed part."""
    return _transform(
        root,
        "http://www.w3.org/2002/06/xmldsig-filter2",
        "<XPath xmlns='http://www.w3.org/2002/06/xmldsig-filter2' Filter='subtract'>//*</XPath>",
    )


def duplicate_id_before(root: Element) -> Element:
    """Two elements with the signed id, the evil one first."""
    _target(root).insert(0, _evil(_target(root), keep_ids=True))
    return root


def duplicate_id_other_spelling(root: Element) -> Element:
    """The same value under Id, ID, id and xml:id: readers differ in which they look up."""
    signed = next((r.get("URI") or "").lstrip("#") for r in root.iter(ds("Reference")))
    for index, spelling in enumerate(("Id", "ID", "id", "{http://www.w3.org/XML/1998/namespace}id")):
        fake = etree.Element("fake")
        fake.text = EVIL
        fake.set(spelling, signed or "d1")
        _target(root).insert(index, fake)
    return root


def void_relative_namespace(root: Element) -> Element:
    """A relative namespace makes some canonicalisers fail and return nothing: every digest of nothing is equal."""
    _replace_text(root)
    target = _target(root)
    etree.SubElement(target, "{../relative}x").text = EVIL
    return root


def void_unknown_canonicalisation(root: Element) -> Element:
    """An algorithm that the verifier does not know must not become no bytes at all."""
    next(root.iter(ds("CanonicalizationMethod"))).set("Algorithm", "urn:none")
    return _replace_text(root)


def second_signature_first(root: Element) -> Element:
    """A stranger's valid signature in front of the genuine one."""
    kind = "soap" if etree.QName(root).localname == "Envelope" else "cda"
    other = etree.fromstring(_signed(kind, _STRANGER))
    home = _signature(root).getparent()
    assert home is not None
    home.insert(0, copy.deepcopy(_signature(other)))
    return _replace_text(root)


def second_signature_around(root: Element) -> Element:
    """The whole signed document inside one that a stranger signed."""
    outer = etree.Element("outer")
    etree.SubElement(outer, "text").text = EVIL
    outer.append(root)
    transforms = xmlwrite.transforms(xmlshape.ENVELOPED, xmlshape.C14N)
    covered = [("", xmlshape.canonical(outer, xmlshape.C14N), transforms, "")]
    shown = f"<ds:KeyInfo>{xmlwrite.x509_data(_STRANGER)}</ds:KeyInfo>"
    scope = xmlwrite.scope(outer, {"ds": xmlshape.DS})
    made = xmlwrite.signature(_STRANGER, covered, xmlshape.C14N, shown, scope=scope)
    outer.append(etree.fromstring(made))
    return outer


SHAPES: tuple[Attack, ...] = (xsw1, xsw2, xsw3, xsw4, xsw5, xsw6, xsw7, xsw8)
VARIANTS: tuple[Attack, ...] = (
    comment_inside_value,
    comment_cuts_value,
    comment_before_root,
    transform_xpath,
    transform_xslt,
    transform_filter2,
    duplicate_id_before,
    duplicate_id_other_spelling,
    void_relative_namespace,
    void_unknown_canonicalisation,
    second_signature_first,
    second_signature_around,
)


def documents() -> Iterator[tuple[str, str, bytes]]:
    """Kind, attack, bytes: 6 x (8 + 12)."""
    for kind in KINDS:
        for attack in (*SHAPES, *VARIANTS):
            made = attack(etree.fromstring(_signed(kind)))
            yield kind, attack.__name__, etree.tostring(made.getroottree())


DOCUMENTS = list(documents())


def _handed_on(kind: str, body: bytes, folder: Path) -> bytes:
    """Everything that the verifier of this kind would let a caller see."""
    if kind == "soap":
        return b"".join(wss.verify(body, _TRUST, NOW, to=TO, seen=Seen(folder)).parts.values())
    verify = xmldsig.verify if kind in {"cda", "fhir"} else xmldsig.verify_xades
    return verify(body, _TRUST, NOW).document


def test_there_are_120_documents_and_each_carries_foreign_content() -> None:
    """The generator makes what it says."""
    assert len(DOCUMENTS) == 120
    assert len({body for _, _, body in DOCUMENTS}) == 120
    assert all(EVIL.encode() in body for _, _, body in DOCUMENTS)


@pytest.mark.parametrize("kind", ["cda", "xades", "soap", "fhir"])
def test_the_genuine_document_is_accepted(kind: str, tmp_path: Path) -> None:
    """So a refusal below is not for want of a valid signature."""
    assert GOOD.encode() in _handed_on(kind, _signed(kind), tmp_path)


@pytest.mark.parametrize(("kind", "attack", "body"), DOCUMENTS, ids=[f"{k}-{a}" for k, a, _ in DOCUMENTS])
def test_no_foreign_content_is_handed_on(kind: str, attack: str, body: bytes, tmp_path: Path) -> None:
    """Refused, or what is handed on holds only what was signed. Nothing but our own errors comes out."""
    try:
        seen = _handed_on(kind, body, tmp_path)
    except GatewayError:
        return
    assert EVIL.encode() not in seen


def test_a_careless_verifier_is_fooled_by_these_documents() -> None:
    """The documents are dangerous: checking the signature and then reading the document lets many through."""
    fooled = 0
    for kind, _, body in DOCUMENTS:
        count = {"soap": 4, "cda": 1, "fhir": 1}.get(kind, 3)
        config = signxml.SignatureConfiguration(expect_references=count, verification_time=NOW)
        root = etree.fromstring(body)
        for signature in root.iter(ds("Signature")):
            parent = signature.getparent()
            try:
                signxml.XMLVerifier().verify(parent, x509_cert=_HANDLE.certificate, expect_config=config)
            except (signxml.exceptions.SignXMLException, ValueError, TypeError, AttributeError, etree.LxmlError):
                continue
            fooled += 1
            break
    assert fooled >= 12
