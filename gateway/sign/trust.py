"""Trust: whether a certificate may speak, for one purpose, at one instant.

RFC 5280 path validation by pyhanko-certvalidator, and around it the rules that it leaves to the caller: key sizes,
purposes, names, pins, and a strict reading of revocation (`revocation.py`). Each cause has its own permanent code.
"""

from __future__ import annotations

import hashlib
import ipaddress
import logging
from collections.abc import Coroutine, Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal, NoReturn, TypeVar

import msgspec
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID as Eku
from cryptography.x509.oid import ExtensionOID, NameOID
from pyhanko_certvalidator import CertificateValidator, name_trees
from pyhanko_certvalidator.authority import CertTrustAnchor, TrustQualifiers
from pyhanko_certvalidator.context import ValidationContext
from pyhanko_certvalidator.errors import (
    DisallowedAlgorithmError,
    ExpiredError,
    NotYetValidError,
    PathBuildingError,
    PathValidationError,
    ValidationError,
)
from pyhanko_certvalidator.path import ValidationPath
from pyhanko_certvalidator.policy_decl import (
    NO_REVOCATION,
    REQUIRE_REVINFO,
    CertRevTrustPolicy,
    PKIXValidationParams,
    RevocationCheckingPolicy,
)
from pyhanko_certvalidator.sig_validate import DefaultSignatureValidator

from gateway.errors import Broken, Misconfigured, Refused
from gateway.sign import algorithms, revocation
from gateway.sign.keys import read_certificates, subject_of
from gateway.sign.revocation import FORGIVABLE, Grace, Held, Known, Source
from gateway.sign.sm2 import DEFAULT_SIGNER_ID, SM2_WITH_SM3, Sm2Public

# the library logs whole subject names, and people have names (promise 10)
logging.getLogger("pyhanko_certvalidator").setLevel(logging.CRITICAL + 1)

Purpose = Literal["document", "token", "tls-client", "tls-server"]
_T = TypeVar("_T")

_ANY: Final = Eku.ANY_EXTENDED_KEY_USAGE
_SIGNING: Final = frozenset(
    {
        _ANY,
        Eku.EMAIL_PROTECTION,
        x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36"),  # RFC 9336 document signing
        x509.ObjectIdentifier("1.3.6.1.4.1.311.10.3.12"),
    }
)
_EKU: Final[Mapping[Purpose, tuple[frozenset[x509.ObjectIdentifier], bool]]] = {
    "document": (_SIGNING, False),  # may be absent; when present, one of these
    "token": (_SIGNING | {Eku.CLIENT_AUTH}, False),
    "tls-client": (frozenset({Eku.CLIENT_AUTH, _ANY}), True),
    "tls-server": (frozenset({Eku.SERVER_AUTH, _ANY}), True),
}


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """What the subject has to say. `facility` is OU and `system` is T, as SEPAS token certificates have them."""

    facility: str = ""
    system: str = ""
    common_name: str = ""
    host: str = ""


