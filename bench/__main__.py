"""`python -m bench`: the short form of every benchmark, as one table after another. Figures are of this machine, now.

Each file in this folder says what it measures and beside what; ratios hold where absolute rates drift.
"""

from __future__ import annotations

import runpy
import sys
import time

SHORT: dict[str, list[str]] = {
    "bench.whole": ["--stays", "60"],
    "bench.store": [],
    "bench.receive": ["--seconds", "2"],
    "bench.formats": [],
    "bench.map": ["1"],
    "bench.fhirpath": [],
    "bench.validate": [],
    "bench.sign": [],
    "bench.network": ["1000"],
    "bench.deliver": ["200"],
    "bench.backlog": ["--backlog", "4000", "--seconds", "5"],
    "bench.stored": ["--sizes", "1000", "20000", "--stays", "20", "--rounds", "2"],
}


def main() -> int:
    wanted = sys.argv[1:] or list(SHORT)
    for name in wanted:
        name = name if name.startswith("bench.") else f"bench.{name}"
        print(f"\n## {name}\n", flush=True)
        began = time.perf_counter()
        sys.argv = [name, *SHORT.get(name, [])]
        try:
            runpy.run_module(name, run_name="__main__")
        except SystemExit as done:
            if done.code:
                print(f"{name} ended with {done.code}")
        print(f"({time.perf_counter() - began:.0f} s)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
