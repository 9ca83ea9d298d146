"""Writing an XML signature: as bytes that are their own canonical form, put between the bytes of the document.

Nothing of a signature needs a tree: every part of it is written by rule, so it is written canonical at once, with the
namespaces in scope where inclusive canonicalisation wants them. The document's own bytes stay as they are; its tree
is parsed once and canonicalised once. The libraries are not asked because they want to hold the private key.

Sources: XML Signature Syntax and Processing 1.1; Canonical XML 1.0 sections 2.3 and 2.4; Exclusive XML
Canonicalization 1.0 section 3.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

from gateway.errors import Misconfigured, Refused
from gateway.formats import xml
from gateway.sign import xmlshape
from gateway.sign.keys import KeyHandle
from gateway.sign.xmlshape import DS, SHA256

Covered = tuple[str, bytes, str, str]
"""One reference: URI, the canonical bytes, the transforms as `transforms` writes them, and further attributes."""
_EXCLUSIVE: Final = f' xmlns:ds="{DS}"'
"""What exclusive canonicalisation writes into the start tag of a part that uses the prefix ds only."""

_NO_CHARACTER: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TEXT: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#xD;"})
_VALUE: Final = str.maketrans({"&": "&amp;", "<": "&lt;", '"': "&quot;", "\t": "&#x9;", "\n": "&#xA;", "\r": "&#xD;"})
_XML: Final = "{http://www.w3.org/XML/1998/namespace}"


def text(value: str) -> str:
    """Character data in canonical form (Canonical XML section 2.3); `Refused` for what XML cannot carry."""
    if _NO_CHARACTER.search(value):
        raise Refused("GW-SIGN-040", detail="a character that XML does not have")
    return value.translate(_TEXT)


def quoted(value: str) -> str:
    """An attribute's value in canonical form, without the quotes."""
    if _NO_CHARACTER.search(value):
        raise Refused("GW-SIGN-040", detail="a character that XML does not have")
    return value.translate(_VALUE)


def scope(root: etree._Element, more: Mapping[str, str], attributes: str = "") -> str:
    """What inclusive canonicalisation writes into the start tag of a part below `root`: every namespace in scope by
    prefix, then the part's own `attributes` (they have no namespace, so they stand first), then those of the xml
    namespace that it inherits. `more` are the prefixes that are declared between the root and the part.
    """
    spaces = {prefix or "": uri for prefix, uri in root.nsmap.items() if prefix != "xml"} | dict(more)
    written = "".join(
        f' xmlns{":" if prefix else ""}{prefix}="{quoted(uri)}"' for prefix, uri in sorted(spaces.items()) if uri
    )
    if any(c in uri for uri in spaces.values() for c in '&<"'):
        # libxml2 does not escape these in the document's canonical form, so that no other engine would agree with it
        raise Refused("GW-SIGN-040", detail="a namespace name with a character that canonical forms break on")
    taken = sorted((str(n), str(v)) for n, v in root.attrib.items() if str(n).startswith(_XML))
    inherited = "".join(f' xml:{name.removeprefix(_XML)}="{quoted(value)}"' for name, value in taken)
    return f"{written}{attributes}{inherited}"


def transforms(*names: str) -> str:
    """The Transforms element of a reference."""
    inner = "".join(f'<ds:Transform Algorithm="{name}"></ds:Transform>' for name in names)
    return f"<ds:Transforms>{inner}</ds:Transforms>"


def signature(
    handle: KeyHandle,
    covered: Sequence[Covered],
    method: str,
    rest: str,
    attributes: str = "",
    scope: str = _EXCLUSIVE,
) -> bytes:
    """The ds:Signature element over what is covered; `rest` follows the value (KeyInfo, Object).

    SignedInfo is signed in its canonical form by `method`; `scope` is what its start tag has in that form.
    """
    inner = _signed_info(handle, covered, method)
    value = handle.sign(f"<ds:SignedInfo{scope}>{inner}</ds:SignedInfo>".encode())
    return (
        f'<ds:Signature xmlns:ds="{DS}"{attributes}><ds:SignedInfo>{inner}</ds:SignedInfo>'
        f"<ds:SignatureValue>{base64.b64encode(value).decode('ascii')}</ds:SignatureValue>{rest}</ds:Signature>"
    ).encode()


def _signed_info(handle: KeyHandle, covered: Sequence[Covered], method: str) -> str:
    """What stands inside SignedInfo; SHA-256 throughout."""
    algorithm = xmlshape.METHODS.get(handle.algorithm)
    if algorithm is None:
        raise Misconfigured("GW-SIGN-041", algorithm=handle.algorithm)
    parts = [
        f'<ds:CanonicalizationMethod Algorithm="{method}"></ds:CanonicalizationMethod>',
        f'<ds:SignatureMethod Algorithm="{algorithm.value}"></ds:SignatureMethod>',
    ]
    for uri, data, chain, attributes in covered:
        digest = base64.b64encode(hashlib.sha256(data).digest()).decode("ascii")
        parts.append(
            f'<ds:Reference{attributes} URI="{uri}">{chain}<ds:DigestMethod Algorithm="{SHA256}"></ds:DigestMethod>'
            f"<ds:DigestValue>{digest}</ds:DigestValue></ds:Reference>"
        )
    return "".join(parts)


def x509_data(handle: KeyHandle) -> str:
    """X509Data with the certificate and its chain, the same for every signature of a key."""
    return _x509_data(handle.der, handle.chain)


@lru_cache(maxsize=64)
def _x509_data(der: bytes, chain: tuple[x509.Certificate, ...]) -> str:
    ders = (der, *(each.public_bytes(Encoding.DER) for each in chain))
    shown = "".join(f"<ds:X509Certificate>{base64_of(each)}</ds:X509Certificate>" for each in ders)
    return f"<ds:X509Data>{shown}</ds:X509Data>"


@lru_cache(maxsize=64)
def base64_of(der: bytes) -> str:
    """The certificate in base64, the same for every signature of a key."""
    return base64.b64encode(der).decode("ascii")


def inserted(body: bytes, root: etree._Element, part: bytes) -> bytes:
    """The document's own bytes with `part` before the root's end tag, which is the last one in the document.

    A document without an end tag, or in an encoding in which ASCII bytes are something else, is written anew in UTF-8.
    `part` must be readable in the document's encoding: where it holds more than ASCII, the document has to be UTF-8.
    """
    at = body.rfind(b"</")
    if at < 0 or not xmlshape.ascii_stands(root) or not (part.isascii() or xmlshape.is_utf8(root)):
        if not len(root) and not root.text:
            root.text = ""
        body = xml.write(root)
        at = body.rfind(b"</")
    return body[:at] + part + body[at:]
