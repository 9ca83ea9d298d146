"""What integrators of the health record and of ModI meet: each cause is provoked in a stand-in and named by the doctor.

The peers answer as the real ones do, which is mostly "Invalid token" and nothing more; the doctor says in one
sentence what it is. The causes are those of public issue threads, by family.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

sys.path.insert(0, str(Path(__file__).parents[2] / "rooms" / "deliver"))
from regional_samples import AUDIENCE, BASE, BUNDLE, MESSAGE, TAX_CODE

from gateway.deliver.multipart import FormPart, compose
from gateway.formats import json
from gateway.network import Outbound
from gateway.settings import Key, Peer
from gateway.sign import dev_ca, doctor, fse, jws, modi
from gateway.sign.dev_ca import Authority, Manifest, name
from gateway.sign.doctor import BOM, Seen
from gateway.sign.keys import KeyHandle, open_key
from gateway.sign.revocation import Held
from gateway.sign.trust import Trust
from gateway.simulate.cart import Cart
from gateway.simulate.fse import Fse
from gateway.simulate.server import Running

OTHER = "PRVPRV80A41H501Y"
CLAIMS = fse.Claims(
    sub=fse.cx(TAX_CODE),
    subject_organization_id="090",
    subject_organization="Regione di prova",
    locality=fse.xon("Prova", fse.STRUCTURE_ROOTS[0], "090101"),
    subject_role="AAS",
    person_id=fse.cx(TAX_CODE),
    purpose_of_use="TREATMENT",
    resource_hl7_type="('57832-8^^2.16.840.1.113883.6.1')",
    action_id="CREATE",
    subject_application_id="gateway",
    subject_application_vendor="test",
    subject_application_version="1",
)
INVALID = (401, "https://govway.org/handling-errors/401/TokenAuthenticationFailed.html")


class House(NamedTuple):
    """The ministry's authority and our two certificates."""

    authority: Authority
    ca: Path
    s1: KeyHandle
    a1: KeyHandle
    late: KeyHandle
    now: datetime


@pytest.fixture(scope="module")
def house(tmp_path_factory: Any) -> House:
    now = datetime.now(UTC)
    authority = Authority.create("Test ministry", now - timedelta(days=90))
    path = tmp_path_factory.mktemp("ministry") / "ca.pem"
    path.write_bytes(authority.pem)
    late = authority.issue(name("S1#090TEST"), "rsa2048", now - timedelta(days=60))
    s1, a1 = (authority.issue(name(f"{role}#090TEST"), "rsa2048", now) for role in ("S1", "A1"))
    return House(authority, path, s1, a1, late, now)


class Shown(NamedTuple):
    """One request in its parts, as the causes change them."""

    house: House
    bearer: str
    token: str
    file: bytes = BUNDLE
    asked: Mapping[str, str] = {"mode": "RESOURCE", "activity": "VERIFICA"}


