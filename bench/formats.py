"""How fast the readers are, beside python-hl7 and hl7apy in the same run on the same machine.

    python -m bench.formats            all figures
    python -m bench.formats --quick    a tenth of the repetitions

Processor time of one process, best of five; ratios are what counts, absolute figures depend on the machine.
The goals: at least 5,000 messages of 16 segments parsed to sub-components a second, 2,000 with the conformance check,
2,000 rows of a 100,000-row CSV.
"""

from __future__ import annotations

import argparse
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import hl7
from hl7apy.parser import parse_message

from gateway.formats import hl7v2, table, table_csv
from gateway.formats.hl7v2_conformance import check

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "rooms" / "formats"))
from hl7_samples import ADT, ORDERS

_THIRD = b"ORC|NW|3^HIS\rOBR|3|3^HIS||34^Visit^L\rOBX|1|ST|1^h^LN||b||||||F\rOBX|2|ST|1^h^LN||c||||||F\rNTE|1||last\r"


def best(action: Callable[[], object], times: int) -> float:
    """Seconds of processor time for one call, best of five rounds."""
    action()
    rounds = []
    for _ in range(5):
        started = time.process_time()
        for _ in range(times):
            action()
        rounds.append((time.process_time() - started) / times)
    return min(rounds)


def _line(what: str, seconds: float, beside: dict[str, float]) -> None:
    ratios = "   ".join(f"{other / seconds:7.1f} x {name}" for name, other in beside.items())
    print(f"  {what:38} {seconds * 1e6:9.1f} us {1 / seconds:10,.0f}/s   {ratios}")


def messages(scale: float) -> None:
    """Parse, take apart, check, write and answer."""
    for name, body in (("ADT^A01, 16 segments", ADT), ("ORM^O01, 16 segments", ORDERS + _THIRD)):
        text = body.decode()
        beside = {
            "python-hl7": best(lambda text=text: hl7.parse(text), max(5, int(60 * scale))),  # type: ignore[misc]
            "hl7apy": best(lambda text=text: parse_message(text, find_groups=False), max(1, int(6 * scale))),  # type: ignore[misc]
        }
        print(f"{name}, {len(body):,} bytes")
        for what, action in _actions(body).items():
            _line(what, best(action, max(20, int(600 * scale))), beside)
        for other, seconds in beside.items():
            _line(f"({other}: parse)", seconds, {})


def _actions(body: bytes) -> dict[str, Callable[[], object]]:
    message = hl7v2.read(body)
    return {
        "header only": lambda: hl7v2.header(body),
        "read": lambda: hl7v2.read(body),
        "read, every sub-component": lambda: hl7v2.read(body).leaves(),
        "read, conformance": lambda: check(hl7v2.read(body)),
        "write": lambda: hl7v2.write(message),
        "acknowledge": lambda: hl7v2.acknowledge(message, "AA", "1"),
    }


def tables(scale: float) -> None:
    """A CSV of 100,000 rows, row by row."""
    count = max(1000, int(100_000 * scale))
    row = b"%d,0012345679,Test,Patient-One,1979-04-12,B,I21.9,2026-01-01,10.50,yes\n"
    body = b"n,id,family,given,born,class,code,day,price,paid\n" + b"".join(row % n for n in range(count))
    paths = [table.compile(name) for name in ("id", "born", "class", "price")]

    def run() -> int:
        return sum(len(row.get(path)) for row in table_csv.read(body).rows() for path in paths)

    started = time.process_time()
    run()
    seconds = time.process_time() - started
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    rate = count / seconds
    print(f"CSV, {count:,} rows of 10 columns, {len(body):,} bytes")
    print(f"  read and ask for four columns          {rate:10,.0f} rows/s   peak {peak / 1e6:.1f} MB beside the input")


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    scale = 0.1 if parser.parse_args().quick else 1.0
    messages(scale)
    tables(scale)


if __name__ == "__main__":
    main()
