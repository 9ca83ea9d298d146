"""Who is calling: each thing that can be wrong with a credential is refused before anything is read."""

from __future__ import annotations

import asyncio
import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import msgspec
import pytest
from receive_peers import (
    OTHER_TOKEN,
    PROGRAMME,
    TOKEN,
    Certificates,
    House,
    Peer,
    ScriptedStore,
    adt,
    client,
    digest,
    msa,
)

from gateway.errors import Misconfigured, NotAllowed
from gateway.receive import tls
from gateway.receive.identity import Certificate, Identities, address, loopback
from gateway.receive.server import HttpServer
from gateway.settings import MllpSource, Sender

URL = f"/submissions/{PROGRAMME}"
JSON = {"content-type": "application/json"}
NOW = datetime(2026, 1, 1, tzinfo=UTC)
BAD = ("expired", "early", "foreign", "purpose", "revoked")


async def https(
    house: House, certificates: Certificates, who: str | None, token: str | None = None, **tls_: str
) -> int:
    """The status of one POST with that certificate; 0 where TLS refused it."""
    return await posted(await house.http(tls=certificates.tls(**tls_)), certificates, who, token)


async def posted(server: HttpServer, certificates: Certificates, who: str | None, token: str | None = None) -> int:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    url = f"https://127.0.0.1:{server.port}{URL}"
    try:
        async with httpx.AsyncClient(verify=certificates.client(who), trust_env=False) as web:
            return (await web.post(url, content=b"{}", headers=JSON | headers)).status_code
    except (httpx.TransportError, ssl.SSLError):
        return 0


@pytest.mark.parametrize("optional", [True, False])
@pytest.mark.parametrize(
    ("who", "status"),
    [("good", 201), ("rotated", 201), ("stranger", 401), *((bad, 0) for bad in BAD)],
)
async def test_client_certificates_over_https(
    house: House, certificates: Certificates, store: ScriptedStore, who: str, status: int, optional: bool
) -> None:
    """Good by fingerprint or subject; expired, early, foreign, of the wrong purpose or revoked does not get in."""
    crl = str(certificates.folder / "revoked.crl")
    assert await https(house, certificates, who, client_optional=optional, crl=crl) == status
    assert len(store.kept) == (status == 201)


async def test_no_certificate_is_refused_by_tls_or_by_the_application(house: House, certificates: Certificates) -> None:
    """Where certificates are optional the anonymous caller may still have a token; without one it is 401."""
    assert await https(house, certificates, None, client_optional=False) == 0
    assert await https(house, certificates, None) == 401
    assert await https(house, certificates, None, TOKEN) == 201


async def test_a_certificate_and_a_token_of_different_senders_are_refused(
    house: House, certificates: Certificates
) -> None:
    """Two credentials that disagree are a mistake or a theft."""
    assert await https(house, certificates, "good", OTHER_TOKEN) == 401
    assert await https(house, certificates, "good", TOKEN) == 201


async def test_an_expired_revocation_list_refuses_everybody(house: House, certificates: Certificates) -> None:
    """Unknown revocation status is a refusal (promise 6)."""
    crl = str(certificates.folder / "stale.crl")
    assert await https(house, certificates, "good", crl=crl) == 0


