"""Who may ask, and for what: mutual TLS, and SMART backend services (SMART App Launch 2.2, "Backend Services").

A repository is a sender with the role `repository` and an entry under `[[pull.repository]]`. It sees its programmes,
within the days of its entry. An access token is sealed, names one repository and its granted scopes, and lives for
minutes; what it may see is looked up again with each request, so an entry that is taken away ends its tokens too.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
from starlette.requests import Request

from gateway.clock import Clock
from gateway.errors import GatewayError, Misconfigured, NotAllowed, Refused
from gateway.formats import json
from gateway.formats.search import Scope
from gateway.message import Language
from gateway.pull import jwks
from gateway.pull.seal import Seal
from gateway.pull.sharing import Sharing
from gateway.settings import Pull, Repository, Sender

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_SECONDS: Final = 300
_SKEW: Final = 5
_SCOPE: Final = re.compile(r"system/(\*|[A-Z][A-Za-z]+)\.(read|write|\*|c?r?u?d?s?)", re.ASCII)
_V1: Final = {"read": "rs", "write": "cud", "*": "cruds"}
SUBSCRIPTION: Final = "Subscription"

ByCertificate = Callable[[Mapping[str, Any]], Sender | None]
"""The sender of an ASGI connection's client certificate; None without one. Raises `NotAllowed`."""

Verify = Callable[[str, Any, str], tuple[Mapping[str, Any], bytes]]
"""Header and payload of a compact JWS, once its signature holds with exactly that public key and algorithm."""


class Memory(Protocol):
    """Token ids that were used (`Store.remember`)."""

    def remember(self, kind: str, value: str, expires: datetime) -> Awaitable[bool]: ...


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """A repository that may ask. `granted` maps a type, or "*", to letters: r to read, s to search (and c, u, d)."""

    id: str
    scope: Scope
    granted: Mapping[str, str]
    language: Language = "en"

    def may(self, type: str, what: str) -> bool:
        """Whether one of the scopes gives this."""
        return what in self.granted.get("*", "") or what in self.granted.get(type, "")

    def need(self, type: str, what: str) -> None:
        """The same, or `NotAllowed`."""
        if not self.may(type, what):
            raise NotAllowed("GW-PULL-002")


def granted(scopes: Sequence[str]) -> dict[str, str]:
    """Letters by type. Only a Subscription can be created, updated and deleted here, whatever else a scope names."""
    found: dict[str, str] = {}
    for each in scopes:
        match = _SCOPE.fullmatch(each)
        if match is None:
            continue
        type, letters = match[1], _V1.get(match[2], match[2])
        _grant(found, type, "".join(x for x in letters if x in "rs"))
        if type in ("*", SUBSCRIPTION):
            _grant(found, SUBSCRIPTION, "".join(x for x in letters if x in "cud"))
    return found


def _grant(found: dict[str, str], type: str, letters: str) -> None:
    """In the order in which SMART wants them: cruds."""
    if letters:
        both = found.get(type, "") + letters
        found[type] = "".join(each for each in "cruds" if each in both)


def narrow(asked: Mapping[str, str], allowed: Mapping[str, str]) -> dict[str, str]:
    """What of the asked scopes is allowed."""
    found: dict[str, str] = {}
    for type, letters in asked.items():
        for other, theirs in allowed.items():
            if type in (other, "*") or other == "*":
                _grant(found, other if type == "*" else type, "".join(x for x in letters if x in theirs))
    return found


class _Known(msgspec.Struct, frozen=True):
    sender: Sender
    entry: Repository
    keys: Mapping[str, jwks.Key]


