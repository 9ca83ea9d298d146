"""What somebody who knows our code would try: tokens, keys, encodings and documents made to be misread."""

from __future__ import annotations

import base64
import hashlib
import hmac
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from lxml import etree

from gateway.errors import GatewayError, Refused
from gateway.formats import json
from gateway.sign import algorithms, jws, tokens, xmldsig, xmlshape
from gateway.sign.dev_ca import Authority, name
from gateway.sign.replay import Seen
from gateway.sign.revocation import Held
from gateway.sign.tokens import Rules
from gateway.sign.trust import Trust

NOW = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
AT = int(NOW.timestamp())
ROOT = Authority.create("Test root", NOW)
HANDLE = ROOT.issue(name("Test Signer"), "rsa2048", NOW)
OTHER = ROOT.issue(name("Test Other"), "rsa2048", NOW)
STRANGER = Authority.create("Test root", NOW).issue(name("Test Signer"), "rsa2048", NOW)
TRUST = Trust("token", [ROOT.certificate], Held([ROOT.crl(NOW)]))
RULES = Rules(audience="us", algorithms=("RS256", "ES256"))
CLAIMS = {"aud": "us", "iat": AT, "exp": AT + 60, "jti": "one"}


def code(token: str, rules: Rules = RULES, now: datetime = NOW, **more: Any) -> str:
    """The code of the refusal by the configured key, or "taken"."""
    try:
        tokens.check(token, HANDLE.public, rules, now, **more)
    except Refused as refused:
        return refused.code
    return "taken"


def by_certificate(token: str) -> str:
    try:
        tokens.check_with_certificate(token, TRUST, RULES, NOW)
    except Refused as refused:
        return refused.code
    return "taken"


def made(header: dict[str, Any] | None = None, claims: dict[str, Any] | None = None, handle: Any = HANDLE) -> str:
    return jws.sign(handle, {"typ": "JWT", **(header or {})}, json.write({**CLAIMS, **(claims or {})}))


def raw(header: bytes, payload: bytes = b"", handle: Any = HANDLE) -> str:
    """A token over bytes that no careful writer makes."""
    first, middle = jws.encode(header), jws.encode(payload or json.write(CLAIMS))
    return f"{first}.{middle}.{jws.encode(handle.sign(f'{first}.{middle}'.encode()))}"


# --- whose key ----------------------------------------


def test_the_public_key_is_no_secret_for_a_mac() -> None:
    """HS256 with our public key as the secret, in each form in which a library would take it."""
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    for form in (serialization.Encoding.PEM, serialization.Encoding.DER):
        secret = HANDLE.certificate.public_key().public_bytes(form, spki)
        for alg in ("HS256", "hs256", "none", "None", "", "RS256 ", "rs256"):
            first = jws.encode(json.write({"alg": alg, "typ": "JWT"}))
            middle = jws.encode(json.write(CLAIMS))
            mac = hmac.new(secret, f"{first}.{middle}".encode(), hashlib.sha256).digest()
            for value in (jws.encode(mac), ""):
                assert code(f"{first}.{middle}.{value}") == "GW-SIGN-041"


@pytest.mark.parametrize(
    "naming",
    [
        {"jwk": {"kty": "RSA", "n": "AQAB", "e": "AQAB"}},
        {"jku": "https://attacker.invalid/keys"},
        {"x5u": "https://attacker.invalid/cert"},
        {"kid": "../../../../dev/null"},
        {"kid": "' OR 1=1 --"},
        {"kid": "x" * 3000},
        {"x5t#S256": "AAAA"},
    ],
    ids=lambda n: next(iter(n)),
)
def test_what_the_header_says_about_keys_changes_nothing(naming: dict[str, Any]) -> None:
    """The configured key alone counts: the right signer is taken, and another one is not, whatever is named."""
    assert code(made(naming)) == "taken"
    assert code(made(naming, handle=STRANGER)) == "GW-SIGN-042"
    assert code(made(naming, handle=OTHER)) == "GW-SIGN-042"


