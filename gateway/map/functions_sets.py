"""Functions over sets of codes and whole parts: which groups a code belongs to, what stands in the registry, copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.errors import GatewayError
from gateway.formats import json
from gateway.map.expression import Argument
from gateway.map.functions import Step, Workshop, function, said, word
from gateway.map.functions_codes import entry_on
from gateway.map.run import Got, Run


@function("belongs", least=1, most=2, shape="GROUPS [SYSTEM]")
def _belongs(workshop: Workshop, arguments: Sequence[Argument]) -> Step:
    """The groups whose ValueSet has the code; the system's default is ICD-10. No group: nothing."""
    groups = workshop.groups(word(arguments[0]))
    system = workshop.text(arguments[1]) if len(arguments) > 1 else lambda _: "http://hl7.org/fhir/sid/icd-10"

    def step(run: Run, got: Got) -> Any:
        got.lossy, got.how = True, "derived"
        return groups.of(system(run), said(got).strip().upper()) or None

    return step


@function("find", least=2, most=3, shape="KIND FIELD [DAY]")
def _find(workshop: Workshop, arguments: Sequence[Argument]) -> Step:
    """What `lookup` gives, and silently nothing where there is no entry."""
    kind, field = word(arguments[0]), word(arguments[1])
    on = workshop.text(arguments[2]) if len(arguments) > 2 else None

    def step(run: Run, got: Got) -> Any:
        got.lossy, got.how = True, "looked_up"
        day = (on(run) if on else "") or run.today
        entry = entry_on(run.context.registry.get(kind, {}).get(said(got), ()), day[:10])
        value: Any = entry.data if entry is not None else None
        for part in field.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value if value not in ("", None) else None

    return step


@function("object")
def _object(_: Workshop, __: Sequence[Argument]) -> Step:
    """A part of a JSON input as it stands there; a plain value stays what it is."""

    def step(_: Run, got: Got) -> Any:
        if not isinstance(got.value, str) or not got.value.startswith("{"):
            return got.value
        try:
            return json.read(got.value.encode())
        except GatewayError:
            return got.value

    return step
