"""A process that delivers from a real ledger until everything has arrived, or until it is told to die.

    python deliver_child.py DATA URL MODE KILL

MODE is reconcile or resend. KILL is "" or "POINT:N": SIGKILL at the N-th time that POINT is passed, where a point is
before-claim, after-claim, before-leave, after-leave, before-send, after-send, before-settle, after-settle,
before-reconcile, after-reconcile, before-recover, after-recover.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "rooms" / "deliver"))

from deliver_world import destination, document, exchange, fhir_message, peer, tools

from gateway import store
from gateway.clock import SystemClock
from gateway.deliver import wires
from gateway.deliver.dispatcher import Dispatcher
from gateway.flow import NEW, Room, Thing
from gateway.message import AuditRecord, Move, Step
from gateway.network import Outbound

SUBJECTS, EACH = 6, 5


class Fate:
    """Counts points, and dies at the one that was ordered."""

    def __init__(self, order: str) -> None:
        self.point, _, number = order.partition(":")
        self.left = int(number or 0)

    def passes(self, point: str) -> None:
        if point == self.point:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


class Fated:
    """The ledger, with points before and after each commit."""

    def __init__(self, inner: Any, fate: Fate) -> None:
        self._inner, self._fate = inner, fate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def commit(self, step: Step) -> Any:
        name = step.name.removeprefix("deliver.")
        self._fate.passes(f"before-{name}")
        done = await self._inner.commit(step)
        self._fate.passes(f"after-{name}")
        return done


class FatedWire:
    """The wire, with points before and after the bytes leave."""

    def __init__(self, inner: Any, fate: Fate) -> None:
        self._inner, self._fate = inner, fate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def send(self, attempt: Any) -> Any:
        self._fate.passes("before-send")
        outcome = await self._inner.send(attempt)
        self._fate.passes("after-send")
        return outcome


def ids() -> list[str]:
    return [f"s{subject}-{number}" for number in range(EACH) for subject in range(SUBJECTS)]


async def seed(ledger: Any) -> None:
    if await ledger.exchange(ids()[-1]) is not None:
        return
    at = datetime.now(UTC)
    made = [exchange(id, subject=id.partition("-")[0], case=f"c-{id}") for id in ids()]
    documents = [document(each.document, fhir_message(each.id), each.subject, each.case) for each in made]
    moves = tuple(Move(thing=Thing.EXCHANGE, id=e.id, frm=NEW, to="due", room=Room.GATHER) for e in made)
    audit = AuditRecord(type="rest", action="C", outcome="0", agent="hospital", entities=("document/x",), at=at)
    await ledger.commit(Step(name="route", at=at, moves=moves, writes=(*documents, *made), audit=(audit,)))


async def main(data: Path, url: str, mode: str, kill: str) -> None:
    fate, network = Fate(kill), Outbound({"peer": peer(url)})
    options = {"reconcile_url": f"{url}/Bundle?message={{message}}", "reconcile_seconds": "0"}
    place = destination(url=f"{url}/m", options=options, on_unknown=mode)
    async with store.open("", data, SystemClock()) as ledger:
        fate.passes("before-recover")
        await ledger.recover()
        fate.passes("after-recover")
        await seed(ledger)
        wire = FatedWire(wires.make(place, network), fate)
        dispatcher = Dispatcher([place], {"d": wire}, tools(Fated(ledger, fate)))
        task = asyncio.create_task(dispatcher.run())
        while any([(await ledger.exchange(id)).state != "delivered" for id in ids()]):
            await asyncio.sleep(0.02)
        await dispatcher.stop(1)
        await task
    await network.aclose()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:5]))