def test_a_certificate_in_the_message_is_a_claim_and_no_proof() -> None:
    """x5c of a stranger with our authority's name, of ours under a stranger's signature, with our root appended."""
    ours, theirs = jws.x5c(HANDLE), jws.x5c(STRANGER)
    root = base64.b64encode(ROOT.certificate.public_bytes(serialization.Encoding.DER)).decode()
    assert by_certificate(made({"x5c": ours})) == "taken"
    assert by_certificate(made({"x5c": theirs}, handle=STRANGER)) == "GW-SIGN-022"
    assert by_certificate(made({"x5c": [*theirs, root]}, handle=STRANGER)) != "taken"
    assert by_certificate(made({"x5c": ours}, handle=STRANGER)) == "GW-SIGN-042"
    assert by_certificate(made({"x5c": [*ours, *theirs]}, handle=STRANGER)) == "GW-SIGN-042"
    assert by_certificate(made({"x5c": [*theirs, *ours]}, handle=HANDLE)) != "taken"
    for none in ([], "", ours[0], [ours[0]] * 11, [None], [{}], None):
        assert by_certificate(made({"x5c": none})) == "GW-SIGN-040"


# --- how it is written ----------------------------------------


def test_two_readers_never_see_two_headers() -> None:
    """Repeated names, also where the second spelling uses an escape; a byte-order mark; trailing content."""
    for header in (
        b'{"alg":"RS256","alg":"RS256"}',
        b'{"alg":"none","\\u0061lg":"RS256"}',
        b'\xef\xbb\xbf{"alg":"RS256"}',
        b'{"alg":"RS256"}{}',
        b'{"alg":"RS256",}',
        b'{"alg":"RS256","x":NaN}',
        b'{"alg":"RS256","x":"\\ud800"}',
        b'["alg"]',
        '{"alg":"RS256"}'.encode("utf-16"),
    ):
        assert code(raw(header)) == "GW-SIGN-040", header
    assert code(raw(b'{"alg":"RS256"}', b'{"aud":"x","aud":"us"}')) == "GW-SIGN-040"


def test_a_huge_header_is_refused_before_it_is_read() -> None:
    """A header has room for a certificate chain and not for a library."""
    assert code(made({"x": "y" * 200_000})) == "GW-SIGN-040"
    assert code(raw(b'{"alg":"RS256","x":' + b"[" * 20_000 + b"]" * 20_000 + b"}")) == "GW-SIGN-040"


def test_one_token_has_one_spelling() -> None:
    """Padding, white space, line ends, the other alphabet, bits left over, more or fewer parts: all refused."""
    good = made()
    first, middle, last = good.split(".")
    spellings = [f"{good}=", f"{good}\n", f" {good}", good.replace(".", "\r\n.", 1), f"{good}.", f".{good}", f"{good}."]
    spellings += [
        f"{first}.{middle}.{last[:-1]}",
        f"{first}=.{middle}.{last}",
        f"{first}.{middle[:4]}\n{middle[4:]}.{last}",
    ]
    spellings += [f"{first}.{middle}.{last.replace('-', '+').replace('_', '/')}="]
    spellings += [f"{first}.{middle}.{last[:-1]}{chr(ord(last[-1]) + 1)}", f"{first}.{middle}.{last}\u0661"]
    assert code(good) == "taken"
    for spelling in spellings:
        assert code(spelling) in ("GW-SIGN-040", "GW-SIGN-042"), spelling
    chain = jws.x5c(HANDLE)
    for odd in (chain[0] + "\n", chain[0][:64] + "\r\n" + chain[0][64:], " " + chain[0], chain[0].replace("+", "-")):
        if odd != chain[0]:
            assert by_certificate(made({"x5c": [odd]})) == "GW-SIGN-040"


@pytest.mark.parametrize("value", ["us ", " us", "us\n", "US", "us\x00", ["us "], {"us": 1}, 1, None, [["us"]]])
def test_an_audience_is_compared_exactly(value: Any) -> None:
    """White space, case and types do not make an audience ours."""
    assert code(made(claims={"aud": value})) in ("GW-SIGN-053", "GW-SIGN-050")


