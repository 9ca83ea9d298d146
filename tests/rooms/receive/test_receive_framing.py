"""MLLP framing: whatever the network does to the bytes, the same blocks come out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.receive.framing import NOISE_KEPT, Block, Cut, Decoder, Event, Overflow, Stray, wrap

LIMIT = 64
CLEAN = st.binary(max_size=LIMIT).map(lambda raw: raw.translate(None, b"\x0b\x1c"))
PIECES = st.one_of(CLEAN, CLEAN.map(wrap), st.sampled_from([b"\x0b", b"\x1c", b"\r", b"\x1c\r", b"\r\n", b"\x0b\x0b"]))


def fed(stream: bytes, sizes: list[int], lenient: bool = False, limit: int = LIMIT) -> list[Event]:
    decoder, events, at = Decoder(limit, lenient), [], 0
    for size in sizes:
        events += decoder.feed(stream[at : at + size])
        at += size
        assert decoder.held <= limit + 1 + NOISE_KEPT
    events += decoder.feed(stream[at:])
    return events + decoder.close()


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"\x0babc\x1c\r", [Block(b"abc")]),
        (b"\x0babc\x1c\r\x0bdef\x1c\r", [Block(b"abc"), Block(b"def")]),
        (b"\r\n \x0babc\x1c\r\r\n", [Block(b"abc")]),  # white space between blocks is silence
        (b"\x0b\x1c\r", [Block(b"")]),
        (b"junk\x0babc\x1c\r", [Stray(b"junk", False), Block(b"abc")]),
        (b"MSH|1\x1c\r\x0babc\x1c\r", [Stray(b"MSH|1", True), Block(b"abc")]),  # the start is missing
        (b"\x0babc\x0bdef\x1c\r", [Cut(b"abc"), Block(b"def")]),  # the end is missing
        (b"\x0babc", [Cut(b"abc")]),
        (b"\x0ba\x1cb\x1c\r", [Block(b"a\x1cb")]),  # an end byte alone does not end a block
        (b"\x0babc\x1c\x0bdef\x1c\r", [Cut(b"abc\x1c"), Block(b"def")]),
        (b"\x0b" + b"x" * LIMIT + b"\x1c\r", [Block(b"x" * LIMIT)]),
        (b"\x0b" + b"x" * (LIMIT + 1) + b"\x1c\r\x0babc\x1c\r", [Overflow(b"x" * LIMIT, LIMIT)]),
        (b"", []),
    ],
)
def test_the_same_events_come_out_however_the_stream_is_split(stream: bytes, events: list[Event]) -> None:
    """Split at every byte, and one byte a packet: TCP knows no messages."""
    assert fed(stream, []) == events
    assert fed(stream, [1] * len(stream)) == events
    for at in range(len(stream)):
        assert fed(stream, [at]) == events


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"\x0babc\x1c\x0bdef\x1c", [Block(b"abc"), Block(b"def")]),
        (b"\x0babc\x1c\r\x0bdef\x1c\n\x0bghi\x1c\r", [Block(b"abc"), Block(b"def"), Block(b"ghi")]),
    ],
)
def test_a_missing_carriage_return_is_tolerated_by_setting_only(stream: bytes, events: list[Event]) -> None:
    """Some senders end blocks with FS alone: with the setting every message comes out as it was sent."""
    assert fed(stream, [], lenient=True) == events
    assert fed(stream, [1] * len(stream), lenient=True) == events
    assert fed(stream, []) != events


@given(st.lists(PIECES, max_size=12).map(b"".join), st.lists(st.integers(1, 40), max_size=20), st.booleans())
def test_splitting_never_changes_the_events(stream: bytes, sizes: list[int], lenient: bool) -> None:
    """For any bytes and any packets: same events, bounded memory, no exception."""
    assert fed(stream, sizes, lenient) == fed(stream, [], lenient)


@given(st.lists(CLEAN, max_size=8), st.lists(st.integers(1, 40), max_size=20))
def test_what_was_wrapped_comes_out_byte_for_byte(messages: list[bytes], sizes: list[int]) -> None:
    """wrap and Decoder are inverse for everything without framing bytes."""
    assert fed(b"".join(map(wrap, messages)), sizes) == [Block(each) for each in messages]


def test_ten_thousand_joined_blocks_cost_linear_time() -> None:
    """A sender that joins many small messages in one packet must not cost quadratic copying."""
    stream = wrap(b"x" * 100) * 10_000
    assert len(fed(stream, [], limit=1000)) == 10_000
