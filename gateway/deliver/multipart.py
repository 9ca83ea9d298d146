"""Bodies of several parts (multipart/form-data, RFC 7578), the same bytes for the same parts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from gateway.errors import Misconfigured


class FormPart(NamedTuple):
    """One field of the form. `filename` is empty where it is no file."""

    name: str
    media_type: str
    content: bytes
    filename: str = ""


def compose(parts: Sequence[FormPart]) -> tuple[str, bytes]:
    """(Content-Type, body). The boundary follows from the content, and occurs nowhere in it."""
    boundary = _boundary(parts)
    made = bytearray()
    for part in parts:
        for value in (part.name, part.filename, part.media_type):
            if not value.isascii() or not value.isprintable() or '"' in value:
                raise Misconfigured(detail=f"the form field {part.name[:40]!r} cannot be written")
        named = f'; filename="{part.filename}"' if part.filename else ""
        made += f'--{boundary}\r\nContent-Disposition: form-data; name="{part.name}"{named}\r\n'.encode("ascii")
        made += f"Content-Type: {part.media_type}\r\n\r\n".encode("ascii") + part.content + b"\r\n"
    made += f"--{boundary}--\r\n".encode("ascii")
    return f"multipart/form-data; boundary={boundary}", bytes(made)


def _boundary(parts: Sequence[FormPart]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part.content).to_bytes(8, "big") + part.content)
    while True:
        boundary = f"part-{digest.hexdigest()[:40]}"
        if not any(boundary.encode("ascii") in part.content for part in parts):
            return boundary
        digest.update(b"again")
