"""New mappings, profiles and checks for a gateway that runs: nothing is lost, and a broken rule set changes nothing.

The files are copied first, so that every worker loads the same bytes, also one that begins anew later. The copy is
compiled in a process of its own; only when all of it is well do new workers with it take over. What the old workers
have under way they finish, and each item's `rules_digest` says by which rules it was made.
"""

from __future__ import annotations

import asyncio
import hashlib
import multiprocessing
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from gateway import workers
from gateway.audit import events
from gateway.clock import Clock
from gateway.errors import Misconfigured, text
from gateway.message import Finding, Json, Step
from gateway.pool import Pool
from gateway.ports import Mapper, Store
from gateway.programme import Programme
from gateway.settings import Settings

_log = structlog.get_logger()
FOLDERS: Final = ("mappings", "profiles")
_LEFT_OUT: Final = shutil.ignore_patterns("samples", "fsh", "*.py", "__pycache__", ".*")

Measure = Callable[[Settings, Mapping[str, Programme]], Awaitable[object]]
"""Told the new settings and programmes before: views are built anew, measures are checked; `Misconfigured` stops it."""

Use = Callable[[Mapping[str, Programme], Mapper], None]
"""Told the new programmes and the new mapper, at the moment when the new workers take over."""


def keep(settings: Settings, folder: Path) -> Settings:
    """The same settings over a copy of the rule files, named by their digest. `Misconfigured` where they are gone."""
    new = folder / f".{os.getpid()}"
    shutil.rmtree(new, ignore_errors=True)
    try:
        for name in FOLDERS:
            shutil.copytree(Path(settings.home) / name, new / name, ignore=_LEFT_OUT)
    except OSError as fault:  # shutil.Error is one: a file went while it was copied
        raise Misconfigured(detail=f"rules: {type(fault).__name__}") from None
    summed = hashlib.sha256()
    for path in sorted(each for each in new.rglob("*") if each.is_file()):
        summed.update(str(path.relative_to(new)).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    kept = folder / summed.hexdigest()
    if kept.exists():
        shutil.rmtree(new)
    else:
        new.rename(kept)
    return msgspec.structs.replace(settings, home=str(kept))


async def compiled(settings: Settings) -> str:
    """The digest of the rules, compiled in a process of its own; `Misconfigured` says what is wrong with them."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as alone:
        try:
            digest, wrong = await asyncio.wrap_future(alone.submit(workers.compiled, settings))
        except BrokenProcessPool:
            raise Misconfigured(detail="the rules ended the process that compiled them") from None
    if wrong is not None:
        raise Misconfigured(detail=_told(wrong))
    return digest


def _told(wrong: Finding) -> str:
    return wrong.args.get("detail") or text(wrong, "en")


class Reload:
    """The command `reload`. One at a time."""

    def __init__(
        self,
        settings: Settings,
        pool: Pool,
        ledger: Store,
        clock: Clock,
        done: Callable[[Step], None],
        use: Use,
        measure: Measure | None = None,
    ) -> None:
        self._settings, self._pool, self._ledger, self._clock = settings, pool, ledger, clock
        self._done, self._use, self._measure = done, use, measure
        self._one_at_a_time = asyncio.Lock()

    async def __call__(self, arguments: Mapping[str, Any]) -> AsyncIterator[Json]:
        """Load the rules anew; yields their digest. `Misconfigured`: they are broken, and the former ones stay."""
        async with self._one_at_a_time:
            folder = Path(self._settings.data) / "rules"
            settings = await asyncio.to_thread(keep, self._settings, folder)
            digest = await compiled(settings)
            programmes = await asyncio.to_thread(workers.load_programmes, settings)
            mapper = await asyncio.to_thread(workers.load_mapper, settings, programmes)
            now = self._clock.now()
            event = events.operator_acted("operator", "reload", (f"rules/{digest[:32]}",), now)
            if self._measure is not None:
                await self._measure(settings, programmes)
            await self._pool.replace(settings)
            self._use(programmes, mapper)
            step = Step(name="reload", at=now, audit=(event,))
            await self._ledger.commit(step)
        self._done(step)
        _log.info("rules_reloaded", rules=digest)
        yield {"rules": digest}
