"""Signing and verifying, beside the bare cryptographic operation: `python -m bench.sign`.

One thread, a 20 kB document. Ours and the bare operation run in turns in the same process and are measured in CPU
time, the best of fifteen turns each, so that other work on the machine disturbs both alike. The bare operation is
that of `cryptography` over the same bytes. For XML it is what the standard prescribes and nothing else: lxml parses the
document and canonicalises each part that is covered, SHA-256 digests each, and the canonical SignedInfo, which was made
before, is signed; nothing is made or written. The ratio is ours over bare; the goal for signing is 1.3.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from datetime import UTC, datetime

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from lxml import etree

from gateway.sign import algorithms, cms, evidence, modi, raw, tokens, wss, xmldsig, xmlshape
from gateway.sign.dev_ca import Authority, name
from gateway.sign.keys import KeyHandle
from gateway.sign.revocation import Held
from gateway.sign.tokens import Rules
from gateway.sign.trust import Trust

NOW = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
BODY = b'{"resourceType":"Bundle","entry":[' + b'{"x":"invented"},' * 1176 + b"{}]}"
XML = b"<Bundle xmlns='urn:test'>" + b"<entry><x a='1'>invented</x></entry>" * 555 + b"</Bundle>"
SOAP = f"<s:Envelope xmlns:s='{wss.SOAP11}'><s:Header/><s:Body>".encode() + XML + b"</s:Body></s:Envelope>"

Operation = Callable[[], object]


def rates(ours: Operation, bare: Operation, seconds: float = 0.02, turns: int = 15) -> tuple[float, float]:
    """Operations per second of both, the best turn of each."""
    best = [0.0, 0.0]
    for _ in range(turns):
        for index, operation in enumerate((ours, bare)):
            count, start = 0, time.thread_time()
            while (spent := time.thread_time() - start) < seconds:
                operation()
                count += 1
            best[index] = max(best[index], count / spent)
    return best[0], best[1]


def _bare_sign(handle: KeyHandle) -> Callable[[bytes], bytes]:
    key = handle._key._key
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return lambda data: key.sign(data, ec.ECDSA(hashes.SHA256()))
    return lambda data: bytes(key.sign(data, padding.PKCS1v15(), hashes.SHA256()))


def _canonical() -> bytes:
    return xmlshape.canonical(etree.fromstring(XML), xmlshape.C14N)


def rows(handle: KeyHandle, trust: Trust, algorithm: algorithms.Algorithm) -> list[tuple[str, Operation, Operation]]:
    """Name, ours, bare."""
    bare, public = _bare_sign(handle), handle.public
    der = handle.sign(BODY, algorithm, "der")
    maker = evidence.EvidenceMaker(handle)
    made = maker.sign(BODY, NOW)
    token = tokens.make(handle, {"aud": "us"}, NOW)
    rules = Rules(audience="us", algorithms=(algorithm,))
    signed, dated, secured = (
        xmldsig.sign(XML, handle),
        xmldsig.sign_xades(XML, handle, NOW),
        wss.secure(SOAP, handle, NOW, to="u"),
    )
    detached = cms.sign(BODY, handle, NOW)

    def check() -> None:
        algorithms.verify(public, algorithm, der, BODY, "der")

    def secure_verify() -> object:
        return wss.verify(secured, trust, NOW, to="u", seen=_Forgetful())

    signer = raw.RawSigner(handle, algorithm)

    def bare_xml(body: bytes, made: bytes) -> Operation:
        """The document's own part is parsed each time; the smaller parts are there, and only canonicalised."""
        ready, exclusive = etree.fromstring(made), body is SOAP
        uris = [str(r.get("URI")) for r in ready.iter(xmlshape.ds("Reference"))]
        parts = [e for e in ready.iter() if any(f"#{v}" in uris for v in e.attrib.values()) and "Body" not in e.tag]
        info = next(ready.iter(xmlshape.ds("SignedInfo")))

        def run() -> object:
            root = etree.fromstring(body)
            for part in (root[1] if exclusive else root, *parts):
                hashlib.sha256(etree.tostring(part, method="c14n", exclusive=exclusive)).digest()
            return bare(etree.tostring(info, method="c14n", exclusive=exclusive))

        return run

    return [
        ("raw signature, sign", lambda: signer.sign_bytes(BODY, NOW), lambda: bare(BODY)),
        ("evidence JWS, sign", lambda: maker.sign(BODY, NOW), lambda: bare(BODY)),
        ("evidence JWS, verify with chain and CRL", lambda: evidence.verify(BODY, made, trust), check),
        ("ModI integrity headers, sign", lambda: modi.integrity(handle, "us", BODY, {}, NOW), lambda: bare(BODY)),
        ("token, verify with key", lambda: tokens.check(token, public, rules, NOW), check),
        ("CMS CAdES-B, sign", lambda: cms.sign(BODY, handle, NOW), lambda: bare(BODY)),
        ("CMS CAdES-B, verify", lambda: cms.verify(BODY, detached, trust, NOW), check),
        ("XML-DSig, sign", lambda: xmldsig.sign(XML, handle), bare_xml(XML, signed)),
        ("XML-DSig, verify", lambda: xmldsig.verify(signed, trust, NOW), lambda: (_canonical(), check())),
        ("XAdES-B, sign", lambda: xmldsig.sign_xades(XML, handle, NOW), bare_xml(XML, dated)),
        ("XAdES-B, verify", lambda: xmldsig.verify_xades(dated, trust, NOW), lambda: (_canonical(), check())),
        ("WS-Security, sign", lambda: wss.secure(SOAP, handle, NOW, to="u"), bare_xml(SOAP, secured)),
        ("WS-Security, verify", secure_verify, lambda: (_canonical(), check())),
    ]


class _Forgetful:
    def first(self, issuer: str, id: str, until: datetime, now: datetime) -> bool:
        return True


def main() -> None:
    """Print the table."""
    authority = Authority.create("Bench root", NOW)
    trust = Trust("document", [authority.certificate], Held([authority.crl(NOW)]))
    print(f"| {'operation':44} | {'ours/s':>8} | {'bare/s':>8} | ratio |")
    print(f"|{'-' * 46}|{'-' * 10}|{'-' * 10}|{'-' * 7}|")
    for kind, algorithm in (("rsa2048", "RS256"), ("p256", "ES256")):
        handle = authority.issue(name("Bench signer"), kind, NOW)  # type: ignore[arg-type]
        table = rows(handle, trust, algorithm)  # type: ignore[arg-type]
        for label, ours, bare in table:
            one, two = rates(ours, bare)
            print(f"| {f'{label}, {kind}':44} | {one:8.0f} | {two:8.0f} | {two / one:5.2f} |")


if __name__ == "__main__":
    main()
