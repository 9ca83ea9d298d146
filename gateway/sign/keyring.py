"""The keys of the settings, open, and opened again when their files change: rotation needs no restart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from gateway.errors import Misconfigured
from gateway.message import Evidence
from gateway.ports import SignatureValue, Signer
from gateway.settings import Destination, Key
from gateway.sign.cms import CmsSigner
from gateway.sign.evidence import EvidenceMaker
from gateway.sign.keys import KeyHandle, open_key
from gateway.sign.raw import HeaderProof, NoSigner, RawSigner, Thumb
from gateway.sign.signers import CanonicalFirst, XmlSigner

_Stamp = tuple[tuple[str, int, int], ...]


class KeyRing:
    """Handles by the names under [key.NAME]."""

    def __init__(self, keys: Mapping[str, Key]) -> None:
        self._keys = dict(keys)
        self._open: dict[str, tuple[_Stamp, KeyHandle]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in the order of the settings."""
        return tuple(self._keys)

    def handle(self, name: str) -> KeyHandle | None:
        """The handle as its files are now; None for a name that the settings do not have.

        Raises `Misconfigured` when the files cannot be opened; files that are being replaced (certificate and key
        do not fit each other for a moment) keep the handle that was open.
        """
        key = self._keys.get(name)
        if key is None:
            return None
        stamp = _stamp(key)
        known = self._open.get(name)
        if known is not None and known[0] == stamp:
            return known[1]
        try:
            handle = open_key(key)
        except Misconfigured:
            if known is None:
                raise
            return known[1]
        self._open[name] = (stamp, handle)
        return handle

    def need(self, name: str) -> KeyHandle:
        """The handle, or `Misconfigured`."""
        found = self.handle(name)
        if found is None:
            raise Misconfigured("GW-SIGN-001", what=f"key.{name}", detail="it is not in the settings")
        return found


def _stamp(key: Key) -> _Stamp:
    paths = [p for p in (key.certificate, key.key, key.chain) if p and ":" not in p]
    found = [(p, Path(p)) for p in paths]
    return tuple((p, f.stat().st_mtime_ns, f.stat().st_size) for p, f in found if f.exists())


def _raw(destination: Destination, ring: KeyRing) -> Signer:
    options = destination.options
    thumb: Thumb = "sha1" if options.get("thumbprint") == "sha1" else "sha256"
    signer = RawSigner(ring.need(destination.signing_key), "RS256", options.get("signature_method", ""), thumb)
    form = options.get("signature_form", "")
    return CanonicalFirst(signer, form) if form else signer


def _proof(destination: Destination, ring: KeyRing) -> Signer:
    options = destination.options
    value = options.get("proof_value", "no") == "yes"
    return HeaderProof(ring.need(destination.signing_key), options.get("signature_method", ""), value=value)


def _cms(destination: Destination, ring: KeyRing) -> Signer:
    return CmsSigner(ring.need(destination.signing_key))


def _xml(destination: Destination, ring: KeyRing) -> Signer:
    return XmlSigner(ring.need(destination.signing_key))


def _none(destination: Destination, ring: KeyRing) -> Signer:
    return NoSigner()


SIGNERS: Final[dict[str, Callable[[Destination, KeyRing], Signer]]] = {
    "none": _none,
    "raw-rsa-sha256": _raw,
    "header-proof": _proof,
    "cms": _cms,
    "xml-dsig": _xml,
}
"""Signers by the name that a destination's `signer` has."""


class Following:
    """A destination's signer that takes up a rotated key at its next signature."""

    def __init__(self, make: Callable[[], Signer], ring: KeyRing, key: str) -> None:
        self._make, self._ring, self._key = make, ring, key
        self._handle = ring.handle(key)
        self._signer = make()

    def sign_bytes(self, body: bytes, at: datetime) -> SignatureValue:
        """As the destination's signer, with the key as its files are now."""
        handle = self._ring.handle(self._key)
        if handle is not self._handle:
            self._signer, self._handle = self._make(), handle
        return self._signer.sign_bytes(body, at)


class FollowingEvidence:
    """The signer of documents (`ports.EvidenceSigner`), which takes up a rotated key at its next signature."""

    def __init__(self, ring: KeyRing, key: str) -> None:
        self._ring, self._key = ring, key
        self._handle = ring.need(key)
        self._maker = EvidenceMaker(self._handle)

    def sign(self, body: bytes, at: datetime) -> Evidence:
        """The evidence over exactly these bytes, with the key as its files are now."""
        handle = self._ring.need(self._key)
        if handle is not self._handle:
            self._maker, self._handle = EvidenceMaker(handle), handle
        return self._maker.sign(body, at)


def signer_for(destination: Destination, ring: KeyRing) -> Signer:
    """The signer that the settings name for a destination."""
    maker = SIGNERS.get(destination.signer)
    if maker is None:
        known = ", ".join(sorted(SIGNERS))
        raise Misconfigured(detail=f"destination {destination.id}: signer {destination.signer!r} is none of {known}")
    if not destination.signing_key:
        return maker(destination, ring)
    return Following(lambda: maker(destination, ring), ring, destination.signing_key)
