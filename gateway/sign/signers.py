"""Signers for destinations that take XML: a ds:Signature as the value, or a raw value over the canonical form.

Nothing public says what the Iranian gateway signs, so method, canonicalisation and form are configuration; each class
here is a `ports.Signer`, and `keyring.SIGNERS` names them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from lxml import etree

from gateway.errors import Misconfigured
from gateway.formats import xml
from gateway.sign import xmldsig, xmlshape
from gateway.sign.keys import KeyHandle, check_validity
from gateway.sign.raw import RawSignature, RawSigner

_FORMS: Final = {"c14n": xmlshape.C14N, "c14n11": xmlshape.C14N11, "exc-c14n": xmlshape.EXC_C14N}


class XmlSigner:
    """The value is a ds:Signature element (enveloped-signature transform, URI="") over the XML body."""

    def __init__(self, handle: KeyHandle) -> None:
        self._handle = handle
        self._thumb = handle.thumbprint.upper()

    def sign_bytes(self, body: bytes, at: datetime) -> RawSignature:
        """The signature over the body, which has to be XML; refused when the certificate is not valid then."""
        check_validity(self._handle, at)
        signed = xml.read(xmldsig.sign(body, self._handle))
        value = etree.tostring(signed[-1], encoding="UTF-8", with_tail=False)
        return RawSignature(value, xmlshape.DS, self._handle.der, self._handle.subject, self._thumb, at)


class CanonicalFirst:
    """Signs the canonical form of an XML body instead of its bytes."""

    def __init__(self, inner: RawSigner, form: str) -> None:
        if form not in _FORMS:
            raise Misconfigured(detail=f"canonical form {form!r} is none of {', '.join(_FORMS)}")
        self._inner, self._form = inner, _FORMS[form]

    def sign_bytes(self, body: bytes, at: datetime) -> RawSignature:
        """The signature over the canonical body; the other parts as the inner signer gives them."""
        canonical = xmlshape.canonical(xmlshape.strict_root(body), self._form)
        return self._inner.sign_bytes(canonical, at)
