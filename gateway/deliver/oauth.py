"""Tokens of a client that speaks for itself: OAuth 2.0 client credentials (RFC 6749 section 4.4), in memory, renewed.

For an authorisation server that knows us as a system, by an assertion that is signed anew or by our secret; each
destination has its own. Where an account has a name and a password the tokens come from `bearer.py`: those are shared
by every destination of the account and, where wanted, by the processes of a machine.

A PDND voucher and a token of a region's own server come in the same way. A token is never written anywhere: it is
added to a request when that leaves. Whatever goes wrong here happens before the first byte of a message has left, so
it is always `NotSent`: GW-DELIVER-034 where the server gave no usable answer, GW-DELIVER-035 where it refused us.
"""

from __future__ import annotations

import asyncio
import re
from typing import Final, NamedTuple

from gateway.clock import Clock
from gateway.deliver import judge, token_endpoint
from gateway.ports import ClientCredentials, Network, NotSent, Reply

UNUSABLE: Final = "GW-DELIVER-034"
REFUSED: Final = "GW-DELIVER-035"
DEFAULT_SECONDS: Final = 60.0
LONGEST_SECONDS: Final = 24 * 3600.0
MARGIN_SECONDS: Final = 30.0
_TOKEN: Final = re.compile(r"[A-Za-z0-9\-._~+/]{1,16384}=*")  # RFC 6750 section 2.1


class Voucher(NamedTuple):
    """One token, until when it may be used (monotonic seconds), and whether it was given out before."""

    token: str
    until: float
    used: bool = False

    @property
    def header(self) -> str:
        """The value of the Authorization header."""
        return f"Bearer {self.token}"

    def __repr__(self) -> str:
        return "Voucher(…)"


class Vouchers:
    """The present token of one destination; however many ask at once, the server is asked once."""

    def __init__(self, credentials: ClientCredentials, network: Network, clock: Clock, timeout: float) -> None:
        self._credentials, self._network, self._clock, self._timeout = credentials, network, clock, timeout
        self._lock = asyncio.Lock()
        self._kept: Voucher | None = None

    async def get(self) -> Voucher:
        """A token with time left. Raises `NotSent`."""
        async with self._lock:
            kept = self._kept
            if kept is None or self._clock.monotonic() >= kept.until:
                fresh = await self._ask()
                self._kept = fresh._replace(used=True)
                return fresh
            return kept

    def spoiled(self, voucher: Voucher) -> bool:
        """Forget a token that the destination does not take; whether it is worth asking with a new one."""
        if self._kept is not None and self._kept.token == voucher.token:
            self._kept = None
        return voucher.used

    async def _ask(self) -> Voucher:
        asked = self._clock.monotonic()
        there = self._credentials
        form = there.form(self._clock.now())
        try:
            reply = await token_endpoint.ask(self._network, there.peer, there.url, form, self._timeout)
        except NotSent:
            raise NotSent(UNUSABLE) from None
        if reply.status in (400, 401, 403):
            raise NotSent(REFUSED)
        token, seconds = _read(reply)
        return Voucher(token, asked + max(1.0, seconds - min(MARGIN_SECONDS, seconds / 10)))


def _read(reply: Reply) -> tuple[str, float]:
    """The token and how many seconds it lives (RFC 6749 section 5.1)."""
    answer = token_endpoint.fields(reply)
    told = judge.media_type(reply.headers) == "application/json"
    if not told or str(answer.get("token_type", "")).lower() != "bearer":
        raise NotSent(UNUSABLE)
    token, seconds = answer.get("access_token"), answer.get("expires_in", DEFAULT_SECONDS)
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise NotSent(UNUSABLE)
    lives = float(seconds) if isinstance(seconds, int | float) and not isinstance(seconds, bool) else DEFAULT_SECONDS
    return token, min(max(lives, 0.0), LONGEST_SECONDS)
