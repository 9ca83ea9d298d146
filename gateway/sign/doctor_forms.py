"""The trust doctor's second half: over what was signed, and with what; chains; whole messages.

When a signature does not fit, the doctor tries the forms that people sign by mistake (without the byte-order mark,
other line ends, canonical JSON, another SM2 signer id) and names the one that fits. It is told to nobody but the
caller: verification itself never tries a second form.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final

from cryptography import x509
from lxml import etree

from gateway.errors import GatewayError, finding
from gateway.formats import json, xml
from gateway.message import Finding
from gateway.sign import algorithms, jws, wss, xmldsig, xmlshape
from gateway.sign.algorithms import Algorithm, PublicKey
from gateway.sign.canonical import jcs
from gateway.sign.doctor import BOM
from gateway.sign.life import expiry
from gateway.sign.sm2 import DEFAULT_SIGNER_ID, Sm2Public, spki
from gateway.sign.trust import Trust

_IDS: Final = (b"", DEFAULT_SIGNER_ID, b"TLSv1.3+GM+Cipher+Suite")


_FORMS: Final[tuple[tuple[str, Callable[[bytes], bytes]], ...]] = (
    ("without byte-order mark", lambda b: b.removeprefix(BOM)),
    ("with byte-order mark", lambda b: BOM + b),
    ("without the last line end", lambda b: b.rstrip(b"\r\n")),
    ("with a last line end", lambda b: b + b"\n"),
    ("line ends LF", lambda b: b.replace(b"\r\n", b"\n")),
    ("line ends CRLF", lambda b: b.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")),
    ("canonical JSON, RFC 8785", jcs),
    ("base64 of the bytes", base64.b64encode),
    ("canonical XML", lambda b: xmlshape.canonical(xml.read(b), xmlshape.C14N)),
    ("exclusive canonical XML", lambda b: xmlshape.canonical(xml.read(b), xmlshape.EXC_C14N)),
    ("no bytes at all", lambda _: b""),
)


def raw(body: bytes, signature: bytes, key: PublicKey, algorithm: Algorithm) -> tuple[Finding, ...]:
    """Whether a raw signature fits the bytes; if not, which form or signer id it does fit."""
    if _fits(body, signature, key, algorithm):
        return ()
    return tuple(_explained(body, signature, key, algorithm)) or (finding("GW-SIGN-042"),)


def _explained(body: bytes, signature: bytes, key: PublicKey, algorithm: Algorithm) -> Iterator[Finding]:
    if isinstance(key, Sm2Public):
        for other in _IDS:
            if _fits(body, signature, Sm2Public(key.point, other), algorithm):
                yield finding("GW-SIGN-119", found=repr(other.decode("ascii")))
                return
    for name, form in _FORMS:
        try:
            if _fits(form(body), signature, key, algorithm):
                yield finding("GW-SIGN-118", form=name)
                return
        except (GatewayError, ValueError):
            continue


def _fits(body: bytes, signature: bytes, key: PublicKey, algorithm: Algorithm) -> bool:
    for encoding in ("der", "raw"):
        try:
            algorithms.verify(key, algorithm, signature, body, "der" if encoding == "der" else "raw")
        except GatewayError:
            continue
        return True
    return False


def detached(body: bytes, token: str, trust: Trust | None, at: datetime) -> tuple[Finding, ...]:
    """What is wrong with a detached JWS over `body`, unencoded or encoded payload."""
    try:
        header = jws.header_of(token)
        certificates = jws.certificates_of(header)
        key = algorithms.public_key(certificates[0])
    except GatewayError as error:
        return (error.finding(),)
    found = list(chain(certificates, trust, at))
    algorithm = next((a for a in algorithms.allowed(key) if a == header.get("alg")), None)
    if algorithm is None:
        return (*found, finding("GW-SIGN-041", algorithm=str(header.get("alg"))[:20]))
    plain = header.get("b64") is False

    def fits(form: bytes) -> bool:
        try:
            jws.verify(token, key, algorithm, payload=form, unencoded=plain)
        except GatewayError:
            return False
        return True

    if not fits(body):
        found.extend(_other_id(body, token, key, plain) or _other_form(body, fits))
    return tuple(found)


def _other_id(body: bytes, token: str, key: PublicKey, plain: bool) -> tuple[Finding, ...]:
    """Of an SM2 token: another signer id that it fits, and none but the agreed one was tried."""
    if not isinstance(key, Sm2Public):
        return ()
    for other in _IDS:
        try:
            jws.verify(token, Sm2Public(key.point, other), "SGD_SM3_SM2", payload=body, unencoded=plain)
        except GatewayError:
            continue
        return (finding("GW-SIGN-119", found=repr(other.decode("ascii"))),)
    return ()


def _other_form(body: bytes, fits: Callable[[bytes], bool]) -> Iterator[Finding]:
    for name, form in _FORMS:
        try:
            if fits(form(body)):
                yield finding("GW-SIGN-118", form=name)
                return
        except (GatewayError, ValueError):
            continue
    yield finding("GW-SIGN-042")


def chain(certificates: Iterable[x509.Certificate], trust: Trust | None, at: datetime) -> Iterator[Finding]:
    """What is wrong with a certificate and the chain that is sent with it."""
    leaf, *above = list(certificates)
    try:
        if trust is not None:
            trust.check(leaf, above, at)
        else:
            algorithms.public_key(leaf)
    except GatewayError as error:
        trap = trust is not None and _issuer_id(leaf, (*above, *trust.anchors), trust.signer_ids)
        yield trap or error.finding()
        return
    yield from expiry(leaf, at)


def _issuer_id(
    leaf: x509.Certificate, issuers: Iterable[x509.Certificate], agreed: Mapping[str, bytes]
) -> Finding | None:
    """The trap of SM2 certificates: the issuer did sign it, but under another signer id than the one agreed on."""
    for issuer in issuers:
        key = Sm2Public.of(issuer) if issuer.subject == leaf.issuer else None
        if key is None:
            continue
        wanted = agreed.get(hashlib.sha256(spki(issuer)).hexdigest(), DEFAULT_SIGNER_ID)
        for other in _IDS:
            if other != wanted and Sm2Public(key.point, other).verify(leaf.signature, leaf.tbs_certificate_bytes):
                named = (repr(each.decode("utf-8", "replace")) for each in (other, wanted))
                return finding("GW-SIGN-135", found=next(named), expected=next(named))
    return None


def message(body: bytes, trust: Trust, at: datetime, to: str = "") -> tuple[Finding, ...]:
    """What a strict peer would refuse about a signed message: SOAP, signed XML, or a JSON document's bytes."""
    found: list[Finding] = []
    if body.startswith(BOM):
        found.append(finding("GW-SIGN-114", what="message"))
        body = body.removeprefix(BOM)
    try:
        if body.lstrip().startswith(b"<"):
            _xml(body, trust, at, to)
        else:
            json.read(body)
    except GatewayError as error:
        found.append(error.finding())
    return tuple(found) or (finding("GW-SIGN-131"),)


class _Forgetful:
    """The doctor asks about a message as often as its reader likes."""

    def first(self, issuer: str, id: str, until: datetime, now: datetime) -> bool:
        return True


def _xml(body: bytes, trust: Trust, at: datetime, to: str) -> None:
    root = xml.read(body)
    if etree.QName(root).localname == "Envelope":
        parts = tuple(p for p in wss.INTEGRITY_01 if p == "Timestamp" or _has(root, p))
        target = to or (root.findtext(f".//{{{wss.WSA}}}To") or "").strip()
        wss.verify(body, trust, at, to=target, seen=_Forgetful(), parts=parts)
    elif next(root.iter(f"{{{xmldsig.XADES}}}SignedProperties"), None) is not None:
        xmldsig.verify_xades(body, trust, at)
    else:
        xmldsig.verify(body, trust, at)


def _has(root: etree._Element, part: str) -> bool:
    return part == "Body" or next(root.iter(f"{{{wss.WSA}}}{part}"), None) is not None
