"""Keys in a PKCS#11 token: the private key never leaves it, so what lives here is a way to ask for signatures.

A key is named by a URI after RFC 7512:

    pkcs11:serial=TOKEN;object=LABEL?module-path=/usr/lib/softhsm/libsofthsm2.so

`serial` names the token (never its slot, which changes when it is plugged in elsewhere); `object` or `id` the key.
Where the certificate lies in the token as well, `x-issuer` and `x-subject` (RFC 4514) choose it, as the profiles of
personal tokens do; its CKA_ID then names the key. The PIN is the key's `password`.
"""

from __future__ import annotations

import hashlib
import threading
from typing import Any, Final
from urllib.parse import unquote

import msgspec
from cryptography import x509
from cryptography.x509.oid import NameOID

from gateway.errors import Misconfigured
from gateway.sign.algorithms import Algorithm, to_der

SCHEME: Final = "pkcs11:"


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """A PKCS#11 URI, taken apart."""

    module: str
    serial: str
    object: str = ""
    id: bytes = b""
    issuer: str = ""
    subject: str = ""


def address(uri: str) -> Address:
    """The parts of the URI; `Misconfigured` where token or module is missing."""
    path, _, query = uri.removeprefix(SCHEME).partition("?")
    pairs = [p.partition("=") for p in (*path.split(";"), *query.split("&")) if p]
    found = {name: value for name, _, value in pairs}
    if "serial" not in found or "module-path" not in found:
        raise Misconfigured("GW-SIGN-001", what="pkcs11:…", detail="serial and module-path are wanted")
    plain = {k: unquote(v) for k, v in found.items()}
    return Address(
        module=plain["module-path"],
        serial=plain["serial"],
        object=plain.get("object", ""),
        id=unquote(found.get("id", ""), "latin-1").encode("latin-1"),
        issuer=plain.get("x-issuer", ""),
        subject=plain.get("x-subject", ""),
    )


class TokenKey:
    """Signs in the token: bytes and algorithm in, DER (elliptic) or the plain value (RSA) out.

    One session, used by one thread at a time. A token that was pulled out and put back is opened again once.
    """

    def __init__(self, where: Address, pin: bytes) -> None:
        self._where, self._pin = where, pin
        self._lock = threading.Lock()
        self._session: Any = None
        self._key: Any = None
        self.certificate: x509.Certificate | None = None
        with self._lock:
            self._open()

    def __call__(self, data: bytes, algorithm: Algorithm) -> bytes:
        import pkcs11

        with self._lock:
            try:
                return self._sign(data, algorithm)
            except (
                pkcs11.exceptions.SessionHandleInvalid,
                pkcs11.exceptions.KeyHandleInvalid,
                pkcs11.exceptions.ObjectHandleInvalid,
                pkcs11.exceptions.UserNotLoggedIn,
                pkcs11.exceptions.DeviceRemoved,
            ):
                self._open()
                return self._sign(data, algorithm)

    def _open(self) -> None:
        import pkcs11

        try:
            tokens = list(pkcs11.lib(self._where.module).get_tokens())
            token = next((t for t in tokens if _text(t.serial) == self._where.serial), None)
            if token is None:
                raise Misconfigured("GW-SIGN-001", what=f"token {self._where.serial}", detail="it is not plugged in")
            self._session = self._login(token)
            self.certificate = self._chosen()
            self._key = self._found()
        except pkcs11.exceptions.PKCS11Error as error:
            detail = type(error).__name__
            raise Misconfigured("GW-SIGN-001", what=f"token {self._where.serial}", detail=detail) from None

    def _login(self, token: Any) -> Any:
        import pkcs11

        try:
            return token.open(user_pin=self._pin.decode("utf-8"))
        except pkcs11.exceptions.UserAlreadyLoggedIn:  # by another key of the same token: the login is shared
            return token.open()

    def _chosen(self) -> x509.Certificate | None:
        from pkcs11 import Attribute, ObjectClass

        if not (self._where.issuer or self._where.subject):
            return None
        fitting = []
        for each in self._session.get_objects({Attribute.CLASS: ObjectClass.CERTIFICATE}):
            certificate = x509.load_der_x509_certificate(bytes(each[Attribute.VALUE]))
            names = _name(certificate.issuer), _name(certificate.subject)
            if self._where.issuer in {"", names[0]} and self._where.subject in {"", names[1]}:
                fitting.append((certificate, bytes(each[Attribute.ID])))
        if len(fitting) != 1:
            detail = f"{len(fitting)} certificates fit issuer and subject"
            raise Misconfigured("GW-SIGN-001", what=f"token {self._where.serial}", detail=detail)
        certificate, id = fitting[0]
        self._where = msgspec.structs.replace(self._where, id=self._where.id or id)
        return certificate

    def _found(self) -> Any:
        from pkcs11 import Attribute, ObjectClass

        wanted: dict[Any, Any] = {Attribute.CLASS: ObjectClass.PRIVATE_KEY}
        if self._where.object:
            wanted[Attribute.LABEL] = self._where.object
        if self._where.id:
            wanted[Attribute.ID] = self._where.id
        keys = list(self._session.get_objects(wanted))
        if len(keys) != 1:
            detail = f"{len(keys)} keys fit"
            raise Misconfigured("GW-SIGN-001", what=f"token {self._where.serial}", detail=detail)
        return keys[0]

    def _sign(self, data: bytes, algorithm: Algorithm) -> bytes:
        from pkcs11 import MGF, Mechanism

        if algorithm == "PS256":
            parameter = (Mechanism.SHA256, MGF.SHA256, 32)
            return bytes(self._key.sign(data, mechanism=Mechanism.SHA256_RSA_PKCS_PSS, mechanism_param=parameter))
        if algorithm in {"ES256", "ES384"}:
            digest = hashlib.new("sha256" if algorithm == "ES256" else "sha384", data).digest()
            return to_der(bytes(self._key.sign(digest, mechanism=Mechanism.ECDSA)))
        if algorithm == "EdDSA":
            return bytes(self._key.sign(data, mechanism=Mechanism.EDDSA))
        mechanism = {"RS256": "SHA256_RSA_PKCS", "RS384": "SHA384_RSA_PKCS", "RS512": "SHA512_RSA_PKCS"}[algorithm]
        return bytes(self._key.sign(data, mechanism=Mechanism[mechanism]))


def _text(value: bytes | str) -> str:
    return (value.decode("ascii", "replace") if isinstance(value, bytes) else value).strip()


def _name(name: x509.Name) -> str:
    return name.rfc4514_string({NameOID.TITLE: "T"})