# --- when, and how often ----------------------------------------


def test_the_clock_tolerance_holds_to_the_second_on_both_sides() -> None:
    """Five seconds either way, and not one more."""
    token = made()
    edges = {-6: "GW-SIGN-052", -5: "taken", 64: "taken", 65: "GW-SIGN-051"}
    for seconds, expected in edges.items():
        assert code(token, now=NOW + timedelta(seconds=seconds)) == expected, seconds
    early = made(claims={"nbf": AT + 6})
    assert code(early) == "GW-SIGN-052"
    assert code(early, now=NOW + timedelta(seconds=1)) == "taken"


@pytest.mark.parametrize("value", [AT * 1000, float(AT), str(AT), True, -1, 0, 10**30])
@pytest.mark.parametrize("claim", ["iat", "exp", "nbf"])
def test_a_time_is_whole_seconds_and_nothing_else(claim: str, value: Any) -> None:
    """Milliseconds, fractions, texts and booleans are refused as such."""
    assert code(made(claims={claim: value})) == "GW-SIGN-055"


def test_of_many_who_bring_one_token_at_once_one_is_first(tmp_path: Path) -> None:
    """Also across the turn of an hour, between processes whose clocks differ by seconds, and after a restart."""
    turn = datetime(2026, 3, 14, 9, 59, 58, tzinfo=UTC)
    at = int(turn.timestamp())
    token = made(claims={"iat": at, "exp": at + 60})
    once = Rules(audience="us", algorithms=("RS256",), once=True)

    def bring(number: int) -> str:
        return code(token, once, turn + timedelta(seconds=number % 5), seen=Seen(tmp_path / "seen"))

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(bring, range(24)))
    assert sorted(found) == ["GW-SIGN-057"] * 23 + ["taken"]
    assert bring(4) == "GW-SIGN-057"


@pytest.mark.parametrize("id", ["", "x" * 257, 7, ["one"], None, {"a": 1}])
def test_an_id_that_cannot_be_remembered_is_refused(id: Any, tmp_path: Path) -> None:
    """Ids become names of files by their digest only, and have a bounded length."""
    once = Rules(audience="us", algorithms=("RS256",), once=True)
    assert code(made(claims={"jti": id}), once, seen=Seen(tmp_path)) == "GW-SIGN-050"
    assert code(made(claims={"jti": "../../x"}), once, seen=Seen(tmp_path)) == "taken"
    assert not (tmp_path.parent / "x").exists()


# --- weak keys and digests ----------------------------------------


def _with(key: rsa.RSAPrivateKey) -> x509.Certificate:
    return ROOT.certify(key.public_key(), name("Test weak"), NOW)


@pytest.mark.parametrize(("exponent", "bits"), [(3, 2048), (65537, 1024), (65537, 2047)])
def test_small_keys_and_small_exponents_sign_nothing_and_prove_nothing(exponent: int, bits: int) -> None:
    """Under a good certificate authority too."""
    key = rsa.generate_private_key(exponent, bits)
    certificate = _with(key)
    assert TRUST.problem(certificate, (), NOW) == "GW-SIGN-021"
    assert algorithms.allowed(key.public_key()) == ()
    data = key.sign(b"x", padding.PKCS1v15(), hashes.SHA256())
    with pytest.raises(Refused) as refused:
        algorithms.verify(key.public_key(), "RS256", data, b"x")
    assert refused.value.code == "GW-SIGN-041"


