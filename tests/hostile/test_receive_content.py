"""Invariant: whatever a message says, the door judges it and can write the acknowledgement."""

from __future__ import annotations

import random
from datetime import UTC, datetime

from gateway.clock import FixedClock
from gateway.message import LANGUAGES
from gateway.receive import acceptance, hl7
from gateway.receive.acceptance import Arrival
from gateway.receive.door import Verdict
from gateway.receive.framing import Block, Decoder, wrap
from gateway.receive.mllp import Mode, Renderer
from gateway.settings import Sender

CASES = 3000
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SENDER = Sender(id="one", programmes=("trial",))
WORDS = [
    *(bytes([n]) for n in b"|^~\\&#\r\n\x00\x0b\x1c\x1a"),
    *(b"", b'""', b"\\X0D\\", b"\\.br\\", b"MSH", b"FHS|", b"BHS|", b"9" * 300, b"{0}", b"{reference}", b"%s"),
    *(b"2.3", b"2.5.1", b"99.9", b"AL", b"NE", b"ER", b"SU", b"ADT", b"^^", b"T"),
    *(b"UNICODE UTF-8", b"UNICODE UTF-16", b"8859/1", b"BIG-5", b"WINDOWS-1256", b"GB 18030-2000", b"NO SUCH SET"),
    *(b"\x1b$B", b"\xef\xbb\xbf", b"\xff\xfe", b"\xd9\xbe\xda\xaf", b"\xa4\x5c\xa5\x7c", b"\xed\xa0\x80"),
]
FIELDS = b"^~\\&|HIS|WARD|GW|CENTRE|20260101||ADT^A01^ADT_A01|ID-1|P|2.5.1||||||UNICODE UTF-8".split(b"|")


def _made(dice: random.Random) -> bytes:
    """A header with a few words in the wrong place, or cut, or with a bit turned."""
    fields = list(FIELDS)
    for _ in range(dice.randrange(4)):
        fields[dice.randrange(len(fields))] = b"".join(dice.choices(WORDS, k=dice.randrange(1, 3)))
    body = bytearray(b"MSH|" + b"|".join(fields) + b"\rPID|1||TEST-0001||Patient-One^Test\r")
    for _ in range(dice.randrange(3)):
        body[dice.randrange(len(body))] = dice.randrange(256)
    return bytes(body[: dice.randrange(len(body))] if dice.random() < 0.1 else body)


def test_three_thousand_made_headers() -> None:
    """Accepted whole or refused with a code; the acknowledgement is one message that names no exception."""
    clock, accepted = FixedClock(NOW), 0
    for seed in range(CASES):
        dice = random.Random(seed)
        body = _made(dice)
        header = hl7.header(body)
        language = dice.choice(LANGUAGES)
        arrival = Arrival(
            sender=SENDER, programme="trial", channel="mllp", content_type=hl7.MEDIA_TYPE, body=body, received_at=NOW,
            language=language, header=header,
        )  # fmt: skip
        judged = acceptance.judge(arrival, ("trial",), f"id-{seed}")
        assert judged.submission.body == body
        assert judged.refused == any(each.severity == "error" for each in judged.findings)
        verdict = Verdict(
            submission=judged.submission,
            fate="refused" if judged.refused else "follows",
            findings=judged.findings,
            header=header,
        )
        answer = Renderer(header, Mode(header), language, False, clock)(verdict).body
        assert answer.count(b"\rMSA") == 1, (seed, body)
        assert Decoder(1 << 20, seed % 2 == 1).feed(wrap(answer)) == [Block(answer)]
        positive = answer.partition(b"\rMSA")[2][2:3] == b"A"
        assert positive != judged.refused, (seed, body)
        accepted += positive
    assert CASES // 4 < accepted < CASES
