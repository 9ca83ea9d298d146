"""Whole requests secured for a destination (`ports.RequestSigner`), chosen by its option `secure`.

`modi-auth` (ID_AUTH_REST), `modi` (the same and INTEGRITY_REST over the bytes that leave; `modi = "yes"` says so
too), `modi-integrity` (INTEGRITY_REST alone, beside a voucher of `oauth_url`), `ws-security` (INTEGRITY_SOAP), `fse`
(bearer and FSE-JWT-Signature), `sealed` (AES and RSA-OAEP, as JSON), `sm2-parameters` (sorted parameters with SM2 and
SM3). The key is the destination's `signing_key`, as its files are at that moment; `docs/trust.md` lists the options.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final, get_args

import msgspec

from gateway.errors import Misconfigured
from gateway.formats import json
from gateway.ports import RequestSigner
from gateway.settings import Destination, secret
from gateway.sign import encrypt, fse, modi, wss
from gateway.sign.keyring import KeyRing
from gateway.sign.keys import KeyHandle, check_validity
from gateway.sign.parameters import SignedParameters
from gateway.sign.tokens import Naming

Headers = Mapping[str, str]
Made = tuple[Headers, bytes]


class _Secured:
    """Common to all: the destination's options, and its key as it is now."""

    def __init__(self, destination: Destination, ring: KeyRing) -> None:
        self._destination, self._ring = destination, ring
        self._options = destination.options

    def _handle(self, at: datetime) -> KeyHandle:
        handle = self._ring.need(self._destination.signing_key)
        check_validity(handle, at)
        return handle

    def _seconds(self, default: int) -> int:
        text = self._options.get("token_seconds", str(default))
        if not text.isascii() or not text.isdigit() or not 0 < int(text) <= 86_400:
            raise Misconfigured(detail=f"destination {self._destination.id}: token_seconds")
        return int(text)

    def _need(self, name: str) -> str:
        value = self._options.get(name, "")
        if not value:
            raise Misconfigured(detail=f"destination {self._destination.id}: options.{name} is needed")
        return value


class ModiRest(_Secured):
    """Authorization, and with `integrity` Digest and Agid-JWT-Signature over exactly the bytes that leave."""

    def __init__(
        self, destination: Destination, ring: KeyRing, integrity: bool = True, authorization: bool = True
    ) -> None:
        super().__init__(destination, ring)
        self._integrity, self._authorization, self._audience = integrity, authorization, self._need("audience")
        naming = self._options.get("naming", "x5c")
        if naming not in get_args(Naming):
            raise Misconfigured(detail=f"destination {destination.id}: naming {naming!r}")
        self._named: dict[str, Any] = {
            "issuer": self._options.get("issuer", ""),
            "subject": self._options.get("subject", ""),
            "naming": naming,
            "kid": self._need("kid") if naming == "kid" else "",
            "lifetime": self._seconds(60),
        }

    def secure(
        self, method: str, url: str, headers: Headers, body: bytes, at: datetime, facts: Headers | None = None
    ) -> Made:
        """See `ports.RequestSigner`."""
        handle = self._handle(at)
        made = modi.authorization(handle, self._audience, at, **self._named) if self._authorization else {}
        if self._integrity:
            made |= modi.integrity(handle, self._audience, body, headers, at, **self._named)
        return made, body


class WsSecurity(_Secured):
    """A SOAP envelope with addressing and a signed Security header (INTEGRITY_SOAP_01)."""

    def __init__(self, destination: Destination, ring: KeyRing) -> None:
        super().__init__(destination, ring)
        self._to, self._lifetime = self._options.get("wsa_to", ""), self._seconds(300)

    def secure(
        self, method: str, url: str, headers: Headers, body: bytes, at: datetime, facts: Headers | None = None
    ) -> Made:
        """See `ports.RequestSigner`. wsa:To is the option `wsa_to`, or the URL."""
        return {}, wss.secure(body, self._handle(at), at, to=self._to or url, lifetime=self._lifetime)


