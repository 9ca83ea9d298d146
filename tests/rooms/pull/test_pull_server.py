"""On a real socket with real certificates: mutual TLS, mounted as the gateway mounts it."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from pull_house import DEFINITIONS, KEY, House, patient, verify
from starlette.applications import Starlette
from starlette.routing import Mount

from gateway import pull
from gateway.audit import events
from gateway.clock import SystemClock
from gateway.receive.identity import Identities, certificate_in
from gateway.receive.server import HttpServer
from gateway.settings import Http, Pull, Repository, Sender, Tls
from gateway.sign.dev_ca import Authority, pem


def saved(folder: Path, name: str, handle: Any) -> tuple[Path, Path]:
    (folder / f"{name}.pem").write_bytes(pem(handle.certificate))
    handle.save(folder / f"{name}.key")
    return folder / f"{name}.pem", folder / f"{name}.key"


async def test_a_certificate_is_a_repository(home: House, tmp_path: Path) -> None:
    """The certificate alone decides what is seen; none of ours sees nothing."""
    await home.put(patient("a"))
    now = datetime.now(UTC)
    authority = Authority.create("Test authority", now)
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    server = saved(tmp_path, "server", authority.server("localhost", now))
    ours = saved(tmp_path, "ours", authority.client("Test Repository-One", now))
    stranger = saved(tmp_path, "stranger", authority.client("Test Stranger", now))
    fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(ours[0].read_text())).hexdigest()
    sender = Sender(id="north", programmes=("first",), role="repository", certificates=(fingerprint,))
    identities, clock = Identities((sender,)), SystemClock()

    def by_certificate(scope: Mapping[str, Any]) -> Sender | None:
        found = certificate_in(scope)
        return None if found is None else identities.by_certificate(found, clock.now())

    settings = Pull(repository=(Repository(sender="north"),))
    api = pull.make_api(settings, (sender,), home.ledger, DEFINITIONS, clock, events, KEY, by_certificate, verify, {})
    app = pull.make_app(api)
    tls = Tls(certificate=str(server[0]), key=str(server[1]), client_ca=str(tmp_path / "ca.pem"))
    running = HttpServer(Starlette(routes=[Mount("/fhir", app=app)]), Http(port=0, tls=tls))
    await running.start()
    try:
        for who, status in ((ours, 200), (stranger, 401)):
            context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
            context.load_cert_chain(*map(str, who))
            async with httpx.AsyncClient(verify=context, base_url=f"https://localhost:{running.port}/fhir/") as client:
                answer = await client.get("Patient/a")
                assert answer.status_code == status, answer.text
                if status == 200:
                    page = (await client.get("Patient?_count=1&_total=none")).json()
                    assert page["entry"][0]["fullUrl"] == f"https://localhost:{running.port}/fhir/Patient/a"
    finally:
        await running.stop()
