"""Trust on a running site: a rotation while messages flow, the doctor over HTTP, ends of certificates in the status."""

from __future__ import annotations

import asyncio
import base64
import ssl
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID as Eku

from gateway.cli import main
from gateway.commands.demo_inputs import registry
from gateway.commands.site import FACILITY, SYSTEM, Plan, Site
from gateway.formats import json
from gateway.settings import Key
from gateway.sign import jws
from gateway.sign.dev_ca import Authority, name, pem
from gateway.sign.keys import KeyHandle, open_key

ROOT = Path(__file__).parents[3]
STAY = (ROOT / "mappings" / "sepas" / "samples" / "stay.json").read_bytes()
ORGANISATION = "Throw-away test authority"
TESTER = f"""
[[sender]]
id = "tester-1"
role = "tester"
language = "it"
programmes = ["sepas"]
subjects = ["CN=Test tester,O={ORGANISATION}"]
"""


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with Site(tmp_path, Plan(home=ROOT, workers=1, answer_within=0, extra=TESTER)) as made:
        await made.start()
        await made.prepare(registry(ROOT))
        yield made


def authority(site: Site) -> Authority:
    """The site's own, as `certs dev-ca` left it."""
    folder = site.folder / "ca"
    return Authority(open_key(Key(certificate=str(folder / "ca.pem"), key=str(folder / "ca.key.pem"))))


def saved(folder: Path, handle: KeyHandle) -> tuple[Path, Path]:
    folder.mkdir(exist_ok=True)
    paths = folder / "new.pem", folder / "new.key.pem"
    paths[0].write_bytes(pem(handle.certificate))
    handle.save(paths[1])
    return paths


async def rotate(site: Site, key: str, pair: tuple[Path, Path], *more: str) -> int:
    words = ["certs", "rotate", key, "--certificate", str(pair[0]), "--private-key", str(pair[1]), *more]
    return await asyncio.to_thread(main, [*words, "--config", str(site.config)])


async def push(site: Site, numbers: range) -> None:
    for number in numbers:
        answer = await site.post("hospital-1", "sepas", "application/json", STAY, idempotency_key=f"rotation-{number}")
        assert answer.status_code in (201, 202), answer.text


def certificates_at(site: Site) -> list[str]:
    """The certificate digest of the evidence of each document that medcare got, in order, once each."""
    lines = site.logs["medcare"].read_text(encoding="utf-8").splitlines()
    found: list[str] = []
    for line in lines:
        token = _find(json.read(line.encode()), "x-jws-signature")
        if token is None:
            continue
        digest = str(jws.header_of(token)["x5t#S256"])
        if digest not in found:
            found.append(digest)
    return found


def _find(value: Any, wanted: str) -> str | None:
    if isinstance(value, dict):
        for key, each in value.items():
            if key.lower() == wanted and isinstance(each, str):
                return each
            if (inside := _find(each, wanted)) is not None:
                return inside
    if isinstance(value, list):
        for each in value:
            if isinstance(each, list) and len(each) == 2 and str(each[0]).lower() == wanted:
                return str(each[1])
            if (inside := _find(each, wanted)) is not None:
                return inside
    return None


async def test_keys_rotate_while_messages_flow_and_nothing_is_refused(site: Site) -> None:
    """Rehearsed first, then done without a restart: what was signed before and after is accepted by every peer."""
    now = datetime.now(UTC)
    ours = authority(site)
    use: dict[str, Any] = {"usage": "sign", "ekus": (Eku.EMAIL_PROTECTION,)}
    evidence = saved(site.folder / "evidence2", ours.issue(name("Test evidence two"), "p256", now, **use))
    signer = ours.issue(name("Test Signer-Two", unit=FACILITY, title=SYSTEM), "rsa2048", now, **use)
    token = saved(site.folder / "token2", signer)
    stranger = Authority.create("Test stranger", now).issue(name("Test stranger"), "p256", now, **use)
    foreign = saved(site.folder / "foreign", stranger)
    before = site.ca.evidence.certificate.read_bytes()
    assert await rotate(site, "evidence", foreign, "--rehearse") == 1  # its authority is no anchor of ours
    assert await rotate(site, "evidence", evidence, "--rehearse") == 0
    assert site.ca.evidence.certificate.read_bytes() == before  # a rehearsal changes nothing
    assert await rotate(site, "evidence", foreign) == 1
    assert site.ca.evidence.certificate.read_bytes() == before  # nor does a rotation that something speaks against
    await push(site, range(2))
    assert await site.quiet(60)
    flowing = asyncio.create_task(push(site, range(2, 12)))
    assert await rotate(site, "evidence", evidence) == 0
    assert await rotate(site, "token", token) == 0
    await flowing
    await push(site, range(12, 16))
    assert await site.quiet(60)
    states = {(s["thing"], s["state"]): s["count"] for s in await site.ask("status")}
    # The same stay again is a new version of its case: one that had not left yet may have been overtaken.
    ended = states.get(("exchange", "delivered"), 0) + states.get(("exchange", "superseded"), 0)
    assert ended >= 16, states
    assert states.get(("exchange", "delivered"), 0) >= 6, states
    for bad in ("rejected", "parked", "unknown", "held"):
        assert states.get(("exchange", bad), 0) == 0, states
    assert len(certificates_at(site)) == 2  # the old one and the new one, both taken