@pytest.mark.parametrize(("digest", "expected"), [("sha256", None), ("sha1", "GW-SIGN-021"), ("md5", "GW-SIGN-021")])
def test_a_certificate_signed_over_a_weak_digest_is_refused(digest: str, expected: str | None, tmp_path: Path) -> None:
    """The issuer's key is good; its digest is not. OpenSSL writes it, because our library would not."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command")

    def run(*words: str) -> None:
        subprocess.run([openssl, *words], cwd=tmp_path, check=True, capture_output=True, timeout=30)

    new = ("req", "-newkey", "rsa:2048", "-nodes")
    run(*new, "-x509", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Test old root", "-days", "2", "-sha256")
    run(*new, "-keyout", "leaf.key", "-out", "leaf.csr", "-subj", "/CN=Test leaf")
    signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "1", f"-{digest}")
    run("x509", "-req", "-in", "leaf.csr", "-out", "leaf.pem", *signing)
    root, leaf = (x509.load_pem_x509_certificate((tmp_path / f"{n}.pem").read_bytes()) for n in ("ca", "leaf"))
    trust = Trust("token", [root], Held([]), require_revocation=False)
    assert trust.problem(leaf, (), leaf.not_valid_before_utc + timedelta(minutes=1)) == expected


# --- documents ----------------------------------------

DOCUMENT = "<a xmlns='urn:t' Id='one'><b Id='two'>1</b></a>"


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16", "UTF-7", "ISO-8859-1", "UTF-32", "IBM037", "US-ASCII"])
@pytest.mark.parametrize("second", ["Id='one'", "ID = 'one'", "id\n=\t'one'", "x:iD='one' xmlns:x='urn:x'"])
def test_repeated_ids_are_found_in_every_encoding(encoding: str, second: str) -> None:
    """A quick look at the bytes may spare the search of the tree only where it can see every name."""
    text = f"<?xml version='1.0' encoding='{encoding}'?>" + DOCUMENT.replace("Id='two'", second)
    try:
        body = text.encode("utf-7" if encoding == "UTF-7" else encoding)
        if encoding == "UTF-7":
            body = body.replace(b"Id", b"+AEkAZA-").replace(b"ID", b"+AEkARA-")
    except LookupError:
        pytest.skip(f"Python cannot write {encoding}")
    with pytest.raises(GatewayError) as refused:
        xmlshape.strict_root(body)
    assert refused.value.code in ("GW-SIGN-048", "GW-CORE-003")  # the latter: the parser does not take the encoding


@pytest.mark.parametrize(
    "hidden",
    [
        "<!-- x -->",
        "<?x y?>",
        "<b>1<!----></b>",
        "<!DOCTYPE a [<!ENTITY e 'x'>]>",
        "<!DOCTYPE a SYSTEM 'file:///etc/hostname'>",
    ],
)
def test_nothing_hides_in_a_signed_document(hidden: str) -> None:
    """Comments and instructions inside, before and after the root; a DTD with and without entities."""
    signed = xmldsig.sign(DOCUMENT.encode(), HANDLE)
    for body in (hidden.encode() + signed, signed + hidden.encode(), signed.replace(b"<b ", hidden.encode() + b"<b ")):
        with pytest.raises(GatewayError):
            xmldsig.verify(body, TRUST_DOCUMENTS, NOW)


TRUST_DOCUMENTS = Trust("document", [ROOT.certificate], Held([ROOT.crl(NOW)]))


@pytest.mark.parametrize(
    "document",
    [
        DOCUMENT,
        "<a/>",
        "<a xmlns:p='urn:p' p:x='&lt;/a>'>1</a\n>\n",
        "<a><![CDATA[</a>]]></a>",
        "<a>\r\n<b/>\r\n</a>",
        "<?xml version='1.0' encoding='UTF-8'?>\n<ds:a xmlns:ds='urn:not-ds'>é\u06cc</ds:a>",
    ],
)
def test_a_signed_document_keeps_its_own_bytes_and_verifies(document: str) -> None:
    """The signature stands before the last end tag; what was there is there still, character by character."""
    body = document.encode()
    signed = xmldsig.sign(body, HANDLE)
    verified = xmldsig.verify(signed, TRUST_DOCUMENTS, NOW)
    assert verified.document == xmlshape.canonical(etree.fromstring(body), xmlshape.C14N)
    start, end = signed.find(b"<ds:Signature xmlns"), signed.rfind(b"</ds:Signature>") + len(b"</ds:Signature>")
    if b"</" in body:
        assert signed[:start] + signed[end:] == body
