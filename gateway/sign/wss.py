"""WS-Security with the X.509 token profile, both ways: ModI ID_AUTH_SOAP_01/02 and INTEGRITY_SOAP_01.

Signed are the Timestamp, wsa:To, wsa:MessageID and the Body, each by its own reference with exclusive
canonicalisation; the certificate is a BinarySecurityToken. Inbound the places are fixed: one Security header, one
signature in it, and each required element is the one child of Header (or Envelope) that it has to be.

Sources: OASIS WS-Security 1.1.1, X.509 Certificate Token Profile 1.1.1, WS-Addressing 1.0, AgID ModI patterns.
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

from gateway.errors import Refused
from gateway.formats import xml
from gateway.sign import xmlshape, xmlwrite
from gateway.sign.keys import KeyHandle
from gateway.sign.replay import Memory
from gateway.sign.trust import Names, Trust
from gateway.sign.xmlshape import EXC_C14N, ds

SOAP11: Final = "http://schemas.xmlsoap.org/soap/envelope/"
SOAP12: Final = "http://www.w3.org/2003/05/soap-envelope"
WSA: Final = "http://www.w3.org/2005/08/addressing"
_OASIS: Final = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-"
WSSE: Final = _OASIS + "wssecurity-secext-1.0.xsd"
WSU: Final = _OASIS + "wssecurity-utility-1.0.xsd"
X509V3: Final = _OASIS + "x509-token-profile-1.0#X509v3"
_ID: Final = f"{{{WSU}}}Id"
BASE64: Final = _OASIS + "soap-message-security-1.0#Base64Binary"

Part = Literal["Timestamp", "To", "MessageID", "Body"]
AUTH_01: Final[tuple[Part, ...]] = ("Timestamp", "To")
AUTH_02: Final[tuple[Part, ...]] = ("Timestamp", "To", "MessageID")
INTEGRITY_01: Final[tuple[Part, ...]] = ("Timestamp", "To", "MessageID", "Body")
_EXCLUSIVELY: Final = xmlwrite.transforms(EXC_C14N)
etree.register_namespace("wsu", WSU)  # so that an id that is set in a tree is written as one that is put into bytes
CLOCK: Final = timedelta(seconds=5)


@dataclass(frozen=True)
class Received:
    """What the signature covers: canonical bytes by part, and who signed. Everything else was dropped."""

    parts: dict[str, bytes]
    certificate: x509.Certificate
    message_id: str

    def body(self) -> etree._Element:
        """The signed Body, parsed from exactly the covered bytes."""
        return xml.read(self.parts["Body"])


# --- outbound ----------------------------------------


def secure(
    envelope: bytes,
    handle: KeyHandle,
    now: datetime,
    *,
    to: str = "",
    message_id: str = "",
    parts: Sequence[Part] = INTEGRITY_01,
    lifetime: int = 300,
) -> bytes:
    """The envelope with addressing (where it has none yet) and a signed Security header."""
    root = xmlshape.strict_root(envelope)
    soap = etree.QName(root).namespace or SOAP11
    header = root.find(f"{{{soap}}}Header")
    unique = uuid.uuid4()
    id = f"id-{unique}"
    fresh = _addressing(header, id, to, message_id or f"urn:uuid:{unique}")
    stamp = _canonical("wsu:Timestamp", f' xmlns:wsu="{WSU}"', f"{id}-stamp", _times(now, lifetime))
    covered, marks = [], set()
    for part in parts:
        made = stamp if part == "Timestamp" else fresh.get(part)
        if made is None:
            element = _existing(root, header, soap, part)
            if element.get(_ID) is None:
                element.set(_ID, f"{id}-{part}")
                marks.add(part)
            made = (str(element.get(_ID)), xmlshape.canonical(element, EXC_C14N))
        covered.append((f"#{made[0]}", made[1], _EXCLUSIVELY, ""))
    security = _security(soap, f"{id}-token", stamp[1], covered, handle)
    block = b"".join((*(data for _, data in fresh.values()), security))
    mark = f' xmlns:wsu="{WSU}" wsu:Id="{id}-Body"'.encode() if marks else b""
    plain = marks <= {"Body"} and (not mark or _marked(covered, mark))
    spliced = _spliced(envelope, root, header, mark, block) if plain else None
    return spliced or _rewritten(root, header, soap, block)


def _marked(covered: Sequence[xmlwrite.Covered], mark: bytes) -> bool:
    """Whether the tree writes the Body's new id as `mark` does; it has its own prefix where the namespace is known."""
    return any(mark[mark.rindex(b" ") :] in data for _, data, _, _ in covered)


_Made = tuple[str, bytes]
"""The id of an element that is written here, and its canonical bytes, which are also what stands in the message."""


def _addressing(header: etree._Element | None, id: str, to: str, message_id: str) -> dict[str, _Made]:
    """The addressing that the header does not have yet."""
    spaces = f' xmlns:wsa="{WSA}" xmlns:wsu="{WSU}"'
    return {
        name: _canonical(f"wsa:{name}", spaces, f"{id}-{name}", xmlwrite.text(value))
        for name, value in (("To", to), ("MessageID", message_id))
        if value and (header is None or header.find(f"{{{WSA}}}{name}") is None)
    }