class Trust:
    """Anchors and rules for one purpose. Immutable but for the revocation folder, which may be refreshed."""

    def __init__(
        self,
        purpose: Purpose,
        anchors: Iterable[x509.Certificate],
        revocations: Source | None = None,
        *,
        pins: Iterable[str] = (),
        grace: Grace | None = None,
        require_revocation: bool = True,
        intermediates: Iterable[x509.Certificate] = (),
        signer_ids: Mapping[str, bytes] | None = None,
    ) -> None:
        self.purpose: Purpose = purpose
        self.anchors = tuple(anchors)
        self.intermediates = tuple(intermediates)  # help to find a path; nothing in them is trusted
        self.pins = frozenset(p.lower().replace(":", "") for p in pins)
        self.grace = grace
        self._revocations = revocations or Held()
        self._require = require_revocation
        self._parsed: tuple[Known, list[Any], list[Any]] | None = None
        self._roots = [_anchor(c) for c in self.anchors]
        self.signer_ids = dict(signer_ids or {})  # SHA-256 of the issuer's SubjectPublicKeyInfo -> SM2 signer id

    def check(
        self,
        leaf: x509.Certificate,
        chain: Iterable[x509.Certificate] = (),
        at: datetime | None = None,
        names: Names | None = None,
    ) -> None:
        """Promise that `leaf` is good for the purpose at `at`, or raise `Refused` with the code of the reason.

        `chain` are intermediates in any order; nothing in them is trusted. `at` has to be given: there is no clock
        in here.
        """
        if at is None or at.tzinfo is None:
            raise Broken
        between = (*chain, *self.intermediates)
        self._check_self(leaf, at)
        if names is not None:
            check_names(leaf, names)
        _check_use(leaf, self.purpose)
        path = self._path(leaf, between, at)
        self._check_revocation(leaf, path, between, at)

    def problem(
        self,
        leaf: x509.Certificate,
        chain: Iterable[x509.Certificate] = (),
        at: datetime | None = None,
        names: Names | None = None,
    ) -> str | None:
        """The same as a code; None when good."""
        try:
            self.check(leaf, chain, at, names)
        except Refused as refused:
            return refused.code
        return None

    def _check_self(self, leaf: x509.Certificate, at: datetime) -> None:
        if at > leaf.not_valid_after_utc:
            _no("GW-SIGN-010", leaf)
        if at < leaf.not_valid_before_utc:
            _no("GW-SIGN-011", leaf)
        algorithms.public_key(leaf)
        if leaf.issuer == leaf.subject and leaf not in self.anchors and _issued(leaf, leaf):
            _no("GW-SIGN-020", leaf)
        if leaf.fingerprint(hashes.SHA256()).hex() in self._revocations.known().withdrawn:
            _no("GW-SIGN-028", leaf)
        if self.pins and leaf.fingerprint(hashes.SHA256()).hex() not in self.pins:
            _no("GW-SIGN-023", leaf)

    def _path(self, leaf: x509.Certificate, between: tuple[x509.Certificate, ...], at: datetime) -> ValidationPath:
        _check_amount(leaf, between)
        context = self._context(between, at, NO_REVOCATION)
        try:
            found: ValidationPath = drive(CertificateValidator(_asn1(leaf), (), context).async_validate_path())
        except PathBuildingError:
            self._explain(leaf, between)
        except ExpiredError as error:
            _no("GW-SIGN-010", leaf, detail=error.failure_msg)
        except NotYetValidError as error:
            _no("GW-SIGN-011", leaf, detail=error.failure_msg)
        except DisallowedAlgorithmError:
            _no("GW-SIGN-021", leaf)
        except NotImplementedError:  # a name constraint of a kind that is not processed (RFC 5280 section 4.2.1.10)
            _no("GW-SIGN-027", leaf, detail="a name constraint of this kind is not processed")
        except (PathValidationError, ValidationError) as error:
            if "signature" in error.failure_msg:
                self._explain(leaf, between)
            _no("GW-SIGN-027", leaf, detail=error.failure_msg[:160])
        certificates = [_pyca(each.dump()) for each in found]
        for each in certificates:
            algorithms.public_key(each)
        if len(certificates) > 1:
            _check_anchor(certificates[0], at)
        for each in certificates[1:-1]:
            _check_extended_use(each, self.purpose, must=False)
        return found

    def _context(
        self,
        between: tuple[x509.Certificate, ...],
        at: datetime,
        policy: RevocationCheckingPolicy,
        path: ValidationPath | None = None,
        responses: Iterable[Any] = (),
    ) -> ValidationContext:
        others = [_asn1(c) for c in between]
        lists = self._lists()[0] if path is not None else []
        return ValidationContext(
            trust_roots=self._roots,
            other_certs=others,
            moment=at,
            crls=revocation.relevant(lists, path, others) if path is not None else [],
            ocsps=list(responses),
            signature_validator=_Signatures(self.signer_ids),
            # what was signed yesterday is judged with the list of today: it says when a revocation happened
            revinfo_policy=CertRevTrustPolicy(policy, retroactive_revinfo=self.purpose == "document"),
        )

    def _lists(self) -> tuple[list[Any], list[Any]]:
        """The lists as they are now, parsed once for as long as their source hands out the same ones."""
        known = self._revocations.known()
        if self._parsed is None or self._parsed[0] is not known:
            self._parsed = (known, *revocation.readable(known))
        return self._parsed[1:]

    def _check_revocation(
        self, leaf: x509.Certificate, path: ValidationPath, between: tuple[x509.Certificate, ...], at: datetime
    ) -> None:
        context = self._context(between, at, REQUIRE_REVINFO, path)
        answers = revocation.answered(self._lists()[1])
        for cert in list(path)[1:]:
            told = answers.get(cert.serial_number, ())
            asked = [self._context(between, at, REQUIRE_REVINFO, path, [each]) for each in told]
            code = drive(revocation.status(cert, path, context, asked))
            if code is None or (code in FORGIVABLE and self._forgiven(at)):
                continue
            _no(code, _pyca(cert.dump()) if cert.sha256 != _asn1(leaf).sha256 else leaf)

    def _forgiven(self, at: datetime) -> bool:
        grace = self.grace or self._revocations.known().grace
        return not self._require or (grace is not None and at < grace.until)

    def _explain(self, leaf: x509.Certificate, between: tuple[x509.Certificate, ...]) -> NoReturn:
        """No path: say which of the possible reasons it is, from what the certificates name."""
        top = _highest(leaf, between)
        if any(a.subject == top.issuer and a != top for a in self.anchors):
            _no("GW-SIGN-022", top)
        ours = {o for a in self.anchors for o in _values(a.subject, NameOID.ORGANIZATION_NAME)}
        if top.issuer != top.subject and ours & set(_values(top.issuer, NameOID.ORGANIZATION_NAME)):
            _no("GW-SIGN-026", top)
        _no("GW-SIGN-019", leaf)