def again(handle: KeyHandle, token: str, header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    """The token with other header and claims, properly signed: only the named thing is wrong. `...` takes away."""
    first, middle, _ = token.split(".")
    parts = []
    for part, changes in ((first, header), (middle, claims)):
        value = json.read(jws.decode(part)) | dict(changes)
        parts.append(jws.encode(json.write({k: v for k, v in value.items() if v is not ...})))
    signature = handle.sign(".".join(parts).encode(), "RS256")
    return ".".join([*parts, jws.encode(signature)])


def shown(house: House, handle: KeyHandle | None = None, file: bytes = BUNDLE, claims: fse.Claims = CLAIMS) -> Shown:
    """A request without fault."""
    handle, now = handle or house.s1, datetime.now(UTC)
    bearer = fse.bearer(handle, BASE, claims.sub, now)["Authorization"].removeprefix("Bearer ")
    return Shown(house, bearer, fse.signature(handle, BASE, claims, now, file)[fse.SIGNATURE_HEADER], file)


Spoil = Callable[[Shown], Shown]


def token(header: Mapping[str, Any] | None = None, claims: Mapping[str, Any] | None = None) -> Spoil:
    """The signature token with changes that are functions of the request or plain values."""

    def spoil(one: Shown) -> Shown:
        made = [{k: v(one) if callable(v) else v for k, v in (given or {}).items()} for given in (header, claims)]
        return one._replace(token=again(one.house.s1, one.token, *made))

    return spoil


def bare(one: Shown) -> str:
    return base64.b64encode(one.house.s1.der).decode()


def armoured(one: Shown) -> list[str]:
    return [f"-----BEGIN CERTIFICATE-----{bare(one)}-----END CERTIFICATE-----"]


def lines(one: Shown) -> list[str]:
    return ["\n".join(bare(one)[i : i + 64] for i in range(0, len(bare(one)), 64))]


def archive(one: Shown) -> list[str]:
    """A PKCS#12 file, as people export it from their store."""
    certificate = x509.load_der_x509_certificate(one.house.s1.der)
    body = pkcs12.serialize_key_and_certificates(b"s1", None, certificate, None, BestAvailableEncryption(b"test"))
    return [base64.b64encode(body).decode()]


def at(seconds: float, factor: int = 1) -> Callable[[Shown], int]:
    return lambda one: int((datetime.now(UTC).timestamp() + seconds) * factor)


def with_file(file: bytes) -> Spoil:
    return lambda one: shown(one.house, file=file)


def other_bytes(one: Shown) -> Shown:
    return one._replace(file=one.file + b" ")


def another_key(handle: Callable[[House], KeyHandle]) -> Spoil:
    def spoil(one: Shown) -> Shown:
        return shown(one.house, handle(one.house))

    return spoil


def another_person(one: Shown) -> Shown:
    import msgspec

    return shown(one.house, claims=msgspec.structs.replace(CLAIMS, person_id=fse.cx(OTHER)))


CAUSES: dict[str, tuple[Spoil, tuple[int, str], str]] = {
    # 401, "Invalid token", no reason given
    "x5c is a string": (token({"x5c": bare}), INVALID, "GW-SIGN-102"),
    "x5c has PEM armour": (token({"x5c": armoured}), INVALID, "GW-SIGN-103"),
    "x5c has line ends": (token({"x5c": lines}), INVALID, "GW-SIGN-103"),
    "a PKCS#12 file in place of the certificate": (token({"x5c": archive}), INVALID, "GW-SIGN-104"),
    "no x5c, for it is written otherwise": (token({"x5c": ..., "XC5": ["x"]}), INVALID, "GW-SIGN-105"),
    "an algorithm that is not": (token({"alg": "RS383"}), INVALID, "GW-SIGN-106"),
    "milliseconds in iat": (token({}, {"iat": at(0, 1000)}), INVALID, "GW-SIGN-107"),
    "milliseconds in exp": (token({}, {"exp": at(300, 1000)}), INVALID, "GW-SIGN-107"),
    "nbf has not come": (token({}, {"nbf": at(600)}), INVALID, "GW-SIGN-130"),
    "iat ahead of the clock": (token({}, {"iat": at(600), "exp": at(900)}), INVALID, "GW-SIGN-052"),
    "expired": (token({}, {"exp": at(-10), "iat": at(-300), "nbf": at(-300)}), INVALID, "GW-SIGN-051"),
    "iss without prefix": (token({}, {"iss": "S1#090TEST"}), INVALID, "GW-SIGN-108"),
    "iss with the other token's prefix": (token({}, {"iss": "auth:S1#090TEST"}), INVALID, "GW-SIGN-134"),
    "iss with another CN": (token({}, {"iss": "integrity:A1#090TEST"}), INVALID, "GW-SIGN-109"),
    "sub is a bare fiscal code": (token({}, {"sub": TAX_CODE}), INVALID, "GW-SIGN-110"),
    "aud without the version": (token({}, {"aud": BASE.removesuffix("/v1")}), INVALID, "GW-SIGN-123"),
    "A1 and S1 swapped": (another_key(lambda house: house.a1), INVALID, "GW-SIGN-111"),
    # certificate life cycle
    "the certificate has ended": (another_key(lambda house: house.late), INVALID, "GW-SIGN-010"),
    # 403 organisation and certificate
    "another region than the certificate's": (
        token({}, {"subject_organization_id": "111"}),
        (403, "/msg/jwt-validation"),
        "GW-SIGN-112",
    ),
    # 403 person_id
    "person_id is a bare fiscal code": (
        token({}, {"person_id": TAX_CODE}),
        (403, "/msg/jwt-validation"),
        "GW-SIGN-110",
    ),
    "person_id of somebody else": (another_person, (403, "/msg/jwt-validation"), "GW-SIGN-122"),
    # keys and values with spaces
    "a name with a space at its end": (
        token({}, {"subject_role": ..., "subject_role ": "AAS"}),
        (403, "/msg/mandatory-element-token"),
        "GW-SIGN-116",
    ),
    "a value with a space at its end": (
        token({}, {"subject_role": "AAS "}),
        (403, "/msg/jwt-validation"),
        "GW-SIGN-116",
    ),
    "a claim is missing": (token({}, {"purpose_of_use": ...}), (403, "/msg/mandatory-element-token"), "GW-SIGN-115"),
    # hash
    "the hash of other bytes": (other_bytes, (400, "/msg/document-hash"), "GW-SIGN-113"),
    # 422 with no detail
    "a byte-order mark": (with_file(BOM + BUNDLE), (422, "/msg/semantic"), "GW-SIGN-114"),
}


async def ask(house: House, one: Shown, path: str, stand_in: Fse, network: Outbound, url: str) -> Any:
    parts = [FormPart("requestBody", "application/json", json.write(dict(one.asked)))]
    parts.append(FormPart("file", "application/json", one.file, "bundle.json"))
    media, body = compose(parts)
    headers = {"Content-Type": media, "Authorization": f"Bearer {one.bearer}", fse.SIGNATURE_HEADER: one.token}
    return await network.request("p", "POST", f"{url}/v1/{path}", headers, body, 10.0)


def look(one: Shown, **more: Any) -> set[str]:
    """What the doctor names of both tokens."""
    trust = Trust("token", [one.house.authority.certificate], Held([one.house.authority.crl(datetime.now(UTC))]))
    found: set[str] = set()
    for profile, text in (("fse-bearer", one.bearer), ("fse-signature", one.token)):
        seen = Seen(
            token=text,
            at=datetime.now(UTC),
            profile=profile,  # type: ignore[arg-type]
            audience=BASE,
            file=one.file if profile == "fse-signature" else None,
            patient=TAX_CODE,
            trust=trust,
            **more,
        )
        found |= {each.code for each in doctor.look(seen)}
    return found - {"GW-SIGN-131"}


@pytest.mark.parametrize("cause", CAUSES)
async def test_each_cause_is_met_at_the_stand_in_and_named_by_the_doctor(house: House, cause: str) -> None:
    """With the answer that the real gateway gives, which for a token says nothing of why."""
    spoil, (status, kind), code = CAUSES[cause]
    one = spoil(shown(house))
    stand_in = Fse(ca=house.ca, audience=BASE)
    async with Running(stand_in) as server:
        network = Outbound({"p": Peer(origin=server.url, plaintext=True)})
        reply = await ask(house, one, "documents/fhir-validation", stand_in, network, server.url)
        await network.aclose()
    said = json.read(reply.body)
    assert (reply.status, said["type"]) == (status, kind), (said, stand_in.reasons)
    assert reply.headers["content-type"] == "application/problem+json"
    if status == 401:
        assert said["detail"] == "Invalid token"
        assert "govway_id" in said
    else:
        assert said["traceID"]
    assert code in look(one), look(one)


async def test_without_a_cause_both_say_so(house: House) -> None:
    """Else everything above would prove nothing."""
    one, stand_in = shown(house), Fse(ca=house.ca, audience=BASE)
    async with Running(stand_in) as server:
        network = Outbound({"p": Peer(origin=server.url, plaintext=True)})
        reply = await ask(house, one, "documents/fhir-validation", stand_in, network, server.url)
        replay = await ask(house, one, "documents/fhir-validation", stand_in, network, server.url)
        await network.aclose()
    assert reply.status == 200, stand_in.reasons
    assert replay.status == 401, "a token is taken once"
    assert look(one) == set()


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("verifica", "GW-SIGN-120"),
        ("changed", "GW-SIGN-121"),
        ("used", "GW-SIGN-136"),
    ],
)
async def test_il_cda_non_risulta_validato(house: House, how: str, code: str) -> None:
    """VERIFICA in place of VALIDATION, a document changed afterwards, an identifier used twice."""
    stand_in = Fse(ca=house.ca, audience=BASE)
    activity = "VERIFICA" if how == "verifica" else "VALIDATION"
    async with Running(stand_in) as server:
        network = Outbound({"p": Peer(origin=server.url, plaintext=True)})
        validated = shown(house)._replace(asked={"mode": "ATTACHMENT", "activity": activity})
        reply = await ask(house, validated, "documents/validation", stand_in, network, server.url)
        assert reply.status == (200 if how == "verifica" else 201)
        workflow = json.read(reply.body)["workflowInstanceId"]
        last = shown(house, file=BUNDLE + b"\n" if how == "changed" else BUNDLE)
        last = last._replace(asked={"workflowInstanceId": workflow})
        if how == "used":
            first = await ask(
                house, shown(house)._replace(asked=last.asked), "documents", stand_in, network, server.url
            )
            assert first.status == 202
        refused = await ask(house, last, "documents", stand_in, network, server.url)
        await network.aclose()
    said = json.read(refused.body)
    assert (refused.status, said["type"], said["detail"]) == (400, "/msg/cda-match", "Il CDA non risulta validato")
    assert code in look(last, workflow=workflow, activity=activity, published=how == "used")


