"""Requests secured by settings: what leaves is checked by peers that share no code with room sign."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import signxml
from deliver_world import document, exchange
from joserfc import jwt
from joserfc.jwk import RSAKey
from joserfc.jws import JWSRegistry
from lxml import etree
from regional_samples import AUDIENCE, MESSAGE

from gateway.deliver import http_message, wires
from gateway.errors import Misconfigured
from gateway.formats import json
from gateway.message import Attempt
from gateway.network import Outbound
from gateway.settings import Destination, Key, Peer
from gateway.sign import dev_ca, encrypt, wss
from gateway.sign.dev_ca import Manifest
from gateway.sign.evidence import EvidenceMaker
from gateway.sign.keyring import KeyRing
from gateway.sign.keys import open_key
from gateway.sign.requests import SECURED, request_signer_for
from gateway.simulate.arrivals import ArrivalLog
from gateway.simulate.cart import Cart
from gateway.simulate.server import Running

FSE = {
    "fse.sub": "PRVPRV00A01H501X^^^&2.16.840.1.113883.2.9.4.3.2&ISO",
    "fse.subject_organization_id": "090",
    "fse.subject_organization": "Regione di prova",
    "fse.locality": "Prova^^^^^&2.16.840.1.113883.2.9.4.1.2&ISO^^^^090000",
    "fse.subject_role": "AAS",
    "fse.person_id": "PRVPRV00A01H501X^^^&2.16.840.1.113883.2.9.4.3.2&ISO",
    "fse.purpose_of_use": "TREATMENT",
    "fse.resource_hl7_type": "('11502-2^^2.16.840.1.113883.6.1')",
    "fse.action_id": "CREATE",
    "fse.subject_application_id": "gateway",
    "fse.subject_application_vendor": "test",
    "fse.subject_application_version": "1",
}


@pytest.fixture
def made(tmp_path: Path) -> Manifest:
    return dev_ca.make(tmp_path / "ca")


@pytest.fixture
def ring(made: Manifest) -> KeyRing:
    return KeyRing({"k": Key(certificate=str(made.signer.certificate), key=str(made.signer.key))})


def place(url: str, options: Mapping[str, str], protocol: str = "fhir-rest") -> Destination:
    return Destination(
        id="d", protocol=protocol, peer="p", programme="p", url=url, signing_key="k", options=dict(options)
    )


def rendered(
    ring: KeyRing, options: Mapping[str, str], body: bytes = MESSAGE, media: str = "application/json"
) -> http_message.Request:
    """What a generic REST destination would be sent now."""
    more = {"success": "$.ok = yes", "media_type": media, "idempotency_header": "X-Id"}
    there = place("https://d.invalid/in", {**more, **options}, "signed-rest")
    wire = wires.make(there, Outbound({}), request_signer=request_signer_for(there, ring))
    return http_message.take_apart(wire.render(document("doc", body), exchange("e-1"), {}, 1, datetime.now(UTC))[0])


def lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {k.lower(): v for k, v in headers.items()}


async def sent(made: Manifest, ring: KeyRing, options: Mapping[str, str], change: Any = None) -> list[dict[str, Any]]:
    """A message through the wire to the stand-in, over a real socket; what the stand-in says of each arrival."""
    log = ArrivalLog(made.folder / "arrivals.jsonl")
    cart = Cart(log, ca=made.ca, audience=AUDIENCE)
    async with Running(cart) as server:
        network = Outbound({"p": Peer(origin=server.url, plaintext=True)})
        there = place(f"{server.url}/$process-message", options)
        wire = wires.make(there, network, request_signer=request_signer_for(there, ring))
        now = datetime.now(UTC)
        whole = EvidenceMaker(open_key(Key(certificate=str(made.evidence.certificate), key=str(made.evidence.key))))
        signed = msgspec.structs.replace(document("doc", MESSAGE), evidence=whole.sign(MESSAGE, now))
        request, id = wire.render(signed, exchange("e-1"), {}, 1, now)
        request = change(request) if change else request
        attempt = Attempt(
            id="e-1.1", exchange="e-1", number=1, started_at=now, request=request, request_digest="", transport_id=id
        )
        first = await wire.send(attempt)
        second = await wire.send(attempt)  # the same bytes again
        await network.aclose()
    return [{"state": each.state} for each in (first, second)]


async def test_modi_tokens_are_verified_by_the_peer_and_taken_once(made: Manifest, ring: KeyRing) -> None:
    """ID_AUTH_REST_02 and INTEGRITY_REST_01 over the wire; the same attempt sent twice is a replay."""
    states = await sent(made, ring, {"modi": "yes", "audience": AUDIENCE})
    assert [each["state"] for each in states] == ["delivered", "rejected"]


@pytest.mark.parametrize(
    ("options", "change"),
    [
        ({}, None),
        ({"secure": "modi-auth", "audience": AUDIENCE}, None),
        ({"secure": "modi", "audience": "https://elsewhere.invalid"}, None),
        ({"secure": "modi", "audience": AUDIENCE}, lambda r: r.replace(b'"id":"s"', b'"id":"t"')),
        ({"secure": "modi", "audience": AUDIENCE}, lambda r: r.replace(b"fhir+json\r\nAcc", b"fhir+jsom\r\nAcc")),
    ],
    ids=["nothing", "no integrity", "audience", "other bytes", "other header"],
)
async def test_the_stand_in_refuses_what_modi_refuses(
    made: Manifest, ring: KeyRing, options: dict[str, str], change: Any
) -> None:
    """A stand-in that takes everything proves nothing."""
    assert (await sent(made, ring, options, change))[0]["state"] != "delivered"


def test_the_digest_is_that_of_the_body_in_the_attempt(ring: KeyRing) -> None:
    """What is on disk is what is signed and what leaves."""
    request = rendered(ring, {"secure": "modi", "audience": AUDIENCE})
    digest = "SHA-256=" + base64.b64encode(hashlib.sha256(request.body).digest()).decode()
    assert lower(request.headers)["digest"] == digest
    assert request.body == MESSAGE


def test_a_soap_request_is_signed_as_other_implementations_verify_it(made: Manifest, ring: KeyRing) -> None:
    """WS-Security over the envelope: every reference is checked by signxml, To is the URL."""
    envelope = f"<s:Envelope xmlns:s='{wss.SOAP11}'><s:Header/><s:Body><a xmlns='urn:t'>1</a></s:Body></s:Envelope>"
    request = rendered(ring, {"secure": "ws-security"}, envelope.encode(), "text/xml")
    root = etree.fromstring(request.body)
    assert root.findtext(f".//{{{wss.WSA}}}To") == "https://d.invalid/in"
    token = root.findtext(f".//{{{wss.WSSE}}}BinarySecurityToken")
    certificate = open_key(Key(certificate=str(made.signer.certificate), key=str(made.signer.key))).certificate
    assert token is not None
    config = signxml.SignatureConfiguration(
        location=".//",
        expect_references=4,
        require_x509=False,
        default_reference_c14n_method=None,  # type: ignore[arg-type]
    )
    found = signxml.XMLVerifier().verify(
        root, x509_cert=certificate, id_attribute="Id", expect_config=config, validate_schema=False
    )
    names = {etree.QName(each.signed_xml).localname for each in found}  # type: ignore[union-attr]
    assert names == {"Timestamp", "To", "MessageID", "Body"}


def test_the_two_tokens_of_the_health_record_carry_the_configured_claims(made: Manifest, ring: KeyRing) -> None:
    """Read back by joserfc; the digest is that of the file that is the body."""
    request = rendered(ring, {"secure": "fse", "audience": AUDIENCE, "fse_file": "body", **FSE})
    headers = lower(request.headers)
    public = open_key(Key(certificate=str(made.signer.certificate), key=str(made.signer.key))).certificate.public_key()
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = RSAKey.import_key(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    wide = JWSRegistry(algorithms=["RS256"])
    wide.max_header_length = 16 * 1024  # x5c
    wide.max_payload_length = 16 * 1024
    bearer = jwt.decode(headers["authorization"].removeprefix("Bearer "), key, registry=wide).claims
    claims = jwt.decode(headers["fse-jwt-signature"], key, registry=wide).claims
    assert bearer["iss"].startswith("auth:")
    assert claims["iss"].startswith("integrity:")
    assert claims["attachment_hash"] == hashlib.sha256(MESSAGE).hexdigest()
    assert {f"fse.{k}": claims[k] for k in (name.removeprefix("fse.") for name in FSE)} == FSE


def test_a_sealed_body_is_opened_by_its_destination_only(made: Manifest, ring: KeyRing, tmp_path: Path) -> None:
    """AES and RSA-OAEP, under the names that the destination uses."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    there = open_key(Key(certificate=str(made.signer.certificate), key=str(made.signer.key)))
    public = there.certificate.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "public.pem").write_bytes(public)
    options = {"secure": "sealed", "encryption_key": str(tmp_path / "public.pem"), "sealed_data": "requestBody"}
    request = rendered(ring, options)
    parts = json.read(request.body)
    assert parts.keys() == {"requestBody", "key", "iv"}
    assert b"ServiceRequest" not in request.body
    assert encrypt.opened(encrypt.Sealed(parts["requestBody"], parts["key"], parts["iv"]), there) == MESSAGE


@pytest.mark.parametrize(
    "options",
    [
        {"secure": "modi"},
        {"secure": "modi", "audience": "a", "naming": "jku"},
        {"secure": "modi", "audience": "a", "naming": "kid"},
        {"secure": "modi", "audience": "a", "token_seconds": "-1"},
        {"secure": "fse", "audience": "a"},
        {"secure": "sealed"},
        {"secure": "sealed", "encryption_key": "/nowhere", "oaep": "md5"},
        {"secure": "everything"},
    ],
)
def test_settings_that_cannot_secure_anything_stop_the_start(ring: KeyRing, options: dict[str, str]) -> None:
    """Not at the first message."""
    with pytest.raises(Misconfigured):
        request_signer_for(place("https://d.invalid/", options), ring)


def test_a_destination_without_the_option_sends_as_before(ring: KeyRing) -> None:
    """And every name in the table is one that a destination can have."""
    assert request_signer_for(place("https://d.invalid/", {}), ring) is None
    assert {"modi", "modi-auth", "modi-integrity", "ws-security", "fse", "sealed"} <= set(SECURED)
