"""ModI behind an authorisation server: vouchers are asked for once, kept, renewed, and never written down."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from deliver_world import QUICK, Memory, destination, exchange, routed, running, tools, until
from regional_samples import AUDIENCE, MESSAGE
from structlog.testing import capture_logs

from gateway.clock import FixedClock, SystemClock
from gateway.deliver import wires
from gateway.deliver.dispatcher import Dispatcher
from gateway.deliver.oauth import Vouchers
from gateway.errors import Misconfigured
from gateway.formats import json
from gateway.network import Outbound
from gateway.ports import NotSent
from gateway.settings import Destination, Key, Peer
from gateway.sign import dev_ca
from gateway.sign.dev_ca import Manifest
from gateway.sign.keyring import KeyRing
from gateway.sign.requests import credentials_for, request_signer_for
from gateway.simulate.arrivals import ArrivalLog
from gateway.simulate.cart import Cart
from gateway.simulate.server import Running, Tls
from gateway.simulate.vouchers import VoucherDesk


@pytest.fixture(scope="module")
def made(tmp_path_factory: Any) -> Manifest:
    return dev_ca.make(tmp_path_factory.mktemp("modi") / "ca")


@pytest.fixture
def ring(made: Manifest) -> KeyRing:
    return KeyRing({"k": Key(certificate=str(made.signer.certificate), key=str(made.signer.key))})


def place(url: str, **more: str) -> Destination:
    options = {
        "success": "$.resourceType = Bundle",
        "media_type": "application/fhir+json",
        "receipt_header.cart": "X-CART-id",
        "secure": "modi-integrity",
        "audience": AUDIENCE,
        "oauth_url": f"{url}/token.oauth2",
        "oauth_client": "client-1",
        "oauth_kid": "kid-1",
        "oauth_purpose": "purpose-1",
        "oauth_audience": AUDIENCE,
        "reconcile_seconds": "0",
        **more,
    }
    kept = {name: value for name, value in options.items() if value}
    return destination(protocol="signed-rest", url=f"{url}/prenotazioni", signing_key="k", options=kept)


def desk(made: Manifest, seconds: int = 600) -> VoucherDesk:
    certificate = x509.load_pem_x509_certificates(made.signer.certificate.read_bytes())[0]
    return VoucherDesk({"client-1": ("kid-1", certificate)}, AUDIENCE, seconds)


async def deliver(
    store: Memory, where: Destination, ring: KeyRing, network: Any, count: int = 1, clock: Any = None
) -> None:
    wire = wires.make(
        where,
        network,
        request_signer=request_signer_for(where, ring),
        credentials=credentials_for(where, ring),
        clock=clock or SystemClock(),
    )
    many = [exchange(f"e{n}", subject=f"s-{n}", case=f"c-{n}") for n in range(count)]
    await store.commit(routed(*many, body=MESSAGE))
    async with running(Dispatcher([where], {"d": wire}, tools(store))):
        await until(lambda: all(state not in ("due", "claimed", "in_flight") for state in store.states().values()), 10)


async def test_a_service_behind_vouchers_and_mutual_tls(made: Manifest, ring: KeyRing, memory: Memory) -> None:
    """One voucher for many messages, integrity verified by joserfc, and the number that CART gave is kept."""
    log = ArrivalLog(made.folder / "one.jsonl")
    cart = Cart(log, ca=made.ca, audience=AUDIENCE, dialect="modi", desk=desk(made))
    tls = Tls(made.server.certificate, made.server.key, made.ca)
    async with Running(cart, tls=tls) as server:
        client = made.clients["sender"]
        there = Peer(origin=server.url, ca=str(made.ca), certificate=str(client.certificate), key=str(client.key))
        network = Outbound({"peer": there})
        with capture_logs() as lines:
            await deliver(memory, place(server.url), ring, network, 5)
        await network.aclose()
    assert set(memory.states().values()) == {"delivered"}
    assert sum(each.path == "/token.oauth2" for each in log.arrivals) == 1
    assert len({value for (_, _, name), value in memory.kept.items() if name == "cart"}) == 5
    for token in cart._desk.given:  # type: ignore[union-attr]
        assert all(token not in str(line) for line in lines)
        tries = [attempt for kept in memory.tries.values() for attempt in kept.values()]
        assert all(
            token.encode() not in each.request and b"authorization" not in each.request.lower() for each in tries
        )


async def test_without_our_certificate_nothing_is_reached(made: Manifest, ring: KeyRing, memory: Memory) -> None:
    """The channel is mutual (ID_AUTH_CHANNEL_02): no voucher is even asked for."""
    log = ArrivalLog(None)
    cart = Cart(log, ca=made.ca, audience=AUDIENCE, dialect="modi", desk=desk(made))
    async with Running(cart, tls=Tls(made.server.certificate, made.server.key, made.ca)) as server:
        network = Outbound({"peer": Peer(origin=server.url, ca=str(made.ca))})
        where = msgspec.structs.replace(place(server.url), retry=msgspec.structs.replace(QUICK, budget=1))
        await deliver(memory, where, ring, network)
        await network.aclose()
    assert memory.states() == {"e0": "parked"}
    assert not log.arrivals


async def test_a_voucher_that_is_no_longer_taken_is_renewed_at_once(
    made: Manifest, ring: KeyRing, memory: Memory
) -> None:
    """The server forgot it before its end: a 401 was not processed, so the same bytes go with a new one."""
    log, vouchers = ArrivalLog(None), desk(made)
    cart = Cart(log, ca=made.ca, audience=AUDIENCE, dialect="modi", desk=vouchers)
    async with Running(cart) as server:
        network = Outbound({"peer": Peer(origin=server.url, plaintext=True)})
        where = place(server.url)
        wire = wires.make(
            where, network, request_signer=request_signer_for(where, ring), credentials=credentials_for(where, ring)
        )
        await memory.commit(routed(exchange("e1", subject="s-1"), body=MESSAGE))
        async with running(Dispatcher([where], {"d": wire}, tools(memory))):
            await until(lambda: memory.states()["e1"] == "delivered", 10)
            vouchers.withdraw()
            await memory.commit(routed(exchange("e2", subject="s-2", case="c-2"), body=MESSAGE))
            await until(lambda: memory.states()["e2"] == "delivered", 10)
        await network.aclose()
    assert [each.path for each in log.arrivals].count("/token.oauth2") == 2
    assert len(memory.tries["e2"]) == 1


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"oauth_client": "stranger"}, "GW-DELIVER-035"),
        ({"oauth_kid": "other"}, "GW-DELIVER-035"),
        ({"oauth_audience": "https://other.invalid"}, "GW-DELIVER-035"),
    ],
)
async def test_a_client_that_is_refused_sends_nothing(
    made: Manifest, ring: KeyRing, memory: Memory, more: dict[str, str], code: str
) -> None:
    """And the reason is a code of its own, not a message that is said to be lost."""
    log = ArrivalLog(None)
    cart = Cart(log, ca=made.ca, audience=AUDIENCE, dialect="modi", desk=desk(made))
    async with Running(cart) as server:
        network = Outbound({"peer": Peer(origin=server.url, plaintext=True)})
        where = msgspec.structs.replace(place(server.url, **more), retry=msgspec.structs.replace(QUICK, budget=1))
        await deliver(memory, where, ring, network)
        await network.aclose()
    assert memory.states() == {"e0": "parked"}
    assert code in memory.tries["e0"]["e0-1"].codes
    assert {each.path for each in log.arrivals} == {"/token.oauth2"}


# --- the cache, without sockets ----------------------------------------


class Credentials:
    url, peer = "https://auth.invalid/token", "auth"

    def form(self, at: datetime) -> Mapping[str, str]:
        return {"grant_type": "client_credentials", "client_id": "c"}


class Desk:
    """A network that gives numbered tokens, or what it is told to."""

    def __init__(self, *answers: tuple[int, str, bytes]) -> None:
        self.asked, self._answers = 0, list(answers)

    async def request(self, peer: str, method: str, url: str, headers: Any, body: bytes, timeout: float) -> Any:
        self.asked += 1
        await asyncio.sleep(0)
        status, media, said = 200, "application/json", b""
        if self._answers:
            status, media, said = self._answers[min(self.asked, len(self._answers)) - 1]
        else:
            said = json.write({"access_token": f"t{self.asked}", "token_type": "Bearer", "expires_in": 100})
        return type("R", (), {"status": status, "headers": {"content-type": media}, "body": said})()


def vouchers(net: Desk, clock: Any) -> Vouchers:
    return Vouchers(Credentials(), net, clock, 5.0)  # type: ignore[arg-type]


async def test_a_token_is_kept_until_shortly_before_its_end() -> None:
    """A tenth of its life before, and by a clock that no one sets."""
    clock, net = FixedClock(datetime(2026, 1, 1, tzinfo=UTC)), Desk()
    one = vouchers(net, clock)
    first = await one.get()
    clock.advance(timedelta(seconds=89))
    assert (await one.get()).token == first.token
    clock.advance(timedelta(seconds=2))
    assert (await one.get()).token != first.token
    assert first.token not in repr(first)


async def test_many_at_once_ask_once() -> None:
    """However many lanes need it."""
    net = Desk()
    one = vouchers(net, SystemClock())
    assert len({(await each).token for each in [asyncio.ensure_future(one.get()) for _ in range(20)]}) == 1
    assert net.asked == 1


async def test_a_token_that_was_just_given_is_not_asked_for_again() -> None:
    """Else a destination that refuses every token would make two requests of each message for ever."""
    one = vouchers(Desk(), SystemClock())
    fresh = await one.get()
    assert not one.spoiled(fresh)
    used = await one.get()
    assert used.token != fresh.token, "what was refused is not given out again"
    assert one.spoiled(await one.get())


@pytest.mark.parametrize(
    ("status", "media", "said", "code"),
    [
        (200, "text/html", b"<html>", "GW-DELIVER-034"),
        (200, "application/json", b"", "GW-DELIVER-034"),
        (200, "application/json", b"[]", "GW-DELIVER-034"),
        (200, "application/json", b'{"access_token":"a","token_type":"mac"}', "GW-DELIVER-034"),
        (200, "application/json", b'{"access_token":"a b","token_type":"Bearer"}', "GW-DELIVER-034"),
        (200, "application/json", b'{"access_token":"a\\r\\nX: y","token_type":"Bearer"}', "GW-DELIVER-034"),
        (200, "application/json", b'{"access_token":7,"token_type":"Bearer"}', "GW-DELIVER-034"),
        (500, "application/json", b'{"access_token":"a","token_type":"Bearer"}', "GW-DELIVER-034"),
        (302, "text/html", b"", "GW-DELIVER-034"),
        (400, "application/json", b'{"error":"invalid_client"}', "GW-DELIVER-035"),
        (401, "application/json", b"", "GW-DELIVER-035"),
    ],
)
async def test_what_is_no_token_is_none(status: int, media: str, said: bytes, code: str) -> None:
    """Nothing has left, so it is always safe to try again."""
    with pytest.raises(NotSent) as caught:
        await vouchers(Desk((status, media, said)), SystemClock()).get()
    assert caught.value.args == (code,)


def test_settings_of_a_voucher_are_looked_at_when_the_gateway_starts(ring: KeyRing, tmp_path: Path) -> None:
    """A secret is read when it is needed, from a file or the environment, and stands in no settings file."""
    with pytest.raises(Misconfigured):
        credentials_for(place("https://a.invalid", oauth_purpose=""), ring)
    assert credentials_for(place("https://a.invalid", oauth_url=""), ring) is None
    (tmp_path / "secret").write_text("hidden\n")
    where = place("https://a.invalid", oauth_secret=str(tmp_path / "secret"), oauth_scope="cup")
    found = credentials_for(where, ring)
    assert found is not None
    form = found.form(datetime.now(UTC))
    assert form["client_secret"] == "hidden"
    assert form["scope"] == "cup"
    assert "client_assertion" not in form