async def test_a_bundle_that_cannot_be_mapped_is_the_documents_matter(house: House) -> None:
    """There the tokens are well, and the doctor says nothing: the gateway's own validation is what helps."""
    one = with_file(b'{"resourceType":"Bundle","entry":[{"resource":{}}]}')(shown(house))
    stand_in = Fse(ca=house.ca, audience=BASE)
    async with Running(stand_in) as server:
        network = Outbound({"p": Peer(origin=server.url, plaintext=True)})
        reply = await ask(house, one, "documents/fhir-validation", stand_in, network, server.url)
        await network.aclose()
    assert (reply.status, json.read(reply.body)["type"]) == (400, "/msg/fhir-mapping-type")
    assert look(one) == set()


# --- ModI at large ----------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: Any) -> Manifest:
    return dev_ca.make(tmp_path_factory.mktemp("cart") / "ca")


def _no_digest(handle: KeyHandle, headers: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
    return {k: v for k, v in headers.items() if k != "Digest"}, body


def _no_array(handle: KeyHandle, headers: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
    flat = {"digest": headers["Digest"], "content-type": headers["Content-Type"]}
    spoiled = again(handle, headers[modi.SIGNATURE_HEADER], {}, {"signed_headers": flat})
    return {**headers, modi.SIGNATURE_HEADER: spoiled}, body


def _before_gzip(handle: KeyHandle, headers: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
    return {**headers, "Content-Encoding": "gzip"}, gzip.compress(body, mtime=0)


def _other_body(handle: KeyHandle, headers: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
    return headers, body.replace(b'"id":"s"', b'"id":"t"')


def _empty(handle: KeyHandle, headers: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
    return {k: v for k, v in headers.items() if k != "Digest"}, b""


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (_no_digest, "GW-SIGN-125"),
        (_no_array, "GW-SIGN-124"),
        (_before_gzip, "GW-SIGN-126"),
        (_other_body, "GW-SIGN-059"),
        (_empty, "GW-SIGN-127"),
        (None, ""),
    ],
    ids=["no Digest", "signed_headers no array", "Digest before gzip", "other bytes", "empty payload", "none"],
)
async def test_causes_of_modi_are_met_and_named(made: Manifest, spoil: Any, code: str) -> None:
    """Refused with problem details and the number by which the region knows the call."""
    handle = open_key(Key(certificate=str(made.signer.certificate), key=str(made.signer.key)))
    now, headers = datetime.now(UTC), {"Content-Type": "application/fhir+json", "Accept": "application/json"}
    headers |= modi.authorization(handle, AUDIENCE, now) | modi.integrity(handle, AUDIENCE, MESSAGE, headers, now)
    body = MESSAGE
    if spoil is not None:
        headers, body = spoil(handle, headers, body)
    async with Running(Cart(ca=made.ca, audience=AUDIENCE, dialect="modi")) as server:
        network = Outbound({"p": Peer(origin=server.url, plaintext=True)})
        reply = await network.request("p", "POST", f"{server.url}/prenotazioni", headers, body, 10.0)
        await network.aclose()
    assert reply.headers["x-cart-id"]
    token_ = headers[modi.SIGNATURE_HEADER]
    seen = Seen(token=token_, at=now, profile="modi", audience=AUDIENCE, body=body, headers=headers)
    named = {each.code for each in doctor.look(seen)}
    if spoil is None:
        assert reply.status == 200
        assert named == {"GW-SIGN-131"}
        return
    assert reply.status == 400
    assert reply.headers["content-type"] == "application/problem+json"
    assert json.read(reply.body)["title"] == "InteroperabilityInvalidRequest"
    assert code in named


def test_the_digest_of_what_is_compared_is_that_of_the_file() -> None:
    """The claim is over the file part alone and not over the form."""
    assert fse.attachment_hash(BUNDLE) == hashlib.sha256(BUNDLE).hexdigest()
