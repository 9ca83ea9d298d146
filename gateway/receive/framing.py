"""MLLP blocks as bytes in, events out: no sockets, no clocks.

A block is <VT> data <FS><CR> (HL7 Minimal Lower Layer Protocol, transport specification release 1). The decoder keeps
what belongs to an open block and nothing else, looks at each byte once, and never holds more than `limit` bytes.
White space between blocks is silence (many senders put CR LF there); anything else there is `Stray`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

START: Final = 0x0B
END: Final = 0x1C
RETURN: Final = 0x0D
NOISE_KEPT: Final = 4096
"""How much of the bytes between blocks is kept, to say whose message it might have been."""

_SILENCE: Final = b"\r\n\t \x00"


@dataclass(frozen=True)
class Block:
    """One complete block: the bytes between start and end, as sent."""

    data: bytes


@dataclass(frozen=True)
class Cut:
    """A block that a new start broke off before its end came."""

    data: bytes


@dataclass(frozen=True)
class Stray:
    """Bytes outside any block; `ended` when an end block closed them, so that the start must have been missing."""

    data: bytes
    ended: bool


@dataclass(frozen=True)
class Overflow:
    """The open block passed the limit. The decoder is dead: the only safe thing left is to close."""

    data: bytes
    limit: int


Event = Block | Cut | Stray | Overflow


def wrap(data: bytes) -> bytes:
    """The block around the data."""
    return b"\x0b" + data + b"\x1c\r"


class Decoder:
    """One connection's worth of framing.

    `accept_missing_cr` ends a block at <FS> when something other than <CR> follows, or when nothing follows yet (a
    <CR> that comes later is then silence). Without it, only <FS><CR> ends a block, as the standard says.
    """

    def __init__(self, limit: int, accept_missing_cr: bool = False) -> None:
        self._limit = limit
        self._lenient = accept_missing_cr
        self._open: bytearray | None = None
        self._noise = bytearray()
        self.dead = False

    @property
    def inside(self) -> bool:
        """Whether a block is open: the frame timer runs."""
        return self._open is not None

    @property
    def held(self) -> int:
        """Bytes that are kept between calls."""
        return len(self._noise) + (len(self._open) if self._open is not None else 0)

    def feed(self, data: bytes) -> list[Event]:
        """What these bytes complete, in order. After `Overflow` everything is ignored."""
        events: list[Event] = []
        at = 0
        while at < len(data) and not self.dead:
            block = self._open
            at = self._outside(data, at, events) if block is None else self._inside(block, data, at, events)
        return events

    def close(self) -> list[Event]:
        """What is left when the peer has gone: an open block is cut."""
        left: list[Event] = []
        if self._open is not None:
            left.append(Cut(bytes(self._open)))
            self._open = None
        elif event := self._flush(ended=False):
            left.append(event)
        return left

    def _outside(self, data: bytes, at: int, events: list[Event]) -> int:
        start, end = data.find(START, at), data.find(END, at)
        ended = end >= 0 and (start < 0 or end < start)
        stop = end if ended else start if start >= 0 else len(data)
        self._hear(data[at:stop])
        if stop == len(data):
            return stop
        if event := self._flush(ended):
            events.append(event)
        if not ended:
            self._open = bytearray()
        return stop + 1

    def _inside(self, block: bytearray, data: bytes, at: int, events: list[Event]) -> int:
        if block and block[-1] == END and data[at] == RETURN:  # the two end bytes came in two pieces
            del block[-1]
            return self._finish(block, at + 1, events)
        stop, kind = self._boundary(data, at)
        size = len(block) + stop - at
        half_end = kind == "none" and size == self._limit + 1 and data[-1] == END
        if size > self._limit and not half_end:
            block += data[at : at + self._limit - len(block)]
            events.append(Overflow(bytes(block[: self._limit]), self._limit))
            self.dead, self._open = True, None
            return len(data)
        block += data[at:stop]
        if kind == "none":
            return stop
        if kind == "start":
            events.append(Cut(bytes(block)))
            self._open = None
            return stop
        return self._finish(block, stop + (2 if kind == "end" else 1), events)

    def _finish(self, block: bytearray, after: int, events: list[Event]) -> int:
        events.append(Block(bytes(block)))
        self._open = None
        return after

    def _boundary(self, data: bytes, at: int) -> tuple[int, str]:
        """Where the open block ends and how: "end" <FS><CR>, "bare" <FS>, "start" a new <VT>, or "none"."""
        start, look = data.find(START, at), at
        while True:
            end = data.find(END, look)
            if start >= 0 and (end < 0 or start < end):
                return start, "start"
            if end < 0:
                return len(data), "none"
            if end + 1 < len(data) and data[end + 1] == RETURN:
                return end, "end"
            if self._lenient:
                return end, "bare"
            look = end + 1

    def _hear(self, raw: bytes) -> None:
        heard = raw if self._noise else raw.lstrip(_SILENCE)
        self._noise += heard[: NOISE_KEPT - len(self._noise)]

    def _flush(self, ended: bool) -> Stray | None:
        noise = bytes(self._noise).rstrip(_SILENCE)
        self._noise.clear()
        return Stray(noise, ended) if noise else None
