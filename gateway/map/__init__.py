"""Room map: local input and mapping files into FHIR resources with lineage and loss report, and documents out.

engine = map.load(home, programmes)
engine.take_apart(submission, context)    # -> one ItemResult per subject
engine.render(document, "programme/file", values)   # -> bytes of a national message
"""

from __future__ import annotations

from gateway.map.engine import Engine, load

__all__ = ["Engine", "load"]
