"""Whole requests secured for a destination (`ports.RequestSigner`), chosen by its option `secure`.

`modi-auth` (ID_AUTH_REST), `modi` (the same and INTEGRITY_REST over the bytes that leave; `modi = "yes"` says so
too), `ws-security` (INTEGRITY_SOAP), `fse` (bearer and FSE-JWT-Signature), `sealed` (AES and RSA-OAEP, as JSON). The
key is the destination's `signing_key`, as its files are at that moment; `docs/trust.md` lists the options of each.
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
from gateway.settings import Destination
from gateway.sign import encrypt, fse, modi, wss
from gateway.sign.keyring import KeyRing
from gateway.sign.keys import KeyHandle, check_validity
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

    def __init__(self, destination: Destination, ring: KeyRing, integrity: bool = True) -> None:
        super().__init__(destination, ring)
        self._integrity, self._audience = integrity, self._need("audience")
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

    def secure(self, method: str, url: str, headers: Headers, body: bytes, at: datetime) -> Made:
        """See `ports.RequestSigner`."""
        handle = self._handle(at)
        made = modi.authorization(handle, self._audience, at, **self._named)
        if self._integrity:
            made |= modi.integrity(handle, self._audience, body, headers, at, **self._named)
        return made, body


class WsSecurity(_Secured):
    """A SOAP envelope with addressing and a signed Security header (INTEGRITY_SOAP_01)."""

    def __init__(self, destination: Destination, ring: KeyRing) -> None:
        super().__init__(destination, ring)
        self._to, self._lifetime = self._options.get("wsa_to", ""), self._seconds(300)

    def secure(self, method: str, url: str, headers: Headers, body: bytes, at: datetime) -> Made:
        """See `ports.RequestSigner`. wsa:To is the option `wsa_to`, or the URL."""
        return {}, wss.secure(body, self._handle(at), at, to=self._to or url, lifetime=self._lifetime)


class FseTokens(_Secured):
    """The two tokens of the health record; the claims are the options `fse.NAME`.

    With `fse_file = "body"` the body is the file whose digest is claimed.
    """

    def __init__(self, destination: Destination, ring: KeyRing) -> None:
        super().__init__(destination, ring)
        given = {k.removeprefix("fse."): v for k, v in self._options.items() if k.startswith("fse.")}
        try:
            self._claims = msgspec.convert(given, fse.Claims, strict=False)
        except msgspec.ValidationError as error:
            raise Misconfigured(detail=f"destination {destination.id}: fse.*: {error}") from None
        self._base, self._is_file = self._need("audience"), self._options.get("fse_file") == "body"
        self._lifetime = self._seconds(300)

    def secure(self, method: str, url: str, headers: Headers, body: bytes, at: datetime) -> Made:
        """See `ports.RequestSigner`."""
        handle, file = self._handle(at), body if self._is_file else None
        made = fse.bearer(handle, self._base, self._claims.sub, at, lifetime=self._lifetime)
        return made | fse.signature(handle, self._base, self._claims, at, file, lifetime=self._lifetime), body


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

    def secure(self, method: str, url: str, headers: Headers, body: bytes, at: datetime) -> Made:
        """See `ports.RequestSigner`."""
        sealed = self._encrypter.seal(body)
        parts = dict(zip(self._names, (sealed.data, sealed.key, sealed.iv), strict=True))
        return {"Content-Type": "application/json"}, json.write(parts)


SECURED: Final[dict[str, Callable[[Destination, KeyRing], RequestSigner]]] = {
    "modi": ModiRest,
    "modi-auth": lambda destination, ring: ModiRest(destination, ring, integrity=False),
    "ws-security": WsSecurity,
    "fse": FseTokens,
    "sealed": SealedBody,
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
