"""Room audit: what is written down about every step that is visible from outside, and how it is shown as FHIR.

`events` makes the records that go into a step's commit; the store chains and keeps them; `render` shows a kept
one as an AuditEvent.
"""

from gateway.audit import events, render

__all__ = ["events", "render"]
