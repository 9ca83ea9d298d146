"""Protocol name -> wire. The protocol "some-name" of a destination is the file `some_name.py` of this room.

A protocol file has `PROTOCOL`, its name, and a function `make(parts: Parts) -> Wire`. Adding a protocol is adding
that file; nothing here or elsewhere knows the names.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib.util import find_spec
from types import ModuleType
from typing import Final, cast

from gateway.clock import Clock, SystemClock
from gateway.deliver import http_message
from gateway.deliver.oauth import Vouchers
from gateway.errors import Misconfigured
from gateway.message import Json
from gateway.ports import ClientCredentials, Network, Reply, RequestSigner, Signer, Wire
from gateway.settings import Destination

RenderNational = Callable[[Json, str, Mapping[str, str]], bytes]
"""(document, target, values) -> the national message: `Mapper.render`."""

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Parts:
    """What a protocol is made from. `origin` is the peer's, for protocols that do not speak in URLs."""

    destination: Destination
    network: Network
    signer: Signer | None = None
    render_national: RenderNational | None = None
    timeout: float = 60.0
    origin: str = ""
    request_signer: RequestSigner | None = None
    vouchers: Vouchers | None = None
    clock: Clock = field(default_factory=SystemClock)

    def compose(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        now: datetime,
        facts: Mapping[str, str] | None = None,
    ) -> bytes:
        """The attempt's bytes over HTTP, secured as the destination's settings want it; `facts` is for tokens."""
        if self.request_signer is not None:
            more, body = self.request_signer.secure(method, url, headers, body, now, facts)
            headers = {**headers, **more}
        return http_message.compose(method, url, headers, body)

    async def post(self, request: bytes) -> Reply:
        """Put an attempt's bytes on the wire."""
        out = http_message.take_apart(request)
        return await self.reach(out.method, out.url, out.headers, out.body)

    async def reach(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Reply:
        """One exchange with the peer, with a token of its authorisation server where the settings name one.

        The token is added here, so that it is never on disk. A 401 to a token that was kept is asked once more with
        a new one: such a request was not processed (RFC 6750 section 3.1).
        """
        peer, network = self.destination.peer, self.network
        if self.vouchers is None:
            return await network.request(peer, method, url, headers, body, self.timeout)
        voucher = await self.vouchers.get()
        given = {**headers, "Authorization": voucher.header}
        reply = await network.request(peer, method, url, given, body, self.timeout)
        if reply.status == 401 and self.vouchers.spoiled(voucher):
            given["Authorization"] = (await self.vouchers.get()).header
            reply = await network.request(peer, method, url, given, body, self.timeout)
        return reply

    def option(self, name: str, default: str = "") -> str:
        """One of the destination's own options."""
        return self.destination.options.get(name, default)

    def options(self, prefix: str) -> Mapping[str, str]:
        """The options that begin with `prefix`, without it."""
        found = self.destination.options.items()
        return {name.removeprefix(prefix): value for name, value in found if name.startswith(prefix)}

    def national(self) -> RenderNational:
        """The national renderer; a destination that needs one and has none is `Misconfigured`."""
        if self.render_national is None or not self.destination.body:
            raise Misconfigured(detail=f"destination {self.destination.id}: body names no national message")
        return self.render_national


def make(
    destination: Destination,
    network: Network,
    signer: Signer | None = None,
    render_national: RenderNational | None = None,
    timeout: float = 60.0,
    origin: str = "",
    request_signer: RequestSigner | None = None,
    credentials: ClientCredentials | None = None,
    clock: Clock | None = None,
) -> Wire:
    """The wire of a destination, or `Misconfigured` naming what its settings lack."""
    if destination.signer != "none" and signer is None:
        raise Misconfigured(detail=f"destination {destination.id}: signer {destination.signer!r} has no key")
    module = _module(destination.protocol)
    if module is None:
        raise Misconfigured(detail=f"destination {destination.id}: no protocol {destination.protocol!r}")
    clock = clock or SystemClock()
    vouchers = Vouchers(credentials, network, clock, timeout) if credentials is not None else None
    parts = Parts(destination, network, signer, render_national, timeout, origin, request_signer, vouchers, clock)
    return cast("Wire", module.make(parts))


def _module(protocol: str) -> ModuleType | None:
    name = f"gateway.deliver.{protocol.replace('-', '_')}"
    if not _NAME.fullmatch(protocol) or find_spec(name) is None:
        return None
    module = importlib.import_module(name)
    return module if getattr(module, "PROTOCOL", None) == protocol else None
