"""An attempt's bytes for protocols over HTTP: request line, headers, empty line, body (RFC 9112 section 2.1).

The whole request is on disk before it leaves, so that the attempt shows what was said and not only the body. What
must never be kept (a bearer token) is added when it is sent and is not part of these bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from gateway.errors import Broken, Misconfigured

IDLE: Final = "NOTHING"
"""The method of an attempt for which nothing has to leave: recorded like any other, and never sent."""


class Request(NamedTuple):
    """The four parts; header names as written."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


def compose(method: str, url: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """One byte string that `take_apart` undoes. A header that could forge another one is `Misconfigured`."""
    lines = [f"{method} {url} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    for line in lines:
        if not line.isascii() or not line.isprintable():
            raise Misconfigured(detail=f"the header line {line[:30]!r} is not printable ASCII")
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + body


def idle(url: str) -> bytes:
    """The bytes of such an attempt."""
    return compose(IDLE, url or "none:", {}, b"")


def take_apart(request: bytes) -> Request:
    """The parts again. Bytes that `compose` did not make are our own defect."""
    head, end, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode("ascii", "replace").split("\r\n")
    words = first.split(" ")
    if not end or len(words) != 3:
        raise Broken(reference="attempt bytes")
    headers = dict(line.split(": ", 1) for line in lines)
    return Request(words[0], words[1], headers, body)