def _canonical(name: str, spaces: str, id: str, inner: str) -> _Made:
    return id, f'<{name}{spaces} wsu:Id="{id}">{inner}</{name}>'.encode()


def _times(now: datetime, lifetime: int) -> str:
    expires = _written(now + timedelta(seconds=lifetime))
    return f"<wsu:Created>{_written(now)}</wsu:Created><wsu:Expires>{expires}</wsu:Expires>"


def _written(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def _existing(root: etree._Element, header: etree._Element | None, soap: str, part: Part) -> etree._Element:
    if part == "Body":
        return xmlshape.only(root.findall(f"{{{soap}}}Body"), part)
    return xmlshape.only([] if header is None else header.findall(f"{{{WSA}}}{part}"), part)


def _security(soap: str, token_id: str, stamp: bytes, covered: Sequence[xmlwrite.Covered], handle: KeyHandle) -> bytes:
    """The Security header: certificate, Timestamp, signature."""
    named = (
        f'<ds:KeyInfo><wsse:SecurityTokenReference><wsse:Reference URI="#{token_id}" ValueType="{X509V3}"/>'
        "</wsse:SecurityTokenReference></ds:KeyInfo>"
    )
    opened = (
        f'<wsse:Security xmlns:wsse="{WSSE}" xmlns:wsu="{WSU}" xmlns:soap="{soap}" soap:mustUnderstand="1">'
        f'<wsse:BinarySecurityToken ValueType="{X509V3}" EncodingType="{BASE64}" wsu:Id="{token_id}">'
        f"{xmlwrite.base64_of(handle.der)}</wsse:BinarySecurityToken>"
    )
    made = xmlwrite.signature(handle, covered, EXC_C14N, named)
    return b"".join((opened.encode(), stamp, made, b"</wsse:Security>"))


def _spliced(
    envelope: bytes, root: etree._Element, header: etree._Element | None, mark: bytes, block: bytes
) -> bytes | None:
    """The envelope's own bytes with `block` at the end of its header, and `mark` in its Body's start tag.

    None where the places cannot be told from the bytes alone: then the tree is written instead. Where the header is
    empty or absent, and there is neither comment nor CDATA, the first tags so named are Header and Body.
    """
    children = list(root)
    if children[:-1] != ([] if header is None else [header]) or (header is not None and len(header)):
        return None
    if not children or etree.QName(children[-1]).localname != "Body":
        return None
    opening = f"<{_name(children[-1])}".encode()
    at = envelope.find(opening)
    if not xmlshape.is_utf8(root) or envelope[:1] != b"<" or (b"!" in envelope and b"<!" in envelope) or at < 0:
        return None
    behind_mark = at + len(opening)
    if mark and b"xmlns:wsu" in envelope[at : envelope.index(b"<", behind_mark)]:
        return None
    start, end, before, behind = _header_place(envelope, header, opening, at)
    if start < 0:
        return None
    parts = (envelope[:start], before, block, behind, envelope[end:behind_mark], mark, envelope[behind_mark:])
    return b"".join(parts)


def _header_place(
    envelope: bytes, header: etree._Element | None, opening: bytes, limit: int
) -> tuple[int, int, bytes, bytes]:
    """What of the envelope before the Body gives way to the block, and what is put around the block; -1 for nowhere."""
    name = opening[1 : -len("Body")] + b"Header" if header is None else _name(header).encode()
    around = b"<" + name + b">", b"</" + name + b">"
    if header is None:
        return limit, limit, *around
    empty = b"<" + name + b"/>"
    at = envelope.find(empty, 0, limit)
    if at >= 0:
        return at, at + len(empty), *around
    at = envelope.find(around[1], 0, limit)
    return at, at, b"", b""


def _name(element: etree._Element) -> str:
    """The element's name as it is written."""
    local = etree.QName(element).localname
    return f"{element.prefix}:{local}" if element.prefix else local


def _rewritten(root: etree._Element, header: etree._Element | None, soap: str, block: bytes) -> bytes:
    """The tree written anew, with `block` at the end of its header."""
    if header is None:
        header = etree.Element(f"{{{soap}}}Header")
        root.insert(0, header)
    gap = etree.ProcessingInstruction(f"gap-{uuid.uuid4()}")
    header.append(gap)
    return xml.write(root).replace(etree.tostring(gap), block, 1)


# --- inbound ----------------------------------------


def verify(
    body: bytes,
    trust: Trust,
    now: datetime,
    *,
    to: str,
    seen: Memory | None,
    parts: Sequence[Part] = INTEGRITY_01,
    names: Names | None = None,
    lifetime: int = 600,
) -> Received:
    """What the message's signature covers, once everything fits; else `Refused` with the code of the cause.

    `to` has to be the signed wsa:To exactly. A MessageID among `parts` is taken once, by `seen`.
    """
    root = xmlshape.strict_root(body)
    header, security = _places(root)
    signature = xmlshape.the_signature(root, security)
    xmlshape.children(signature, [ds("SignedInfo"), ds("SignatureValue"), ds("KeyInfo")])
    expected = {part: _part(root, header, security, part) for part in parts}
    references = xmlshape.references(signature)
    by_uri = {f"#{e.get(_ID)}": part for part, e in expected.items() if e.get(_ID)}
    methods = [xmlshape.check_transforms(r, ((EXC_C14N,),)) for r in references]
    uris = [str(r.get("URI")) for r in references]
    for part, element in expected.items():
        if uris.count(f"#{element.get(_ID)}") != 1:
            raise Refused("GW-SIGN-047", where=part)
    certificate = _token(security, signature, trust, now, names)
    covered = xmlshape.verified(root, signature, certificate, now, len(references))
    found: dict[str, bytes] = {}
    for reference, method, uri, data in zip(references, methods, uris, covered, strict=True):
        if uri in by_uri:
            part = by_uri[uri]
            xmlshape.must_be(data, xmlshape.canonical(expected[part], method, xmlshape.prefixes(reference)))
            found[part] = data
    return _judged(found, certificate, now, to, seen, lifetime)


def _places(root: etree._Element) -> tuple[etree._Element, etree._Element]:
    soap = etree.QName(root).namespace
    if root.tag not in {f"{{{SOAP11}}}Envelope", f"{{{SOAP12}}}Envelope"}:
        raise Refused("GW-SIGN-046", where="Envelope")
    if [child.tag for child in root] != [f"{{{soap}}}Header", f"{{{soap}}}Body"]:
        raise Refused("GW-SIGN-046", where="Envelope")
    for name in ("Header", "Body"):
        xmlshape.only(list(root.iter(f"{{{soap}}}{name}")), name)
    security = xmlshape.only(list(root.iter(f"{{{WSSE}}}Security")), "Security")
    if security.getparent() is not root[0]:
        raise Refused("GW-SIGN-046", where="Security")
    return root[0], security


def _part(root: etree._Element, header: etree._Element, security: etree._Element, part: Part) -> etree._Element:
    if part == "Body":
        soap = etree.QName(root).namespace
        return xmlshape.only(root.findall(f"{{{soap}}}Body"), part)
    if part == "Timestamp":
        return xmlshape.only(security.findall(f"{{{WSU}}}Timestamp"), part)
    return xmlshape.only(header.findall(f"{{{WSA}}}{part}"), part)


def _token(
    security: etree._Element, signature: etree._Element, trust: Trust, now: datetime, names: Names | None
) -> x509.Certificate:
    tag = f"{{{WSSE}}}BinarySecurityToken"
    token = xmlshape.only(list(security.getroottree().getroot().iter(tag)), "BinarySecurityToken")
    named = signature.find(f"{ds('KeyInfo')}/{{{WSSE}}}SecurityTokenReference/{{{WSSE}}}Reference")
    if token.getparent() is not security or named is None:
        raise Refused("GW-SIGN-046", where="BinarySecurityToken")
    if named.get("URI") != f"#{token.get(_ID)}" or token.get("ValueType") != X509V3:
        raise Refused("GW-SIGN-046", where="SecurityTokenReference")
    certificate = xmlshape.certificates_in(token, tag)[0]
    trust.check(certificate, (), now, names)
    return certificate


def _judged(
    found: dict[str, bytes], certificate: x509.Certificate, now: datetime, to: str, seen: Memory | None, lifetime: int
) -> Received:
    ends = _check_times(xml.read(found["Timestamp"]), now, lifetime)
    if "To" in found and _text(found["To"]) != to:
        raise Refused("GW-SIGN-053")
    message_id = _text(found["MessageID"]) if "MessageID" in found else ""
    if "MessageID" in found:
        issuer = base64.b64encode(hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()).decode("ascii")
        if not message_id or seen is None or not seen.first(issuer, message_id, ends + CLOCK, now):
            raise Refused("GW-SIGN-057")
    return Received(found, certificate, message_id)


def _text(part: bytes) -> str:
    element = xml.read(part)
    if len(element):
        raise Refused("GW-SIGN-046", where=etree.QName(element).localname)
    return (element.text or "").strip()


def _check_times(stamp: etree._Element, now: datetime, lifetime: int) -> datetime:
    if [child.tag for child in stamp] != [f"{{{WSU}}}Created", f"{{{WSU}}}Expires"]:
        raise Refused("GW-SIGN-050", claim="Timestamp")
    try:
        created, expires = (datetime.fromisoformat((child.text or "").strip()) for child in stamp)
    except ValueError:
        raise Refused("GW-SIGN-050", claim="Timestamp") from None
    if created.tzinfo is None or expires.tzinfo is None:
        raise Refused("GW-SIGN-050", claim="Timestamp")
    if now >= expires + CLOCK or expires <= created:
        raise Refused("GW-SIGN-051")
    if created > now + CLOCK:
        raise Refused("GW-SIGN-052")
    if expires - created > timedelta(seconds=lifetime):
        raise Refused("GW-SIGN-056", limit=str(lifetime))
    return expires
