"""Fourteen certificate faults in three places: a TLS peer, a document's signer, a token's key.

Each is refused with its own code. Certificates, lists and OCSP responses are real ones, made by an authority of the
test; times are given, never the machine's.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from gateway.errors import Refused, finding, text
from gateway.message import LANGUAGES, Evidence
from gateway.sign import evidence, jws, tokens
from gateway.sign.dev_ca import Authority, name
from gateway.sign.keys import KeyHandle
from gateway.sign.revocation import Held
from gateway.sign.tokens import Rules
from gateway.sign.trust import Names, Purpose, Trust

DAY = timedelta(days=1)
AIA = x509.AuthorityInformationAccess(
    [x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier("http://ocsp.invalid/"))]
)


@dataclass
class World:
    """What one place sees; a fault changes some of it."""

    now: datetime
    purpose: Purpose
    root: Authority
    handle: KeyHandle = field(init=False)
    leaf: x509.Certificate = field(init=False)
    chain: tuple[x509.Certificate, ...] = ()
    crls: list[bytes] = field(default_factory=list)
    ocsps: list[bytes] = field(default_factory=list)
    pins: tuple[str, ...] = ()
    names: Names | None = None

    def __post_init__(self) -> None:
        self.use(self.issue(self.root))
        self.crls = [self.root.crl(self.now)]

    @property
    def ekus(self) -> tuple[x509.ObjectIdentifier, ...]:
        return (ExtendedKeyUsageOID.SERVER_AUTH,) if self.purpose == "tls-server" else ()

    def issue(self, authority: Authority, **changes: object) -> KeyHandle:
        given = {"ekus": self.ekus, "hosts": ("localhost",)} | changes
        return authority.issue(name("Test peer"), "p256", self.now, **given)  # type: ignore[arg-type]

    def use(self, handle: KeyHandle) -> None:
        self.handle, self.leaf, self.chain = handle, handle.certificate, handle.chain

    @property
    def trust(self) -> Trust:
        return Trust(self.purpose, [self.root.certificate], Held(self.crls, self.ocsps), pins=self.pins)


def _tls(world: World) -> None:
    world.trust.check(world.leaf, world.chain, world.now, world.names)


def _header(world: World) -> dict[str, object]:
    ders = [c.public_bytes(Encoding.DER) for c in (world.leaf, *world.chain)]
    return {"x5c": [base64.b64encode(d).decode() for d in ders], "x5t#S256": jws.x5t_s256(world.leaf)}


def _document(world: World) -> None:
    header = {**_header(world), "sigT": world.now.strftime("%Y-%m-%dT%H:%M:%SZ")}
    made = jws.sign(world.handle, header, b"body", detached=True, encoded=False)
    digest = world.leaf.fingerprint(hashes.SHA256()).hex()
    shown = Evidence(jws=made, algorithm="ES256", certificate_digest=digest, signed_at=world.now)
    if world.names:
        world.trust.check(world.leaf, world.chain, world.now, world.names)
    evidence.verify(b"body", shown, world.trust)


def _token(world: World) -> None:
    at = int(world.now.timestamp())
    claims = f'{{"iat":{at},"exp":{at + 60},"aud":"us"}}'.encode()
    token = jws.sign(world.handle, {"typ": "JWT", **_header(world)}, claims)
    rules = Rules(audience="us", algorithms=("ES256", "RS256"))
    tokens.check_with_certificate(token, world.trust, rules, world.now, names=world.names)


PLACES: dict[str, tuple[Purpose, Callable[[World], None]]] = {
    "tls": ("tls-server", _tls),
    "document": ("document", _document),
    "token": ("token", _token),
}


def _expired(world: World) -> None:
    world.use(world.issue(world.root, start=world.now - 3 * DAY, end=world.now - timedelta(seconds=1)))


def _not_yet(world: World) -> None:
    world.use(world.issue(world.root, start=world.now + timedelta(minutes=5)))


def _revoked_by_crl(world: World) -> None:
    world.root.revoke(world.leaf, world.now - DAY)
    world.crls = [world.root.crl(world.now)]


def _response(world: World, answer: ocsp.OCSPCertStatus, signer: KeyHandle, bring: bool = False) -> bytes:
    revoked = answer is ocsp.OCSPCertStatus.REVOKED
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=world.leaf,
        issuer=world.root.certificate,
        algorithm=hashes.SHA256(),
        cert_status=answer,
        this_update=world.now - timedelta(minutes=1),
        next_update=world.now + DAY,
        revocation_time=world.now - DAY if revoked else None,
        revocation_reason=x509.ReasonFlags.key_compromise if revoked else None,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, signer.certificate)
    if bring:
        builder = builder.certificates([signer.certificate])
    return signer.respond(builder).public_bytes(Encoding.DER)


def _revoked_by_ocsp(world: World) -> None:
    """The list does not have it yet, OCSP already does, and the certificate names no responder: revoked is final."""
    world.ocsps = [_response(world, ocsp.OCSPCertStatus.REVOKED, world.root.handle)]


def _stale_crl(world: World) -> None:
    world.crls = [world.root.crl(world.now - 3 * DAY, valid=DAY)]


def _no_crl(world: World) -> None:
    world.crls = []


def _foreign_ocsp(world: World) -> None:
    world.crls = []
    world.use(world.issue(world.root, extensions=((AIA, False),)))
    stranger = Authority.create("Test stranger", world.now)
    responder = stranger.issue(
        name("Responder"), "p256", world.now, ekus=(ExtendedKeyUsageOID.OCSP_SIGNING,), usage="tls"
    )
    world.ocsps = [_response(world, ocsp.OCSPCertStatus.GOOD, responder, bring=True)]


def _wrong_use(world: World) -> None:
    world.use(world.issue(world.root, ekus=(ExtendedKeyUsageOID.TIME_STAMPING,)))


def _wrong_key_usage(world: World) -> None:
    world.use(world.issue(world.root, usage="encrypt"))


def _wrong_name(world: World) -> None:
    world.names = Names(host="central.invalid")


def _cross_signed(world: World) -> None:
    """A stranger certified our issuer's key under our issuer's name, and only that path is shown."""
    stranger = Authority.create("Test stranger", world.now, organisation="Elsewhere")
    between = stranger.intermediate("Test cross", world.now)
    leaf = world.issue(between)
    world.handle, world.leaf, world.chain = leaf, leaf.certificate, (between.certificate, stranger.certificate)


def _self_signed(world: World) -> None:
    alone = Authority.create("Test peer", world.now)
    key = alone.handle
    builder = (
        x509.CertificateBuilder()
        .subject_name(name("Test peer"))
        .issuer_name(name("Test peer"))
        .public_key(key.certificate.public_key())
        .serial_number(7)
        .not_valid_before(world.now - DAY)
        .not_valid_after(world.now + DAY)
        .add_extension(x509.ExtendedKeyUsage(world.ekus or (ExtendedKeyUsageOID.EMAIL_PROTECTION,)), critical=False)
    )
    world.leaf, world.handle, world.chain = key.certify(builder), key, ()


def _weak_key(world: World) -> None:
    weak = rsa.generate_private_key(65537, 1024).public_key()
    world.leaf = world.root.certify(weak, name("Test peer"), world.now, ekus=world.ekus, hosts=("localhost",))


def _rotated(world: World) -> None:
    """The peer rotated, its new certificate is the pinned one now, and somebody still shows the old one."""
    fresh = world.issue(world.root)
    world.pins = (fresh.thumbprint,)


def _same_name(world: World) -> None:
    world.use(world.issue(Authority.create("Test root", world.now)))


FAULTS: dict[str, tuple[Callable[[World], None], str]] = {
    "expired": (_expired, "GW-SIGN-010"),
    "not yet valid": (_not_yet, "GW-SIGN-011"),
    "revoked by CRL": (_revoked_by_crl, "GW-SIGN-012"),
    "revoked by OCSP": (_revoked_by_ocsp, "GW-SIGN-013"),
    "stale CRL": (_stale_crl, "GW-SIGN-014"),
    "unreachable CRL": (_no_crl, "GW-SIGN-015"),
    "foreign OCSP": (_foreign_ocsp, "GW-SIGN-016"),
    "wrong use": (_wrong_use, "GW-SIGN-017"),
    "wrong key usage": (_wrong_key_usage, "GW-SIGN-017"),
    "wrong name": (_wrong_name, "GW-SIGN-018"),
    "cross-signed": (_cross_signed, "GW-SIGN-019"),
    "self-signed": (_self_signed, "GW-SIGN-020"),
    "weak key": (_weak_key, "GW-SIGN-021"),
    "rotated": (_rotated, "GW-SIGN-023"),
    "wrong CA of same name": (_same_name, "GW-SIGN-022"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_certificate_is_refused_with_its_own_code(fault: str, place: str, now: datetime) -> None:
    """Promise 6: nothing expired, revoked or untrusted is accepted, and the refusal says which it was."""
    purpose, ask = PLACES[place]
    world = World(now, purpose, Authority.create("Test root", now))
    ask(world)  # without the fault it is accepted, so the refusal below is the fault's
    change, code = FAULTS[fault]
    change(world)
    with pytest.raises(Refused) as refused:
        ask(world)
    assert refused.value.code == code
    sentences = {text(finding(code, None, **refused.value.args_), language) for language in LANGUAGES}
    assert all(sentences)
    assert "…" not in "".join(sentences)  # every placeholder of the sentence is filled


def test_good_by_ocsp_alone_is_good(now: datetime) -> None:
    """One current source suffices, also where the certificate names no responder."""
    world = World(now, "document", Authority.create("Test root", now))
    world.crls = []
    world.ocsps = [_response(world, ocsp.OCSPCertStatus.GOOD, world.root.handle)]
    _document(world)


def test_good_by_ocsp_does_not_outweigh_revoked_by_crl(now: datetime) -> None:
    """An old 'good' beside a list that has it: revoked wins."""
    world = World(now, "document", Authority.create("Test root", now))
    world.use(world.issue(world.root, extensions=((AIA, False),)))
    world.ocsps = [_response(world, ocsp.OCSPCertStatus.GOOD, world.root.handle)]
    world.root.revoke(world.leaf, now - DAY)
    world.crls = [world.root.crl(now)]
    with pytest.raises(Refused) as refused:
        _document(world)
    assert refused.value.code == "GW-SIGN-012"


def test_a_chain_over_an_intermediate_needs_status_for_both(now: datetime) -> None:
    """A revoked intermediate takes its leaves with it."""
    world = World(now, "document", Authority.create("Test root", now))
    between = world.root.intermediate("Test intermediate", now)
    world.use(world.issue(between))
    with pytest.raises(Refused) as refused:
        _document(world)
    assert refused.value.code == "GW-SIGN-015"
    world.crls += [between.crl(now)]
    _document(world)
    world.root.revoke(between.certificate, now - DAY)
    world.crls = [world.root.crl(now), between.crl(now)]
    with pytest.raises(Refused) as refused:
        _document(world)
    assert refused.value.code == "GW-SIGN-012"


def test_a_missing_intermediate_is_named_as_such(now: datetime) -> None:
    """The commonest mistake gets its own sentence."""
    world = World(now, "document", Authority.create("Test root", now))
    between = world.root.intermediate("Test intermediate", now)
    world.use(world.issue(between))
    world.crls += [between.crl(now)]
    world.chain = ()
    with pytest.raises(Refused) as refused:
        _document(world)
    assert refused.value.code == "GW-SIGN-026"


def test_a_leaf_cannot_issue(now: datetime) -> None:
    """Basic constraints: an end entity's signature under another certificate counts for nothing."""
    world = World(now, "document", Authority.create("Test root", now))
    forged = Authority(world.handle).issue(name("Test forged"), "p256", now)
    world.handle, world.leaf, world.chain = forged, forged.certificate, (world.leaf,)
    with pytest.raises(Refused):
        _document(world)


def test_a_path_longer_than_allowed_is_refused(now: datetime) -> None:
    """The intermediate may sign leaves only (pathLenConstraint 0)."""
    world = World(now, "document", Authority.create("Test root", now))
    between = world.root.intermediate("Test intermediate", now, length=0)
    deeper = between.intermediate("Test deeper", now)
    world.use(world.issue(deeper))
    world.crls += [between.crl(now), deeper.crl(now)]
    with pytest.raises(Refused) as refused:
        _document(world)
    assert refused.value.code == "GW-SIGN-027"


def test_rubbish_in_the_revocation_folder_is_not_good_news(now: datetime) -> None:
    """A file that cannot be read says nothing, and nothing is a refusal."""
    world = World(now, "document", Authority.create("Test root", now))
    world.crls, world.ocsps = [b"", b"rubbish", world.crls[0][:-20]], [b"\x30\x03\x0a\x01\x00", b"x"]
    with pytest.raises(Refused) as refused:
        _document(world)
    assert refused.value.code == "GW-SIGN-015"