def anchors_from(path: Path) -> tuple[x509.Certificate, ...]:
    """The anchors of a PEM file."""
    return tuple(read_certificates(path))


def _no(code: str, certificate: x509.Certificate, **args: str) -> NoReturn:
    raise Refused(code, None, subject=subject_of(certificate), **args)


def drive(work: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine that never waits (no fetchers are configured), so that callers need no event loop."""
    try:
        work.send(None)
    except StopIteration as end:
        value: _T = end.value
        return value
    work.close()
    raise Broken


@lru_cache(maxsize=256)
def _asn1_of(der: bytes) -> asn1_x509.Certificate:
    return asn1_x509.Certificate.load(der)


def _asn1(certificate: x509.Certificate) -> asn1_x509.Certificate:
    return _asn1_of(certificate.public_bytes(Encoding.DER))


@lru_cache(maxsize=256)
def _pyca(der: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(der)


def _values(name: x509.Name, oid: x509.ObjectIdentifier) -> list[str]:
    return [str(a.value) for a in name.get_attributes_for_oid(oid)]


def _highest(leaf: x509.Certificate, between: tuple[x509.Certificate, ...]) -> x509.Certificate:
    """Climb from the leaf by real signatures as far as the given certificates go."""
    at, rest = leaf, list(between)
    while True:
        above = next((c for c in rest if c != at and c.subject == at.issuer and _issued(at, c)), None)
        if above is None:
            return at
        rest.remove(above)
        at = above


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return _issued_by_sm2(certificate, issuer)
    return True


def _issued_by_sm2(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    key = Sm2Public.of(issuer)
    return key is not None and key.verify(certificate.signature, certificate.tbs_certificate_bytes)


class _Signatures(DefaultSignatureValidator):
    """Adds SM2 with SM3 to what the path validator can check; the signer id is the issuer's, from configuration."""

    def __init__(self, signer_ids: Mapping[str, bytes]) -> None:
        self._ids = signer_ids

    def validate_signature(
        self, signature: bytes, signed_data: bytes, public_key_info: Any, signature_algorithm: Any, *rest: Any
    ) -> None:
        """See the base class; raises `InvalidSignature`."""
        if signature_algorithm["algorithm"].dotted != SM2_WITH_SM3:
            super().validate_signature(signature, signed_data, public_key_info, signature_algorithm, *rest)
            return
        info = bytes(public_key_info.dump())
        signer_id = self._ids.get(hashlib.sha256(info).hexdigest(), DEFAULT_SIGNER_ID)
        key = Sm2Public.of_spki(info, signer_id)
        if key is None or not key.verify(signature, signed_data):
            raise InvalidSignature


def _check_use(leaf: x509.Certificate, purpose: Purpose) -> None:
    """RFC 5280 4.2.1.3, 4.2.1.9 and 4.2.1.12, read for the purpose."""
    try:
        extensions = leaf.extensions
    except ValueError:
        _no("GW-SIGN-027", leaf, detail="an extension cannot be read")
    found = {e.oid: e.value for e in extensions}
    usage = found.get(ExtensionOID.KEY_USAGE)
    if isinstance(usage, x509.KeyUsage) and not (usage.digital_signature or usage.content_commitment):
        _no("GW-SIGN-017", leaf, use=purpose)
    constraints = found.get(ExtensionOID.BASIC_CONSTRAINTS)
    if isinstance(constraints, x509.BasicConstraints) and constraints.ca:
        _no("GW-SIGN-017", leaf, use=purpose)
    if isinstance(usage, x509.KeyUsage) and usage.key_cert_sign:  # only an authority may have it (4.2.1.3)
        _no("GW-SIGN-017", leaf, use=purpose)
    _check_extended_use(leaf, purpose, _EKU[purpose][1])


def _check_extended_use(certificate: x509.Certificate, purpose: Purpose, must: bool) -> None:
    """One of the purpose's uses stands in the certificate; an authority that names uses gives no others on."""
    wanted = _EKU[purpose][0]
    try:
        named = set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        named = set() if must else {_ANY}
    if not wanted & named:
        _no("GW-SIGN-017", certificate, use=purpose)


def _anchor(certificate: x509.Certificate) -> CertTrustAnchor:
    """The anchor; name constraints and path length that its certificate states hold for what is below it (RFC 5937).

    Its policies do not: many roots name some, and their leaves none.
    """
    cert = _asn1(certificate)
    stated = cert.name_constraints_value
    permitted, excluded = name_trees.default_permitted_subtrees(), name_trees.default_excluded_subtrees()
    try:
        for kind, into in (("permitted_subtrees", permitted), ("excluded_subtrees", excluded)):
            if stated is not None and stated[kind].native is not None:
                into.update(name_trees.process_general_subtrees(stated[kind]))
    except NotImplementedError as error:
        raise Misconfigured("GW-SIGN-001", what=subject_of(certificate), detail=str(error)[:120]) from None
    rules = PKIXValidationParams(initial_permitted_subtrees=permitted, initial_excluded_subtrees=excluded)
    return CertTrustAnchor(cert, TrustQualifiers(rules if stated else None, max_path_length=cert.max_path_length))


def _check_amount(leaf: x509.Certificate, between: Iterable[x509.Certificate]) -> None:
    """Refuse what takes minutes to judge: each name is compared with each constraint."""
    names, constraints = 0, 0
    for each in (leaf, *between):
        for extension in each.extensions:
            value = extension.value
            if isinstance(value, x509.NameConstraints):
                constraints += len(value.permitted_subtrees or ()) + len(value.excluded_subtrees or ())
            elif isinstance(value, x509.SubjectAlternativeName):
                names += len(list(value))
    if names * constraints > _MOST_COMPARED:
        _no("GW-SIGN-027", leaf, detail="too many names and name constraints")


_MOST_COMPARED: Final = 50_000  # half a second


def _check_anchor(anchor: x509.Certificate, at: datetime) -> None:
    """An anchor that issues is valid at that instant and an authority, and says nothing critical that is unknown.

    RFC 5280 needs only its name and key; an operator who configured a certificate means what stands in it.
    """
    if at > anchor.not_valid_after_utc:
        _no("GW-SIGN-010", anchor)
    if at < anchor.not_valid_before_utc:
        _no("GW-SIGN-011", anchor)
    found = list(anchor.extensions)
    if any(e.critical and isinstance(e.value, x509.UnrecognizedExtension) for e in found):
        _no("GW-SIGN-027", anchor, detail="a critical extension of the anchor is unknown")
    if found and not any(isinstance(e.value, x509.BasicConstraints) and e.value.ca for e in found):
        _no("GW-SIGN-027", anchor, detail="the anchor is not an authority")


def check_names(leaf: x509.Certificate, names: Names) -> None:
    """Promise that the subject says what is expected of it; empty expectations are not checked."""
    for code, expected, oid in (
        ("GW-SIGN-024", names.facility, NameOID.ORGANIZATIONAL_UNIT_NAME),
        ("GW-SIGN-025", names.system, NameOID.TITLE),
        ("GW-SIGN-018", names.common_name, NameOID.COMMON_NAME),
    ):
        if expected and _values(leaf.subject, oid) != [expected]:
            _no(code, leaf, expected=expected)
    if names.host and not _names_host(leaf, names.host):
        _no("GW-SIGN-018", leaf, expected=names.host)


def _names_host(leaf: x509.Certificate, host: str) -> bool:
    try:
        alternative = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    hosts = {h.lower() for h in alternative.get_values_for_type(x509.DNSName)}
    try:  # an address is compared with addresses only, whatever else looks like it (RFC 6125 section 1.7.2, RFC 9525)
        return ipaddress.ip_address(host.strip("[]")) in alternative.get_values_for_type(x509.IPAddress)
    except ValueError:
        wild = "*." + host.lower().partition(".")[2]
        return host.lower() in hosts or (host.count(".") > 1 and wild in hosts)
