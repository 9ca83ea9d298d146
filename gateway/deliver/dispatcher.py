"""The embedded dispatcher: one lane per destination, all in one event loop, none waiting for another.

dispatcher = Dispatcher(settings.destination, wires, Tools(store, gate, clock, random.random))
await dispatcher.run()          # until stop()
dispatcher.wake("national")     # after a commit that made something due
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final

from gateway.deliver.lane import Lane, LaneStatus, Tools
from gateway.deliver.tending import Tending
from gateway.flow import Thing
from gateway.message import Exchange, Step
from gateway.ports import Wire
from gateway.settings import Destination

GRACE: Final = 10.0


class Dispatcher:
    """Delivery to every configured destination."""

    def __init__(self, destinations: Iterable[Destination], wires: Mapping[str, Wire], tools: Tools) -> None:
        self._lanes = {each.id: Lane(each, wires[each.id], tools) for each in destinations}

    async def run(self) -> None:
        """Work until `stop`. A lane that ends by a defect of ours ends them all: better down than silently idle."""
        async with asyncio.TaskGroup() as group:
            for lane in self._lanes.values():
                group.create_task(lane.run(Tending()), name=f"lane-{lane.destination.id}")

    async def stop(self, grace: float = GRACE) -> None:
        """End within `grace` seconds; what was on its way longer than that becomes unknown at the next start."""
        await asyncio.gather(*(lane.stop(grace) for lane in self._lanes.values()))

    def wake(self, destination: str | None = None) -> None:
        """Something may have become due for the destination, or for any."""
        for id, lane in self._lanes.items():
            if destination is None or id == destination:
                lane.wake()

    def committed(self, step: Step) -> None:
        """Wake the lanes that a committed step of any room concerns."""
        if not any(move.thing is Thing.EXCHANGE for move in step.moves):
            return
        written = {each.destination for each in step.writes if isinstance(each, Exchange)}
        for id in written or self._lanes.keys():
            self.wake(id)

    def status(self) -> Mapping[str, LaneStatus]:
        """A snapshot of every lane, by destination."""
        return {id: lane.status() for id, lane in self._lanes.items()}