class Access:
    """Every configured repository. Raises `Misconfigured` for an entry without its sender, or unusable keys."""

    def __init__(
        self,
        settings: Pull,
        senders: Sequence[Sender],
        memory: Memory,
        clock: Clock,
        key: bytes,
        by_certificate: ByCertificate,
        verify: Verify,
        sharing: Sharing,
    ) -> None:
        self._settings, self._memory, self._clock, self._sharing = settings, memory, clock, sharing
        self._by_certificate, self._verify = by_certificate, verify
        self._seal = Seal(key, "token")
        self._known = {each.sender: _known(each, senders) for each in settings.repository}
        self._spent: dict[str, tuple[float, float]] = {}

    async def caller(self, request: Request) -> Caller:
        """Who is asking, or `NotAllowed`: 401 without a credential, 403 outside the days, 429 too often."""
        sender = self._by_certificate(request.scope)
        authorization = request.headers.get("authorization")
        if authorization is not None:
            id, scopes = self._token(authorization)
            if sender is not None and sender.id != id:
                raise NotAllowed("GW-PULL-001")
        elif sender is not None:
            id, scopes = sender.id, None
        else:
            raise NotAllowed("GW-PULL-001")
        await self._sharing.refresh()
        found = self.entitled(id, scopes)
        self._spend(id)
        return found

    async def today(self, id: str) -> Caller:
        """The repository itself, with everything that its entry gives it; `NotAllowed` where that is nothing."""
        await self._sharing.refresh()
        return self.entitled(id)

    def entry(self, id: str) -> Repository:
        """Its entry in the settings."""
        known = self._known.get(id)
        if known is None:
            raise NotAllowed("GW-PULL-001")
        return known.entry

    def entitled(self, id: str, scopes: Mapping[str, str] | None = None) -> Caller:
        """What that repository may see today."""
        known = self._known.get(id)
        if known is None:
            raise NotAllowed("GW-PULL-001")
        entry, today = known.entry, self._clock.now().date().isoformat()
        if (entry.valid_from and today < entry.valid_from) or (entry.valid_to and today > entry.valid_to):
            raise NotAllowed("GW-PULL-002")
        allowed = granted(entry.scopes)
        return Caller(
            id=id,
            scope=self._sharing.scope(entry, known.sender),
            granted=allowed if scopes is None else narrow(scopes, allowed),
            language=known.sender.language,
        )

    def _token(self, authorization: str) -> tuple[str, Mapping[str, str]]:
        kind, _, token = authorization.partition(" ")
        value = self._seal.open(token.strip(), self._clock.now()) if kind.lower() == "bearer" else None
        if not isinstance(value, dict):
            raise NotAllowed("GW-PULL-001")
        return str(value["id"]), value["granted"]

    def _spend(self, id: str) -> None:
        """A bucket that fills evenly: `per_minute` requests, no more at once than a minute's worth."""
        now, most = self._clock.monotonic(), float(self._settings.per_minute)
        left, since = self._spent.get(id, (most, now))
        left = min(most, left + (now - since) * most / 60)
        if left < 1:
            raise NotAllowed("GW-PULL-013")
        self._spent[id] = (left - 1, now)

    # --- tokens ----------------------------------------

    async def token(self, form: Mapping[str, str], audience: str) -> dict[str, Any]:
        """An access token for a client assertion; `OAuthError` otherwise (RFC 6749 5.2, RFC 7523)."""
        if form.get("grant_type") != "client_credentials":
            raise OAuthError("unsupported_grant_type")
        if form.get("client_assertion_type") != ASSERTION_TYPE:
            raise OAuthError("invalid_request")
        id = await self._client(form.get("client_assertion", ""), audience)
        try:
            allowed = narrow(granted(form.get("scope", "").split()), self.entitled(id).granted)
        except NotAllowed:
            raise OAuthError("invalid_client") from None
        if not allowed:
            raise OAuthError("invalid_scope")
        seconds = self._settings.token_seconds
        sealed = self._seal.close({"id": id, "granted": allowed}, self._clock.now() + timedelta(seconds=seconds))
        scope = " ".join(f"system/{type}.{letters}" for type, letters in sorted(allowed.items()))
        return {"access_token": sealed, "token_type": "bearer", "expires_in": seconds, "scope": scope}

    async def _client(self, assertion: str, audience: str) -> str:
        """The repository that signed the assertion, once; `OAuthError` for anything that does not hold."""
        header, claims = jwks.peek(assertion)
        known = self._known.get(str(claims.get("iss", "")))
        key = known.keys.get(str(header.get("kid", ""))) if known else None
        if known is None or key is None or header.get("alg") != key.algorithm:
            raise OAuthError("invalid_client")
        try:
            _, payload = self._verify(assertion, key.public, key.algorithm)
            claims = json.read(payload)
        except GatewayError:
            raise OAuthError("invalid_client") from None
        now = self._clock.now()
        jti, expires = _checked(claims, known.sender.id, audience, now)
        if not await self._memory.remember("pull-jti", f"{known.sender.id}\0{jti}", expires):
            raise OAuthError("invalid_client")
        return known.sender.id


class OAuthError(Exception):
    """An error of the token endpoint, by its name in RFC 6749 5.2."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def _checked(claims: Any, client: str, audience: str, now: datetime) -> tuple[str, datetime]:
    """`jti` and expiry of claims that say the right things; at most five minutes ahead."""
    if not isinstance(claims, dict) or claims.get("sub") != client or claims.get("iss") != client:
        raise OAuthError("invalid_client")
    given = claims.get("aud")
    if audience not in (given if isinstance(given, list) else [given]):
        raise OAuthError("invalid_client")
    jti, ends, at = claims.get("jti"), claims.get("exp"), now.timestamp()
    if not isinstance(jti, str) or not 1 <= len(jti) <= 256:
        raise OAuthError("invalid_client")
    if isinstance(ends, bool) or not isinstance(ends, int) or not at - _SKEW < ends <= at + ASSERTION_SECONDS + _SKEW:
        raise OAuthError("invalid_client")
    for name in ("iat", "nbf"):
        start = claims.get(name, 0)
        if isinstance(start, bool) or not isinstance(start, int) or start > at + _SKEW:
            raise OAuthError("invalid_client")
    return jti, now + timedelta(seconds=ASSERTION_SECONDS + 2 * _SKEW)


def _known(entry: Repository, senders: Sequence[Sender]) -> _Known:
    sender = next((each for each in senders if each.id == entry.sender and each.role == "repository"), None)
    if sender is None:
        raise Misconfigured(detail=f"[[pull.repository]] {entry.sender}: no sender of that id has the role repository")
    if len(granted(entry.scopes)) == 0:
        raise Misconfigured(detail=f"[[pull.repository]] {entry.sender}: no scope that can be granted")
    try:
        keys = jwks.read(Path(entry.jwks).read_bytes()) if entry.jwks else {}
    except (OSError, Refused) as error:
        raise Misconfigured(detail=f"[[pull.repository]] {entry.sender}: jwks {type(error).__name__}") from None
    return _Known(sender, entry, keys)
