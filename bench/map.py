"""Mapped messages per second, beside hl7apy's parse alone in the same run.

python bench/map.py [seconds]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from gateway import map as mapping
from gateway import programme
from gateway.message import Context, Submission

HOME = Path(__file__).resolve().parents[1]
NOW = datetime(2026, 1, 11, tzinfo=UTC)


def rate(work: Callable[[], object], seconds: float) -> float:
    """Calls a second of processor time, after one that warms up: other work on the machine does not count."""
    work()
    count, start = 0, time.process_time()
    while time.process_time() - start < seconds:
        work()
        count += 1
    return count / (time.process_time() - start)


def main(seconds: float) -> None:
    import hl7apy.parser

    engine = mapping.load(HOME, [programme.load(HOME, "sepas")])
    context = Context(digest="", now=NOW, sender="bench", programme="sepas", id_key=b"k")
    print(f"{'message':<12} {'segments':>8} {'mapped/s':>9} {'ms':>6} {'hl7apy parse/s':>15} {'ratio':>6}")
    for name in ("adt-a03", "dft-p03", "adt-a01"):
        body = (HOME / "mappings" / "sepas" / "samples" / f"{name}.hl7").read_bytes()
        sent = Submission(
            id="b", sender="bench", programme="sepas", received_at=NOW, channel="http",
            media_type="application/hl7-v2", body=body, digest="",
        )  # fmt: skip
        text = body.decode()
        ours = rate(lambda sent=sent: engine.take_apart(sent, context), seconds)  # type: ignore[misc]
        theirs = rate(lambda text=text: hl7apy.parser.parse_message(text, find_groups=False), seconds)  # type: ignore[misc]
        segments = text.strip().count("\r") + 1
        print(f"{name:<12} {segments:>8} {ours:>9.0f} {1000 / ours:>6.2f} {theirs:>15.0f} {ours / theirs:>6.1f}")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 2.0)
