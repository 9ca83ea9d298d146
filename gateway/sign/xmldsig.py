"""Enveloped XML signatures: plain XML-DSig and XAdES-B (ETSI EN 319 132-1 baseline B), both ways.

Inclusive canonicalisation, because signxml and libxmlsec agree on it for XAdES (measured); SHA-256; the certificate
in X509Data. The signature is the last child of the root and covers the whole document.
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

from gateway.errors import Refused
from gateway.formats import xml
from gateway.sign import xmlshape, xmlwrite
from gateway.sign.keys import KeyHandle
from gateway.sign.trust import Names, Trust
from gateway.sign.xmlshape import C14N, C14N11, ENVELOPED, EXC_C14N, ds

XADES: Final = "http://uri.etsi.org/01903/v1.3.2#"
_SIGNED_PROPERTIES: Final = "http://uri.etsi.org/01903#SignedProperties"
_WHOLE: Final = ((ENVELOPED,), (ENVELOPED, C14N), (ENVELOPED, C14N11), (ENVELOPED, EXC_C14N))
_DOCUMENT: Final = xmlwrite.transforms(ENVELOPED, C14N)
_SINGLE: Final = xmlwrite.transforms(C14N)
_DS: Final = {"ds": xmlshape.DS}
_BOTH: Final = _DS | {"xades": XADES}
_PART: Final = ((), (C14N,), (C14N11,), (EXC_C14N,))


@dataclass(frozen=True)
class Verified:
    """What a signature covers, and nothing else: canonical bytes without the signature, and who signed."""

    document: bytes
    certificate: x509.Certificate
    signed_at: datetime | None = None

    def root(self) -> etree._Element:
        """The covered document, parsed from exactly the covered bytes."""
        return xml.read(self.document)


def sign(body: bytes, handle: KeyHandle) -> bytes:
    """The document with an enveloped XML-DSig signature as the last child of its root."""
    root = xmlshape.strict_root(body)
    covered = [("", xmlshape.canonical(root, C14N), _DOCUMENT, "")]
    shown = f"<ds:KeyInfo>{xmlwrite.x509_data(handle)}</ds:KeyInfo>"
    made = xmlwrite.signature(handle, covered, C14N, shown, scope=xmlwrite.scope(root, _DS))
    return xmlwrite.inserted(body, root, made)


def sign_xades(body: bytes, handle: KeyHandle, at: datetime, media_type: str = "text/xml") -> bytes:
    """The document with an enveloped XAdES-B signature: signing time, signing certificate V2, data object format.

    Each part that is signed is written twice: as it stands in the document, and canonical, with what is in scope.
    """
    root = xmlshape.strict_root(body)
    whole = xmlshape.canonical(root, C14N)
    id = f"xades-{uuid.uuid4()}"
    key, key_id = xmlwrite.x509_data(handle), f' Id="{id}-key"'
    properties, properties_id = _properties(id, handle, at, media_type), f' Id="{id}-properties"'
    key_scope, scope = xmlwrite.scope(root, _DS, key_id), xmlwrite.scope(root, _BOTH, properties_id)
    covered = [
        ("", whole, _DOCUMENT, f' Id="{id}-document"'),
        (f"#{id}-key", f"<ds:KeyInfo{key_scope}>{key}</ds:KeyInfo>".encode(), _SINGLE, ""),
        (
            f"#{id}-properties",
            f"<xades:SignedProperties{scope}>{properties}</xades:SignedProperties>".encode(),
            _SINGLE,
            f' Type="{_SIGNED_PROPERTIES}"',
        ),
    ]
    rest = (
        f"<ds:KeyInfo{key_id}>{key}</ds:KeyInfo>"
        f'<ds:Object><xades:QualifyingProperties xmlns:xades="{XADES}" Target="#{id}">'
        f"<xades:SignedProperties{properties_id}>{properties}</xades:SignedProperties>"
        "</xades:QualifyingProperties></ds:Object>"
    )
    made = xmlwrite.signature(handle, covered, C14N, rest, f' Id="{id}"', xmlwrite.scope(root, _DS))
    return xmlwrite.inserted(body, root, made)


def _properties(id: str, handle: KeyHandle, at: datetime, media_type: str) -> str:
    """What stands inside SignedProperties."""
    time = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (
        f"<xades:SignedSignatureProperties><xades:SigningTime>{time}</xades:SigningTime>"
        f"{_signing_certificate(handle.der, handle.chain)}</xades:SignedSignatureProperties>"
        "<xades:SignedDataObjectProperties>"
        f'<xades:DataObjectFormat ObjectReference="#{id}-document"><xades:Description>document</xades:Description>'
        f"<xades:MimeType>{xmlwrite.text(media_type)}</xades:MimeType></xades:DataObjectFormat>"
        "</xades:SignedDataObjectProperties>"
    )


@lru_cache(maxsize=64)
def _signing_certificate(der: bytes, chain: tuple[x509.Certificate, ...]) -> str:
    """SigningCertificateV2, the same for every signature of a key."""
    digests = "".join(
        f'<xades:Cert><xades:CertDigest><ds:DigestMethod Algorithm="{xmlshape.SHA256}"></ds:DigestMethod>'
        f"<ds:DigestValue>{base64.b64encode(hashlib.sha256(each).digest()).decode('ascii')}</ds:DigestValue>"
        "</xades:CertDigest></xades:Cert>"
        for each in (der, *(above.public_bytes(Encoding.DER) for above in chain))
    )
    return f"<xades:SigningCertificateV2>{digests}</xades:SigningCertificateV2>"


def verify(body: bytes, trust: Trust, at: datetime, names: Names | None = None) -> Verified:
    """What the enveloped XML-DSig signature covers, once a trusted signer made it; else `Refused`."""
    root = xmlshape.strict_root(body)
    signature = xmlshape.the_signature(root, root)
    xmlshape.children(signature, [ds("SignedInfo"), ds("SignatureValue"), ds("KeyInfo")])
    reference = xmlshape.only(xmlshape.references(signature), "Reference")
    return _verified(root, signature, [reference], trust, at, names)


def verify_xades(body: bytes, trust: Trust, at: datetime, names: Names | None = None) -> Verified:
    """The same for XAdES-B; the signing certificate named inside has to be the one that signed.

    The certificate is judged at `at`; the claimed signing time is handed back, it proves nothing by itself.
    """
    root = xmlshape.strict_root(body)
    signature = xmlshape.the_signature(root, root)
    parts = xmlshape.children(signature, [ds("SignedInfo"), ds("SignatureValue"), ds("KeyInfo"), ds("Object")])
    if len(parts) != 4:
        raise Refused("GW-SIGN-046", where="Object")
    properties = _signed_properties(signature, parts[3])
    targets = {f"#{properties.get('Id')}": properties, f"#{parts[2].get('Id')}": parts[2]}
    references = xmlshape.references(signature)
    found = [str(r.get("URI")) for r in references]
    document = [u for u in found if u in xmlshape.whole(root)]
    if len(document) != 1 or f"#{properties.get('Id')}" not in found or len(set(found)) != len(found):
        raise Refused("GW-SIGN-047", where="SignedProperties")
    if not set(found) <= {*document, *targets}:
        raise Refused("GW-SIGN-047", where="Reference")
    done = _verified(root, signature, references, trust, at, names, targets)
    _check_named(properties, done.certificate)
    return Verified(done.document, done.certificate, _signing_time(properties))


def _verified(
    root: etree._Element,
    signature: etree._Element,
    references: list[etree._Element],
    trust: Trust,
    at: datetime,
    names: Names | None,
    targets: dict[str, etree._Element] | None = None,
) -> Verified:
    everything = xmlshape.whole(root)
    uris = [r.get("URI") for r in references]
    if any(u is None or u not in {*everything, *(targets or {})} for u in uris):
        raise Refused("GW-SIGN-047", where="Reference")
    methods = [
        xmlshape.check_transforms(r, _WHOLE if r.get("URI") in everything else _PART) or C14N for r in references
    ]
    info = signature.find(ds("KeyInfo"))
    assert info is not None
    certificates = xmlshape.certificates_in(info, ds("X509Certificate"))
    if not certificates:
        raise Refused("GW-SIGN-044")
    trust.check(certificates[0], certificates[1:], at, names)
    covered = xmlshape.verified(root, signature, certificates[0], at, len(references))
    document = b""
    for reference, method, data in zip(references, methods, covered, strict=True):
        uri, kept = str(reference.get("URI")), xmlshape.prefixes(reference)
        element = xmlshape.without(root, signature) if uri in everything else (targets or {})[uri]
        xmlshape.must_be(data, xmlshape.canonical(element, method, kept))
        document = data if uri in everything else document
    return Verified(document, certificates[0])


def _signed_properties(signature: etree._Element, thing: etree._Element) -> etree._Element:
    if len(thing) != 1 or thing[0].tag != f"{{{XADES}}}QualifyingProperties":
        raise Refused("GW-SIGN-046", where="QualifyingProperties")
    if not signature.get("Id") or thing[0].get("Target") != f"#{signature.get('Id')}":
        raise Refused("GW-SIGN-046", where="Target")
    properties = thing[0][0] if len(thing[0]) else thing[0]
    if properties.tag != f"{{{XADES}}}SignedProperties" or not properties.get("Id"):
        raise Refused("GW-SIGN-046", where="SignedProperties")
    return properties


def _check_named(properties: etree._Element, certificate: x509.Certificate) -> None:
    path = "/".join(
        f"{{{XADES}}}{n}" for n in ("SignedSignatureProperties", "SigningCertificateV2", "Cert", "CertDigest")
    )
    named = properties.find(path)
    if named is None:
        raise Refused("GW-SIGN-044")
    method, value = named.find(ds("DigestMethod")), named.findtext(ds("DigestValue"), "")
    hashing = xmlshape.DIGESTS.get(str(method.get("Algorithm"))) if method is not None else None
    if hashing is None:
        raise Refused("GW-SIGN-041", algorithm="digest")
    der = certificate.public_bytes(Encoding.DER)
    digest = hashlib.new(hashing.name.lower(), der).digest()
    if base64.b64encode(digest).decode() != "".join(value.split()):
        raise Refused("GW-SIGN-044")


def _signing_time(properties: etree._Element) -> datetime | None:
    text = properties.findtext(f"{{{XADES}}}SignedSignatureProperties/{{{XADES}}}SigningTime")
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        raise Refused("GW-SIGN-045") from None