async def test_the_doctor_answers_testers_and_nobody_else(site: Site, tmp_path: Path) -> None:
    """In the reader's language; the faulty token is described, a hospital's own certificate is not enough."""
    now = datetime.now(UTC)
    pair = saved(tmp_path / "tester", authority(site).client("Test tester", now))
    context = ssl.create_default_context(cafile=str(site.ca.ca))
    context.load_cert_chain(*pair)
    part = base64.urlsafe_b64encode(b'{"alg":"RS256","typ":"JWT","x5c":"MIIB"}').rstrip(b"=").decode()
    claims = base64.urlsafe_b64encode(b'{"iat":%d}' % int(time.time() * 1000)).rstrip(b"=").decode()
    shown = {"token": f"{part}.{claims}.AAAA", "message": base64.b64encode(b"\xef\xbb\xbf{}").decode()}
    url = f"https://127.0.0.1:{site.http_port}/doctor"
    async with httpx.AsyncClient(verify=context, trust_env=False) as client:
        answer = await client.post(url, content=json.write(shown), headers={"accept-language": "it"})
        assert answer.status_code == 200, answer.text
        found = {each["code"]: each["text"] for each in answer.json()["findings"]}
        assert {"GW-SIGN-102", "GW-SIGN-107", "GW-SIGN-114"} <= found.keys()
        assert "millisecondi" in found["GW-SIGN-107"]
        clean = await client.post(url, content=b"{}")
        assert [each["code"] for each in clean.json()["findings"]] == ["GW-SIGN-131"]
        for rubbish in (b"", b"[]", b'{"tokn":""}', b'{"token":"a","token":"b"}', b'{"message":"%%"}'):
            assert (await client.post(url, content=rubbish)).status_code == 400, rubbish
    async with httpx.AsyncClient(verify=site.client_tls("hospital-1"), trust_env=False) as client:
        assert (await client.post(url, content=b"{}")).status_code == 403


async def test_ends_of_certificates_are_in_the_status(site: Site) -> None:
    """The demonstration's certificates live for 30 days: each is named by its place in the settings."""
    (line,) = [s for s in await site.ask("status") if s["thing"] == "certificate"]
    assert line["state"] == "ends-within-30"
    assert set(line["names"]) == {"key.evidence", "key.token", "http", "mllp.0"}


async def test_a_sender_whose_certificate_is_withdrawn_is_refused_without_a_restart(site: Site) -> None:
    """`gateway certs revoke` holds before the authority says so."""
    await push(site, range(1))
    words = ["certs", "revoke", str(site.ca.clients["hospital-1"].certificate), "--config", str(site.config)]
    assert await asyncio.to_thread(main, words) == 0
    with pytest.raises(httpx.TransportError):
        await push(site, range(1, 2))
    assert "GW-SIGN-028" in site.log_path.read_text(encoding="utf-8")


async def test_the_site_refuses_everybody_when_its_lists_are_out_of_date_until_a_grace_is_recorded(site: Site) -> None:
    """Unknown status is a refusal in both directions; an operator's record lifts it until its end."""
    now = datetime.now(UTC)
    stale = authority(site).crl(now - timedelta(days=3), valid=timedelta(days=1))
    site.ca.crl.write_bytes(stale)
    with pytest.raises(httpx.TransportError):
        await push(site, range(1))
    words = ["certs", "grace", "--hours", "1", "--by", "Test Operator-One", "--reason", "list server is down"]
    assert await asyncio.to_thread(main, [*words, "--config", str(site.config)]) == 0
    await push(site, range(1, 2))
    assert await site.quiet(30)
    states = {(s["thing"], s["state"]): s["count"] for s in await site.ask("status")}
    assert states.get(("exchange", "delivered"), 0) >= 1, states
