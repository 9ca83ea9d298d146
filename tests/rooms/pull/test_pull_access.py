"""SMART backend services: private_key_jwt with the two algorithms, once, for five minutes."""

from __future__ import annotations

import base64
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from pull_house import HOST, ONE, TWO, House, patient

from gateway.formats import json
from gateway.pull.access import ASSERTION_TYPE, granted, narrow
from gateway.settings import Repository

EC = ec.generate_private_key(ec.SECP384R1())
RSA = rsa.generate_private_key(65537, 2048)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value: int, size: int) -> str:
    return b64(value.to_bytes(size, "big"))


def key_set(folder: Path) -> str:
    point, public = EC.public_key().public_numbers(), RSA.public_key().public_numbers()
    keys = [
        {"kty": "EC", "crv": "P-384", "kid": "e", "x": number(point.x, 48), "y": number(point.y, 48)},
        {"kty": "RSA", "kid": "r", "n": number(public.n, 256), "e": number(public.e, 3)},
    ]
    path = folder / "keys.json"
    path.write_bytes(json.write({"keys": keys}))
    return str(path)


def signed(claims: dict[str, Any], kid: str = "e", alg: str = "") -> str:
    header = {"alg": alg or ("ES384" if kid == "e" else "RS384"), "typ": "JWT", "kid": kid}
    message = f"{b64(json.write(header))}.{b64(json.write(claims))}"
    if kid == "e":
        r, s = decode_dss_signature(EC.sign(message.encode(), ec.ECDSA(hashes.SHA384())))
        signature = r.to_bytes(48, "big") + s.to_bytes(48, "big")
    else:
        signature = RSA.sign(message.encode(), padding.PKCS1v15(), hashes.SHA384())
    return f"{message}.{b64(signature)}"


@pytest.fixture
def smart(home: House, tmp_path: Path) -> House:
    entries = (
        Repository(sender=ONE, jwks=key_set(tmp_path), scopes=("system/Patient.rs", "system/Slot.r")),
        Repository(sender=TWO),
    )
    return House(home.ledger, home.clock, repository=entries)


def claims(house: House, **changed: Any) -> dict[str, Any]:
    at = int(house.clock.now().timestamp())
    made = {"iss": ONE, "sub": ONE, "aud": f"{HOST}/token", "exp": at + 300, "jti": "j1"} | changed
    return {name: each for name, each in made.items() if each is not None}


async def token(house: House, assertion: str, scope: str = "system/*.rs", **more: str) -> tuple[int, dict[str, Any]]:
    data = {
        "grant_type": "client_credentials",
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": assertion,
        "scope": scope,
    } | more
    answer = await house.ask("token", None, "POST", data=data)
    return answer.status_code, answer.json()


@pytest.mark.parametrize("kid", ["e", "r"])
async def test_an_assertion_becomes_a_token_for_what_is_granted(smart: House, kid: str) -> None:
    """Never more than asked for, never more than the entry has, and not for ever."""
    await smart.put(patient("a"))
    status, given = await token(smart, signed(claims(smart), kid))
    assert (status, given["token_type"], given["expires_in"]) == (200, "bearer", 300)
    assert given["scope"] == "system/Patient.rs system/Slot.r"
    headers = {"authorization": f"Bearer {given['access_token']}"}
    assert (await smart.ask("Patient/a", None, headers=headers)).status_code == 200
    assert (await smart.ask("Encounter", None, headers=headers)).status_code == 403
    assert (await smart.ask("Slot", None, headers=headers)).status_code == 403
    assert (await smart.ask("Patient/a", TWO, headers=headers)).status_code == 401
    altered = {"authorization": f"Bearer {given['access_token'][:-2]}AA"}
    assert (await smart.ask("Patient/a", None, headers=altered)).status_code == 401
    smart.clock.advance(timedelta(seconds=301))
    assert (await smart.ask("Patient/a", None, headers=headers)).status_code == 401


async def test_an_assertion_counts_once(smart: House) -> None:
    """A stolen assertion is worth nothing after its use."""
    assertion = signed(claims(smart))
    assert (await token(smart, assertion))[0] == 200
    assert await token(smart, assertion) == (401, {"error": "invalid_client"})


WRONG = [
    {"aud": "https://elsewhere/token"},
    {"sub": TWO},
    {"iss": TWO},
    {"iss": "nobody", "sub": "nobody"},
    {"jti": None},
    {"jti": ""},
    {"jti": 7},
    {"exp": None},
    {"exp": 1},
    {"exp": 10**12},
    {"exp": "soon"},
    {"exp": True},
    {"nbf": 10**11},
]


@pytest.mark.parametrize("changed", WRONG, ids=str)
async def test_wrong_claims_are_refused(smart: House, changed: dict[str, Any]) -> None:
    """Each claim is looked at."""
    assert await token(smart, signed(claims(smart, **changed))) == (401, {"error": "invalid_client"})


async def test_wrong_signatures_are_refused(smart: House) -> None:
    """The key decides the algorithm, and nothing unsigned passes."""
    good = signed(claims(smart))
    head, body, signature = good.split(".")
    none = b64(json.write({"alg": "none", "kid": "e"}))
    tries = [
        f"{none}.{body}.",
        f"{head}.{body}.{signature[:-4]}AAAA",
        f"{head}.{b64(json.write(claims(smart, jti='other')))}.{signature}",
        signed(claims(smart), "e", "RS384"),
        signed(claims(smart), "r", "ES384"),
        signed(claims(smart), "r", "RS256"),
        "a.b.c",
        "",
        "x" * 20_000,
    ]
    for each in tries:
        assert await token(smart, each) == (401, {"error": "invalid_client"})


async def test_oauth_errors_have_their_names(smart: House) -> None:
    """RFC 6749 5.2."""
    assert (await token(smart, signed(claims(smart)), "system/Encounter.rs"))[1] == {"error": "invalid_scope"}
    assert (await token(smart, "", grant_type="password"))[1] == {"error": "unsupported_grant_type"}
    assert (await token(smart, "", client_assertion_type="x"))[1] == {"error": "invalid_request"}


def test_scopes_narrow() -> None:
    """Asked and allowed, by type and letter; old spellings count."""
    assert granted(("system/*.read", "system/Patient.s", "user/Patient.rs", "system/Slot.cud")) == {
        "*": "rs",
        "Patient": "s",
    }
    assert narrow({"*": "rs"}, {"Patient": "r"}) == {"Patient": "r"}
    assert narrow({"Patient": "rs"}, {"*": "s"}) == {"Patient": "s"}
    assert narrow({"Patient": "r"}, {"Slot": "rs"}) == {}
