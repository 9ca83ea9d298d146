"""What is fetched instead of pushed: files in a folder, or what a destination holds ready behind a URL.

Each body enters by the same door as everything else, under the sender that the settings name, kept before it counts
as fetched. A file moves to `done/` or `refused/` beside it, with its answer; an answer of a URL that was fetched
before has the same bytes and the same name, so the door knows it and nothing comes twice.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Final

import structlog

from gateway.clock import Clock, came
from gateway.deliver import bearer
from gateway.errors import GatewayError, Misconfigured, PeerFailed
from gateway.formats import json
from gateway.ports import MaybeSent, Network, NotSent, Store
from gateway.receive.acceptance import Arrival
from gateway.receive.door import Door, Rendered, Verdict
from gateway.settings import Collect, Sender, Settings

log: Final = structlog.get_logger("gateway.collect")
SETTLED_SECONDS: Final = 2.0
"""A file younger than this may still be written to."""


class Renderer:
    """The verdict as a small JSON object: which submission it became, and the codes of what is wrong."""

    media_type = "application/json"

    def __init__(self) -> None:
        self.refused = False

    def __call__(self, verdict: Verdict) -> Rendered:
        """See `door.Renderer`."""
        self.refused = verdict.fate == "refused"
        codes = [each.code for each in verdict.findings]
        told = {"submission": verdict.submission.id, "fate": verdict.fate, "findings": codes}
        return Rendered(self.media_type, json.write(told))


class Collector:
    """Every [[collect]] of the settings."""

    def __init__(self, settings: Settings, store: Store, door: Door, network: Network, clock: Clock) -> None:
        self._settings, self._store, self._door, self._network = settings, store, door, network
        self._clock, self._stopping = clock, asyncio.Event()
        self._senders = {each.id: each for each in settings.sender}
        for each in settings.collect:
            self._sender(each)
            if bool(each.folder) == bool(each.url) or (each.url and each.peer not in settings.peer):
                raise Misconfigured(detail=f"collect {each.name}: a folder, or a url with its peer")

    async def run(self) -> None:
        """Until `stop`."""
        async with asyncio.TaskGroup() as group:
            for each in self._settings.collect:
                group.create_task(self._every(each), name=f"collect-{each.name}")

    def stop(self) -> None:
        """End every loop after what it is doing."""
        self._stopping.set()

    async def _every(self, collect: Collect) -> None:
        while not self._stopping.is_set():
            try:
                if await self._store.leads(f"collect-{collect.name}"):
                    await self.round(collect)
            except (GatewayError, NotSent, MaybeSent, OSError) as fault:
                log.warning("collect_failed", origin=collect.name, code=getattr(fault, "code", "GW-NET-001"))
            await came(self._stopping, collect.seconds)

    async def round(self, collect: Collect) -> int:
        """Everything that is there now; how many bodies were handed in."""
        if collect.url:
            return await self._fetch(collect)
        count = 0
        for path in await asyncio.to_thread(self._ready, Path(collect.folder)):
            await self._file(collect, path)
            count += 1
        return count

    def _sender(self, collect: Collect) -> Sender:
        sender = self._senders.get(collect.sender)
        if sender is None:
            raise Misconfigured(detail=f"collect {collect.name}: no [[sender]] {collect.sender!r}")
        return sender

    # --- a folder ----------------------------------------

    def _ready(self, folder: Path) -> list[Path]:
        """Whole files, oldest first: not hidden, not `.partial`, and not touched a moment ago."""
        latest = self._clock.now().timestamp() - SETTLED_SECONDS
        found = [p for p in folder.iterdir() if p.is_file() and not p.is_symlink() and not p.name.startswith(".")]
        aged = [(p.stat().st_mtime, p) for p in found if p.suffix not in (".partial", ".tmp")]
        return [path for modified, path in sorted(aged) if modified <= latest]

    async def _file(self, collect: Collect, path: Path) -> None:
        body = await asyncio.to_thread(path.read_bytes)
        answer, refused = await self._enter(collect, body, path.name)
        await asyncio.to_thread(_put_away, path, "refused" if refused else "done", answer.body)

    # --- a URL ----------------------------------------

    async def _fetch(self, collect: Collect) -> int:
        headers = dict(collect.headers)
        tokens = bearer.tokens_for(collect.options, collect.peer, self._network, f"collect {collect.name}", self._clock)
        token = await tokens.get() if tokens is not None else ""
        if token:
            headers["Authorization"] = f"Bearer {token}"
        reply = await self._network.request(collect.peer, collect.method, collect.url, headers, b"", 60.0)
        if reply.status in (204, 404) or (reply.status == 200 and not reply.body.strip()):
            return 0
        if reply.status == 401 and tokens is not None:
            tokens.drop(token)
        if reply.status != 200:
            raise PeerFailed(detail=f"HTTP {reply.status}")
        await self._enter(collect, reply.body, hashlib.sha256(reply.body).hexdigest()[:40])
        return 1

    async def _enter(self, collect: Collect, body: bytes, name: str) -> tuple[Rendered, bool]:
        sender, render = self._sender(collect), Renderer()
        arrival = Arrival(
            sender=sender,
            programme=collect.programme or sender.programmes[0],
            channel="file",
            content_type=collect.media_type,
            body=body,
            received_at=self._clock.now(),
            language=sender.language,
            key=f"{collect.name}/{name}"[:200],
        )
        answer = await self._door.receive(arrival, render)
        log.info("collected", origin=collect.name, bytes=len(body), state="refused" if render.refused else "kept")
        return answer, render.refused


def _put_away(path: Path, where: str, answer: bytes) -> None:
    """Out of the way with its answer; a name that is there already keeps both."""
    folder = path.parent / where
    folder.mkdir(exist_ok=True)
    target, number = folder / path.name, 1
    while target.exists():
        target, number = folder / f"{path.stem}-{number}{path.suffix}", number + 1
    path.rename(target)
    target.with_name(f"{target.name}.answer.json").write_bytes(answer)