class FseTokens(_Secured):
    """The two tokens of the health record; the claims are the options `fse.NAME`, and `facts` about the document.

    With `fse_file = "body"` the body is the file whose digest is claimed; a fact `attachment_hash` says it otherwise.
    """

    def __init__(self, destination: Destination, ring: KeyRing) -> None:
        super().__init__(destination, ring)
        self._given = {k.removeprefix("fse."): v for k, v in self._options.items() if k.startswith("fse.")}
        if "claims" not in self._options:
            self._claims({})
        self._base, self._is_file = self._need("audience"), self._options.get("fse_file") == "body"
        self._lifetime = self._seconds(300)

    def secure(
        self, method: str, url: str, headers: Headers, body: bytes, at: datetime, facts: Headers | None = None
    ) -> Made:
        """See `ports.RequestSigner`."""
        handle, file, claims = self._handle(at), body if self._is_file else None, self._claims(facts or {})
        made = fse.bearer(handle, self._base, claims.sub, at, lifetime=self._lifetime)
        return made | fse.signature(handle, self._base, claims, at, file, lifetime=self._lifetime), body

    def _claims(self, facts: Headers) -> fse.Claims:
        try:
            return msgspec.convert({**self._given, **facts}, fse.Claims, strict=False)
        except msgspec.ValidationError as error:
            raise Misconfigured(detail=f"destination {self._destination.id}: fse.*: {error}") from None


class Voucher(_Secured):
    """Client credentials for an authorisation server: `ports.ClientCredentials`.

    With `oauth_purpose` the PDND client assertion, signed with `oauth_key` (default: `signing_key`); with
    `oauth_secret` the client's secret in the form (RFC 6749 section 2.3.1), read anew at each request.
    """

    def __init__(self, destination: Destination, ring: KeyRing) -> None:
        super().__init__(destination, ring)
        self.url, self.peer = self._need("oauth_url"), self._options.get("oauth_peer", destination.peer)
        self._client, self._secret = self._need("oauth_client"), self._options.get("oauth_secret", "")
        self._key = self._options.get("oauth_key", destination.signing_key)
        self._scope = {"scope": self._options["oauth_scope"]} if self._options.get("oauth_scope") else {}
        if not self._secret:
            self._purpose, self._kid = self._need("oauth_purpose"), self._need("oauth_kid")
            ring.need(self._key)

    def form(self, at: datetime) -> Mapping[str, str]:
        """See `ports.ClientCredentials`."""
        if self._secret:
            plain = {"client_id": self._client, "client_secret": secret(self._secret).decode()}
            return {"grant_type": "client_credentials", **plain, **self._scope}
        handle = self._ring.need(self._key)
        check_validity(handle, at)
        audience = self._options.get("oauth_audience", self.url)
        assertion = modi.client_assertion(handle, self._client, audience, self._purpose, self._kid, at)
        return {**modi.token_request(assertion, self._client), **self._scope}


def credentials_for(destination: Destination, ring: KeyRing) -> Voucher | None:
    """What the settings want told to an authorisation server; None where they name none."""
    return Voucher(destination, ring) if destination.options.get("oauth_url") else None


class SealedBody(_Secured):
    """The body encrypted for the destination: JSON with `data`, `key` and `iv`, or as the options name them."""

    def __init__(self, destination: Destination, ring: KeyRing) -> None:
        super().__init__(destination, ring)
        hashing = self._options.get("oaep", "sha1")
        if hashing not in get_args(encrypt.OaepHash):
            raise Misconfigured(detail=f"destination {destination.id}: oaep {hashing!r}")
        public = encrypt.public_key_from(Path(self._need("encryption_key")))
        self._encrypter = encrypt.Encrypter(public, "sha256" if hashing == "sha256" else "sha1")
        self._names = tuple(self._options.get(f"sealed_{part}", part) for part in ("data", "key", "iv"))

    def secure(
        self, method: str, url: str, headers: Headers, body: bytes, at: datetime, facts: Headers | None = None
    ) -> Made:
        """See `ports.RequestSigner`."""
        sealed = self._encrypter.seal(body)
        parts = dict(zip(self._names, (sealed.data, sealed.key, sealed.iv), strict=True))
        return {"Content-Type": "application/json"}, json.write(parts)


SECURED: Final[dict[str, Callable[[Destination, KeyRing], RequestSigner]]] = {
    "modi": ModiRest,
    "modi-auth": lambda destination, ring: ModiRest(destination, ring, integrity=False),
    "modi-integrity": lambda destination, ring: ModiRest(destination, ring, authorization=False),
    "ws-security": WsSecurity,
    "fse": FseTokens,
    "sealed": SealedBody,
    "sm2-parameters": SignedParameters,
}
"""Request signers by the name that a destination's option `secure` has."""


def request_signer_for(destination: Destination, ring: KeyRing) -> RequestSigner | None:
    """What the settings want for a destination's requests; None where they want nothing."""
    name = destination.options.get("secure", "modi" if destination.options.get("modi") == "yes" else "")
    if not name:
        return None
    maker = SECURED.get(name)
    if maker is None:
        known = ", ".join(sorted(SECURED))
        raise Misconfigured(detail=f"destination {destination.id}: secure {name!r} is none of {known}")
    if name != "sealed":
        ring.need(destination.signing_key)
    return maker(destination, ring)