async def test_revocation_ends_connections_that_live(
    house: House, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate revoked after the handshake is refused at the next request."""
    monkeypatch.setattr(tls, "_LOOK_AGAIN_SECONDS", 0.0)
    crl = certificates.folder / "live.crl"
    crl.write_bytes((certificates.folder / "empty.crl").read_bytes())
    senders = (msgspec.structs.replace(house.senders[0], certificates=(certificates.fingerprints["revoked"],)),)
    house.senders = senders
    server = await house.http(tls=certificates.tls(crl=str(crl)))
    verify = certificates.client("revoked")
    async with httpx.AsyncClient(verify=verify, base_url=f"https://127.0.0.1:{server.port}", trust_env=False) as web:
        assert (await web.post(URL, content=b"{}", headers=JSON)).status_code == 201
        crl.write_bytes((certificates.folder / "revoked.crl").read_bytes())
        os.utime(crl, ns=(1, 1))
        assert (await web.post(URL, content=b"{}", headers=JSON)).status_code == 401


async def test_renewed_files_hold_from_the_next_handshake_on(
    house: House, certificates: Certificates, store: ScriptedStore, tmp_path: Path
) -> None:
    """An expired CRL that is replaced lets senders in again, and one that revokes shuts them out; no restart."""
    crl = tmp_path / "live.crl"
    steps = (("stale.crl", 0), ("empty.crl", 201), ("revoked.crl", 0))
    house.senders = (msgspec.structs.replace(house.senders[0], certificates=(certificates.fingerprints["revoked"],)),)
    crl.write_bytes((certificates.folder / "stale.crl").read_bytes())
    server = await house.http(tls=certificates.tls(crl=str(crl)))
    for number, (name, status) in enumerate(steps):
        crl.write_bytes((certificates.folder / name).read_bytes())
        os.utime(crl, ns=(number, number))
        assert await posted(server, certificates, "revoked") == status, name


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (None, "GW-RECEIVE-014"),
        ("Bearer wrong", "GW-RECEIVE-015"),
        ("Bearer", "GW-RECEIVE-015"),
        ("Basic dGVzdDp0ZXN0", "GW-RECEIVE-015"),
        (f"Bearer {digest(TOKEN)}", "GW-RECEIVE-015"),  # the digest itself opens nothing
    ],
)
async def test_tokens_that_do_not_open(
    house: House, store: ScriptedStore, authorization: str | None, code: str
) -> None:
    """401 with a code, the challenge, an audit event, and the body unread."""
    server = await house.http()
    headers = JSON | ({"authorization": authorization} if authorization else {})
    async with client(server, token=None) as web:
        answer = await web.post(URL, content=b"{}", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["issue"][0]["details"]["coding"][0]["code"] == code
    assert not store.kept
    assert store.steps[0].audit[0].outcome == "8"


async def test_a_caller_who_is_turned_away_again_and_again_does_not_fill_the_audit(
    house: House, store: ScriptedStore
) -> None:
    """One event an address and minute: strangers cannot fill the disk (promise 11)."""
    server = await house.http()
    async with client(server, token="wrong") as web:
        for _ in range(20):
            assert (await web.post(URL, content=b"{}", headers=JSON)).status_code == 401
    assert len(store.steps) == 1


# --- MLLP -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "answered"),
    [("good", "AA"), ("rotated", None), ("stranger", "AR"), *((bad, None) for bad in BAD), (None, None)],
)
async def test_client_certificates_over_mllps(
    house: House, certificates: Certificates, who: str | None, answered: str | None
) -> None:
    """Mutual TLS on MLLP, with MSH-3 and MSH-4 checked beside the certificate where they are configured."""
    crl = str(certificates.folder / "revoked.crl")
    server = await house.mllp(tls=certificates.tls(client_optional=False, crl=crl))
    try:
        peer = await Peer.connect(server, ssl=certificates.client(who), server_hostname="localhost")
        answer = await peer.ask(adt())
    except (OSError, asyncio.IncompleteReadError):
        answer = None
    if who == "rotated":  # sender two: known by subject, but MSH-3 must be LAB
        assert msa(answer)[0] == "AR"
        peer = await Peer.connect(server, ssl=certificates.client(who), server_hostname="localhost")
        assert msa(await peer.ask(adt(application="LAB")))[0] == "AA"
    else:
        assert (answer and msa(answer)[0]) == answered


def on_mllp(id: str, application: str, *addresses: str, plaintext: bool = False, facility: str | None = None) -> Sender:
    source = MllpSource(addresses=addresses, application=application, facility=facility, plaintext=plaintext)
    return Sender(id=id, programmes=("p",), mllp=(source,))


SENDERS = (
    on_mllp("loop", "A", facility="F"),
    on_mllp("plain", "B", "192.0.2.0/24", plaintext=True),
    on_mllp("secure", "C", "198.51.100.0/24"),
    on_mllp("six", "D", "2001:db8::/32", plaintext=True),
    on_mllp("twin1", "T"),
    on_mllp("twin2", "T"),
)


@pytest.mark.parametrize(
    ("host", "application", "facility", "sender"),
    [
        ("127.0.0.1", "A", "F", "loop"),
        ("::1", "A", "F", "loop"),
        ("::ffff:127.0.0.1", "A", "F", "loop"),
        ("127.0.0.1", "A^1.2.3^ISO", "F", "loop"),
        ("127.0.0.1", "A", "G", None),
        ("127.0.0.1", "", "", None),
        ("192.0.2.7", "A", "F", None),  # loopback source from elsewhere
        ("192.0.2.7", "B", "", "plain"),
        ("::ffff:192.0.2.7", "B", "", "plain"),
        ("192.0.3.7", "B", "", None),
        ("198.51.100.7", "C", "", None),  # not marked plaintext
        ("2001:db8::7", "D", "", "six"),
        ("127.0.0.1", "T", "", None),  # two senders fit: nobody is guessed
        ("", "A", "F", None),
    ],
)
def test_plain_sources(host: str, application: str, facility: str, sender: str | None) -> None:
    """Plain text is taken from loopback, or from an address that a sender's entry names with plaintext = true."""
    identities = Identities(SENDERS)
    if sender is None:
        with pytest.raises(NotAllowed):
            identities.over_mllp(None, host, application, facility, NOW)
    else:
        assert identities.over_mllp(None, host, application, facility, NOW).id == sender


def test_a_certificate_is_asked_for_its_validity_at_each_message() -> None:
    """Connections outlive certificates."""
    found = Certificate("ab" * 32, "CN=x", NOW, NOW + timedelta(days=1), 1, "CN=ca")
    identities = Identities((Sender(id="one", programmes=(), certificates=("ab" * 32,)),))
    assert identities.by_certificate(found, NOW).id == "one"
    for late in (NOW + timedelta(days=2), NOW - timedelta(seconds=1)):
        with pytest.raises(NotAllowed):
            identities.by_certificate(found, late)


A = Sender(id="a", programmes=())
B = Sender(id="b", programmes=())
change = msgspec.structs.replace


@pytest.mark.parametrize(
    "senders",
    [
        (change(A, token_sha256=("ab" * 32,)), change(B, token_sha256=("AB" * 32,))),
        (change(A, certificates=("cd" * 32,)), change(B, certificates=("cd" * 32,))),
        (change(A, subjects=("CN=x",)), change(B, subjects=("CN=x",))),
        (change(A, subjects=("not a name",)),),
        (A, A),
        (change(A, token_sha256=("a-token-in-clear",)),),
        (on_mllp("a", "X", "not-a-network"),),
        (on_mllp("a", "X", plaintext=True),),
        (on_mllp("a", "", "192.0.2.0/24", plaintext=True),),
    ],
)
def test_settings_that_cannot_tell_senders_apart_are_refused_at_start(senders: tuple[Sender, ...]) -> None:
    """Shared credentials, secrets in clear, and plaintext without address and name."""
    with pytest.raises(Misconfigured):
        Identities(senders)


def test_addresses() -> None:
    """IPv4 inside IPv6 is IPv4; zones are ignored; names are no addresses."""
    assert str(address("::ffff:192.0.2.1")) == "192.0.2.1"
    assert str(address("fe80::1%eth0")) == "fe80::1"
    assert address("example") is None
    assert loopback("localhost")
    assert loopback("127.8.8.8")
    assert not loopback("0.0.0.0")


def test_plain_text_off_loopback_does_not_start() -> None:
    """A listener on all addresses without TLS is refused, except where a sender is marked plaintext."""
    with pytest.raises(Misconfigured):
        tls.server_context(None, "0.0.0.0")
    assert tls.server_context(None, "0.0.0.0", plaintext_allowed=True) is None
    assert tls.server_context(None, "127.0.0.1") is None


def test_tls_settings_that_check_nobody_are_refused(certificates: Certificates) -> None:
    """A CRL without a CA, and files that are not what they should be."""
    with pytest.raises(Misconfigured):
        tls.context(certificates.tls(client_ca=None, crl=str(certificates.folder / "empty.crl")))
    for wrong in ("certificate", "key", "client_ca", "crl"):
        with pytest.raises(Misconfigured):
            tls.context(certificates.tls(**{wrong: __file__}))
