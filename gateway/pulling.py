"""The FHIR API for repositories that pull, put together: who asks, by which certificate or token, over which ledger.

It is mounted on the HTTP listener; its subscriptions are told by every process that has [pull], each its share.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import structlog
from fastapi import FastAPI

from gateway import pull
from gateway.audit import events
from gateway.clock import Clock, came
from gateway.errors import GatewayError
from gateway.idkey import id_key
from gateway.message import Step, StoredResource
from gateway.ports import Network
from gateway.pull import Definitions, topics
from gateway.receive.identity import Identities, certificate_in
from gateway.receive.tls import Revocation
from gateway.settings import Http, Sender, Settings
from gateway.sign import jws
from gateway.store import Ledger

_log = structlog.get_logger()

IDLE_SECONDS: Final = 1.0
"""How long nothing is looked for where nothing was committed here: pauses end, and others commit too."""

GATHER_SECONDS: Final = 0.05
"""After a commit, so that what comes together is told together."""


def definitions(settings: Settings) -> Definitions | None:
    """The search parameters of the installation; None where nobody pulls."""
    return pull.load(Path(settings.home), settings.programmes) if settings.pull is not None else None


class Pulling:
    """The API and its notifier; `known` are the definitions of the ledger. Raises `Misconfigured`."""

    def __init__(self, settings: Settings, ledger: Ledger, known: Definitions, clock: Clock, network: Network) -> None:
        assert settings.pull is not None
        self._path, self._stopping, self._rang = settings.pull.path, False, asyncio.Event()
        identities = Identities(settings.sender)
        revocation = Revocation((settings.http or Http()).tls)

        def by_certificate(scope: Mapping[str, Any]) -> Sender | None:
            found = certificate_in(scope)
            revocation.check(found, clock.now(), clock.monotonic())
            return None if found is None else identities.by_certificate(found, clock.now())

        def verify(token: str, key: Any, algorithm: Any) -> Any:
            return jws.verify(token, key, algorithm, understood=(), max_payload=64 * 1024)

        self._api = pull.make_api(
            settings.pull,
            settings.sender,
            ledger,
            known,
            clock,
            events,
            id_key(settings),
            by_certificate,
            verify,
            settings.peer,
            topics.read(Path(settings.home), settings.programmes),
        )
        self._api.rang = self._rang.set
        self._notifier = pull.Notifier(self._api, network, ledger.share)

    def mount(self, app: FastAPI) -> None:
        """Put the API under its path, behind the routes that are there already."""
        app.router.routes.extend(pull.routes(self._path, pull.make_app(self._api)))

    def committed(self, step: Step) -> None:
        """A step is durable: subscribers may want to hear of it."""
        if any(isinstance(each, StoredResource) for each in step.writes):
            self._rang.set()

    async def run(self) -> None:
        """Tell subscribers until `stop`."""
        while not self._stopping:
            self._rang.clear()
            try:
                busy = await self._notifier.round()
            except GatewayError as fault:
                _log.error("subscriptions_not_told", code=fault.code)
                busy = False
            if not busy and not self._stopping:
                await self._rest()
        await self._notifier.stop()

    async def _rest(self) -> None:
        if await came(self._rang, IDLE_SECONDS):
            await asyncio.sleep(GATHER_SECONDS)

    def stop(self) -> None:
        """End `run`. What is on its way is broken off, and still owed."""
        self._stopping = True
        self._rang.set()
