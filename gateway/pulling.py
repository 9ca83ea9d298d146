"""Mounting the FHIR API for repositories that pull: who asks, by which certificate or token, over which ledger."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from gateway import pull
from gateway.audit import events
from gateway.clock import Clock
from gateway.idkey import id_key
from gateway.pull import Definitions
from gateway.receive.identity import Identities, certificate_in
from gateway.receive.tls import Revocation
from gateway.settings import Http, Sender, Settings
from gateway.sign import jws
from gateway.store import Ledger


def definitions(settings: Settings) -> Definitions | None:
    """The search parameters of the installation; None where nobody pulls."""
    return pull.load(Path(settings.home), settings.programmes) if settings.pull is not None else None


def mount(app: FastAPI, settings: Settings, ledger: Ledger, known: Definitions | None, clock: Clock) -> None:
    """Put the API under its path, behind the routes that are there already. Nothing where there is no [pull]."""
    if settings.pull is None or known is None:
        return
    identities = Identities(settings.sender)
    revocation = Revocation((settings.http or Http()).tls)

    def by_certificate(scope: Mapping[str, Any]) -> Sender | None:
        found = certificate_in(scope)
        revocation.check(found, clock.now(), clock.monotonic())
        return None if found is None else identities.by_certificate(found, clock.now())

    def verify(token: str, key: Any, algorithm: Any) -> Any:
        return jws.verify(token, key, algorithm, understood=(), max_payload=64 * 1024)

    made = pull.make_app(
        settings.pull, settings.sender, ledger, known, clock, events, id_key(settings), by_certificate, verify
    )
    app.router.routes.extend(pull.routes(settings.pull.path, made))
