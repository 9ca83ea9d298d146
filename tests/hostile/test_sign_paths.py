"""Paths and lists as a careless authority or an attacker makes them; keys are made here, nothing is stored."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID as Eku
from cryptography.x509.oid import NameOID

from gateway.errors import Refused
from gateway.sign import algorithms
from gateway.sign.dev_ca import Authority, name
from gateway.sign.revocation import Held
from gateway.sign.trust import Names, Trust

NOW, DAY = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC), timedelta(days=1)
HOST = "peer.example.invalid"
ISSUING = ("key_cert_sign", "crl_sign")
BITS = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *(*ISSUING, "encipher_only", "decipher_only"),
)
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")
Made = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def make(
    called: str,
    issuer: Made | None = None,
    *,
    ca: bool | None = True,
    length: int | None = None,
    use: Sequence[str] = ISSUING,
    ekus: Sequence[x509.ObjectIdentifier] = (),
    names: Sequence[x509.GeneralName] = (),
    more: Sequence[tuple[x509.ExtensionType, bool]] = (),
    end: datetime = NOW + 30 * DAY,
    key: ec.EllipticCurvePrivateKey | None = None,
) -> Made:
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, called)])
    builder = x509.CertificateBuilder(issuer[0].subject if issuer else subject, subject, key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(NOW - DAY).not_valid_after(end)
    usage = x509.KeyUsage(**{bit: bit in use for bit in BITS})
    basic = [] if ca is None else [(x509.BasicConstraints(ca, length), True)]
    extended = [(x509.ExtendedKeyUsage(ekus), False)] if ekus else []
    shown = [(x509.SubjectAlternativeName(names), False)] if names else []
    for value, critical in (*basic, (usage, True), *extended, *shown, *more):
        builder = builder.add_extension(value, critical)
    return builder.sign((issuer[1] if issuer else key), hashes.SHA256()), key


def leaf(issuer: Made, **changes: Any) -> Made:
    given = {"ca": False, "use": ("digital_signature",), "ekus": (Eku.SERVER_AUTH,), "names": (x509.DNSName(HOST),)}
    return make("Test peer", issuer, **given | changes)


def crl(of: Made, *entries: x509.RevokedCertificate, more: Sequence[tuple[x509.ExtensionType, bool]] = ()) -> bytes:
    builder = x509.CertificateRevocationListBuilder(of[0].subject, NOW - timedelta(hours=1), NOW + DAY)
    for entry in entries:
        builder = builder.add_revoked_certificate(entry)
    for value, critical in more:
        builder = builder.add_extension(value, critical)
    return builder.sign(of[1], hashes.SHA256()).public_bytes(Encoding.DER)


def entry(serial: int, *more: tuple[x509.ExtensionType, bool]) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder(serial, NOW - DAY)
    for value, critical in more:
        builder = builder.add_extension(value, critical)
    return builder.build()


def verdict(root: Made, shown: Made, *between: Made, lists: Sequence[bytes] | None = None, host: str = HOST) -> Any:
    held = [crl(root), *(crl(each) for each in between)] if lists is None else lists
    trust = Trust("tls-server", [root[0]], Held(held))
    return trust.problem(shown[0], [each[0] for each in between], NOW, Names(host=host))


ROOT = make("Test root")


def constrained(**trees: Sequence[x509.GeneralName]) -> tuple[x509.ExtensionType, bool]:
    return x509.NameConstraints(trees.get("permitted"), trees.get("excluded")), True


ANCHORS: dict[str, tuple[dict[str, Any], str | None]] = {
    "plain": ({}, None),
    "expired": ({"end": NOW - timedelta(hours=1)}, "GW-SIGN-010"),
    "no authority": ({"ca": None}, "GW-SIGN-027"),
    "name excluded": ({"more": [constrained(excluded=[x509.DNSName("example.invalid")])]}, "GW-SIGN-027"),
    "name not permitted": ({"more": [constrained(permitted=[x509.DNSName("other.invalid")])]}, "GW-SIGN-027"),
    "name permitted": ({"more": [constrained(permitted=[x509.DNSName("example.invalid")])]}, None),
    "path too long": ({"length": 0}, "GW-SIGN-027"),
    "unknown critical": ({"more": [(UNKNOWN, True)]}, "GW-SIGN-027"),
    "unknown": ({"more": [(UNKNOWN, False)]}, None),
}


@pytest.mark.parametrize("kind", ANCHORS)
def test_what_an_anchor_states_about_itself_holds(kind: str) -> None:
    """RFC 5937: the certificate that an operator configured is more than a name and a key."""
    changes, code = ANCHORS[kind]
    root = make("Test other root", **changes)
    between = make("Test issuer", root)
    assert verdict(root, leaf(between), between) == code


ISSUERS: dict[str, tuple[dict[str, Any], str | None]] = {
    "other use": ({"ekus": [Eku.CLIENT_AUTH]}, "GW-SIGN-017"),
    "our use": ({"ekus": [Eku.SERVER_AUTH]}, None),
    "no authority": ({"ca": False}, "GW-SIGN-027"),
    "may not issue": ({"use": ["digital_signature"]}, "GW-SIGN-027"),
    "expired": ({"end": NOW - timedelta(hours=1)}, "GW-SIGN-010"),
    "unknown critical": ({"more": [(UNKNOWN, True)]}, "GW-SIGN-027"),
    "addresses constrained": (
        {"more": [constrained(excluded=[x509.IPAddress(ipaddress.ip_network("10.0.0.0/8"))])]},
        None,  # it says nothing about host names
    ),
}


@pytest.mark.parametrize("kind", ISSUERS)
def test_an_intermediate_gives_on_only_what_it_has(kind: str) -> None:
    """RFC 5280 sections 4.2.1.3, 4.2.1.9, 4.2.1.12 and 6.1.4."""
    changes, code = ISSUERS[kind]
    between = make("Test issuer", ROOT, **changes)
    assert verdict(ROOT, leaf(between), between) == code


def test_a_constraint_that_is_not_processed_is_a_refusal_and_no_crash() -> None:
    """RFC 5280 section 4.2.1.10: process it or reject the certificate."""
    constraint = constrained(excluded=[x509.IPAddress(ipaddress.ip_network("10.0.0.0/8"))])
    between = make("Test issuer", ROOT, more=[constraint])
    shown = leaf(between, names=[x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    assert verdict(ROOT, shown, between, host="127.0.0.1") == "GW-SIGN-027"


def test_thousands_of_names_and_constraints_are_refused_at_once() -> None:
    """Their product is what a path costs: a thousand of each took a quarter of a minute."""
    trees = [x509.DNSName(f"a{n}.invalid") for n in range(1000)]
    between = make("Test issuer", ROOT, more=[constrained(permitted=trees)])
    start = time.thread_time()
    assert verdict(ROOT, leaf(between, names=[x509.DNSName(HOST), *trees]), between) == "GW-SIGN-027"
    assert time.thread_time() - start < 2


def test_of_two_intermediates_of_one_key_the_good_one_counts() -> None:
    """A renewed intermediate beside its expired elder, in either order."""
    good = make("Test issuer", ROOT)
    old = make("Test issuer", ROOT, key=good[1], end=NOW - timedelta(hours=1))
    lists = [crl(ROOT), crl(good)]
    assert [verdict(ROOT, leaf(good), *order, lists=lists) for order in ((good, old), (old, good))] == [None, None]


LEAVES: dict[str, tuple[dict[str, Any], str, str | None]] = {
    "host": ({}, HOST, None),
    "no name": ({"names": ()}, HOST, "GW-SIGN-018"),
    "wildcard": ({"names": [x509.DNSName("*.example.invalid")]}, HOST, None),
    "wildcard over two labels": ({"names": [x509.DNSName("*.invalid")]}, HOST, "GW-SIGN-018"),
    "part of a label": ({"names": [x509.DNSName("p*.example.invalid")]}, HOST, "GW-SIGN-018"),
    "address": ({"names": [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]}, "127.0.0.1", None),
    "address as host": ({"names": [x509.DNSName("127.0.0.1")]}, "127.0.0.1", "GW-SIGN-018"),
    "wildcard over addresses": ({"names": [x509.DNSName("*.0.0.1")]}, "127.0.0.1", "GW-SIGN-018"),
    "address written otherwise": ({"names": [x509.IPAddress(ipaddress.ip_address("::1"))]}, "0:0:0:0:0:0:0:1", None),
    "could issue": ({"use": ["digital_signature", "key_cert_sign"]}, HOST, "GW-SIGN-017"),
    "unknown critical": ({"more": [(UNKNOWN, True)]}, HOST, "GW-SIGN-027"),
    "no use named": ({"ekus": ()}, HOST, "GW-SIGN-017"),
}


@pytest.mark.parametrize("kind", LEAVES)
def test_a_peer_is_who_its_certificate_names(kind: str) -> None:
    """RFC 9525: hosts are compared with hosts, addresses with addresses."""
    changes, host, code = LEAVES[kind]
    assert verdict(ROOT, leaf(ROOT, **changes), host=host) == code


PEER = leaf(ROOT)
SERIAL = PEER[0].serial_number
REMOVED = (x509.CRLReason(x509.ReasonFlags.remove_from_crl), False)
ON_HOLD = (x509.CRLReason(x509.ReasonFlags.certificate_hold), False)


def _point(**changes: Any) -> tuple[x509.ExtensionType, bool]:
    given = dict.fromkeys(("full_name", "relative_name", "only_some_reasons")) | dict.fromkeys(
        ("only_contains_user_certs", "only_contains_ca_certs", "indirect_crl", "only_contains_attribute_certs"), False
    )
    return x509.IssuingDistributionPoint(**given | changes), True


LISTS: dict[str, tuple[Callable[[], list[bytes]], str | None]] = {
    "revoked": (lambda: [crl(ROOT, entry(SERIAL))], "GW-SIGN-012"),
    "on hold": (lambda: [crl(ROOT, entry(SERIAL, ON_HOLD))], "GW-SIGN-012"),
    "another": (lambda: [crl(ROOT, entry(7))], None),
    "revoked in one of two": (lambda: [crl(ROOT, entry(SERIAL)), crl(ROOT)], "GW-SIGN-012"),
    "taken back in a full list": (lambda: [crl(ROOT, entry(SERIAL, REMOVED))], "GW-SIGN-015"),
    "unknown critical in an entry": (lambda: [crl(ROOT, entry(7, (UNKNOWN, True)))], "GW-SIGN-015"),
    "unknown in an entry": (lambda: [crl(ROOT, entry(7, (UNKNOWN, False)))], None),
    "unknown critical": (lambda: [crl(ROOT, more=[(UNKNOWN, True)])], "GW-SIGN-015"),
    "unknown critical beside a good one": (lambda: [crl(ROOT, more=[(UNKNOWN, True)]), crl(ROOT)], None),
    "authorities only": (lambda: [crl(ROOT, more=[_point(only_contains_ca_certs=True)])], "GW-SIGN-015"),
    "users only": (lambda: [crl(ROOT, more=[_point(only_contains_user_certs=True)])], None),
    "attributes only": (lambda: [crl(ROOT, more=[_point(only_contains_attribute_certs=True)])], "GW-SIGN-015"),
    "delta alone": (lambda: [crl(ROOT, more=[(x509.DeltaCRLIndicator(1), True)])], "GW-SIGN-015"),
    "of a stranger": (lambda: [crl((ROOT[0], ec.generate_private_key(ec.SECP256R1())))], "GW-SIGN-015"),
}


@pytest.mark.parametrize("kind", LISTS)
def test_a_list_says_what_its_letter_says(kind: str) -> None:
    """RFC 5280 section 5: what cannot be processed says nothing, and nothing said is a refusal."""
    lists, code = LISTS[kind]
    assert verdict(ROOT, PEER, lists=lists()) == code


GOOD, REVOKED, NOT_KNOWN = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED, ocsp.OCSPCertStatus.UNKNOWN
HOUR = timedelta(hours=1)


def answer(
    status: ocsp.OCSPCertStatus = GOOD,
    by: Made = ROOT,
    about: Made = PEER,
    start: datetime = NOW - HOUR,
    end: datetime | None = NOW + HOUR,
) -> bytes:
    when = NOW - DAY if status is REVOKED else None
    builder = ocsp.OCSPResponseBuilder().add_response(
        about[0], ROOT[0], hashes.SHA256(), status, start, end, when, None
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, by[0])
    if by is not ROOT:
        builder = builder.certificates([by[0]])
    return builder.sign(by[1], hashes.SHA256()).public_bytes(Encoding.DER)


def responder(*ekus: x509.ObjectIdentifier, end: datetime = NOW + DAY) -> Made:
    more = [(x509.OCSPNoCheck(), False)]
    return make("Test responder", ROOT, ca=False, use=("digital_signature",), ekus=ekus, more=more, end=end)


ANSWERS: dict[str, tuple[Callable[[], list[bytes]], str | None]] = {
    "good": (lambda: [answer()], None),
    "good and revoked": (lambda: [answer(), answer(REVOKED)], "GW-SIGN-013"),
    "revoked and good": (lambda: [answer(REVOKED), answer()], "GW-SIGN-013"),
    "unknown": (lambda: [answer(NOT_KNOWN)], "GW-SIGN-016"),
    "old": (lambda: [answer(start=NOW - 3 * DAY, end=NOW - DAY)], "GW-SIGN-014"),
    "without an end": (lambda: [answer(start=NOW - 3 * DAY, end=None)], "GW-SIGN-014"),
    "about another": (lambda: [answer(about=leaf(ROOT))], "GW-SIGN-015"),
    "delegated": (lambda: [answer(by=responder(Eku.OCSP_SIGNING))], None),
    "delegated for another use": (lambda: [answer(by=responder(Eku.CLIENT_AUTH))], "GW-SIGN-016"),
    "delegated for none": (lambda: [answer(by=responder())], "GW-SIGN-016"),
    "of an expired delegate": (lambda: [answer(by=responder(Eku.OCSP_SIGNING, end=NOW - HOUR))], "GW-SIGN-016"),
    "about itself": (lambda: [answer(by=PEER)], "GW-SIGN-016"),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_an_answer_counts_only_from_who_may_give_it(kind: str) -> None:
    """RFC 6960 sections 3.2 and 4.2.2.2; and revoked by one answer is final whatever another says."""
    made, code = ANSWERS[kind]
    trust = Trust("tls-server", [ROOT[0]], Held((), made()))
    assert trust.problem(PEER[0], (), NOW, Names(host=HOST)) == code


# --- signatures ----------------------------------------

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
EDWARDS = 2**252 + 27742317777372353535851937790883648493
HOUSE = Authority.create("Test house", NOW)


def _refused(kind: str, algorithm: algorithms.Algorithm, change: Callable[[bytes], bytes], encoding: Any) -> str:
    handle = HOUSE.issue(name("Test signer"), kind, NOW)  # type: ignore[arg-type]
    good = handle.sign(b"m", algorithm, encoding)
    algorithms.verify(handle.public, algorithm, good, b"m", encoding)
    with pytest.raises(Refused) as refused:
        algorithms.verify(handle.public, algorithm, change(good), b"m", encoding)
    return refused.value.code


def _pair(change: Callable[[int, int], tuple[int, int]]) -> Callable[[bytes], bytes]:
    return lambda der: encode_dss_signature(*change(*decode_dss_signature(der)))


@pytest.mark.parametrize(
    "change",
    [
        *map(_pair, (lambda r, s: (r + ORDER, s), lambda r, s: (0, s), lambda r, s: (r, 0), lambda r, s: (ORDER, s))),
        *map(_pair, (lambda r, s: (0, 0), lambda r, s: (1, 0), lambda r, s: (s, r), lambda r, s: (r, s + ORDER))),
        lambda der: b"\x30\x81" + der[1:],
        lambda der: der + b"\x00",
        lambda der: b"\x30\x80" + der[2:] + b"\x00\x00",
        lambda der: bytes((0x30, der[1] + 1, 2, der[3] + 1, 0)) + der[4:],
        lambda der: bytes((0x30, der[1] + 1, 2, 0x81)) + der[3:],
        lambda der: bytes((0x30, der[1] + 2)) + der[2:] + b"\x05\x00",
        lambda der: b"",
        lambda der: der[:-1],
    ],
)
def test_an_elliptic_signature_in_der_has_one_spelling_and_range(change: Callable[[bytes], bytes]) -> None:
    """The classes of negative vectors for ECDSA: ranges of r and s, lengths, padding, what stands behind."""
    assert _refused("p256", "ES256", change, "der") == "GW-SIGN-042"


@pytest.mark.parametrize("change", [lambda s: bytes(64), lambda s: s + b"\x00", lambda s: s[:-1], lambda s: b""])
@pytest.mark.parametrize(("kind", "algorithm"), [("p256", "ES256"), ("ed25519", "EdDSA")])
def test_a_raw_signature_has_one_length(kind: str, algorithm: Any, change: Callable[[bytes], bytes]) -> None:
    """RFC 7518 section 3.4, RFC 8032 section 5.1.7."""
    assert _refused(kind, algorithm, change, "raw") == "GW-SIGN-042"


def test_an_edwards_signature_is_not_malleable() -> None:
    """RFC 8032 section 5.1.7: S below the order."""

    def change(good: bytes) -> bytes:
        return good[:32] + (int.from_bytes(good[32:], "little") + EDWARDS).to_bytes(32, "little")

    assert _refused("ed25519", "EdDSA", change, "raw") == "GW-SIGN-042"


@pytest.mark.parametrize("change", [lambda s: b"\x00" + s, lambda s: s[1:], lambda s: bytes(256), lambda s: b""])
@pytest.mark.parametrize("algorithm", ["RS256", "PS256"])
def test_an_rsa_signature_is_as_long_as_its_modulus(algorithm: Any, change: Callable[[bytes], bytes]) -> None:
    """RFC 8017 sections 8.1.2 and 8.2.2."""
    assert _refused("rsa2048", algorithm, change, "raw") == "GW-SIGN-042"
