"""The raw arrival log: what a repository can swear to. One JSON line an arrival, on disk before anything is looked at.

A second line under the same number says what became of it. The oracle of the test plan reads nothing else.
"""

from __future__ import annotations

import base64
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from gateway.formats import json

REMEMBERED: Final = 10_000


class Arrival(NamedTuple):
    """One request as it came. Header names are lower case; repeated headers stay apart."""

    number: int
    time: datetime
    method: str
    path: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    client: str = ""

    def header(self, name: str) -> str:
        """The first value of a header, or empty."""
        return next((value for key, value in self.headers if key == name), "")


class ArrivalLog:
    """Append-only; `sync=False` is for load tests where the log itself is not what is measured."""

    def __init__(self, path: Path | None, sync: bool = True) -> None:
        self._path, self._sync = path, sync
        self._number = sum(1 for line in read(path) if "verdict" not in line) if path and path.exists() else 0
        self._file = path.open("ab") if path is not None else None
        self.arrivals: deque[Arrival] = deque(maxlen=REMEMBERED)  # the last ones; the file has them all

    @property
    def count(self) -> int:
        """How many arrived, over all starts that share the file."""
        return self._number

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def arrived(
        self, time: datetime, method: str, path: str, headers: Sequence[tuple[str, str]], body: bytes, client: str
    ) -> Arrival:
        """Write the arrival down and return it; it is on disk when this returns."""
        self._number += 1
        arrival = Arrival(self._number, time, method, path, headers, body, client)
        self.arrivals.append(arrival)
        self._write(
            {
                "arrival": arrival.number,
                "time": time.isoformat(),
                "method": method,
                "path": path,
                "client": client,
                "headers": [list(each) for each in headers],
                "body": base64.b64encode(body).decode(),
            }
        )
        return arrival

    def judged(self, arrival: Arrival, verdict: Mapping[str, Any]) -> None:
        """Write down what became of it."""
        self._write({"arrival": arrival.number, "verdict": verdict})

    def _write(self, line: Mapping[str, Any]) -> None:
        if self._file is None:
            return
        self._file.write(json.write(line) + b"\n")
        self._file.flush()
        if self._sync:
            os.fsync(self._file.fileno())


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a log; a last line that a crash cut short is left out."""
    for line in path.read_bytes().split(b"\n")[:-1]:
        yield json.read(line)
