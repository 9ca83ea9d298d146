"""What is looked after while the gateway runs: revocation information is fetched, and ends of certificates announced.

Lists and answers are fetched from the addresses of [[revocation]] only, into the folder `trust.revocation`, where they
lie with their validity and survive a restart. Ends are announced once as each of 60, 30, 14, 7 and 1 days passes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import structlog
from cryptography import x509

from gateway.clock import Clock, came
from gateway.errors import GatewayError, Misconfigured
from gateway.ports import Network
from gateway.settings import RevocationSource, Settings
from gateway.sign import life, refresh
from gateway.sign.keys import read_certificates
from gateway.sign.refresh import ListSource, ResponderSource, Result
from gateway.sign.revocation import FINGERPRINT

log: Final = structlog.get_logger("gateway.sign")

LOOK_SECONDS: Final = 60.0
Chains = Callable[[], Iterable[tuple[x509.Certificate, ...]]]


class End(msgspec.Struct, frozen=True):
    """When one certificate of the settings ends. `name` is its place in the settings, `days` the whole days left."""

    name: str
    not_after: datetime
    days: int

    @property
    def band(self) -> str:
        """The smallest of 60, 30, 14, 7 and 1 days that it is within; "ended" after its end, empty before 60 days."""
        if self.days < 0:
            return "ended"
        within = [each for each in life.WARN_DAYS if self.days < each]
        return f"ends-within-{min(within)}" if within else ""


def certificates_of(settings: Settings) -> Iterator[tuple[str, x509.Certificate]]:
    """Every certificate that the settings name, with its place; what cannot be read is said by `life.check`."""
    files = {f"trust.{name}": path for name, path in settings.trust.items() if name != "revocation"}
    files |= {f"peer.{name}": peer.certificate for name, peer in settings.peer.items() if peer.certificate}
    listeners = {"http": settings.http, **{f"mllp.{n}": each for n, each in enumerate(settings.mllp)}}
    files |= {name: each.tls.certificate for name, each in listeners.items() if each is not None and each.tls}
    for name, key in settings.key.items():
        try:
            yield f"key.{name}", life.certificate_of(key)
        except GatewayError:
            continue
    for name, path in files.items():
        try:
            found = read_certificates(Path(path))
        except GatewayError:
            continue
        yield from ((name, each) for each in (found if name.startswith("trust.") else found[:1]))


def ends(settings: Settings, now: datetime) -> tuple[End, ...]:
    """When what the settings name ends, the earliest of each place, in the order of their ends."""
    found: dict[str, End] = {}
    for name, each in certificates_of(settings):
        end = each.not_valid_after_utc
        if name not in found or end < found[name].not_after:
            found[name] = End(name, end, (end - now).days)
    return tuple(sorted(found.values(), key=lambda each: each.not_after))


def summary(settings: Settings, now: datetime) -> Mapping[str, tuple[str, ...]]:
    """band -> names, for what ends within 60 days or has ended; the worst first."""
    made: dict[str, list[str]] = {}
    for each in ends(settings, now):
        if each.band:
            made.setdefault(each.band, []).append(each.name)
    return {band: tuple(names) for band, names in made.items()}


class Watch:
    """The rounds of one process. `seen` gives the chains of live peers, for responders to be asked about."""

    def __init__(self, settings: Settings, network: Network, clock: Clock, seen: Chains = tuple) -> None:
        self._settings, self._network, self._clock, self._seen = settings, network, clock, seen
        if settings.revocation and not settings.trust.get("revocation"):
            raise Misconfigured("GW-SIGN-001", what="trust.revocation", detail="[[revocation]] needs that folder")
        self._folder = Path(settings.trust.get("revocation", ""))
        self._looked = datetime.min.replace(tzinfo=UTC)
        self._asked: dict[str, float] = {}
        self._stopping = asyncio.Event()
        self.days: dict[str, float] = {}
        """Days left by place in the settings, as of the last look."""

    async def run(self) -> None:
        """Until `stop`: a look at once, and one each minute."""
        while not self._stopping.is_set():
            await self.look()
            await came(self._stopping, LOOK_SECONDS)

    def stop(self) -> None:
        """End the rounds."""
        self._stopping.set()

    async def look(self) -> Mapping[str, Result]:
        """One round; what became of each fetch that was due."""
        await asyncio.to_thread(self.announce)
        done: dict[str, Result] = {}
        for source in self._settings.revocation:
            if not self._due(source):
                continue
            self._asked[source.name] = self._clock.monotonic()
            try:
                results = [each async for each in self._fetch(source)]
            except (GatewayError, OSError) as fault:  # a full disk, anchors being exchanged: the next round asks again
                log.error("revocation_not_fetched", peer=source.name, error=type(fault).__name__)
                continue
            for name, result in results:
                done[name] = result
                level = log.info if result in ("fresh", "unchanged") else log.warning
                level("revocation_fetched", peer=name, reason=result)
        return done

    def announce(self) -> None:
        """Log each certificate whose end has come nearer than one of the warnings since the last look."""
        now = self._clock.now()
        days: dict[str, float] = {}
        for name, each in certificates_of(self._settings):
            left = (each.not_valid_after_utc - now).total_seconds() / 86_400
            days[name] = min(left, days.get(name, left))
            passed = life.announced(each, self._looked, now)
            if passed is not None:
                log.warning("certificate_ends", certificate=name, days=int(left), code="GW-SIGN-132")
        self.days.clear()
        self.days.update(days)
        self._looked = now

    # --- fetching ----------------------------------------

    def _due(self, source: RevocationSource) -> bool:
        asked = self._asked.get(source.name)
        if asked is None or self._clock.monotonic() - asked >= source.seconds:
            return True
        stale = source.kind == "crl" and refresh.due(self._folder, source.name, self._clock.now())
        return stale and self._clock.monotonic() - asked >= min(source.seconds, LOOK_SECONDS)

    def _issuers(self, source: RevocationSource) -> list[x509.Certificate]:
        trust = self._settings.trust
        files = [source.anchors] if source.anchors else [p for name, p in trust.items() if name != "revocation"]
        return [each for file in dict.fromkeys(files) for each in read_certificates(Path(file))]

    async def _fetch(self, source: RevocationSource) -> AsyncIterator[tuple[str, Result]]:
        issuers = self._issuers(source)
        if source.kind == "crl":
            one = ListSource(name=source.name, peer=source.peer, url=source.url)
            yield source.name, await refresh.fetch_list(one, self._network, self._folder, issuers)
            return
        other = ResponderSource(name=source.name, peer=source.peer, url=source.url)
        for certificate, issuer in self._questions(issuers):
            result = await refresh.fetch_status(other, self._network, self._folder, certificate, issuer)
            yield f"{source.name}-{certificate.serial_number:x}", result

    def _questions(self, issuers: list[x509.Certificate]) -> Iterator[tuple[x509.Certificate, x509.Certificate]]:
        """Our own certificates and those of live peers, as far as one of the issuers issued them."""
        chains = [(each,) for _, each in certificates_of(self._settings)] + [tuple(c) for c in self._seen()]
        asked: set[bytes] = set()
        for certificate in (each for chain in chains for each in chain):
            issuer = next((i for i in issuers if i.subject == certificate.issuer and i != certificate), None)
            mark = certificate.fingerprint(FINGERPRINT)
            if issuer is not None and mark not in asked:
                asked.add(mark)
                yield certificate, issuer
