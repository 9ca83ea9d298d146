"""Invariant: whatever bytes come, the MLLP decoder gives events or waits, within its limits; it never raises."""

from __future__ import annotations

import random

from gateway.receive.framing import NOISE_KEPT, Block, Decoder, Overflow, wrap

LIMIT = 4096
CASES = 2000
_CHAOS = (b"\x0b", b"\x1c", b"\r", b"\x1c\r", b"\n", b"\x00", b"MSH|^~\\&|", b"\x0b\x0b", b"\x1c\x1c", b"\xff\xfe")


def _message(dice: random.Random) -> bytes:
    return bytes(dice.choice(b"ABCDEFGHabcdefgh|^~&0123456789\r") for _ in range(dice.randrange(0, 200)))


def _frame(dice: random.Random) -> bytes:
    """One made frame: no start, no end, double start, nested, endless, empty, too large, or noise."""
    body = _message(dice)
    kind = dice.randrange(9)
    table = (
        wrap(body),
        body + b"\x1c\r",
        b"\x0b" + body,
        b"\x0b\x0b" + body + b"\x1c\r",
        b"\x0b" + wrap(body) + body + b"\x1c\r",
        b"\x0b" + b"A" * (LIMIT * 2),
        wrap(b""),
        b"".join(dice.choice(_CHAOS) for _ in range(dice.randrange(1, 40))),
        dice.randbytes(dice.randrange(0, 300)),
    )
    return table[kind]


def test_two_thousand_made_frames() -> None:
    """Each stream is three made frames and a good one, in random packets; the good one survives unless it was cut."""
    survived = 0
    for seed in range(CASES):
        dice = random.Random(seed)
        good = b"MSH|^~\\&|GOOD|" + str(seed).encode()
        stream = b"".join(_frame(dice) for _ in range(3)) + b"\x1c\r" + wrap(good)
        decoder, events, at = Decoder(LIMIT, dice.random() < 0.5), [], 0
        while at < len(stream):
            size = dice.choice((1, 2, 7, 100, 5000))
            events += decoder.feed(stream[at : at + size])
            at += size
            assert decoder.held <= LIMIT + 1 + NOISE_KEPT
        events += decoder.close()
        dead = any(isinstance(each, Overflow) for each in events)
        assert dead == decoder.dead
        assert dead or Block(good) in events, seed
        survived += not dead
    assert survived > CASES // 2
