"""Tokens of an account with a name and a password: OAuth 2.0 password grant and refresh (RFC 6749 sections 4.3, 6).

Where the client speaks for itself, by an assertion or its own secret, the tokens come from `oauth.py`: those belong to
one destination and are never on disk.

One account has one token in a process: every destination with the same account shares it, one of them fetches, and
it is renewed before it ends. With `token_file` the processes of a machine share it as well. A token is never part of
an attempt's bytes, of a log line or of an error: it is added to a request when that leaves.

Options of a destination: `token_url`, `client_id`, `client_secret` and `user_password` (a path or env:NAME),
`username`, `token_scope`, `renew_seconds` (30: how long before its end a token is renewed), `token_file` (a path),
`token_peer` (the [peer.NAME] of the token service where it is another one).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

import structlog

from gateway.clock import Clock, SystemClock
from gateway.deliver import token_endpoint
from gateway.errors import GatewayError, Misconfigured, PeerFailed
from gateway.formats import json
from gateway.ports import Network, Reply
from gateway.settings import secret

REFUSED: Final = "GW-DELIVER-025"
DEFAULT_SECONDS: Final = 300
LONGEST: Final = 86_400
log: Final = structlog.get_logger("gateway.deliver.bearer")


class Account(NamedTuple):
    """Who asks for a token, and where. The secrets are references, read when they are needed."""

    peer: str
    url: str
    client_id: str
    client_secret: str
    username: str
    password: str
    scope: str = ""


class _Token(NamedTuple):
    value: str
    refresh: str
    ends: datetime

    def __repr__(self) -> str:
        return f"<token until {self.ends.isoformat()}>"


class Tokens:
    """The token of one account. `get` is safe to call from any number of tasks at once."""

    def __init__(
        self, account: Account, network: Network, clock: Clock, renew_seconds: float = 30.0, file: str = ""
    ) -> None:
        self._account, self._network, self._clock = account, network, clock
        self._early, self._file = timedelta(seconds=renew_seconds), Path(file) if file else None
        self._token: _Token | None = None
        self._lock = asyncio.Lock()

    async def get(self, timeout: float = 30.0) -> str:
        """A token that holds for a while yet.

        `PeerFailed` (GW-DELIVER-025) where the service refuses, `NotSent` where it cannot be reached: in both cases
        nothing has left for the destination.
        """
        if self._fresh(self._token):
            assert self._token is not None
            return self._token.value
        async with self._lock:
            if not self._fresh(self._token):
                self._token = await self._shared(timeout)
            assert self._token is not None
            return self._token.value

    def drop(self, value: str) -> None:
        """The destination refused this token: it is not used again."""
        if self._token is not None and self._token.value == value:
            self._token = self._token._replace(value="", ends=self._clock.now() - timedelta(days=1))
            if self._file is not None:
                self._file.unlink(missing_ok=True)

    def _fresh(self, token: _Token | None) -> bool:
        return token is not None and bool(token.value) and token.ends - self._early > self._clock.now()

    # --- shared by the processes of a machine ----------------------------------------

    async def _shared(self, timeout: float) -> _Token:
        if self._file is None:
            return await self._renewed(self._token, timeout)
        held = await asyncio.to_thread(_locked, self._file)
        try:
            kept = self._read()
            if kept is not None and self._fresh(kept):
                return kept
            made = await self._renewed(kept or self._token, timeout)
            _write(self._file, made)
            return made
        finally:
            os.close(held)

    def _read(self) -> _Token | None:
        assert self._file is not None
        try:
            found = json.read(self._file.read_bytes(), 64 * 1024)
            return _Token(str(found["value"]), str(found["refresh"]), datetime.fromisoformat(str(found["ends"])))
        except (OSError, GatewayError, KeyError, TypeError, ValueError):
            return None

    # --- asking ----------------------------------------

    async def _renewed(self, old: _Token | None, timeout: float) -> _Token:
        """By the refresh token where there is one; by name and password where that is refused or has ended."""
        if old is not None and old.refresh:
            with contextlib.suppress(PeerFailed):
                return await self._ask({"grant_type": "refresh_token", "refresh_token": old.refresh}, timeout)
        account = self._account
        form = {
            "grant_type": "password",
            "username": account.username,
            "password": secret(account.password).decode("utf-8"),
        }
        return await self._ask({**form, "scope": account.scope} if account.scope else form, timeout)

    async def _ask(self, form: Mapping[str, str], timeout: float) -> _Token:
        account, begun = self._account, self._clock.now()
        client = f"{account.client_id}:{secret(account.client_secret).decode('utf-8')}"
        headers = {"Authorization": f"Basic {base64.b64encode(client.encode()).decode()}"}
        reply = await token_endpoint.ask(self._network, account.peer, account.url, form, timeout, headers)
        token = _read_reply(reply, begun)
        log.info("token", kind=form["grant_type"], peer=account.peer, seconds=int((token.ends - begun).total_seconds()))
        return token


def _read_reply(reply: Reply, at: datetime) -> _Token:
    found = token_endpoint.fields(reply)
    value = found.get("access_token")
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        raise PeerFailed(REFUSED, detail=f"HTTP {reply.status}")
    try:
        seconds = min(max(int(str(found.get("expires_in", DEFAULT_SECONDS))), 1), LONGEST)
    except ValueError:
        seconds = DEFAULT_SECONDS
    refresh = found.get("refresh_token")
    return _Token(value, refresh if isinstance(refresh, str) else "", at + timedelta(seconds=seconds))


def _locked(file: Path) -> int:
    held = os.open(file.with_name(file.name + ".lock"), os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(held, fcntl.LOCK_EX)
    return held


def _write(file: Path, token: _Token) -> None:
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    opened = os.open(aside, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(opened, "wb") as out:
        out.write(json.write({"value": token.value, "refresh": token.refresh, "ends": token.ends.isoformat()}))
    aside.rename(file)


# --- one for each account ----------------------------------------

_shared: WeakKeyDictionary[Network, dict[tuple[Account, str], Tokens]] = WeakKeyDictionary()
"""Tokens by the network that they are fetched over, which is one for each process."""


def tokens_for(
    options: Mapping[str, str], peer: str, network: Network, who: str, clock: Clock | None = None
) -> Tokens | None:
    """The tokens of an account that options describe; None where they name no `token_url`. `who` is for errors."""
    if not options.get("token_url"):
        return None
    names = ("client_id", "client_secret", "username", "user_password")
    missing = [name for name in names if not options.get(name)]
    if missing:
        raise Misconfigured(detail=f"{who}: options.{missing[0]} is needed for {options['token_url']}")
    account = Account(
        peer=options.get("token_peer") or peer,
        url=options["token_url"],
        client_id=options["client_id"],
        client_secret=options["client_secret"],
        username=options["username"],
        password=options["user_password"],
        scope=options.get("token_scope", ""),
    )
    try:
        early = float(options.get("renew_seconds", "30"))
    except ValueError:
        raise Misconfigured(detail=f"{who}: options.renew_seconds") from None
    file = options.get("token_file", "")
    made = _shared.setdefault(network, {})
    if (account, file) not in made:
        made[account, file] = Tokens(account, network, clock or SystemClock(), early, file)
    return made[account, file]


def accounts(network: Network) -> Iterator[Account]:
    """The accounts that have a token over this network."""
    yield from (account for account, _ in _shared.get(network, {}))
