"""HL7 v2, the whole of it for other rooms: read, write, acknowledge, paths.

message = hl7v2.read(body)                       # Unreadable or TooLarge where it is not HL7
message.get(hl7v2.compile("PID-3.1"))            # data with places
hl7v2.acknowledge(message, "AA", "OUR-ID-1", now, [])   # bytes, in the sender's own delimiters and character set
"""

from __future__ import annotations

from gateway.formats import hl7v2_path
from gateway.formats.hl7v2_message import Group, Message, Part, Segment
from gateway.formats.hl7v2_path import HL7Path
from gateway.formats.hl7v2_read import DEFAULT_CHARSET, Batch, Header, header, read, split_batch
from gateway.formats.hl7v2_text import NULL, STANDARD, Delimiters, escape, unescape
from gateway.formats.hl7v2_write import acknowledge, field, location, segment, write

compile = hl7v2_path.compile

__all__ = [
    "DEFAULT_CHARSET",
    "NULL",
    "STANDARD",
    "Batch",
    "Delimiters",
    "Group",
    "HL7Path",
    "Header",
    "Message",
    "Part",
    "Segment",
    "acknowledge",
    "compile",
    "escape",
    "field",
    "header",
    "location",
    "read",
    "segment",
    "split_batch",
    "unescape",
    "write",
]
